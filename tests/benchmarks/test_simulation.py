from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from benchmarks import _tape_simulation as simulation
from benchmarks.peers._common import log1p_cp10k
from scipy.stats import pearsonr

import sctandem as td


@pytest.fixture(name="mdata", scope="module")
def fixture_mdata():
    mdata = td.datasets.simulate_multiome(200, 40, 300)
    td.pp.gene_windows(mdata)
    return mdata


def test_every_true_link_in_a_window_is_labelled(mdata):
    pairs, truth = mdata.uns["gene_windows"]["pairs"], mdata.uns["truth"]["links"]
    labels = simulation.label(pairs, truth)
    found = pairs.loc[labels, ["gene", "peak"]].astype(str)
    assert labels.sum() == len(truth)
    assert set(map(tuple, found.to_numpy())) == set(map(tuple, truth[["gene", "peak"]].astype(str).to_numpy()))


def test_correlations_equal_scipy(mdata):
    pairs = mdata.uns["gene_windows"]["pairs"].iloc[:20]
    found = simulation.correlations(mdata, pairs)
    rna, atac = (log1p_cp10k(mdata[name].X, np.asarray(mdata[name].X.sum(axis=1)).ravel()) for name in ("rna", "atac"))
    for value, gene, peak in zip(found, pairs["gene"], pairs["peak"], strict=True):
        expression = rna[:, mdata["rna"].var_names.get_loc(gene)]
        access = atac[:, mdata["atac"].var_names.get_loc(peak)]
        assert value == pytest.approx(pearsonr(expression, access).statistic, abs=1e-5)


def test_gene_scores_do_not_see_hidden_genes(mdata):
    hidden = np.arange(40) >= 30
    train = np.arange(150)
    scores = simulation.gene_scores(mdata, train, hidden)
    changed = mdata["rna"].copy()
    counts = changed.X.toarray()
    library = counts.sum(axis=1)
    counts[:, hidden] = np.random.default_rng(0).permuted(counts[:, hidden], axis=1)
    assert (counts.sum(axis=1) == library).all()
    from mudata import MuData

    other = MuData({"rna": changed, "atac": mdata["atac"]})
    other["rna"].X = type(mdata["rna"].X)(counts)
    other.uns["gene_windows"] = mdata.uns["gene_windows"]
    np.testing.assert_array_equal(simulation.gene_scores(other, train, hidden), scores)
    assert scores.shape == (200, 40)


def test_tables_show_ratios_to_distance():
    rows = [
        {
            "n_links": 10,
            "n_pairs": 100,
            "auprc": {"distance": 0.2, "tape": 0.4},
            "auroc": {"distance": 0.6, "tape": 0.8},
        },
        {
            "n_links": 30,
            "n_pairs": 100,
            "auprc": {"distance": 0.2, "tape": 0.6},
            "auroc": {"distance": 0.6, "tape": 0.8},
        },
    ]
    genes = [{"pearson": {"gene_score": 0.1, "true_rate": 0.3}}]
    links, heldout = simulation.tables({"links": rows, "genes": genes})
    assert links["rows"][1]["AUPRC / distance"] == "2.500 ± 0.707"
    assert "20.0% of the pairs are links" in links["caption"]
    assert [row["method"] for row in heldout["rows"]] == ["distance-weighted gene score", "true rates (ceiling)"]
    assert pd.DataFrame(heldout["rows"])["Pearson a gene"].tolist() == ["0.100", "0.300"]
