from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData
from matplotlib import pyplot as plt
from scipy import sparse

import sctandem as td

N_GENES, N_TRUE = 150, 15


def cells(seed: int = 0, *, n_donors: int = 8, n_cells: int = 30, effect: float = 1.2, paired: bool = False) -> AnnData:
    """Two types; the first genes are changed in type "T" of the treated."""
    rng = np.random.default_rng(seed)
    level = np.exp(rng.normal(0.5, 0.8, N_GENES))
    donor = np.repeat(np.arange(n_donors), 2 * n_cells)
    kind = np.tile(["B", "T"], n_donors * n_cells)
    treated = np.tile([False, False, True, True], n_donors * n_cells // 2) if paired else donor % 2 == 1
    spread = 0.6 if paired else 0.1
    rate = level * np.exp(rng.normal(0, spread, (n_donors, N_GENES)))[donor] * rng.gamma(4, 0.25, (len(donor), 1))
    rate[np.ix_(kind == "T", np.arange(100, 130))] *= 4
    sign = np.where(np.arange(N_TRUE) % 2, 1.0, -1.0)
    rate[np.ix_(treated & (kind == "T"), np.arange(N_TRUE))] *= np.exp(effect * sign)
    adata = AnnData(sparse.csr_matrix(rng.poisson(rate).astype(np.float32)))
    adata.var_names = [f"g{i}" for i in range(N_GENES)]
    adata.obs["donor"] = [f"d{i}" for i in donor]
    adata.obs["condition"] = np.where(treated, "treated", "control")
    adata.obs["lane"] = np.where(donor % 4 < 2, "one", "two")
    adata.obs["type"] = kind
    return adata


def run(adata: AnnData, **options) -> pd.DataFrame:
    options.setdefault("cell_types", "type")
    td.tl.differential_expression(adata, "condition", "donor", **options)
    return td.get.de(adata)


@pytest.fixture(scope="module")
def tested():
    adata = cells()
    run(adata)
    return adata


def test_finds_the_changed_genes_in_their_type_only(tested):
    found = td.get.de(tested, q_value=0.05)
    true = {f"g{i}" for i in range(N_TRUE)}
    hits = found[found["state"] == "T"]
    assert len(true & set(hits["gene"])) >= 13
    assert len(set(hits["gene"]) - true) <= 2
    assert (found["state"] == "B").sum() <= 1
    sign = hits.set_index("gene")["log2fc"].reindex([f"g{i}" for i in range(N_TRUE)]).dropna()
    assert all((value > 0) == (int(name[1:]) % 2 == 1) for name, value in sign.items())


def test_table(tested):
    table = td.get.de(tested)
    assert list(table.columns)[:3] == ["gene", "state", "contrast"]
    assert set(table["contrast"]) == {"treated vs control"}
    assert (table["n_samples"] == 8).all()
    assert ((table["ci_low"] <= table["log2fc"]) & (table["log2fc"] <= table["ci_high"])).all()
    for _, part in table.groupby("state"):
        assert part["p_value"].is_monotonic_increasing
        n = len(part)
        by_hand = np.minimum.accumulate((part["p_value"] * n / np.arange(1, n + 1))[::-1])[::-1]
        np.testing.assert_allclose(part["q_value"], np.minimum(by_hand, 1))
    counts = tested[tested.obs["type"] == "T"].to_df()
    total = counts.groupby(tested.obs["donor"]).sum()
    share = (total.T / total.sum(axis=1)).mean(axis=1) * total.sum(axis=1).mean()
    means = table[table["state"] == "T"].set_index("gene")["base_mean"]
    np.testing.assert_allclose(means, share[means.index], rtol=0.1)


def test_scanpy_reads_it(tested):
    frame = sc.get.rank_genes_groups_df(tested, "T", key="rank_genes_groups_deepde").set_index("names")
    own = td.get.de(tested, state="T").set_index("gene")
    np.testing.assert_allclose(frame["pvals"][own.index], own["p_value"])
    np.testing.assert_allclose(frame["logfoldchanges"][own.index], own["log2fc"], rtol=1e-5)
    assert frame["scores"].is_monotonic_decreasing
    sc.pl.rank_genes_groups(tested, key="rank_genes_groups_deepde", show=False)
    plt.close("all")


@pytest.fixture(scope="module")
def partly():
    """Ten genes are too rare to be tested in type "B", and one in any."""
    adata = cells()
    counts = adata.X.toarray()
    counts[np.ix_(adata.obs["type"] == "B", np.arange(10))] = 0
    counts[:, 149] = 0
    adata.X = sparse.csr_matrix(counts)
    run(adata)
    return adata


def test_scanpy_is_told_what_was_not_tested(partly):
    """Untested genes have no made-up values, come last, and no filter finds them."""
    key = "rank_genes_groups_deepde"
    frame = sc.get.rank_genes_groups_df(partly, "B", key=key)
    absent = frame["names"].isin([f"g{i}" for i in (*range(10), 149)])
    assert absent.tolist() == [False] * 139 + [True] * 11
    assert frame.loc[absent, ["scores", "pvals", "pvals_adj"]].isna().all(axis=None)
    assert (frame.loc[absent, "logfoldchanges"] == 0).all()
    assert frame.loc[~absent].notna().all(axis=None)
    assert set(frame["names"]) == set(sc.get.rank_genes_groups_df(partly, "T", key=key)["names"])
    found = sc.get.rank_genes_groups_df(partly, "B", key=key, pval_cutoff=1.1)
    assert not found["names"].isin(frame["names"][absent]).any()
    sc.pl.rank_genes_groups(partly, n_genes=145, key=key, show=False)  # more than were tested in "B"
    plt.close("all")


def test_plots_of_scanpy_that_show_the_comparison(partly):
    key = "rank_genes_groups_deepde"
    options = {"key": key, "n_genes": 3, "show": False, "return_fig": True, "dendrogram": False}
    drawn = sc.pl.rank_genes_groups_dotplot(partly, values_to_plot="logfoldchanges", **options)
    change = td.get.de(partly).pivot_table(index="state", columns="gene", values="log2fc")
    shown = drawn.dot_color_df
    assert list(shown.index) == ["B", "T"]
    assert change.loc["B", shown.columns].isna().sum() == 3  # not tested in "B"
    np.testing.assert_allclose(shown, change.loc[shown.index, shown.columns].fillna(0), rtol=1e-5)
    matrix = sc.pl.rank_genes_groups_matrixplot(partly, values_to_plot="scores", **options)
    assert matrix.values_df.shape == (2, 6)
    # expression by condition within type
    by_both = sc.pl.rank_genes_groups_dotplot(partly, groupby=["type", "condition"], **options)
    assert list(by_both.dot_color_df.index) == ["B_control", "B_treated", "T_control", "T_treated"]
    violins = sc.pl.rank_genes_groups_stacked_violin(partly, groupby=["type", "condition"], **options)
    for one in (drawn, matrix, by_both, violins):
        one.make_figure()
    del options["return_fig"]
    sc.pl.rank_genes_groups_heatmap(partly, groupby=["type", "condition"], **options)
    plt.close("all")


def test_round_trip(tested, tmp_path):
    tested.write_h5ad(tmp_path / "a.h5ad")
    read = anndata.read_h5ad(tmp_path / "a.h5ad")
    pd.testing.assert_frame_equal(td.get.de(read), td.get.de(tested), check_dtype=False)
    for table in ("states", "samples"):
        pd.testing.assert_frame_equal(read.uns["deepde"][table], tested.uns["deepde"][table], check_dtype=False)
    assert sc.get.rank_genes_groups_df(read, "T", key="rank_genes_groups_deepde")["names"][0] in read.var_names


def test_order_of_cells_and_storage_do_not_matter(tested):
    other = cells()
    other = other[np.random.default_rng(1).permutation(other.n_obs)].copy()
    other.layers["counts"] = other.X.toarray()
    other.X = None
    pd.testing.assert_frame_equal(run(other, layer="counts"), td.get.de(tested), rtol=1e-5)


def assert_twice_is_as_once(once: pd.DataFrame, twice: pd.DataFrame, *, half: float = 0.1, most: float = 0.7) -> None:
    """Check that half of the statistics, and 99 % of them, move by less than the docstring states, and that no more are small."""
    first = once.set_index(["state", "gene"])
    second = twice.set_index(["state", "gene"]).reindex(first.index)
    change = (first["statistic"] - second["statistic"]).abs().dropna()
    assert len(change) > 0.99 * len(first)
    assert change.median() < half
    assert change.quantile(0.99) < most
    rise = (second["p_value"] < 0.05).mean() - (first["p_value"] < 0.05).mean()
    assert -0.015 < rise < 0.005


def test_cells_twice_change_next_to_nothing(tested):
    """Samples are the unit: the statistics of doubled cells are those of the cells, up to how the Poisson part is told."""
    assert_twice_is_as_once(td.get.de(tested), run(anndata.concat([cells(), cells()], index_unique="-")))
    paired = cells(paired=True)  # donors that differ far more than real ones
    twice = run(anndata.concat([paired, paired], index_unique="-"))
    assert_twice_is_as_once(run(paired), twice, half=0.25, most=1)


@pytest.mark.slow
def test_real_cells_twice_change_next_to_nothing(shared_data):
    adata = anndata.read_h5ad(shared_data / "rna" / "kang_ctrl_8donors_1287genes.h5ad")
    adata.X = sparse.csr_matrix(adata.X)
    adata.obs["condition"] = np.where(adata.obs["donor"].isin(sorted(adata.obs["donor"].unique())[:4]), "x", "y")
    for halves in (False, True):
        if halves:
            adata.obs["condition"] = np.where(np.random.default_rng(0).random(adata.n_obs) < 0.5, "p", "q")
        once = run(adata, cell_types="cell_type")
        assert_twice_is_as_once(once, run(anndata.concat([adata, adata], index_unique="-"), cell_types="cell_type"))


def test_soft_weights_of_one_state_each_are_the_types(tested):
    adata = cells()
    adata.obsm["weights"] = pd.get_dummies(adata.obs["type"], dtype=float)
    pd.testing.assert_frame_equal(run(adata, cell_types="weights"), td.get.de(tested))


def test_pairs_are_used():
    adata = cells(paired=True, effect=0.8)
    paired = run(adata)
    hits = paired[(paired["state"] == "T") & (paired["q_value"] < 0.05)]
    assert hits["gene"].isin([f"g{i}" for i in range(N_TRUE)]).sum() >= 13
    assert (paired["n_samples"] == 16).all()
    pd.testing.assert_frame_equal(run(adata, design="~ donor + condition"), paired)
    alone = run(adata, design="~ condition")
    error = [table[table["state"] == "T"]["lfc_se"].median() for table in (paired, alone)]
    assert error[0] < error[1]


def test_reference_turns_the_sign(tested):
    adata = cells()
    turned = run(adata, reference="treated").set_index(["state", "gene"])
    straight = td.get.de(tested).set_index(["state", "gene"])
    assert set(turned["contrast"]) == {"control vs treated"}
    np.testing.assert_allclose(turned["statistic"], -straight["statistic"].reindex(turned.index), atol=1e-3)


def raised(adata: AnnData, where: np.ndarray, genes: slice, by: float) -> None:
    """Multiply counts of some genes in some cells."""
    counts = adata.X.toarray()
    counts[where, genes] = np.random.default_rng(5).poisson(counts[where, genes] * by)
    adata.X = sparse.csr_matrix(counts)


def test_three_conditions():
    adata = cells(n_donors=9, effect=0)
    level = np.array([int(d[1]) % 3 for d in adata.obs["donor"]])
    adata.obs["condition"] = pd.Categorical.from_codes(level, ["a", "b", "c"])
    raised(adata, level == 1, slice(0, 8), 3.5)
    raised(adata, level == 2, slice(20, 28), 3.5)
    table = run(adata)
    assert set(table["contrast"]) == {"b vs a", "c vs a"}
    for contrast, first in (("b vs a", 0), ("c vs a", 20)):
        hits = table[(table["contrast"] == contrast) & (table["q_value"] < 0.05) & (table["log2fc"] > 0.5)]
        true = {f"g{i}" for i in range(first, first + 8)}
        for state in ("B", "T"):
            found = set(hits.loc[hits["state"] == state, "gene"])
            assert len(found & true) >= 6
            assert len(found - true) <= 2
    fields = adata.uns["rank_genes_groups_deepde"]["names"].dtype.names
    assert fields == ("B b vs a", "B c vs a", "T b vs a", "T c vs a")


def test_a_batch_is_a_covariate(tested):
    table = run(cells(), covariates=("lane",))
    hits = table[(table["state"] == "T") & (table["q_value"] < 0.05)]["gene"]
    assert hits.isin([f"g{i}" for i in range(N_TRUE)]).sum() >= 12
    assert len(table) == len(td.get.de(tested))


def test_a_confounded_batch_is_taken_off():
    adata = cells(effect=0)
    lane = adata.obs["donor"].isin(["d1", "d3", "d5", "d0"]).to_numpy()  # three treated donors and one control
    adata.obs["lane"] = np.where(lane, "one", "two")
    raised(adata, lane, slice(40, 43), 4.0)
    of_lane = [f"g{i}" for i in range(40, 43)]  # too few to be found as a hidden factor
    with_lane, without = (run(adata.copy(), covariates=names) for names in (("lane",), ()))
    strength = [t[t["gene"].isin(of_lane)]["log2fc_raw"].abs().mean() for t in (with_lane, without)]
    assert strength[0] < 0.5
    assert strength[1] > 0.7
    assert (with_lane["q_value"] < 0.05).sum() <= 2


def test_a_number_is_one_column_of_the_design():
    adata = cells(n_donors=12, effect=0)
    age = {f"d{i}": value for i, value in enumerate([20, 31, 25, 44, 60, 52, 33, 47, 29, 58, 41, 36])}
    adata.obs["age"] = adata.obs["donor"].map(age).astype(float)
    slope = np.exp(0.06 * (adata.obs["age"].to_numpy() - 40))
    counts = adata.X.toarray()
    counts[:, 40:43] = np.random.default_rng(2).poisson(counts[:, 40:43] * slope[:, None])
    adata.X = sparse.csr_matrix(counts)
    with_age, without = (run(adata.copy(), covariates=names) for names in (("age",), ()))
    genes = ["g40", "g41", "g42"]
    error = [table[table["gene"].isin(genes)].set_index(["state", "gene"])["lfc_se"] for table in (with_age, without)]
    width = [(t["log2fc_raw"] / t["statistic"]).abs()[t["gene"].isin(genes)].median() for t in (with_age, without)]
    assert len(error[0]) == 6
    assert width[0] < 0.7 * width[1]
    whole = adata.copy()
    whole.obs["age"] = whole.obs["age"].astype(int)
    pd.testing.assert_frame_equal(run(whole, covariates=("age",)), with_age)


def test_states_without_enough_cells_are_left_out_and_said():
    adata = cells()
    adata = adata[(adata.obs["type"] == "T") | adata.obs["donor"].isin(["d0", "d1", "d2"])].copy()
    assert set(run(adata)["state"]) == {"T"}
    verdict = adata.uns["deepde"]["states"].set_index("state")["verdict"]
    assert verdict["T"] == "tested"
    assert "too few samples" in verdict["B"]


def test_copy_leaves_the_object(tested):
    adata = cells()
    copied = td.tl.differential_expression(adata, "condition", "donor", cell_types="type", copy=True)
    assert not adata.uns
    pd.testing.assert_frame_equal(td.get.de(copied), td.get.de(tested))


@pytest.mark.parametrize(
    ("change", "options", "error", "match"),
    [
        (None, {"cell_types": "kind"}, KeyError, "neither in adata.obs, which has 'donor', 'condition'"),
        (None, {"reference": "untreated"}, ValueError, "reference='untreated' is not in adata.obs\\['condition'\\]"),
        (None, {"covariates": ("sex",)}, KeyError, "has no column 'sex'"),
        (None, {"design": "~ lane + ("}, ValueError, "is not a formula that formulaic reads"),
        (None, {"design": "~ my lane + condition"}, ValueError, "are written between backticks: `my donor`"),
        (None, {"design": "~ lane"}, ValueError, "needs 'condition' as a term, such as '~ batch"),
        (None, {"covariates": ("type",)}, ValueError, "has several values in sample 'd0'"),
        ("confound", {"covariates": ("lane",)}, ValueError, "confounds 'condition' with \\['lane\\[T.two\\]'\\]"),
        (None, {"covariates": ("donor",)}, ValueError, "confounds 'condition' with"),
        ("one sample", {}, ValueError, "has 1 sample of at least 5 cells in 'control'.*compare_cells"),
        ("pilot", {}, ValueError, r"1 sample .* in 'pilot'.*contrasts=\[\('treated', 'control'\)\]"),
        ("one sample", {}, ValueError, "how samples vary. To compare the cells"),
        ("cell names", {}, ValueError, "no value of adata.obs\\['donor'\\] has 5 cells.*not the cell"),
        ("many lanes", {"covariates": ("lane",)}, ValueError, r"with \['lane\[T.d1\]', .* and \d more\]: given"),
        ("one condition", {}, ValueError, "has the values 'treated'; a comparison needs at least two"),
        ("logs", {}, ValueError, "adata.X does not hold counts"),
        ("names", {}, ValueError, "adata.var_names has 1 duplicated names"),
    ],
)
def test_errors(change, options, error, match):
    adata = cells(n_cells=6)
    if change == "confound":
        adata.obs["lane"] = np.where(adata.obs["condition"] == "treated", "two", "one")
    elif change == "one sample":
        adata = adata[adata.obs["donor"].isin(["d0", "d1", "d3"])].copy()
    elif change == "pilot":
        adata.obs["condition"] = adata.obs["condition"].astype(str).where(adata.obs["donor"] != "d0", "pilot")
    elif change == "cell names":
        adata.obs["donor"] = adata.obs_names.to_numpy()
    elif change == "many lanes":
        adata = cells(n_donors=12, n_cells=6)
        adata.obs["lane"] = adata.obs["donor"]
    elif change == "one condition":
        adata = adata[adata.obs["condition"] == "treated"].copy()
    elif change == "logs":
        adata.X = adata.X.log1p()
    elif change == "names":
        adata.var_names = ["g1", *adata.var_names[1:]]
    with pytest.raises(error, match=match):
        run(adata, **options)
    assert "deepde" not in adata.uns


def test_bad_weights():
    adata = cells(n_cells=6)
    adata.obsm["weights"] = np.full((adata.n_obs, 2), 0.9)
    with pytest.raises(ValueError, match=r"adata.obsm\['weights'\] does not hold weights of states"):
        run(adata, cell_types="weights")


def test_reading(tested, partly):
    assert td.get.de(tested, "g1")["gene"].tolist() == ["g1", "g1"]
    with pytest.raises(KeyError, match="has nothing for 'g999'"):
        td.get.de(tested, "g999")
    with pytest.raises(ValueError, match="state='NK' is not in adata.uns.*which has 'B', 'T'"):
        td.get.de(tested, state="NK")
    with pytest.raises(KeyError, match=r"run `td.tl.differential_expression"):
        td.get.de(cells(n_cells=2))
    # g1 was tested in T only: what is wrong is the gene in this state, and not the state
    assert td.get.de(partly, "g1")["state"].tolist() == ["T"]
    with pytest.raises(
        KeyError, match=r"adata.uns\['deepde'\] with state='B' has nothing for 'g1'; it holds 139 genes"
    ):
        td.get.de(partly, "g1", state="B")
    with pytest.raises(ValueError, match="state='NK' is not in adata.uns.*which has 'B', 'T'"):
        td.get.de(partly, "g1", state="NK")
    with pytest.raises(KeyError, match=r"adata.uns\['deepde'\] has nothing for 'g999'; it holds 149 genes"):
        td.get.de(partly, "g999", state="B", q_value=1e-9)
    assert td.get.de(partly, "g1", state="T", q_value=0).empty


def test_reading_with_other_things_in_place_of_names(tested):
    with pytest.raises(TypeError, match="gene must be an Iterable, got float: 0.05"):
        td.get.de(tested, 0.05)
    with pytest.raises(TypeError, match="state must be a str, got list"):
        td.get.de(tested, state=["B", "T"])
    with pytest.raises(KeyError, match=r"adata.uns\['rank_genes_groups_deepde'\] has no 'table'; run `td.tl.diff"):
        td.get.de(tested, key="rank_genes_groups_deepde")
    with pytest.raises(
        KeyError, match=r"adata.uns\['deepde'\]\['table'\] has no column 'gene_a'.*Run `td.tl.gene_associations"
    ):
        td.get.gene_associations(tested, key="deepde")


def test_a_state_that_was_not_tested_says_why():
    adata = cells()
    adata = adata[(adata.obs["type"] == "T") | adata.obs["donor"].isin(["d0", "d1", "d2"])].copy()
    run(adata)
    with pytest.raises(ValueError, match="nothing was tested for state='B' of adata.uns.*too few samples with 5 cells"):
        td.get.de(adata, state="B")


@pytest.mark.slow
def test_states_of_the_model():
    adata = cells(n_cells=40)
    td.tl.differential_expression(adata, "condition", "donor", rng=0)
    again = td.tl.differential_expression(cells(n_cells=40), "condition", "donor", rng=0, copy=True)
    pd.testing.assert_frame_equal(td.get.de(adata), td.get.de(again))
    assert adata.uns["deepde"]["params"]["seed"] == 0
    assert td.get.de(adata, q_value=0.05)["gene"].isin([f"g{i}" for i in range(N_TRUE)]).mean() > 0.8
    assert list(adata.obsm["deepde_states"].index) == list(adata.obs_names)
