from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from benchmarks import _activity_kernels as part
from benchmarks.peers import _gene_activity as peers
from scipy import sparse


def test_agreement_is_over_entries_of_either(rng):
    a = rng.poisson(0.5, (20, 10)).astype(float)
    b = np.where(rng.random((20, 10)) < 0.2, a + 1, a)
    either = (a != 0) | (b != 0)
    found = part.agreement(sparse.csr_matrix(a), sparse.csr_matrix(b))
    assert found["n_entries"] == either.sum()
    assert found["equal"] == pytest.approx((a == b)[either].mean())
    assert found["r"] == pytest.approx(np.corrcoef(a[either], b[either])[0, 1])


def row(name, **values):
    return {"seed": 0, "name": name, "seconds": 1.0, **values}


def test_targets_say_what_was_not_measured():
    slow, quick = part.LARGE.values()
    rows = [
        row(part.INSERTIONS, r=0.9995, equal=0.99),
        row(slow, peak_gb=1.0),
        {**row(quick, peak_gb=2.0), "seconds": 31.0},
    ]
    assert [target["met"] for target in part.targets(rows)] == ["yes", "not measured", "no"]
    assert [target["met"] for target in part.targets([row(part.MUON, r=0.999), row(slow)])] == [
        "not measured",
        "no",
        "not measured",
    ]
    shown = part.table(rows)
    assert [line["method"] for line in shown] == [part.INSERTIONS, slow, quick]
    assert shown[0] == {
        "method": part.INSERTIONS,
        "held against": part.OURS,
        "r": "0.99950",
        "equal entries": "99.00 %",
        "seconds": "1.00",
        "GB": "",
    }


def test_genes_as_gtf(tmp_path):
    from sctandem.genome import read_genes

    genes = pd.DataFrame({"chrom": ["chr1"], "start": [9], "end": [20], "strand": ["-"]}, index=["A"])
    peers.write_gtf(genes, tmp_path / "genes.gtf")
    found = read_genes(tmp_path / "genes.gtf")
    assert found.loc[0, ["chrom", "start", "end", "strand", "name"]].tolist() == ["chr1", 9, 20, "-", "A"]
    assert len((tmp_path / "genes.gtf").read_text().splitlines()) == 3


def test_data_exist(shared_data):
    assert all(path.name for path in part.data())
    assert all((shared_data / path.relative_to(part.FOLDER)).is_file() for path in part.data())
