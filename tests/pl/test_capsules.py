from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib import pyplot as plt

import sctandem as td

CAPSULES = ["0", "1", "2"]


@pytest.fixture(name="adata")
def fixture_adata() -> AnnData:
    """What the tool writes, by hand: capsule 0 is mostly T cells, 1 B cells and 2 the rest."""
    kinds = ["T"] * 40 + ["NK"] * 10 + ["B"] * 30 + ["NK"] * 12 + ["unknown"] * 8
    capsule = ["0"] * 50 + ["1"] * 30 + ["2"] * 20
    obs = pd.DataFrame(
        {"capsules": pd.Categorical(capsule), "kind": kinds, "one": "x"}, index=[f"c{i}" for i in range(len(kinds))]
    )
    adata = AnnData(np.ones((100, 6)), obs=obs, var=pd.DataFrame(index=list("ABCDEF")))
    weights = np.array([[3, 0, 0], [2, 0, 0], [0, 3, 0], [0, 2, 0], [0, 0, 3], [0, 0, 2.0]])
    adata.varm["capsules_genes"] = pd.DataFrame(weights, index=adata.var_names, columns=CAPSULES)
    coupling = np.random.default_rng(0).dirichlet(np.ones(3), 7)
    index = [f"programme{i}" for i in range(7)]
    adata.uns["capsules"] = {"coupling": pd.DataFrame(coupling, index=index, columns=CAPSULES), "params": {}}
    return adata


@pytest.fixture(autouse=True)
def fixture_close():
    yield
    plt.close("all")


def ticks(axis) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def test_shares_of_groups_in_the_order_of_the_capsules(adata):
    first = td.pl.capsules(adata, "kind").axes[0]
    assert ticks(first.xaxis) == ["T", "B", "NK", "unknown"]
    assert ticks(first.yaxis) == ["0 (50)", "1 (30)", "2 (20)"]
    expected = [[80, 0, 20, 0], [0, 100, 0, 0], [0, 0, 60, 40]]
    np.testing.assert_allclose(first.images[0].get_array(), expected)
    assert first.get_xlabel() == "kind"


def test_numbers_are_those_of_the_colours(adata):
    first = td.pl.capsules(adata, "kind").axes[0]
    values = np.asarray(first.images[0].get_array())
    written = {
        (int(text.get_position()[1]), int(text.get_position()[0])): text.get_text()
        for text in first.texts
        if text.get_text().isdigit()
    }
    assert written == {(i, j): f"{values[i, j]:.0f}" for i, j in zip(*np.nonzero(values), strict=True)}


def test_top_genes_stand_beside_their_capsule(adata):
    first = td.pl.capsules(adata, "kind", n_genes=2).axes[0]
    genes = {text.xy[1]: text.get_text() for text in first.texts if "," in text.get_text()}
    assert genes == {0: "A, B", 1: "C, D", 2: "E, F"}


def test_rows_are_right_where_capsules_have_no_cells_left(adata):
    figure = td.pl.capsules(adata[adata.obs["capsules"] != "1"].copy(), "kind", n_genes=2)
    first, second = figure.axes[:2]
    assert ticks(first.yaxis) == ["0 (50)", "2 (20)"]
    assert ticks(second.yaxis) == ["0", "2"]
    assert {text.xy[1]: text.get_text() for text in first.texts if "," in text.get_text()} == {0: "A, B", 1: "E, F"}
    np.testing.assert_allclose(second.images[0].get_array(), adata.uns["capsules"]["coupling"][["0", "2"]].T)


@pytest.mark.parametrize("kinds", [[True, False], [3, 1]])
def test_groups_need_not_be_text(adata, kinds):
    adata.obs["group"] = np.where(adata.obs["capsules"] == "0", *kinds)
    first = td.pl.capsules(adata, "group").axes[0]
    assert ticks(first.xaxis) == [str(kind) for kind in kinds]
    np.testing.assert_allclose(first.images[0].get_array(), [[100, 0], [0, 100], [0, 100]])


def test_coupling(adata):
    second = td.pl.capsules(adata, "kind").axes[1]
    np.testing.assert_allclose(second.images[0].get_array(), adata.uns["capsules"]["coupling"].to_numpy().T)
    assert ticks(second.xaxis) == list("0123456")
    assert ticks(second.yaxis) == CAPSULES
    assert second.images[0].get_clim()[0] == 0


def test_ordered_categories_keep_their_order(adata):
    adata.obs["kind"] = pd.Categorical(adata.obs["kind"], ["unknown", "NK", "T", "B"], ordered=True)
    assert ticks(td.pl.capsules(adata, "kind").axes[0].xaxis) == ["unknown", "NK", "T", "B"]


def test_labels_are_the_default_and_else_sizes(adata):
    first = td.pl.capsules(adata).axes[0]
    assert not first.images
    assert [bar.get_width() for bar in first.patches] == pytest.approx([50, 30, 20])
    adata.obs["capsules_label"] = pd.Categorical(adata.obs["kind"])
    assert td.pl.capsules(adata).axes[0].get_xlabel() == "capsules_label"


def test_cells_without_a_group_are_left_out(adata):
    adata.obs["kind"] = adata.obs["kind"].where(adata.obs["kind"] != "unknown")
    first = td.pl.capsules(adata, "kind").axes[0]
    np.testing.assert_allclose(first.images[0].get_array()[2], [0, 0, 100])


def test_rows_of_both_panels_are_level(adata):
    figure = td.pl.capsules(adata, "kind")
    figure.canvas.draw()
    heights = [[ax.transData.transform((0, row))[1] for row in range(3)] for ax in figure.axes[:2]]
    np.testing.assert_allclose(heights[0], heights[1], atol=1)


def test_axes_of_ones_own(adata):
    figure, axes = plt.subplots(1, 2)
    assert td.pl.capsules(adata, "one", axes=axes) is figure
    assert axes[0].images
    assert axes[1].images


@pytest.mark.parametrize("names", [["CD4+/CD45RA+/CD25- naive T cells"] * 5, ["T"] * 5])
def test_long_names_take_nothing_from_the_squares(adata, names):
    kinds = [f"{name}{number}" for number, name in enumerate(names)]
    adata.obs["kind"] = np.resize(kinds, len(adata))
    figure = td.pl.capsules(adata, "kind")
    figure.canvas.draw()
    first = figure.axes[0]
    assert first.get_window_extent().width / figure.dpi > 1.2
    label, axes = first.xaxis.label.get_window_extent(), first.get_window_extent()
    assert axes.y0 - label.y1 < 0.5 * figure.dpi
    assert not any(label.overlaps(text.get_window_extent()) for text in first.texts)
    heights = axes.height / figure.dpi
    assert heights > 0.15 * 5


def test_what_is_wrong(adata, monkeypatch):
    with pytest.raises(KeyError, match=r"no 'other'; run `sctandem.tl.capsules\(adata, key_added='other'\)`"):
        td.pl.capsules(adata, key="other")
    with pytest.raises(KeyError, match="no column 'none'; it has 'capsules', 'kind'"):
        td.pl.capsules(adata, "none")
    with pytest.raises(ValueError, match="n_genes=0 is not"):
        td.pl.capsules(adata, n_genes=0)
    with pytest.raises(ValueError, match="axes has 1 axes; two are needed"):
        td.pl.capsules(adata, axes=[plt.gca()])
    adata.obs["empty"] = np.nan
    with pytest.raises(ValueError, match="missing for all cells"):
        td.pl.capsules(adata, "empty")
    monkeypatch.setattr("sctandem.pl._capsules._MOST_GROUPS", 3)
    with pytest.raises(ValueError, match="has 4 different values; a column with at most 3 groups is needed"):
        td.pl.capsules(adata, "kind")
    adata.obs["capsules"] = adata.obs["capsules"].cat.rename_categories({"0": "T"})
    with pytest.raises(
        KeyError, match=r"\['capsules'\] has 'T', but the capsules .* are '0', '1', '2'.*column of their own"
    ):
        td.pl.capsules(adata)
    assert not [number for number in plt.get_fignums() if number > 1]
