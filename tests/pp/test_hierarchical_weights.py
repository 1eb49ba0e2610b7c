from __future__ import annotations

import anndata
import mudata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from mudata import MuData
from sklearn.metrics import adjusted_rand_score

import sctandem as td

SIZES = [600, 150, 40, 12]


def cells(seed: int = 0) -> AnnData:
    rng = np.random.default_rng(seed)
    kind = rng.permutation(np.repeat(np.arange(4), SIZES))
    points = 8 * np.eye(4, 8)[kind] + rng.normal(size=(len(kind), 8))
    return AnnData(
        obs=pd.DataFrame(
            {"type": np.array(list("abcd"))[kind], "donor": rng.choice(list("uvwxyz"), len(kind))},
            index=[f"c{i}" for i in range(len(kind))],
        ),
        obsm={"X_pca": points.astype(np.float32)},
    )


@pytest.fixture(scope="module")
def weighed():
    adata = cells()
    td.pp.hierarchical_weights(adata, rng=0)
    return adata


def test_slots(weighed):
    clusters = weighed.obs["hcm_cluster"]
    assert adjusted_rand_score(clusters, weighed.obs["type"]) > 0.99
    assert clusters.value_counts().loc[["0", "1", "2", "3"]].is_monotonic_decreasing
    size = clusters.map(clusters.value_counts()).astype(float)
    np.testing.assert_allclose(weighed.obs["hcm_weight"], (1 + len(size) / 4 / size) / 2)
    table = weighed.uns["hcm"]["clusters"]
    assert table["mass"].sum() == pytest.approx(1)
    np.testing.assert_allclose(table["weight"] * table["n_cells"], table["mass"] * weighed.n_obs)
    tree = weighed.uns["hcm"]["tree"]
    assert tree.loc[tree["cluster"] != "", "n_cells"].sum() == weighed.n_obs
    assert tree["parent"].tolist().count(-1) == 1
    params = weighed.uns["hcm"]["params"]
    assert (params["form"], params["distance"], params["n_clusters"]) == ("inverse", "mahalanobis", [1, 4])


def test_forms_order_the_tail(weighed):
    """What helps the tail rises with rarity, what is the share of the total falls."""
    of = {}
    for form in ("inverse", "effective", "share"):
        adata = td.pp.hierarchical_weights(weighed, form=form, key_added=form, rng=0, copy=True)
        of[form] = adata.uns[form]["clusters"]["weight"].to_numpy()
    assert (np.diff(of["inverse"]) > 0).all()
    assert (np.diff(of["effective"]) > 0).all()
    assert (np.diff(of["share"]) < 0).all()
    assert "inverse" not in weighed.uns


def test_labels_are_kinds():
    adata = cells()
    td.pp.hierarchical_weights(adata, labels="type", n_clusters=(4, 7), rng=0)
    names = adata.obs["hcm_cluster"].astype(str)
    assert (names.str.split(".").str[0] == adata.obs["type"]).all()
    assert names.nunique() > 4
    assert set(adata.uns["hcm"]["clusters"]["kind"]) == set("abcd")


def test_same_seed_same_result(weighed):
    again = cells()
    td.pp.hierarchical_weights(again, rng=0)
    pd.testing.assert_frame_equal(again.obs, weighed.obs)


def test_round_trip(weighed, tmp_path):
    td.pp.long_tail_split(weighed, rng=0)
    weighed.write_h5ad(tmp_path / "a.h5ad")
    read = anndata.read_h5ad(tmp_path / "a.h5ad")
    for key, names in (("hcm", ("tree", "clusters")), ("split", ("parts", "clusters", "divergence"))):
        for name in names:
            pd.testing.assert_frame_equal(read.uns[key][name], weighed.uns[key][name], check_dtype=False)
    pd.testing.assert_frame_equal(read.obs, weighed.obs, check_categorical=False, check_dtype=False)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"use_rep": "X_no"}, KeyError, "adata.obsm has no 'X_no'; it has 'X_pca'"),
        ({"labels": "no"}, KeyError, "adata.obs has no column 'no'"),
        ({"labels": "gaps"}, ValueError, r"adata\.obs\['gaps'\] is missing for 1 cells"),
        ({"form": "rank"}, ValueError, "form='rank' is not known; choose one of 'inverse', 'effective', 'share'"),
        ({"distance": "cosine"}, ValueError, "distance='cosine' is not known"),
        ({"n_clusters": (4, 4)}, ValueError, "several that rise"),
        ({"n_clusters": ()}, ValueError, "several that rise"),
        ({"n_clusters": 0}, ValueError, "n_clusters=0 is not an integer above 0"),
        ({"min_cells": 2}, ValueError, "min_cells=2 is not an integer of at least 3"),
    ],
)
def test_bad_options(options, error, match):
    adata = cells()
    adata.obs["gaps"] = adata.obs["type"].where(np.arange(adata.n_obs) > 0)
    before = adata.obs.columns.tolist()
    with pytest.raises(error, match=match):
        td.pp.hierarchical_weights(adata, **options)
    assert adata.obs.columns.tolist() == before
    assert not adata.uns


def test_split_of_cells(weighed):
    adata = td.pp.long_tail_split(weighed, sizes=(0.7, 0.15, 0.15), key_added="part", rng=0, copy=True)
    assert (pd.crosstab(adata.obs["part"], adata.obs["hcm_cluster"]) > 0).all(axis=None)
    parts = adata.uns["part"]["parts"]
    np.testing.assert_allclose(parts["share"], [0.7, 0.15, 0.15], atol=2 / adata.n_obs)
    assert (parts["n_missing"] == 0).all()
    assert (parts["n_missing_random"] > 0).all()
    assert parts["n_cells"].tolist() == adata.obs["part"].value_counts(sort=False).tolist()
    assert "part" not in weighed.obs


def test_split_of_donors():
    adata = cells()
    td.pp.long_tail_split(adata, "type", donor_key="donor", sizes=(0.5, 0.25, 0.25), rng=0)
    assert adata.obs.groupby("donor")["split"].nunique().eq(1).all()
    assert (pd.crosstab(adata.obs["split"], adata.obs["type"]) > 0).all(axis=None)


def test_split_names_what_donors_do_not_allow():
    adata = cells()
    adata.obs.loc[adata.obs["type"] == "d", "donor"] = "u"
    with pytest.warns(UserWarning, match="not in each part, as fewer than three of 'donor' have them: 'd'"):
        td.pp.long_tail_split(adata, "type", donor_key="donor", rng=0)
    parts = adata.uns["split"]["parts"]
    assert parts["n_missing"].sum() == 2
    assert sorted(parts["missing"]) == ["", "d", "d"]


def test_divergence_tells_a_shift_from_chance():
    """Donors that differ part the parts of a split; single cells do not."""
    adata = cells()
    adata.obsm["X_pca"] = (
        adata.obsm["X_pca"] + 2.0 * adata.obs["donor"].astype("category").cat.codes.to_numpy()[:, None]
    )
    for donor_key in (None, "donor"):
        td.pp.long_tail_split(adata, "type", donor_key=donor_key, rng=0)
        table = adata.uns["split"]["divergence"]
        for name in ("mahalanobis", "mann_whitney", "kullback_leibler"):
            ratio = (table[name] / table[f"{name}_random"]).max()
            assert (ratio > 2) == (donor_key is not None), name


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({}, KeyError, "adata.obs has no 'hcm_cluster'; run `td.pp.hierarchical_weights"),
        ({"cluster_key": "no"}, KeyError, "adata.obs has no column 'no'"),
        (
            {"cluster_key": "type", "sizes": (0.5, 0.5)},
            ValueError,
            "are not three numbers, for train, validation, test",
        ),
        ({"cluster_key": "type", "sizes": (0.5, 0.3, 0.3)}, ValueError, "add up to 1.1"),
        ({"cluster_key": "type", "sizes": (1.0, 0.0, 0.0)}, ValueError, "sizes=0.0 is not a number above 0"),
        (
            {"cluster_key": "type", "donor_key": "two"},
            ValueError,
            "has 2 donors; a split into three parts that cuts none",
        ),
        ({"cluster_key": "type", "key_added": "type"}, ValueError, "is the column that is read"),
    ],
)
def test_bad_splits(options, error, match):
    adata = cells()
    adata.obs["two"] = np.where(np.arange(adata.n_obs) % 2, "a", "b")
    before = adata.obs.copy()
    with pytest.raises(error, match=match):
        td.pp.long_tail_split(adata, **options)
    pd.testing.assert_frame_equal(adata.obs, before)
    assert not adata.uns


def multiome() -> MuData:
    """The same cells, with a representation of two modalities together, of which each alone has half."""
    adata = cells()
    points = adata.obsm["X_pca"]
    counts = np.ones((adata.n_obs, 3), dtype=np.float32)
    halves = {
        name: AnnData(counts, adata.obs[[]], pd.DataFrame(index=[f"{name}{i}" for i in range(3)]))
        for name in ("rna", "atac")
    }
    halves["rna"].obsm["X_pca"], halves["atac"].obsm["X_pca"] = points[:, :2], points[:, 2:]
    mdata = MuData(halves)
    mdata.obs = adata.obs.copy()
    mdata.obsm["X_joint"] = points
    return mdata


def test_a_mudata_is_weighed_and_split_by_what_its_modalities_have_together(weighed, tmp_path):
    mdata = multiome()
    td.pp.hierarchical_weights(mdata, "X_joint", rng=0)
    pd.testing.assert_series_equal(mdata.obs["hcm_weight"], weighed.obs["hcm_weight"])
    pd.testing.assert_series_equal(mdata.obs["hcm_cluster"], weighed.obs["hcm_cluster"])
    mdata.td.pp.long_tail_split(use_rep="X_joint", rng=0)
    alone = td.pp.long_tail_split(weighed, rng=0, copy=True)
    pd.testing.assert_series_equal(mdata.obs["split"], alone.obs["split"])
    assert [axes.get_ylabel() for axes in mdata.td.pl.long_tail(split_key="split").axes][0] == "Share (%)"
    mdata.write_h5mu(tmp_path / "a.h5mu")
    again = mudata.read_h5mu(tmp_path / "a.h5mu")
    pd.testing.assert_frame_equal(again.uns["hcm"]["clusters"], mdata.uns["hcm"]["clusters"])
    assert not any("hcm" in name or "split" in name for part in mdata.mod.values() for name in part.obs)


def test_errors_on_a_mudata_name_its_slots():
    mdata = multiome()
    with pytest.raises(KeyError, match=r"mdata.obsm has no 'X_pca'; it has 'X_joint'.*mdata\['rna'\].obsm\['X_pca'\]"):
        td.pp.hierarchical_weights(mdata)
    with pytest.raises(KeyError, match="mdata.obs has no column 'kind'"):
        td.pp.hierarchical_weights(mdata, "X_joint", "kind")
    with pytest.raises(KeyError, match=r"mdata.obs has no 'hcm_cluster'; run `td.pp.hierarchical_weights\(mdata\)`"):
        td.pp.long_tail_split(mdata, use_rep="X_joint")
    with pytest.raises(KeyError, match=r"mdata.uns has no 'hcm'"):
        td.pl.long_tail(mdata)
    with pytest.raises(TypeError, match="AnnData"):
        td.tl.anneal(mdata, "X_joint")
    copied = td.pp.hierarchical_weights(mdata, "X_joint", rng=0, copy=True)
    assert "hcm_weight" in copied.obs
    assert "hcm_weight" not in mdata.obs
    assert not mdata.uns
