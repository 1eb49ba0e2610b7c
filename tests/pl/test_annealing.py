from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib import pyplot as plt
from matplotlib.collections import FillBetweenPolyCollection

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
    assert sorted(label.get_text() for label in memberships.get_xticklabels()) == sorted(shares.index) == list("01234")
    assert "kept: 5" in {text.get_text() for text in phases.texts}
    kept = phases.lines[1].get_ydata()
    assert kept.tolist() == [1, 2, 3, 4, 5, 5]
    plt.close(figure)


def test_splits_stand_at_their_temperatures(adata):
    figure = td.pl.annealing(adata)
    drawn = sorted({float(line.get_ydata()[0]) for line in figure.axes[0].lines if np.ptp(line.get_ydata()) == 0})
    assert drawn == pytest.approx(sorted(adata.uns["anneal"]["tree"]["temperature"].dropna()))
    plt.close(figure)


def columns(figure, place: int) -> list[tuple[float, tuple]]:
    """Heights and colours of the columns in a block of the memberships."""
    found = []
    for columns in figure.axes[2].collections:
        if len(columns.get_paths()) and columns.get_paths()[0].vertices[0, 1] == 1e-6:
            for path, color in zip(columns.get_paths(), columns.get_facecolor(), strict=True):
                if place < path.vertices[0, 0] < place + 1:
                    found.append((path.vertices[:, 1].max(), tuple(color)))
    return found


def test_uncertain_cells_are_seen_and_whose_they_might_be():
    order = ["0", "1", "2"]
    shares = np.array([[1, 0, 0], [0.98, 0.015, 0.005], [0.6, 0.1, 0.3], [0, 1, 0], [0, 0, 1.0]], dtype=np.float32)
    adata = AnnData(obsm={"X_anneal": shares})
    adata.obs["anneal"] = pd.Categorical(list("00012"))
    adata.uns["anneal_colors"] = ["#FF0000", "#00FF00", "#0000FF"]
    tree = {"node": range(5), "parent": [-1, 0, 0, 1, 1], "temperature": [9.0, 4, np.nan, np.nan, np.nan], "mass": 0.5,
            "cluster": ["", "", "2", "0", "1"], "evidence": 1.0}  # fmt: skip
    phases = pd.DataFrame({"temperature": [10.0, 1], "n_clusters": [1, 3], "free_energy": 1.0})
    adata.uns["anneal"] = {"tree": pd.DataFrame(tree), "phases": phases, "params": {}}
    figure = td.pl.annealing(adata)
    assert [label.get_text() for label in figure.axes[2].get_xticklabels()] == order
    (low, green), (high, blue) = columns(figure, 0)
    assert (low, high) == pytest.approx((0.02, 0.4), rel=1e-4)
    assert (green, blue) == ((0, 1, 0, 1), (0, 0, 1, 1))
    assert not columns(figure, 1) + columns(figure, 2)
    plt.close(figure)


def test_only_forced_splits_are_dashed(adata):
    figure = td.pl.annealing(adata)
    assert figure.axes[0].get_legend() is None
    assert {line.get_linestyle() for line in figure.axes[0].lines} == {"-"}
    many = td.tl.anneal(adata, n_clusters=7, copy=True)
    tree = many.uns["anneal"]["tree"]
    figure = td.pl.annealing(many)
    dashed = {
        float(line.get_ydata()[0])
        for line in figure.axes[0].lines
        if np.ptp(line.get_ydata()) == 0 and line.get_linestyle() == "--"
    }
    assert dashed == set(tree.loc[tree["forced"], "temperature"])
    assert len(dashed) == 2
    assert "n_clusters" in figure.axes[0].get_legend().texts[0].get_text()
    plt.close("all")


@pytest.mark.parametrize(
    ("options", "units"),
    [
        ({}, "variances within clusters"),
        ({"metric": "given"}, "squared units of X_pca"),
        ({"temperature": 20.0}, "squared units of X_pca"),
        ({"metric": "kernel", "rng": 0}, "kernel features"),
    ],
)
def test_axes_name_the_units_of_temperatures(adata, options, units):
    figure = td.pl.annealing(td.tl.anneal(adata, **options, copy=True))
    assert figure.axes[0].get_ylabel() == f"Critical temperature\n({units})"
    assert figure.axes[1].get_xlabel() == f"Temperature, falling\n({units})"
    plt.close(figure)


def test_one_cluster_and_kept_colours(adata):
    one = td.tl.anneal(adata, n_clusters=1, copy=True)
    one.uns["anneal_colors"] = ["#123456"]
    figure = td.pl.annealing(one)
    assert figure.axes[2].collections[0].get_facecolor()[0, :3] == pytest.approx(np.array([0x12, 0x34, 0x56]) / 255)
    plt.close(figure)


def colours(figure) -> tuple[dict[str, tuple], dict[str, tuple]]:
    """Those of the leaves of the tree by name, and those of the blocks of memberships that have cells by name."""
    tree, _, memberships = figure.axes
    names = [text.get_text().split("\n")[0] for text in tree.texts]
    leaves = [tuple(dot.get_facecolor()[0]) for dot in tree.collections]
    blocks = [label.get_text() for label in memberships.get_xticklabels()]
    areas = [area for area in memberships.collections if isinstance(area, FillBetweenPolyCollection)]
    colors = {blocks[int(area.get_paths()[0].vertices[:, 0].min())]: tuple(area.get_facecolor()[0]) for area in areas}
    return dict(zip(names, leaves, strict=True)), colors


@pytest.mark.parametrize("kept", [False, True])
def test_colours_stay_with_their_clusters_where_cells_are_left_out(adata, kept):
    adata = adata.copy()
    if kept:
        adata.uns["anneal_colors"] = ["#000001", "#000002", "#000003", "#000004", "#000005"]
    whole = colours(td.pl.annealing(adata))
    assert whole[0] == whole[1]
    part = adata[adata.obs["anneal"] != "1"].copy()
    leaves, areas = colours(td.pl.annealing(part))
    assert {name: leaves[name] for name in areas} == areas
    assert areas == {name: color for name, color in whole[1].items() if name != "1"}
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
