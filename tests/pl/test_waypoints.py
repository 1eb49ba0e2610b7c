from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData
from matplotlib import pyplot as plt

import sctandem as td


@pytest.fixture(scope="module")
def followed():
    rng = np.random.default_rng(0)
    arm, x = rng.integers(4, size=400), rng.random(400)
    points = x[:, None] * np.eye(4, 5)[arm] + 0.02 * rng.normal(size=(400, 5))
    adata = AnnData(obsm={"X_pca": points, "tf_activity": np.column_stack([points[:, 1] - points[:, 2], x])})
    ends = {name: str(points[:, i].argmax()) for i, name in enumerate(["a", "b", "c"], 1)}
    td.tl.waypoints(adata, str(points[:, 0].argmax()), ends, activity="tf_activity", rng=0)
    return adata


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_what_is_drawn(followed):
    figure = td.pl.waypoints(followed)
    time, fates, tree = figure.axes[:3]
    assert len(time.collections[0].get_offsets()) == 400
    np.testing.assert_allclose(time.collections[0].get_array(), followed.obs["waypoints_pseudotime"])
    ends = followed.uns["waypoints"]["terminals"]["cell"]
    np.testing.assert_allclose(fates.collections[-1].get_offsets(), followed[ends].obsm["X_pca"][:, :2])
    assert {text.get_text() for text in fates.texts} == {"a", "b", "c"}
    assert {label.get_text() for label in tree.get_yticklabels()} == {"a", "b", "c"}
    lines = [line.get_xydata() for line in tree.lines]
    joined = [line for line in lines if line[0, 0] == line[1, 0] and line[0, 1] != line[1, 1]]
    assert sorted(line[0, 0] for line in joined) == sorted(followed.uns["waypoints"]["branches"]["pseudotime"])


def test_axes_basis_and_missing_cells(followed):
    axes = plt.subplots(1, 3)[1]
    assert td.pl.waypoints(followed, "X_pca", axes=axes) is axes[0].figure
    ends = followed.uns["waypoints"]["terminals"]["cell"]
    part = followed[~followed.obs_names.isin(ends)].copy()
    figure = td.pl.waypoints(part)
    figure.canvas.draw()
    assert not figure.axes[1].texts


def test_a_single_lineage():
    rng = np.random.default_rng(1)
    adata = AnnData(obsm={"X_pca": rng.random((100, 2)) * [1, 0.05]})
    td.tl.waypoints(adata, str(adata.obsm["X_pca"][:, 0].argmin()), rng=0)
    tree = td.pl.waypoints(adata).axes[2]
    assert len(tree.lines) == 1


def test_bad_input(followed):
    with pytest.raises(KeyError, match="td.tl.waypoints"):
        td.pl.waypoints(followed, key="other")
    with pytest.raises(KeyError, match="adata.obsm has no 'X_umap'"):
        td.pl.waypoints(followed, "X_umap")
    with pytest.raises(ValueError, match="three are needed"):
        td.pl.waypoints(followed, axes=plt.subplots(1, 2)[1])
    narrow = followed.copy()
    narrow.obsm["X_one"] = narrow.obsm["X_pca"][:, :1]
    with pytest.raises(ValueError, match="fewer than two columns"):
        td.pl.waypoints(narrow, "X_one")
