from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData
from matplotlib import pyplot as plt

import sctandem as td


@pytest.fixture(scope="module")
def adata():
    rng = np.random.default_rng(0)
    kind = rng.choice(5, 900, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    means = np.array([[0, 0, 0], [6, 0, 0], [0, 14, 0], [0, 22, 0], [6, 0, 8.0]])
    adata = AnnData(obsm={"X_pca": np.hstack([means[kind], np.zeros((900, 5))]) + rng.normal(size=(900, 8))})
    td.tl.anneal(adata)
    return adata


def test_every_cluster_is_in_every_axes(adata):
    figure = td.pl.annealing(adata)
    tree, phases, memberships = figure.axes
    table = adata.uns["anneal"]["tree"]
    shares = table[table["cluster"] != ""].set_index("cluster")["mass"]
    assert {text.get_text() for text in tree.texts} == {f"{name}\n{100 * share:.0f}" for name, share in shares.items()}
    assert len(memberships.collections) == len(shares) == 5
    assert "kept: 5" in {text.get_text() for text in phases.texts}
    kept = phases.lines[1].get_ydata()
    assert kept.tolist() == [1, 2, 3, 4, 5, 5]
    plt.close(figure)


def test_splits_stand_at_their_temperatures(adata):
    figure = td.pl.annealing(adata)
    drawn = sorted({float(line.get_ydata()[0]) for line in figure.axes[0].lines if np.ptp(line.get_ydata()) == 0})
    assert drawn == pytest.approx(sorted(adata.uns["anneal"]["tree"]["temperature"].dropna()))
    plt.close(figure)


def test_memberships_fill_the_axes(adata):
    figure = td.pl.annealing(adata)
    top = figure.axes[2].collections[-1].get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx(1, abs=1e-4)
    plt.close(figure)


def test_one_cluster_and_kept_colours(adata):
    one = td.tl.anneal(adata, n_clusters=1, copy=True)
    one.uns["anneal_colors"] = ["#123456"]
    figure = td.pl.annealing(one)
    assert figure.axes[2].collections[0].get_facecolor()[0, :3] == pytest.approx(np.array([0x12, 0x34, 0x56]) / 255)
    plt.close(figure)


def colours(figure) -> tuple[dict[str, tuple], list[tuple]]:
    """Those of the leaves of the tree by name, and those of the memberships in order."""
    tree, _, memberships = figure.axes
    names = [text.get_text().split("\n")[0] for text in tree.texts]
    leaves = [tuple(dot.get_facecolor()[0]) for dot in tree.collections]
    return dict(zip(names, leaves, strict=True)), [tuple(area.get_facecolor()[0]) for area in memberships.collections]


@pytest.mark.parametrize("kept", [False, True])
def test_colours_stay_with_their_clusters_where_cells_are_left_out(adata, kept):
    adata = adata.copy()
    if kept:
        adata.uns["anneal_colors"] = ["#000001", "#000002", "#000003", "#000004", "#000005"]
    whole = colours(td.pl.annealing(adata))
    assert [whole[0][str(number)] for number in range(5)] == whole[1]
    part = adata[adata.obs["anneal"] != "1"].copy()
    leaves, areas = colours(td.pl.annealing(part))
    assert [leaves[str(number)] for number in range(5)] == areas
    assert [areas[number] for number in (0, 2, 3, 4)] == [whole[1][number] for number in (0, 2, 3, 4)]
    part.obs["anneal"] = part.obs["anneal"].astype(str)
    assert colours(td.pl.annealing(part))[1] == areas
    plt.close("all")


def test_names_of_many_clusters_do_not_touch(adata):
    many = td.tl.anneal(adata, n_clusters=30, copy=True)
    figure = td.pl.annealing(many)
    figure.canvas.draw()
    boxes = sorted((text.get_window_extent() for text in figure.axes[0].texts), key=lambda box: box.x0)
    assert len(boxes) == 30
    assert all(left.x1 < right.x0 for left, right in zip(boxes[:-1], boxes[1:], strict=True))
    plt.close(figure)


def test_axes_of_ones_own(adata):
    figure, axes = plt.subplots(1, 3)
    assert td.pl.annealing(adata, axes=axes) is figure
    assert all(ax.lines or ax.collections for ax in axes)
    plt.close(figure)


def test_what_is_wrong(adata):
    with pytest.raises(KeyError, match="no 'other'; run `td.tl.anneal"):
        td.pl.annealing(adata, key="other")
    with pytest.raises(ValueError, match="axes has 2 axes; three are needed"):
        td.pl.annealing(adata, axes=plt.subplots(1, 2)[1])
    with pytest.raises(ValueError, match="axes has 1 axes; three are needed"):
        td.pl.annealing(adata, axes=plt.subplots()[1])
    with pytest.raises(TypeError, match="must be an AnnData"):
        td.pl.annealing(adata.obs)
    plt.close("all")
