"""What the parts on deviations and motifs make of their rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from benchmarks import _activity_deviations, _activity_motifs
from scipy import sparse


def test_targets_of_deviations():
    rows = [{"seed": seed, "name": "matches, drawn", "r": r} for seed, r in ((0, 0.9998), (1, 0.98))]
    rows.append({"seed": 0, "name": "ours, full size", "seconds": 50.0, "peak_mb": 4100.0, "n_threads": 2})
    agreement, seconds, memory = _activity_deviations.targets(rows)
    assert (agreement["measured"], agreement["met"]) == ("0.980000", "no")  # the worst seed counts
    assert (seconds["measured"], seconds["met"]) == ("50 s", "yes")
    assert (memory["measured"], memory["met"]) == ("4,100 MB", "no")
    assert _activity_deviations.targets(rows[:1])[0]["met"] == "yes"
    assert [row["met"] for row in _activity_deviations.targets([])] == ["not measured"] * 3
    other = [row | {"n_threads": 16} for row in rows if "seconds" in row]
    assert [row["met"] for row in _activity_deviations.targets(other)] == ["not measured"] * 3
    shown = _activity_deviations.table(rows)
    assert shown[0] == {"method": "matches, drawn", "r": "0.9899"} | dict.fromkeys(list(shown[0])[2:], "")


def test_the_large_input_is_as_large_as_it_says():
    counts, matches, gc = _activity_deviations.draw_large((50, 12_000, 40), 0)
    assert counts.shape == (50, 12_000)
    assert 0.03 < counts.nnz / np.prod(counts.shape) < 0.06
    assert 0.1 < matches.nnz / np.prod(matches.shape) < 0.35
    assert counts.has_canonical_format
    assert gc.shape == (12_000,)


def test_motifs_that_read_planted_sites():
    atac = AnnData(sparse.csr_matrix((3, 2)), var=pd.DataFrame({"start": [100, 500]}, index=["p0", "p1"]))
    hits = [(0, 0, 10), (0, 1, 12), (0, 1, 60), (1, 1, 30), (1, 2, 12), (1, 2, 90), (1, 2, 120)]
    table = pd.DataFrame({"width": [10, 8, 8, 8]})
    atac.uns["motifs"] = {"hits": pd.DataFrame(hits, columns=["peak", "motif", "start"]), "table": table}
    sites = pd.DataFrame({"peak": ["p0", "p1"], "start": [110, 507], "end": [120, 517]})
    # all hits of 0; one of three hits of 1; of 2 one that overlaps a site by 5 of 8 bp; 3 has no hit
    found = _activity_motifs.on_planted_sites(atac, sites, pd.Index(list("abcd")))
    assert found.tolist() == [True, True, True, False]
    sites["end"] = sites["start"] + 3
    sites.loc[1, "start"] = 900
    found = _activity_motifs.on_planted_sites(atac, sites, pd.Index(list("abcd")))
    assert found.tolist() == [True, False, False, False]


def test_shares_are_of_all_counts():
    atac = AnnData(sparse.csr_matrix(np.array([[1.0, 3.0, 0.0], [0.0, 0.0, 0.0]])))
    atac.varm["motifs"] = sparse.csr_matrix(np.array([[2, 0], [0, 1], [1, 1]]))
    np.testing.assert_allclose(_activity_motifs.plain_shares(atac), [[0.25, 0.75], [0, 0]])


def test_target_of_motifs():
    row = {"seed": 0, "name": "variability, exchanged counts", "recovered": 1.0}
    assert _activity_motifs.targets([row, row | {"seed": 1, "recovered": 0.8}])[0]["met"] == "yes"
    assert _activity_motifs.targets([row | {"recovered": 0.8}])[0]["met"] == "no"
    assert _activity_motifs.targets([])[0]["met"] == "not measured"
