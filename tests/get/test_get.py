from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import sctandem as td
from sctandem._compat import new_mudata


@pytest.fixture
def mdata():
    cells = pd.DataFrame(index=["a", "b"])
    rna = AnnData(np.ones((2, 3), dtype=np.float32), obs=cells.copy(), var=pd.DataFrame(index=["A", "B", "C"]))
    peaks = ["chr1:900-1000", "chr1:1200-1300", "chr1:7000-7100"]
    atac = AnnData(np.ones((2, 3), dtype=np.float32), obs=cells.copy(), var=pd.DataFrame(index=peaks))
    mdata = new_mudata({"rna": rna, "atac": atac})
    genes = pd.DataFrame(
        {"chrom": "chr1", "start": [1000, 7500], "end": [2000, 8000], "strand": list("+-")}, index=["A", "B"]
    )
    td.pp.gene_windows(mdata, genes, upstream=1000, downstream=1000)
    return mdata


def test_gene_windows(mdata):
    found = td.get.gene_windows(mdata)
    assert found.columns.tolist() == ["gene", "peak", "distance", "width", "chrom", "tss", "strand"]
    assert found[["gene", "distance", "tss", "strand"]].to_numpy().tolist() == [
        ["A", -50, 1000, "+"],
        ["A", 250, 1000, "+"],
        ["B", 949, 7999, "-"],
    ]
    assert td.get.gene_windows(mdata, "B").distance.tolist() == [949]
    assert td.get.gene_windows(mdata, ["B", "A"]).gene.tolist() == ["A", "A", "B"]
    with pytest.raises(KeyError, match=r"mdata.uns\['gene_windows'\] has nothing for 'C'; it holds 2 genes: 'A', 'B'"):
        td.get.gene_windows(mdata, "C")
    with pytest.raises(KeyError, match=r"mdata.uns has no 'other'; run `td.pp.gene_windows\(mdata\)` first"):
        td.get.gene_windows(mdata, key="other")


def test_what_is_read_is_not_the_object_itself(mdata):
    found = td.get.gene_windows(mdata)
    found["distance"] = 0
    assert mdata.uns["gene_windows"]["pairs"]["distance"].tolist() == [-50, 250, 949]


def test_peak_gene_links(mdata):
    table = pd.DataFrame({"peak": list("pqr"), "gene": list("ABA"), "weight": [3.0, 2, 1], "fdr": [0.01, 0.04, 0.5]})
    with pytest.raises(KeyError, match=r"has no 'tape_links'; run `sctandem.tl.peak_gene_links"):
        td.get.peak_gene_links(mdata)
    mdata.uns["tape_links"] = {"params": {}, "table": table}
    pd.testing.assert_frame_equal(td.get.peak_gene_links(mdata), table)
    assert td.get.peak_gene_links(mdata, "A").peak.tolist() == ["p", "r"]
    assert td.get.peak_gene_links(mdata, "A", 0.05).peak.tolist() == ["p"]
    assert td.get.peak_gene_links(mdata, fdr=0.05).peak.tolist() == ["p", "q"]
    assert td.get.peak_gene_links(mdata, fdr=0).empty
    with pytest.raises(ValueError, match="fdr=5 is not a number between 0 and 1"):
        td.get.peak_gene_links(mdata, fdr=5)
    with pytest.raises(KeyError, match="nothing for 'X', 'Y'; it holds 2 genes"):
        td.get.peak_gene_links(mdata, ["A", "X", "Y"])


def test_expression_skill(mdata):
    with pytest.raises(KeyError, match=r"mdata\['rna'\].var has no column 'tape_pearson'; run .*predict_expression"):
        td.get.expression_skill(mdata)
    mdata["rna"].var["tape_verdict"] = pd.Categorical(["better than kNN", "not scored", "not scored"])
    mdata["rna"].var["tape_pearson"] = [0.5, np.nan, np.nan]
    found = td.get.expression_skill(mdata)
    assert found.columns.tolist() == ["pearson", "verdict"]
    assert found.index.tolist() == ["A", "B", "C"]
    with pytest.raises(KeyError, match="no column 'mine_pearson'"):
        td.get.expression_skill(mdata, key="mine")
    with pytest.raises(KeyError, match="no modality 'gex' for rna"):
        td.get.expression_skill(mdata, modalities={"rna": "gex"})


def test_programme_skill(mdata):
    with pytest.raises(KeyError, match=r"mdata.uns has no 'tape_programmes'; run `sctandem.tl.programme_skill"):
        td.get.programme_skill(mdata)
    table = pd.DataFrame({"programme": ["S phase"], "score_pearson": [0.4]}, index=["0"])
    mdata.uns["tape_programmes"] = {"params": {}, "table": table}
    assert td.get.programme_skill(mdata).to_numpy().tolist() == [["S phase", 0.4]]


def test_something_else_than_a_mudata(mdata):
    for function in (td.get.gene_windows, td.get.peak_gene_links, td.get.expression_skill, td.get.programme_skill):
        with pytest.raises(TypeError, match="mdata is an AnnData, not a MuData"):
            function(mdata["rna"])
