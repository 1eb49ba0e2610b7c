"""Programmes on a multiome made by hand, in which it is known what the prediction knows."""

from __future__ import annotations

from contextlib import nullcontext

import mudata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData
from scipy import sparse
from scipy.stats import kstest

import sctandem as td
from sctandem._compat import installed, new_mudata
from sctandem._keys import PROGRAMME_VERDICTS
from sctandem.tl._cell_cycle import CELL_CYCLE

N_CELLS, N_GENES = 500, 400
COLUMNS = ["programme", "n_genes", "pearson", "gain_mean", "score_pearson", "random_pearson", "pvalue", "verdict"]


def simulate(seed=0, state_of_all=0.0):
    """Genes 0-24 follow a state that the prediction knows, 25-49 one that it does not; every gene may follow a third."""
    rng = np.random.default_rng(seed)
    known, hidden, common = rng.normal(size=(3, N_CELLS, 1))
    load = np.zeros((2, N_GENES))
    load[0, :25] = load[1, 25:50] = 0.8
    base = rng.normal(-0.5, 1.0, N_GENES)
    seen = base + known * load[0] + common * rng.normal(0, state_of_all, N_GENES)
    rate = np.exp(seen + hidden * load[1])
    cells = pd.DataFrame(index=[f"cell{i}" for i in range(N_CELLS)])
    rna = AnnData(sparse.csr_matrix(rng.poisson(rate).astype(np.float32)), obs=cells.copy())
    rna.var_names = [f"GENE{i}" for i in range(N_GENES)]
    predicted = np.exp(seen + rng.normal(0, 0.2, seen.shape))
    rna.layers["tape"] = (1e4 * predicted / predicted.sum(1, keepdims=True)).astype(np.float32)
    rna.var["tape_pearson"] = np.where(np.arange(N_GENES) < 25, 0.5, 0.0)
    rna.var["tape_gain_mean"] = np.where(np.arange(N_GENES) < 25, 0.2, -0.1)
    rna.var.loc["GENE0", ["tape_pearson", "tape_gain_mean"]] = np.nan
    atac = AnnData(sparse.csr_matrix(np.ones((N_CELLS, 2), dtype=np.float32)), obs=cells.copy())
    mdata = new_mudata({"rna": rna, "atac": atac})
    mdata.obs["tape_heldout"] = np.arange(N_CELLS) % 2 == 0
    return mdata


@pytest.fixture
def mdata():
    return simulate()


@pytest.fixture
def programmes():
    names = [f"GENE{i}" for i in range(N_GENES)]
    return {
        "known/state": [*names[:25], "NOT_THERE"],
        "hidden": names[25:50],
        "any": names[100:130],
        "small": [*names[200:204], names[200]],
        "absent": ["X", "Y"],
    }


def reread(mdata, path, **how):
    """Write to a file and read it back."""
    zarr = path.suffix == ".zarr"
    (mdata.write_zarr if zarr else mdata.write_h5mu)(path)
    with nullcontext() if installed("mudata", "0.4") else mudata.set_options(pull_on_update=False):
        return mudata.read_zarr(path) if zarr else mudata.read_h5mu(path, **how)


def run(mdata, programmes, **changes):
    td.tl.programme_skill(mdata, programmes, **{"rng": 0, "n_random": 200, **changes})
    return td.get.programme_skill(mdata).set_index("programme")


def test_scanpy_scores_the_prediction(mdata):
    """The lines of the user guide; our scores follow scanpy's, which takes other genes at random."""
    rna = mdata["rna"]
    sets = {name: list(CELL_CYCLE[name]) for name in CELL_CYCLE}
    rna.var_names = [gene for genes in sets.values() for gene in genes] + list(rna.var_names)[
        sum(map(len, sets.values())) :
    ]
    predicted = AnnData(np.log1p(rna.layers["tape"]), obs=rna.obs.copy(), var=rna.var[[]])
    s_genes, g2m_genes = sets.values()
    sc.tl.score_genes_cell_cycle(predicted, s_genes=s_genes, g2m_genes=g2m_genes)
    sc.tl.score_genes(predicted, s_genes, score_name="S")
    assert set(predicted.obs["phase"].unique()) <= {"G1", "S", "G2M"}
    run(mdata, None)
    ours = rna.obsm["tape_programmes"]
    for name, score in zip(CELL_CYCLE, ("S_score", "G2M_score"), strict=True):
        assert np.corrcoef(ours[name], predicted.obs[score])[0, 1] > 0.9
    assert np.corrcoef(ours.iloc[:, 0], predicted.obs["S"])[0, 1] > 0.9


def test_what_is_known_is_told_from_what_is_not(mdata, programmes):
    table = run(mdata, programmes)
    assert table["verdict"].astype(str).to_dict() == {
        "known/state": "predicted well",
        "hidden": "not predicted",
        "any": table.loc["any", "verdict"],
        "small": "too few genes",
        "absent": "too few genes",
    }
    assert table.loc["known/state", "score_pearson"] > 0.7
    assert abs(table.loc["hidden", "score_pearson"]) < 0.15
    assert table.loc["any", "verdict"] != "predicted well"
    assert table.loc["known/state", "pvalue"] == pytest.approx(1 / 201)
    assert table.loc["hidden", "random_pearson"] < 0.3
    assert table["n_genes"].to_list() == [25, 25, 30, 4, 0]
    assert table.loc["known/state", ["pearson", "gain_mean"]].to_list() == pytest.approx([0.5, 0.2])
    assert table.loc["small", "pearson"] == 0
    assert table.loc["small", ["score_pearson", "pvalue"]].isna().all()
    assert table.loc["absent", ["pearson", "gain_mean", "score_pearson"]].isna().all()


def test_state_that_all_genes_share_is_not_taken_for_the_programme():
    mdata, rng = simulate(state_of_all=0.6), np.random.default_rng(3)
    names = mdata["rna"].var_names
    table = run(mdata, {f"p{i}": rng.choice(names, 12, replace=False) for i in range(200)}, n_random=99)
    assert (table["score_pearson"] > 0.3).mean() > 0.25
    assert (table["random_pearson"] > 0.2).all()
    assert kstest(table["pvalue"], "uniform").pvalue > 0.001
    assert (table["pvalue"] <= 0.05).mean() < 0.11
    assert (table["verdict"] == "predicted well").sum() <= 2
    assert (table["verdict"] == "predicted weakly").mean() > 0.7


def test_slots_and_dtypes(mdata, programmes):
    assert td.tl.programme_skill(mdata, programmes, rng=7, n_random=10) is None
    result = mdata.uns["tape_programmes"]
    assert result["params"] == {"rna": "rna", "key": "tape", "n_random": 10, "seed": 7, "n_cells": 250}
    table = result["table"]
    assert table.columns.tolist() == COLUMNS
    assert table["programme"].tolist() == list(programmes)
    assert table["n_genes"].dtype == np.int64
    assert (table.dtypes[["pearson", "gain_mean", "score_pearson", "random_pearson", "pvalue"]] == np.float64).all()
    assert tuple(table["verdict"].cat.categories) == PROGRAMME_VERDICTS
    scores = mdata["rna"].obsm["tape_programmes"]
    assert scores.columns.tolist() == ["known_state", "hidden", "any"]
    assert scores.index.equals(mdata["rna"].obs_names)
    assert (scores.dtypes == np.float64).all()


def test_numbers_are_those_of_scanpy(mdata, programmes):
    """Normalisation, scores and their correlation, all by scanpy and pandas."""
    table = run(mdata, programmes)
    held = mdata["rna"][mdata.obs["tape_heldout"].to_numpy()].copy()
    measured = AnnData(held.X.toarray(), var=held.var[[]])
    sc.pp.normalize_total(measured, target_sum=1e4)
    sc.pp.log1p(measured)
    predicted = AnnData(np.log1p(held.layers["tape"]), var=held.var[[]])
    for label in ("known/state", "hidden", "any"):
        genes = [gene for gene in programmes[label] if gene in held.var_names]
        for adata in (measured, predicted):
            sc.tl.score_genes(adata, genes, ctrl_as_ref=False, ctrl_size=1000, n_bins=20)
        expected = measured.obs["score"].reset_index(drop=True).corr(predicted.obs["score"].reset_index(drop=True))
        assert table.loc[label, "score_pearson"] == pytest.approx(expected, abs=1e-5)
        found = mdata["rna"].obsm["tape_programmes"].loc[held.obs_names, label.replace("/", "_")]
        np.testing.assert_allclose(found, predicted.obs["score"], atol=1e-5)


@pytest.mark.parametrize("form", [np.asarray, sparse.csc_matrix, sparse.csr_array])
def test_form_of_the_counts_does_not_matter(mdata, programmes, form):
    expected = run(mdata, programmes)
    mdata["rna"].X = form(mdata["rna"].X.toarray())
    mdata["rna"].layers["tape"] = form(mdata["rna"].layers["tape"])
    pd.testing.assert_frame_equal(run(mdata, programmes), expected)


def test_order_of_cells_and_names_of_genes_do_not_matter(mdata, programmes, rng):
    expected = run(mdata, programmes)
    order = rng.permutation(N_CELLS)
    moved = new_mudata({name: adata[order].copy() for name, adata in mdata.mod.items()})
    moved.obs["tape_heldout"] = mdata.obs["tape_heldout"].to_numpy()[order]
    pd.testing.assert_frame_equal(run(moved, programmes), expected, rtol=1e-6)
    scores = moved["rna"].obsm["tape_programmes"].loc[mdata["rna"].obs_names]
    np.testing.assert_allclose(scores, mdata["rna"].obsm["tape_programmes"], atol=1e-5)
    mdata["rna"].var_names = [f"new{i}" for i in range(N_GENES)]
    renamed = {k: [gene.replace("GENE", "new") for gene in genes] for k, genes in programmes.items()}
    pd.testing.assert_frame_equal(run(mdata, renamed), expected)


def test_depth_does_not_matter_and_library_sizes_may_be_given(mdata, programmes):
    expected = run(mdata, programmes)
    rna = mdata["rna"]
    rna.layers["counts"] = rna.X.copy()
    rna.obs["size"] = np.asarray(rna.X.sum(1)).ravel()
    rna.X = sparse.csr_matrix(rna.X.multiply(1 + np.arange(N_CELLS)[:, None] % 7))
    pd.testing.assert_frame_equal(run(mdata, programmes), expected, rtol=1e-6)
    pd.testing.assert_frame_equal(run(mdata, programmes, layer="counts", size_factor_key="size"), expected)
    assert mdata.uns["tape_programmes"]["params"]["layer"] == "counts"
    mdata.obs["total"] = rna.obs["size"].to_numpy()
    pd.testing.assert_frame_equal(run(mdata, programmes, layer="counts", size_factor_key="total"), expected)


def test_seed(mdata, programmes):
    first, again, other = (run(mdata, programmes, rng=seed, n_random=50) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert not first["random_pearson"].equals(other["random_pearson"])
    pd.testing.assert_series_equal(first["score_pearson"], other["score_pearson"])


def test_other_names(mdata, programmes):
    expected = run(mdata, programmes)
    rna = mdata["rna"].copy()
    rna.layers["p"] = rna.layers.pop("tape")
    rna.var = rna.var.rename(columns=lambda name: name.replace("tape", "p"))
    del rna.obsm["tape_programmes"]
    renamed = new_mudata({"gex": rna, "atac": mdata["atac"]})
    renamed.obs["p_heldout"] = mdata.obs["tape_heldout"]
    td.tl.programme_skill(
        renamed, programmes, modalities={"rna": "gex"}, key="p", key_added="other", rng=0, n_random=200
    )
    pd.testing.assert_frame_equal(td.get.programme_skill(renamed, key="other").set_index("programme"), expected)
    assert list(renamed["gex"].obsm) == ["other"]


def test_cell_cycle_by_default(mdata):
    assert {name: len(genes) for name, genes in CELL_CYCLE.items()} == {"S phase": 44, "G2M phase": 56}
    assert not set(CELL_CYCLE["S phase"]) & set(CELL_CYCLE["G2M phase"])
    names = mdata["rna"].var_names.to_numpy().copy()
    old = [gene for gene in CELL_CYCLE["S phase"] if gene != "CENPU"]
    names[:25], names[25:50] = old[:25], CELL_CYCLE["G2M phase"][:25]
    mdata["rna"].var_names = names
    table = run(mdata, None)
    assert table["verdict"].astype(str).to_dict() == {"S phase": "predicted well", "G2M phase": "not predicted"}


def test_genes_without_prediction_are_left_out(mdata, programmes):
    mdata["rna"].layers["tape"][:, :5] = np.nan
    table = run(mdata, programmes)
    assert table.loc["known/state", "n_genes"] == 20
    assert table.loc["known/state", "verdict"] == "predicted well"


def test_constant_prediction_is_no_prediction(mdata, programmes):
    mdata["rna"].layers["tape"][:] = mdata["rna"].layers["tape"].mean(0)
    table = run(mdata, programmes, n_random=20)
    assert table["verdict"].astype(str).to_list() == ["not predicted"] * 3 + ["too few genes"] * 2
    assert table["score_pearson"].isna().all()


@pytest.mark.parametrize("suffix", ["h5mu", "zarr"])
def test_round_trip(mdata, programmes, tmp_path, suffix):
    expected = run(mdata, programmes)
    found = reread(mdata, tmp_path / f"m.{suffix}")
    table = td.get.programme_skill(found).set_index("programme")
    pd.testing.assert_frame_equal(table, expected, check_index_type=False, check_column_type=False)
    pd.testing.assert_frame_equal(
        found["rna"].obsm["tape_programmes"],
        mdata["rna"].obsm["tape_programmes"],
        check_index_type=False,
        check_column_type=False,
    )
    assert found.uns["tape_programmes"]["params"] == mdata.uns["tape_programmes"]["params"]


def test_view_and_copy(mdata, programmes):
    expected = run(mdata, programmes)
    del mdata.uns["tape_programmes"], mdata["rna"].obsm["tape_programmes"]
    copied = td.tl.programme_skill(mdata, programmes, rng=0, n_random=200, copy=True)
    pd.testing.assert_frame_equal(td.get.programme_skill(copied).set_index("programme"), expected)
    assert "tape_programmes" not in mdata.uns
    assert "tape_programmes" not in mdata["rna"].obsm


def test_backed_file(mdata, programmes, tmp_path):
    expected = run(mdata, programmes)
    backed = reread(mdata, tmp_path / "m.h5mu", backed="r")
    try:
        pd.testing.assert_frame_equal(
            run(backed, programmes), expected, check_index_type=False, check_column_type=False
        )
        with pytest.raises(ValueError, match="copy=True needs the data in memory"):
            td.tl.programme_skill(backed, programmes, copy=True)
    finally:
        backed.file.close()


def test_plot_of_all_verdicts(mdata, programmes):
    run(mdata, programmes)
    labels = [label.get_text() for label in td.pl.programme_skill(mdata).get_yticklabels()]
    assert labels[0] == "known/state (25)"
    assert sorted(labels[-2:]) == ["absent (0)", "small (4)"]


# --- bad input --------------------------------------------------------------------------------------------------------

REFUSED = {
    "no layer": (KeyError, r"\.layers has no 'tape'; run `sctandem.tl.predict_expression"),
    "no pearson": (KeyError, r"\.var has no 'tape_pearson': .* not scored\. Programmes are compared with measured"),
    "no heldout": (KeyError, r"mdata.obs has no 'tape_heldout'; run `sctandem.tl.predict_expression"),
    "nothing held out": (ValueError, r"mdata.obs\['tape_heldout'\]. needs at least 10 cells, but there are 0"),
    "one cell": (ValueError, "needs at least 10 cells, but there is 1"),
    "negative": (ValueError, r"mdata\['rna'\].X contains negative values"),
    "nan": (ValueError, r"mdata\['rna'\].X contains NaN"),
    "not counts": (ValueError, r"mdata\['rna'\].X does not hold counts"),
    "all zero": (ValueError, r"mdata\['rna'\].X has no counts in the \d+ held-out cells"),
    "duplicates": (ValueError, r"mdata\['rna'\].var_names has 1 duplicated names"),
    "no modality": (KeyError, "mdata has no modality 'gex' for rna"),
    "wrong layer": (KeyError, r"layers has no 'counts'"),
    "no size": (KeyError, "mdata.obs has no column 'size'"),
    "zero size": (ValueError, r"mdata.obs\['size'\] has values that are not above 0 \(for example 0.0\)"),
    "no set": (ValueError, "programmes is {}, not a dictionary from names to genes"),
    "list": (ValueError, r"programmes is \['GENE1'\], not a dictionary"),
    "text": (ValueError, r"programmes\['a'\] is 'GENE1'; names are text, and genes a list of text"),
    "number": (ValueError, r"programmes\[3\] is \['GENE1'\]; names are text"),
    "none found": (ValueError, r"The programmes have \['ENSG1'\], and var_names \['GENE0', 'GENE1', 'GENE2'\]"),
    "slash": (ValueError, r"differ by a slash only: \['a_b', 'a_b'\]"),
    "n_random": (ValueError, "n_random=0 is not an integer between 1 and 100000"),
    "rng": (TypeError, "rng must be a seed"),
}


def spoil(mdata, case):
    """Return the arguments of a call that has to fail."""
    rna, some = mdata["rna"], {"a": ["GENE1"]}
    if case == "no layer":
        del rna.layers["tape"]
    elif case == "no pearson":
        del rna.var["tape_pearson"]
    elif case == "no heldout":
        del mdata.obs["tape_heldout"]
    elif case == "all zero":
        rna.X = rna.X * 0
    elif case in {"nothing held out", "one cell"}:
        mdata.obs["tape_heldout"] = np.arange(N_CELLS) < (case == "one cell")
    elif case in {"negative", "nan", "not counts"}:
        rna.X.data[:] = {"negative": -1, "nan": np.nan, "not counts": 0.5}[case]
    elif case == "duplicates":
        rna.var_names = ["GENE1", *rna.var_names[1:]]
    elif case == "zero size":
        mdata.obs["size"] = 0.0
    return {
        "no modality": {"modalities": {"rna": "gex"}},
        "wrong layer": {"layer": "counts"},
        "no size": {"size_factor_key": "size"},
        "zero size": {"size_factor_key": "size"},
        "no set": {"programmes": {}},
        "list": {"programmes": ["GENE1"]},
        "text": {"programmes": {"a": "GENE1"}},
        "number": {"programmes": {3: ["GENE1"]}},
        "none found": {"programmes": {"a": ["ENSG1"]}},
        "slash": {"programmes": {"a/b": ["GENE1"], "a_b": ["GENE1"]}},
        "n_random": {"n_random": 0},
        "rng": {"rng": "seed"},
    }.get(case, {}) | (
        {"programmes": some} if case not in {"no set", "list", "text", "number", "none found", "slash"} else {}
    )


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_changes_nothing(mdata, case):
    arguments = spoil(mdata, case)
    before = mdata.obs.copy(), mdata["rna"].obs.copy(), mdata["rna"].var.copy(), mdata["rna"].X.toarray()
    slots = [list(x) for x in (mdata.uns, mdata["rna"].uns, mdata["rna"].obsm, mdata["rna"].layers)]
    error, match = REFUSED[case]
    with pytest.raises(error, match=match):
        td.tl.programme_skill(mdata, **arguments)
    assert slots == [list(x) for x in (mdata.uns, mdata["rna"].uns, mdata["rna"].obsm, mdata["rna"].layers)]
    for old, new in zip(before, (mdata.obs, mdata["rna"].obs, mdata["rna"].var), strict=False):
        pd.testing.assert_frame_equal(old, new)
    np.testing.assert_array_equal(before[3], mdata["rna"].X.toarray())


def test_something_else_than_a_mudata(mdata):
    with pytest.raises(TypeError, match="mdata is an AnnData, not a MuData"):
        td.tl.programme_skill(mdata["rna"])
