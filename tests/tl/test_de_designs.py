"""Samples, designs and contrasts of `tl.differential_expression`: what is compared, and what is refused."""

from __future__ import annotations

import inspect
import logging

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

import sctandem as td

N_GENES, N_TRUE = 60, 8
N_CELLS = 10
TRUE = [f"g{i}" for i in range(N_TRUE)]


def cells(
    seed: int = 0, *, n_donors: int = 8, paired: bool = False, levels: str = "ct", only_men: bool = False
) -> AnnData:
    """One type; the first genes are raised in the treated ("t"), in men only where asked for. A donor has 20 cells."""
    rng = np.random.default_rng(seed)
    donor = np.repeat(np.arange(n_donors), 2 * N_CELLS)
    code = np.tile(np.repeat([0, 1], N_CELLS), n_donors) if paired else donor % len(levels)
    man = donor // len(levels) % 2 == 1
    rate = np.exp(rng.normal(1, 0.5, N_GENES)) * np.exp(rng.normal(0, 0.2, (n_donors, N_GENES)))[donor]
    raised = (np.array(list(levels))[code] == "t") & (man if only_men else True)
    rate[np.ix_(raised, np.arange(N_TRUE))] *= 3
    adata = AnnData(sparse.csr_matrix(rng.poisson(rate).astype(np.float32)))
    adata.var_names = [f"g{i}" for i in range(N_GENES)]
    adata.obs["donor"] = [f"d{i}" for i in donor]
    adata.obs["condition"] = np.array(list(levels))[code]
    adata.obs["sex"] = np.where(man, "m", "f")
    adata.obs["batch"] = np.where(donor < n_donors // 2, "one", "two")
    adata.obs["age"] = np.array([31, 45, 27, 52, 60, 38, 49, 22, 35, 41, 56, 30])[donor]
    adata.obs["type"] = "T"
    return adata


def run(adata: AnnData, **options) -> pd.DataFrame:
    options.setdefault("cell_types", "type")
    td.tl.differential_expression(adata, "condition", "donor", **options)
    return td.get.de(adata)


def same(one: pd.DataFrame, two: pd.DataFrame, atol: float = 1e-4) -> None:
    first, second = (table.set_index(["contrast", "gene"])["statistic"] for table in (one, two))
    assert set(first.index) == set(second.index)
    np.testing.assert_allclose(first, second[first.index], atol=atol)


def formula(adata: AnnData) -> str:
    return adata.uns["deepde"]["params"]["design"]


def test_signature():
    parameters = inspect.signature(td.tl.differential_expression).parameters
    names = ["adata", "groupby", "sample_key", "cell_types", "covariates", "design", "reference", "contrasts"]
    assert list(parameters)[: len(names)] == names
    assert [parameters[name].default for name in names[3:]] == [None, (), None, None, None]


def test_covariates_and_the_formula_of_them_are_the_same():
    adata = cells()
    table = run(adata, covariates=("sex",))
    same(run(adata, covariates="sex"), table)
    same(run(adata, design="~ sex + condition"), table)
    assert not np.allclose(run(adata)["statistic"], table["statistic"])


# --- samples ----------------------------------------------------------------------------------------------------------


def test_stray_cells_make_no_sample_and_no_pair(caplog):
    adata = cells()
    of_first = np.flatnonzero(adata.obs["donor"] == "d0")[:3]
    adata.obs.iloc[of_first, adata.obs.columns.get_loc("condition")] = "t"
    with caplog.at_level(logging.WARNING, "sctandem"):
        table = run(adata)
    assert "1 samples are left out, since they have fewer than 5 cells in all states together: 'd0 (t)'" in caplog.text
    assert formula(adata) == "~ `condition`"
    assert set(table["n_samples"]) == {8}
    assert set(adata.uns["deepde"]["samples"]["sample"]) == {f"d{i}" for i in range(8)}
    rest = np.delete(np.arange(adata.n_obs), of_first)
    same(run(adata[rest].copy()), table)


def test_cells_of_no_type_make_no_sample():
    adata = cells()
    of_first = np.flatnonzero(adata.obs["donor"] == "d0")
    adata.obs.iloc[of_first[:8], adata.obs.columns.get_loc("condition")] = "t"
    adata.obs["type"] = adata.obs["type"].astype(object)
    adata.obs.iloc[of_first[4:8], adata.obs.columns.get_loc("type")] = None
    run(adata)
    assert formula(adata) == "~ `condition`"
    assert "d0" in set(adata.uns["deepde"]["samples"]["sample"])


def test_one_donor_of_many_in_both_conditions_makes_no_pairs(caplog):
    adata = cells()
    of_first = np.flatnonzero(adata.obs["donor"] == "d0")[:6]
    adata.obs.iloc[of_first, adata.obs.columns.get_loc("condition")] = "t"
    with caplog.at_level(logging.WARNING, "sctandem"):
        table = run(adata)
    assert "1 of 8 values of adata.obs['donor'] have cells in several conditions ('d0')" in caplog.text
    assert formula(adata) == "~ `condition`"
    assert set(table["n_samples"]) == {9}


def test_pairs_that_lack_one_half_are_still_pairs():
    adata = cells(paired=True)
    adata = adata[~((adata.obs["donor"] == "d0") & (adata.obs["condition"] == "t"))].copy()
    run(adata)
    assert formula(adata) == "~ `donor` + `condition`"


@pytest.mark.parametrize("between", ["\t", ", ", "|"])
def test_names_are_not_joined(between):
    """Donors and conditions whose joined names are alike: "a, b" in "c", and "a" in "b, c"."""
    plain, joined = cells(paired=True), cells(paired=True)
    joined.obs["donor"] = joined.obs["donor"].replace({"d0": "a", "d1": f"a{between}c"})
    joined.obs["condition"] = joined.obs["condition"].replace({"c": f"c{between}t", "t": "t"})
    table = run(joined)
    samples = joined.uns["deepde"]["samples"]
    assert len(samples) == samples["sample"].nunique() == 16
    assert set(table["contrast"]) == {f"t vs c{between}t"}
    expected = run(plain).set_index("gene")["statistic"]
    np.testing.assert_allclose(table.set_index("gene")["statistic"][expected.index], expected, atol=1e-4)


def test_cells_without_a_condition_are_counted_in_the_log(caplog):
    adata = cells()
    adata.obs["condition"] = adata.obs["condition"].astype(object)
    adata.obs.iloc[:7, adata.obs.columns.get_loc("condition")] = None
    with caplog.at_level(logging.WARNING, "sctandem"):
        table = run(adata)
    assert "adata.obs['condition'] is missing in 7 cells of 160: they are left out" in caplog.text
    same(run(adata[7:].copy()), table)


# --- formulas ---------------------------------------------------------------------------------------------------------


def test_a_condition_in_c_is_the_condition():
    adata = cells()
    same(run(adata, design="~ sex + C(condition)"), run(adata, covariates="sex"))
    same(run(adata, design="~ 0 + sex + condition"), run(adata, covariates="sex"))
    same(run(adata, design="~ sex + C(condition, contr.sum)"), run(adata, covariates="sex"), atol=1e-3)


def test_names_with_dots_and_bars():
    """Seurat calls the sample orig.ident."""
    adata, dotted = cells(paired=True), cells(paired=True)
    dotted.obs = dotted.obs.rename(columns={"donor": "orig.ident", "condition": "treated|not", "age": "age.years"})
    plain = run(adata)
    td.tl.differential_expression(dotted, "treated|not", "orig.ident", cell_types="type")
    same(td.get.de(dotted), plain)
    td.tl.differential_expression(
        dotted, "treated|not", "orig.ident", cell_types="type", design="~ age.years + `treated|not`"
    )
    same(td.get.de(dotted), run(adata, design="~ age + condition"))


def test_donors_within_batches():
    adata = cells(paired=True)
    table = run(adata, design="~ batch + donor + condition")
    same(table, run(adata, design="~ donor + condition"))
    same(run(adata, covariates="batch"), table)
    assert table.query("q_value < 0.05")["gene"].isin(TRUE).sum() >= 6


def test_transforms():
    adata = cells(n_donors=12)
    plain = run(adata, covariates="age")
    for term in ("scale(age)", "center(age)", "I(2 * age)"):
        same(run(adata, design=f"~ {term} + condition"), plain, atol=1e-3)
    adata.obs["log_age"] = np.log(adata.obs["age"])
    logged = run(adata, covariates="log_age")
    same(run(adata, design="~ np.log(age) + condition"), logged)
    assert not np.allclose(logged["statistic"], plain["statistic"])


# --- contrasts --------------------------------------------------------------------------------------------------------


def test_pairs_of_conditions():
    adata = cells(n_donors=12, levels="cut")
    table = run(adata, contrasts=[("t", "u"), ("u", "t"), ("u", "c")])
    assert set(table["contrast"]) == {"t vs u", "u vs t", "u vs c"}
    assert set(table["n_samples"]) == {8}  # of twelve
    assert set(adata.uns["deepde"]["states"]["n_samples"]) == {8}
    by_reference = run(adata, reference="u")
    for name in ("t vs u",):
        same(table[table["contrast"] == name], by_reference[by_reference["contrast"] == name], atol=2e-3)
    turned = table[table["contrast"] == "u vs t"].assign(contrast="t vs u", statistic=lambda t: -t["statistic"])
    same(turned, table[table["contrast"] == "t vs u"], atol=2e-3)
    same(run(adata, contrasts=[("u", "c"), ("t", "c")]), run(adata))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "c"),
        ({"reference": "t"}, "t"),
        ({"contrasts": [("c", "t")]}, "t"),  # not the first category, from which a rise would be read as a fall
        ({"contrasts": [("t", "c"), ("c", "t")]}, "no effect"),
        ({"contrasts": {"c over t": {"condition[T.t]": -1}}}, "no effect"),
    ],
)
def test_scanpy_is_told_what_was_compared_with(options, expected):
    adata = cells()
    run(adata, **options)
    assert adata.uns["rank_genes_groups_deepde"]["params"]["reference"] == expected


def test_an_interaction_needs_contrasts_and_tests_what_they_say():
    adata = cells(n_donors=12, only_men=True)
    with pytest.raises(ValueError, match=r"lets the effect of 'condition' depend on other columns.*contrasts="):
        run(adata, design="~ sex * condition")
    more, main = "sex[T.m]:condition[T.t]", "condition[T.t]"
    contrasts = {"women": {main: 1}, "men": {main: 1, more: 1}, "more in men": {more: 1}, "mean": {main: 1, more: 0.5}}
    table = run(adata, design="~ sex * condition", contrasts=contrasts)
    assert set(table["contrast"]) == set(contrasts)
    change = table[table["gene"].isin(TRUE)].groupby("contrast")["log2fc_raw"].mean()
    assert change["men"] == pytest.approx(np.log2(3), abs=0.4)
    assert change["women"] == pytest.approx(0, abs=0.4)
    for name, expected in (
        ("more in men", change["men"] - change["women"]),
        ("mean", (change["men"] + change["women"]) / 2),
    ):
        assert change[name] == pytest.approx(expected, abs=0.15)
    found = table[table["q_value"] < 0.05].groupby("contrast")["gene"].agg(lambda genes: genes.isin(TRUE).sum())
    assert found["men"] >= 6
    assert found.get("women", 0) <= 1
    assert table.groupby("contrast")["n_samples"].first().to_dict() == {
        "men": 6,
        "women": 6,
        "more in men": 12,
        "mean": 12,
    }
    # the same with men as the first level, where what was a sum of columns is a column
    adata.obs["sex"] = pd.Categorical(adata.obs["sex"], ["m", "f"])
    recoded = run(adata, design="~ sex * condition", contrasts={"men": {main: 1}})
    same(recoded, table[table["contrast"] == "men"], atol=5e-3)
    rows = adata.uns["deepde"]["contrasts"]
    assert rows.to_dict("records") == [{"contrast": "men", "column": main, "weight": 1.0}]


def test_a_contrast_of_numbers_is_a_slope():
    adata = cells(n_donors=12)
    table = run(adata, design="~ age + condition", contrasts={"ten years": {"age": 10}, "year": {"age": 1}})
    ten, one = (table[table["contrast"] == name].set_index("gene") for name in ("ten years", "year"))
    np.testing.assert_allclose(ten["log2fc_raw"], 10 * one["log2fc_raw"][ten.index], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(ten["statistic"], one["statistic"][ten.index], atol=2e-3)


def test_contrasts_that_a_state_does_not_tell_have_a_verdict(tmp_path):
    adata = cells(n_donors=12, levels="cut")
    adata.obs["type"] = np.where(np.arange(adata.n_obs) % 2, "B", "T")
    adata = adata[(adata.obs["type"] == "T") | (adata.obs["condition"] != "u") | (adata.obs["donor"] == "d1")].copy()
    table = run(adata)
    assert set(map(tuple, table[["state", "contrast"]].to_numpy())) == {
        ("T", "u vs c"),
        ("T", "t vs c"),
        ("B", "t vs c"),
    }
    states = adata.uns["deepde"]["states"].set_index(["state", "contrast"])
    assert states["verdict"].drop(("B", "u vs c")).eq("tested").all()
    assert states["verdict"]["B", "u vs c"] == "too few samples with 5 cells (4 in 'c', 4 in 't', 1 in 'u')."
    assert states.loc[("B", "u vs c"), ["n_genes", "n_samples"]].tolist() == [0, 0]
    assert states["n_samples"].drop(("B", "u vs c")).eq(8).all()
    with pytest.raises(ValueError, match="nothing was tested for state='B', contrast='u vs c'.*too few samples with 5"):
        td.get.de(adata, state="B", contrast="u vs c")
    adata.write_h5ad(tmp_path / "a.h5ad")
    read = anndata.read_h5ad(tmp_path / "a.h5ad")
    for name in ("states", "contrasts"):
        pd.testing.assert_frame_equal(read.uns["deepde"][name], adata.uns["deepde"][name], check_dtype=False)


# --- errors -----------------------------------------------------------------------------------------------------------

PAIR = [("t", "c")]


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"groupby": "donor"}, ValueError, "groupby and sample_key are both 'donor'"),
        ({"groupby": ["condition"]}, TypeError, "groupby must be a str, got list"),
        ({"sample_key": ["donor"]}, TypeError, "sample_key must be a str, got list"),
        ({"cell_types": ["type"]}, TypeError, "cell_types must be a str, got list"),
        ({"covariates": "sex", "design": "~ sex + condition"}, ValueError, "were both given: a formula is taken as a whole"),
        ({"covariates": "~ sex + condition"}, ValueError, "must name columns of adata.obs. A formula goes to design"),
        ({"covariates": ("condition",)}, ValueError, "names the condition, groupby='condition'"),
        ({"covariates": (("sex", "age"),)}, TypeError, "covariates must be a str, got tuple"),
        ({"covariates": None}, TypeError, "covariates must be an Iterable, got NoneType"),
        ({"design": ("sex",)}, TypeError, "design must be a str, got tuple.*names of columns go to covariates"),
        ({"design": "sex"}, ValueError, "does not tell 't' from 'c'.*go to covariates"),
        ({"design": "y ~ condition"}, ValueError, "must have one side only, such as '~ batch"),
        ({"design": "~ seks + condition"}, KeyError, "adata.obs has no column 'seks'; it has 'donor', 'condition', 'sex'"),
        ({"design": "~ logit(age) + condition"}, ValueError, "calls \\['logit'\\], which formulaic does not know"),
        ({"design": "~ np.log(age - 22) + condition"}, ValueError, "values that are not finite"),
        ({"contrasts": PAIR, "reference": "c"}, ValueError, "both say what is compared"),
        ({"contrasts": "t vs c"}, TypeError, "contrasts must be pairs of conditions"),
        ({"contrasts": ("t", "c")}, ValueError, "has 't': it must be pairs of conditions"),
        ({"contrasts": [("t", "t")]}, ValueError, "it must be pairs"),
        ({"contrasts": [("t", "x")]}, ValueError, "names 'x', but adata.obs\\['condition'\\] has 'c', 't'"),
        ({"contrasts": []}, ValueError, "names nothing to test"),
        ({"contrasts": {}}, ValueError, "names nothing to test"),
        ({"contrasts": [*PAIR, *PAIR]}, ValueError, "names 't vs c' twice"),
        ({"contrasts": {"x": "condition[T.t]"}}, TypeError, "contrasts\\['x'\\] must be a Mapping, got str"),
        ({"contrasts": {"x": {"condition[T.t]": "1"}}}, ValueError, "is not a number"),
        ({"contrasts": {"x": {"treated": 1}}}, ValueError, "names 'treated', but design.*has the columns \\['Intercept'"),
        ({"contrasts": {"x": {"Intercept": 1}}}, ValueError, "is no difference between samples"),
        ({"contrasts": {"x": {"condition[T.t]": 0}}}, ValueError, "is no difference between samples"),
    ],
)  # fmt: skip
def test_errors(options, error, match):
    adata = cells()
    before = adata.copy()
    options = {"groupby": "condition", "sample_key": "donor", "cell_types": "type"} | options
    with pytest.raises(error, match=match):
        td.tl.differential_expression(adata, **options)
    assert not adata.uns
    assert not adata.obsm
    pd.testing.assert_frame_equal(adata.obs, before.obs)


def test_a_contrast_that_rests_on_one_sample_is_refused():
    adata = cells()
    adata = adata[~adata.obs["donor"].isin(["d3"])].copy()  # of the treated men d7 is left
    contrasts = {"men": {"condition[T.t]": 1, "sex[T.m]:condition[T.t]": 1}}
    with pytest.raises(ValueError, match="contrast 'men' rests on a single sample"):
        run(adata, design="~ sex * condition", contrasts=contrasts)


def test_too_few_samples_of_what_is_compared_only():
    adata = cells(n_donors=9, levels="cut")
    adata = adata[~adata.obs["donor"].isin(["d1", "d4"])].copy()
    with pytest.raises(ValueError, match="has 1 sample of at least 5 cells in 'u'"):
        run(adata)
    assert set(run(adata, contrasts=PAIR)["n_samples"]) == {6}


def test_levels_of_several_kinds():
    adata = cells()
    adata.obs["condition"] = pd.Series(
        [1 if c == "t" else "c" for c in adata.obs["condition"]], dtype=object
    ).to_numpy()
    assert set(run(adata)["contrast"]) == {"c vs 1"}
