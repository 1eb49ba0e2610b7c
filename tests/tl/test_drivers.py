from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from bulks import TYPES, bulk
from scipy import sparse, stats

import sctandem as td


def run(adata: AnnData, **options) -> pd.DataFrame:
    options.setdefault("reference", "control")
    options.setdefault("n_permutations", 100)
    options.setdefault("rng", 0)
    td.tl.drivers(adata, "group", **options)
    return td.get.drivers(adata)


def clear(seed: int = 0, **options) -> AnnData:
    return bulk(seed, n=12, effect=2.0, noise=0.1, **options)


@pytest.fixture(scope="module")
def tested():
    adata = clear()
    run(adata)
    return adata


def test_finds_the_changed_genes_and_their_types(tested):
    true = tested.varm["true"]
    changed = set(true.index[(true != 0).any(axis=1)])
    found = td.get.drivers(tested, max_q=0.05)
    assert len(changed & set(found["gene"])) >= 25
    assert len(set(found["gene"]) - changed) <= 2
    within = td.get.drivers(tested, cell_type="all", max_q=0.05)
    right = [true.loc[row.gene, row.cell_type] for row in within.itertuples()]
    assert (np.array(right) != 0).sum() >= 10
    assert (np.array(right) == 0).sum() <= 1
    assert all(np.sign(value) == np.sign(fold) for value, fold in zip(right, within["log2fc"], strict=True) if value)
    # the change is in one of the candidates in 95 % of the genes
    own = true.loc[found["gene"]].abs().idxmax(axis=1).to_numpy()
    held = [one in set_.split(" | ") for one, set_ in zip(own, found["candidates"], strict=True)]
    assert np.mean(held) >= 0.9


def test_without_noise_changes_are_exact():
    adata = bulk(noise=0, counts=False)
    run(adata)
    true = adata.varm["true"]
    found = td.get.drivers(adata, max_q=0.05)
    assert set(found["gene"]) == set(true.index[:40]) & set(td.get.drivers(adata)["gene"])
    within = td.get.drivers(adata, cell_type="all")
    expected = [true.loc[row.gene, row.cell_type] for row in within.itertuples()]
    np.testing.assert_allclose(within["log2fc"], expected, atol=1e-6)
    genes = td.get.drivers(adata).set_index("gene")
    np.testing.assert_allclose(genes["composition"] + genes["expression"], genes["log2fc"], atol=1e-12)
    unchanged = genes.loc[[name for name in genes.index if int(name[1:]) >= 40]]
    np.testing.assert_allclose(unchanged["expression"], 0, atol=1e-6)
    assert unchanged["composition"].abs().max() > 0.3
    assert (unchanged["pattern"] == "none").all()


def test_patterns_say_where_the_change_is(tested):
    found = td.get.drivers(tested).set_index("gene")
    within = td.get.drivers(tested, cell_type="all", max_q=0.05)
    for gene, row in found.iterrows():
        rows = within[within["gene"] == gene]
        if row["q_value"] > 0.05:
            assert row["pattern"] == "none"
            assert row["candidates"] == ""
        elif rows.empty:
            assert row["pattern"] == f"undetermined {'up' if row['statistic'] > 0 else 'down'}"
        else:
            words = {
                f"{t} {'up' if fold > 0 else 'down'}" for t, fold in zip(rows["cell_type"], rows["log2fc"], strict=True)
            }
            assert set(row["pattern"].split(", ")) == words


@pytest.mark.parametrize("n", [4, 8])
def test_composition_alone_makes_no_drivers(n):
    """A plain test finds hundreds of genes where only the composition differs."""
    small = []
    for seed in range(3):
        adata = bulk(seed, n=n, n_changed=0, shift=0.2, wrong=0.4)
        table = run(adata)
        small.append((table["p_value"] < 0.05).mean())
        assert (table["q_value"] <= 0.05).sum() <= 2
        assert (td.get.drivers(adata, cell_type="all")["q_value"] <= 0.05).sum() <= 2
    assert 0.02 < np.mean(small) < 0.08
    logs = np.log(adata.X + 1) - np.log(adata.X.sum(1, keepdims=True))
    plain = stats.ttest_ind(logs[n:], logs[:n]).pvalue
    assert (plain < 0.05).mean() > 0.12


def test_order_of_samples_and_genes_does_not_matter():
    adata = bulk(n=4, n_genes=180)  # all divisions of the samples are taken
    table = run(adata)
    rng = np.random.default_rng(5)
    turned = adata[rng.permutation(adata.n_obs), rng.permutation(adata.n_vars)].copy()
    again = run(turned)
    columns = ["log2fc", "composition", "expression", "statistic"]
    pd.testing.assert_frame_equal(table.set_index("gene")[columns], again.set_index("gene").loc[table["gene"], columns])
    np.testing.assert_allclose(table["p_value"], again.set_index("gene").loc[table["gene"], "p_value"], atol=0.02)
    assert adata.uns["drivers"]["groups"]["exact"].all()


def test_depth_of_samples_and_scale_of_the_signature_do_not_matter():
    adata = bulk(counts=False)
    table = run(adata).set_index("gene")
    scaled = adata.copy()
    scaled.varm["rsd_signature"] = adata.varm["rsd_signature"] * 7.0
    pd.testing.assert_frame_equal(run(scaled).set_index("gene").loc[table.index], table)
    factor = np.exp(np.random.default_rng(0).normal(0, 0.5, adata.n_obs))
    scaled.X = adata.X * (factor / np.exp(np.log(factor).mean()))[:, None]
    again = run(scaled).set_index("gene")
    shared = table.index.intersection(again.index)
    assert len(shared) > 590
    assert np.corrcoef(again.loc[shared, "statistic"], table.loc[shared, "statistic"])[0, 1] > 0.99
    np.testing.assert_allclose(again.loc[shared, "log2fc"], table.loc[shared, "log2fc"], atol=0.05)


def test_an_alike_type_leaves_the_change_undetermined():
    adata = clear(n_changed=0)
    adata.varm["rsd_signature"].iloc[:, 1] = adata.varm["rsd_signature"].iloc[:, 0]  # "Mono" is expressed like "B"
    shares = adata.obsm["rsd_rna"]
    shares["B"] = shares["Mono"] = (shares["B"] + shares["Mono"]) / 2
    rate = shares.to_numpy() @ adata.varm["rsd_signature"].to_numpy().T
    rate[12:, :40] += 3 * shares.to_numpy()[12:, [0]] * adata.varm["rsd_signature"].to_numpy()[:40, 0]
    adata.X = np.random.default_rng(0).poisson(20 * rate).astype(float)
    run(adata)
    found = td.get.drivers(adata, max_q=0.05)
    assert len(found) >= 25
    assert (found["pattern"].str[:1] == "B").sum() + found["pattern"].str.contains("Mono").sum() == 0
    named = found["candidates"].str.split(" | ", regex=False)
    assert all(("B" in one) == ("Mono" in one) for one in named)
    assert np.mean(["B" in one for one in named]) > 0.9


def test_covariates_are_adjusted_for():
    adata = clear()
    lane = (adata.obs["lane"] == "two").to_numpy()
    adata.X = adata.X * np.where(lane[:, None], np.exp(np.random.default_rng(0).normal(0, 1, adata.n_vars)), 1)
    adata.X = np.round(adata.X)
    run(adata)
    without = len(td.get.drivers(adata, max_q=0.05))
    run(adata, covariates="lane")
    assert len(td.get.drivers(adata, max_q=0.05)) >= without + 10
    assert adata.uns["drivers"]["params"]["covariates"] == ["lane"]


@pytest.mark.parametrize("kind", ["float64", "Int64", "category"])
def test_samples_without_a_group_need_no_covariate(kind):
    adata = clear()
    adata.obs["age"] = pd.Series(np.arange(adata.n_obs) % 5, index=adata.obs_names).astype(kind)
    adata.obs["group"] = adata.obs["group"].astype(object).where(np.arange(adata.n_obs) > 0)
    expected = run(adata[1:].copy(), covariates="age")
    adata.obs["age"] = adata.obs["age"].where(np.arange(adata.n_obs) > 0)
    pd.testing.assert_frame_equal(run(adata, covariates="age"), expected)


def test_more_groups_are_compared_with_the_reference_each():
    adata = clear()
    adata.obs["group"] = ["control"] * 12 + ["late"] * 6 + ["early"] * 6
    run(adata)
    both = td.get.drivers(adata)
    assert list(adata.uns["drivers"]["groups"]["group"]) == ["early", "late"]
    alone = adata[adata.obs["group"] != "late"].copy()
    mine = run(alone)
    early = both[both["group"] == "early"].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, early)


def test_an_unknown_share_and_absent_genes():
    adata = clear()
    adata.obsm["rsd_rna"] = adata.obsm["rsd_rna"] * 0.9
    adata.obs["rsd_unknown"] = 0.1
    adata.varm["rsd_signature"].iloc[30:33] = np.nan
    table = run(adata)
    assert not table["gene"].isin(["g30", "g31", "g32"]).any()
    assert (table["q_value"] <= 0.05).sum() >= 20


def test_same_seed_same_result_and_what_is_kept(tested):
    again, other = clear(), clear()
    run(again)
    pd.testing.assert_frame_equal(again.uns["drivers"]["genes"], tested.uns["drivers"]["genes"])
    run(other, rng=1)
    assert not other.uns["drivers"]["genes"]["p_value"].equals(tested.uns["drivers"]["genes"]["p_value"])
    params = tested.uns["drivers"]["params"]
    assert params["seed"] == 0
    assert (params["groupby"], params["reference"], params["n_permutations"]) == ("group", "control", 100)
    row = tested.uns["drivers"]["groups"].iloc[0]
    smallest = td.get.drivers(tested)["p_value"].min()
    assert row["resolution"] <= smallest
    assert row["n_drivers"] == len(td.get.drivers(tested, max_q=0.05))
    assert (row["n_samples"], row["n_reference"], row["exact"]) == (12, 12, False)


@pytest.mark.filterwarnings("ignore:Writing zarr v2")
@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_round_trip(tested, tmp_path, suffix):
    path = tmp_path / f"bulk.{suffix}"
    getattr(tested, f"write_{suffix}")(path)
    back = getattr(anndata, f"read_{suffix}")(path)
    for options in ({}, {"cell_type": "all"}, {"cell_type": "B", "max_q": 0.1}):
        pd.testing.assert_frame_equal(
            td.get.drivers(back, **options),
            td.get.drivers(tested, **options),
            check_dtype=False,
            check_categorical=False,
        )


def test_copy_sparse_and_layer(tested):
    adata = clear()
    adata.layers["counts"], adata.X = sparse.csr_matrix(adata.X), np.log1p(adata.X)
    adata.uns["rsd"]["params"]["layer"] = "counts"
    made = td.tl.drivers(adata, "group", reference="control", n_permutations=100, rng=0, key_added="mine", copy=True)
    assert "mine" not in adata.uns
    pd.testing.assert_frame_equal(td.get.drivers(made, key="mine"), td.get.drivers(tested))
    assert made.uns["mine"]["params"]["layer"] == "counts"


def put(adata: AnnData, name: str, values) -> None:
    adata.obs = adata.obs.assign(**{name: values})


@pytest.mark.parametrize(
    ("change", "options", "error", "text"),
    [
        (lambda a: a.uns.pop("rsd"), {}, KeyError, "run `td.tl.deconvolve"),
        (lambda a: a.obsm.pop("rsd_rna"), {}, KeyError, "adata.obsm has no 'rsd_rna'"),
        (lambda a: a.varm.pop("rsd_signature"), {}, KeyError, "adata.varm has no 'rsd_signature'"),
        (None, {"deconvolution": "other"}, KeyError, "adata.uns has no 'other'"),
        (None, {"groupby": "disease"}, KeyError, "adata.obs has no column 'disease'"),
        (lambda a: put(a, "group", "case"), {"reference": None}, ValueError, "at least two groups"),
        (None, {"reference": "healthy"}, ValueError, "reference='healthy' is not in"),
        (lambda a: put(a, "group", ["control"] * 14 + ["case"] * 2), {}, ValueError, r"fewer than 3 samples: 'case \(2\)'"),
        (lambda a: a.X.__setitem__((0, 0), np.nan), {}, ValueError, "values that are not finite"),
        (lambda a: a.X.__setitem__((0, 0), -1), {}, ValueError, "negative values"),
        (lambda a: a.obsm["rsd_rna"].__setitem__("B", np.nan), {}, ValueError, "has no composition for 's0'"),
        (lambda a: a.obsm["rsd_rna"].__setitem__("B", 2.0), {}, ValueError, "add up to 1"),
        (lambda a: a.varm.__setitem__("rsd_signature", a.varm["rsd_signature"][["B", "T"]]), {}, ValueError, "two runs"),
        (lambda a: a.X.__imul__(0), {}, ValueError, "at least 20"),
        (lambda a: put(a, "group", np.arange(16) / 3), {"reference": None}, ValueError, r"'3\.0 \(1\)' and 6 more.*pd\.qcut"),
        (None, {"layer": "raw"}, KeyError, "adata.layers has no 'raw'"),
        (None, {"covariates": "group"}, ValueError, "names the group"),
        (None, {"covariates": 3}, TypeError, "covariates must be"),
        (lambda a: put(a, "same", a.obs["group"].to_numpy()), {"covariates": "same"}, ValueError, "cannot be adjusted for"),
        (lambda a: put(a, "age", [np.nan] + [3.0] * 15), {"covariates": "age"}, ValueError, "missing in sample 's0'"),
        (None, {"n_permutations": 0}, ValueError, "n_permutations=0"),
        (None, {"key_added": "a/b"}, ValueError, "without a slash"),
        (None, {"key_added": "rsd"}, ValueError, "would overwrite the deconvolution"),
        (lambda a: np.log1p(a.X, out=a.X), {}, ValueError, "looks log-transformed"),
        (lambda a: setattr(a, "var_names", ["g"] * a.n_vars), {}, ValueError, "duplicated names"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_errors_leave_the_object_as_it_was(change, options, error, text):
    adata = bulk(n_genes=60)
    if change is not None:
        change(adata)
    before = set(adata.uns)
    arguments = {"groupby": "group", "reference": "control"} | options
    with pytest.raises(error, match=text):
        td.tl.drivers(adata, arguments.pop("groupby"), **arguments)
    assert set(adata.uns) == before


def test_get_says_what_is_not_there(tested):
    with pytest.raises(KeyError, match="run `td.tl.drivers"):
        td.get.drivers(tested, key="other")
    with pytest.raises(ValueError, match="group='late' is not in"):
        td.get.drivers(tested, group="late")
    with pytest.raises(ValueError, match="cell_type='DC' is not in"):
        td.get.drivers(tested, cell_type="DC")
    with pytest.raises(ValueError, match="max_q=2"):
        td.get.drivers(tested, max_q=2)
    assert set(td.get.drivers(tested, cell_type="T")["cell_type"]) == {"T"}
    assert set(td.get.drivers(tested, cell_type="all")["cell_type"]) == set(TYPES)
