from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from sklearn.metrics import adjusted_rand_score

import sctandem as td


def cells(n: int = 800, k: int = 4, d: int = 10, seed: int = 0) -> AnnData:
    rng = np.random.default_rng(seed)
    kind = rng.choice(k, n, p=np.arange(k, 0, -1) / (k * (k + 1) / 2))
    points = 7 * np.eye(k, d)[kind] + rng.normal(size=(n, d))
    return AnnData(
        obs=pd.DataFrame({"type": kind.astype(str)}, index=[f"c{i}" for i in range(n)]),
        obsm={"X_pca": points.astype(np.float32), "X_other": points[:, ::-1].copy()},
    )


@pytest.fixture(scope="module")
def annealed():
    adata = cells()
    td.tl.anneal(adata)
    return adata


def test_slots(annealed):
    obs, memberships, uns = annealed.obs, annealed.obsm["X_anneal"], annealed.uns["anneal"]
    assert adjusted_rand_score(obs["anneal"], obs["type"]) > 0.99
    assert obs["anneal"].cat.categories.tolist() == ["0", "1", "2", "3"]
    assert obs["anneal"].value_counts().loc[["0", "1", "2", "3"]].is_monotonic_decreasing
    assert (memberships.dtype, memberships.shape) == (np.float32, (800, 4))
    np.testing.assert_allclose(memberships.sum(axis=1), 1, atol=1e-5)
    entropy = -(memberships * np.log(np.maximum(memberships, 1e-30))).sum(axis=1)
    np.testing.assert_allclose(obs["anneal_entropy"], entropy, atol=1e-5)
    tree = uns["tree"]
    leaves = tree[tree["cluster"] != ""].set_index("cluster")
    assert leaves.loc[["0", "1", "2", "3"], "n_cells"].tolist() == obs["anneal"].value_counts(sort=False).tolist()
    assert leaves["mass"].sum() == pytest.approx(1)
    assert tree["temperature"].isna().sum() == 4
    assert (tree.loc[tree["cluster"] == "", "evidence"] > 0.1).all()
    assert uns["phases"]["temperature"].is_monotonic_decreasing
    assert uns["phases"]["n_clusters"].iloc[0] == 1
    assert uns["params"]["use_rep"] == "X_pca"


@pytest.mark.filterwarnings("ignore:Writing zarr v2")
@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_round_trip(annealed, tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    getattr(annealed, f"write_{kind}")(path)
    read = getattr(anndata, f"read_{kind}")(path)
    for table in ("tree", "phases"):
        pd.testing.assert_frame_equal(read.uns["anneal"][table], annealed.uns["anneal"][table], check_dtype=False)
    assert dict(read.uns["anneal"]["params"]) == annealed.uns["anneal"]["params"]
    assert read.obs["anneal"].tolist() == annealed.obs["anneal"].tolist()


def test_order_of_cells_does_not_matter(annealed):
    turned = cells()[::-1].copy()
    td.tl.anneal(turned)
    assert adjusted_rand_score(turned.obs["anneal"][::-1], annealed.obs["anneal"]) > 0.99


def test_seed_matters_only_where_cells_are_drawn():
    adata = cells()
    results = {}
    for seed in (0, 1):
        for max_cells in (100, 540, 8000):  # 540: all cells are in parts of 533
            td.tl.anneal(adata, max_cells=max_cells, rng=seed)
            results[seed, max_cells] = adata.obsm["X_anneal"]
    for max_cells in (540, 8000):
        np.testing.assert_array_equal(results[0, max_cells], results[1, max_cells])
    assert results[0, 100].shape != results[1, 100].shape or not np.array_equal(results[0, 100], results[1, 100])
    td.tl.anneal(adata, max_cells=100, rng=1)
    np.testing.assert_array_equal(adata.obsm["X_anneal"], results[1, 100])


@pytest.mark.parametrize(
    ("arguments", "in_parts"),
    [
        ({}, True),
        ({"max_cells": 533}, False),
        ({"max_cells": 533, "consensus": True}, True),
        ({"consensus": False}, False),
        ({"n_clusters": 3}, False),
        ({"metric": "kernel"}, False),
    ],
)
def test_parts_are_taken_where_they_hold_all_cells_or_as_asked(arguments, in_parts):
    adata = cells()
    td.tl.anneal(adata, rng=0, **arguments)
    assert adata.uns["anneal"]["params"]["consensus"] is in_parts


def test_all_of_few_cells_may_be_taken():
    adata = cells(60)
    td.tl.anneal(adata, max_cells=60)
    assert not adata.uns["anneal"]["params"]["consensus"]  # too few for parts
    with pytest.raises(ValueError, match="max_cells=59 is not"):
        td.tl.anneal(adata, max_cells=59)


def test_tree_of_parts_counts_all_cells(annealed):
    tree = annealed.uns["anneal"]["tree"]
    assert tree["n_cells"].iloc[0] == annealed.n_obs
    leaves = tree[tree["cluster"] != ""].set_index("cluster")["n_cells"]
    assert leaves.to_dict() == annealed.obs["anneal"].value_counts().to_dict()


def test_copy_and_names():
    adata = cells()
    result = td.tl.anneal(adata, "X_other", n_clusters=2, key_added="two", copy=True)
    assert "two" not in adata.obs
    assert result.obs["two"].nunique() == 2
    assert {"two_entropy", "two"} <= set(result.obs)
    assert result.obsm["X_two"].shape == (800, 2)
    assert result.uns["two"]["params"]["n_clusters"] == 2


@pytest.mark.parametrize("scale", [2e-8, 1e13])
def test_units_do_not_matter(annealed, scale):
    adata = cells()
    adata.obsm["X_pca"] = adata.obsm["X_pca"].astype(np.float64) * scale
    td.tl.anneal(adata)
    assert adjusted_rand_score(adata.obs["anneal"], annealed.obs["anneal"]) == 1


def test_a_view_becomes_an_object_of_its_own_and_another_stays_one():
    adata = cells()
    view = adata[::2]
    result = td.tl.anneal(view, copy=True)
    assert view.is_view
    with pytest.warns(UserWarning, match="initializing view as actual"):
        td.tl.anneal(view)
    np.testing.assert_array_equal(view.obsm["X_anneal"], result.obsm["X_anneal"])
    assert "anneal" not in adata.obs


def test_temperature_of_one_cluster():
    adata = cells()
    td.tl.anneal(adata, temperature=1e6)
    assert adata.obs["anneal"].unique().tolist() == ["0"]
    assert len(adata.uns["anneal"]["tree"]) == 1


def test_temperature_above_the_first_split_is_warned_of(caplog):
    adata = cells()
    critical = 2 * np.linalg.eigvalsh(np.cov(adata.obsm["X_pca"].T, bias=True))[-1]
    td.tl.anneal(adata, temperature=1.01 * critical)
    (record,) = caplog.records
    assert f"the first split, which is at {critical:.3g} in squared units of adata.obsm['X_pca']" in record.getMessage()
    assert adata.obs["anneal"].nunique() == 1
    caplog.clear()
    td.tl.anneal(adata, temperature=0.8 * critical)
    assert not caplog.records
    assert adata.obs["anneal"].nunique() > 1


def test_only_what_n_clusters_made_is_forced(annealed):
    assert not annealed.uns["anneal"]["tree"]["forced"].any()
    right, more = (td.tl.anneal(annealed, n_clusters=n, copy=True).uns["anneal"]["tree"] for n in (4, 6))
    assert not right["forced"].any()
    assert more["forced"].sum() == 2
    assert (more.loc[more["forced"], "evidence"] < 0.1).all()


def test_a_sure_shoulder_is_not_forced():
    rng = np.random.default_rng(1)
    kind = np.repeat([0, 1], [2000, 500])
    points = rng.normal(size=(2500, 5))
    points[:, 0] += 2.8 * kind
    adata = with_rep(points)
    td.tl.anneal(adata, n_clusters=2)
    tree = adata.uns["anneal"]["tree"]
    assert tree["evidence"].iloc[0] < 0.1
    assert not tree["forced"].iloc[0]
    even = with_rep(rng.random(size=(2500, 5)))
    td.tl.anneal(even, n_clusters=2)
    assert even.uns["anneal"]["tree"]["forced"].iloc[0]


def with_rep(values: np.ndarray) -> AnnData:
    return AnnData(obsm={"X_pca": values}, obs=pd.DataFrame(index=[f"c{i}" for i in range(len(values))]))


@pytest.mark.parametrize(
    ("make", "arguments", "error", "match"),
    [
        (
            cells,
            {"use_rep": "X_none"},
            KeyError,
            "no 'X_none'; it has 'X_pca', 'X_other'.*`td.tl.capsules.adata.` 'X_capsules'",
        ),
        (cells, {"n_clusters": 900}, ValueError, "n_clusters=900 is more than the 800 cells"),
        (cells, {"n_clusters": 0}, ValueError, "n_clusters=0 is not"),
        (cells, {"n_clusters": 3, "temperature": 1.0}, ValueError, "both say where to stop"),
        (cells, {"metric": "cosine"}, ValueError, "metric='cosine' is not one of 'within', 'given', 'kernel'"),
        (cells, {"min_cells": 4}, ValueError, "min_cells=4 is not"),
        (cells, {"min_cells": 20, "n_clusters": 3}, ValueError, "min_cells=20 looks for more clusters"),
        (cells, {"min_cells": 20, "metric": "kernel"}, ValueError, "min_cells=20 looks for more clusters"),
        (cells, {"consensus": "yes"}, ValueError, "consensus='yes' is not known"),
        (cells, {"consensus": True, "n_clusters": 3}, ValueError, "consensus=True chooses among numbers"),
        (cells, {"consensus": True, "metric": "kernel"}, ValueError, "consensus=True chooses among numbers"),
        (cells, {"temperature": -1.0}, ValueError, "temperature=-1.0 is not"),
        (
            cells,
            {"temperature": 0.01},
            ValueError,
            "temperature=0.01 is too low: at .* more than 80 clusters.*800 cells",
        ),
        (cells, {"key_added": "a/b"}, ValueError, "without a slash"),
        (cells, {"use_rep": ["X_pca"]}, TypeError, "use_rep must be a str"),
        (cells, {"key_added": "pca"}, ValueError, "use_rep='X_pca' is also where the memberships would go"),
        (lambda: with_rep(np.ones((20, 3))), {}, ValueError, "does not vary"),
        (
            lambda: with_rep(np.ones((20, 3), dtype=bool)),
            {},
            ValueError,
            "not a dense matrix of numbers.* but ndarray of bool",
        ),
        (lambda: with_rep(1e-9 * np.eye(20, 3)), {}, ValueError, "varies by 1e-09 between cells at most"),
        (lambda: with_rep(1e20 * np.eye(20, 3)), {}, ValueError, r"varies by 1e\+20 between cells at most"),
        (lambda: with_rep(np.zeros((1, 3))), {}, ValueError, "at least 2 cells"),
        (lambda: with_rep(np.array([[0.0, 1.0], [np.nan, 2.0], [1.0, 3.0]])), {}, ValueError, "1 cells, first in 'c1'"),
        (
            lambda: with_rep(np.repeat(np.eye(2), 10, axis=0)),
            {"n_clusters": 5},
            ValueError,
            "only 2 clusters that part",
        ),
    ],
)
def test_errors_leave_the_object_as_it_was(make, arguments, error, match):
    adata = make()
    before = adata.copy()
    with pytest.raises(error, match=match):
        td.tl.anneal(adata, **arguments)
    assert list(adata.obs) == list(before.obs)
    assert list(adata.obsm) == list(before.obsm)
    assert not adata.uns


def test_constant_columns_and_few_cells_are_no_trouble():
    adata = cells()
    adata.obsm["X_pca"] = np.hstack([adata.obsm["X_pca"], np.ones((800, 3), np.float32)])
    td.tl.anneal(adata)
    assert adjusted_rand_score(adata.obs["anneal"], adata.obs["type"]) > 0.99
    few = with_rep(np.array([[0.0, 1.0], [5.0, 1.0], [0.1, 1.2]]))
    td.tl.anneal(few)
    assert few.obs["anneal"].nunique() == 1  # three cells are no evidence for two clusters


def test_rare_cells_are_found_with_min_cells():
    adata = cells(6000)
    points = adata.obsm["X_pca"]
    points[:20] = 7 * np.eye(10)[9] + np.random.default_rng(1).normal(size=(20, 10))
    td.tl.anneal(adata, max_cells=1000, rng=0)
    assert adata.obs["anneal"].nunique() == 4
    td.tl.anneal(adata, max_cells=1000, min_cells=10, rng=0)
    assert (adata.obs["anneal"] == "4").to_numpy().nonzero()[0].tolist() == list(range(20))
    assert adata.uns["anneal"]["params"]["min_cells"] == 10
    tree = adata.uns["anneal"]["tree"].set_index("cluster")
    assert tree.loc["4", "n_cells"] >= 20


def test_metric_kernel_finds_rings():
    rng = np.random.default_rng(0)
    ring, angle = rng.integers(2, size=1200), rng.random(1200) * 2 * np.pi
    points = ((1 + ring) + 0.05 * rng.normal(size=1200))[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    adata = with_rep(points)
    td.tl.anneal(adata, metric="kernel", rng=0)
    assert adjusted_rand_score(adata.obs["anneal"], ring) == 1
    assert adata.uns["anneal"]["params"]["metric"] == "kernel"
    td.tl.anneal(adata, metric="given")
    assert adjusted_rand_score(adata.obs["anneal"], ring) < 0.6
