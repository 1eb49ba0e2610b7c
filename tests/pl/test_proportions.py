from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

import sctandem as td

TYPES = ["B", "Mono", "T"]
SAMPLES = ["s0", "s1", "s2", "s3"]
#: T varies most, Mono is next by its mean.
SHARES = np.array([[0.1, 0.3, 0.5], [0.1, 0.2, 0.7], [0.1, 0.4, 0.3], [0.2, 0.3, 0.4]])
UNKNOWN = "#B3B3B3"


@pytest.fixture(name="adata")
def fixture_adata() -> AnnData:
    """What the tool writes, by hand."""
    obs = pd.DataFrame(
        {"rsd_unknown": 1 - SHARES.sum(1), "group": ["case", "case", "control", "control"]}, index=SAMPLES
    )
    adata = AnnData(np.ones((4, 3)), obs=obs)
    for name, values in (("fractions", SHARES), ("low", SHARES - 0.05), ("high", SHARES + 0.1)):
        adata.obsm[f"rsd_{name}"] = pd.DataFrame(values, index=SAMPLES, columns=TYPES)
    return adata


@pytest.fixture(autouse=True)
def fixture_close():
    yield
    plt.close("all")


def bars(ax) -> dict[str, np.ndarray]:
    """Bottom and height of the bars of each layer, from the left."""
    found = {}
    for layer in ax.containers:
        ordered = sorted(layer, key=lambda bar: bar.get_x())
        found[layer.get_label()] = np.array([[bar.get_y(), bar.get_height()] for bar in ordered])
    return found


def names(ax) -> list[str]:
    return [label.get_text() for label in ax.get_xticklabels()]


def test_stack_adds_up_and_is_ordered_by_what_varies_most(adata):
    ax = td.pl.proportions(adata)
    found = bars(ax)
    assert list(found) == ["T", "Mono", "B", "unknown"]  # from the bottom
    order = [1, 0, 3, 2]  # by falling share of T
    np.testing.assert_allclose(found["T"][:, 1], 100 * SHARES[order, 2])
    np.testing.assert_allclose(found["B"][:, 1], 100 * SHARES[order, 0])
    np.testing.assert_allclose(found["Mono"][:, 0], found["T"].sum(1))
    np.testing.assert_allclose(found["unknown"].sum(1), 100)
    assert names(ax.figure.axes[-1]) == [SAMPLES[i] for i in order]
    unknown = [layer for layer in ax.containers if layer.get_label() == "unknown"][0]
    assert {to_hex(bar.get_facecolor()).upper() for bar in unknown} == {UNKNOWN}


def test_rows_show_points_intervals_and_means_of_groups(adata):
    first, *rows = td.pl.proportions(adata, "group").figure.axes
    assert [row.texts[-1].get_text() for row in rows] == ["unknown", "B", "Mono", "T"]
    order = [1, 0, 3, 2]
    row = rows[-1]
    ends = np.array([segment[:, 1] for segment in row.collections[0].get_segments()])
    np.testing.assert_allclose(ends, 100 * np.column_stack([SHARES[order, 2] - 0.05, SHARES[order, 2] + 0.1]))
    np.testing.assert_allclose(row.collections[1].get_offsets()[:, 1], 100 * SHARES[order, 2])
    assert [line.get_ydata()[0] for line in row.lines] == pytest.approx([60, 35])
    assert all(
        row.get_ylim()[0] <= end <= row.get_ylim()[1]
        for row in rows[1:]
        for s in row.collections[0].get_segments()
        for end in s[:, 1]
    )
    assert len(rows[0].collections) == 1  # the unknown share has no interval
    assert [text.get_text() for text in first.texts] == ["case (2)", "control (2)"]
    middle = [np.mean(row.collections[1].get_offsets()[part, 0]) for part in (slice(2), slice(2, 4))]
    assert [text.xy[0] for text in first.texts] == pytest.approx(middle)


def test_order_is_within_groups_and_samples_without_one_are_left_out(adata):
    adata.obs["group"] = pd.Categorical(["b", "a", "b", None], categories=["b", "a"], ordered=True)
    ax = td.pl.proportions(adata, "group")
    assert names(ax.figure.axes[-1]) == ["s0", "s2", "s1"]
    assert len(bars(ax)["T"]) == 3


def test_own_axes_get_bars_and_a_legend_alone(adata):
    _, own = plt.subplots()
    ax = td.pl.proportions(adata, ax=own, colors={"B": "#123456"})
    assert ax is own
    assert own.figure.axes == [own]
    assert [text.get_text() for text in own.get_legend().get_texts()] == ["unknown", "B", "Mono", "T"]
    layer = next(layer for layer in own.containers if layer.get_label() == "B")
    assert to_hex(layer[0].get_facecolor()) == "#123456"
    assert len(td.pl.proportions(adata, intervals=False).figure.axes) == 1


@pytest.mark.parametrize("n_types", [3, 9, 10, 11, 15])
def test_colours_differ_and_grey_is_kept_for_what_is_unknown(n_types):
    names = [f"type {i}" for i in range(n_types)]
    shares = np.random.default_rng(0).dirichlet(np.ones(n_types), 100)
    adata = AnnData(np.ones((100, 2)), obs=pd.DataFrame({"rsd_unknown": 0.0}, index=[f"s{i}" for i in range(100)]))
    adata.obsm["rsd_fractions"] = pd.DataFrame(shares, index=adata.obs_names, columns=names)
    ax = td.pl.proportions(adata, intervals=False)
    colors = [np.array(layer[0].get_facecolor()[:3]) for layer in ax.containers]
    assert len({to_hex(color) for color in colors}) == n_types + 1
    assert all(np.ptp(color) > 0.1 for color in colors[:-1])  # no greys
    assert ax.get_xlabel() == "100 samples"


def test_what_cannot_be_drawn(adata):
    with pytest.raises(
        KeyError, match=r"adata.obsm has no 'other_fractions'; run `td.tl.deconvolve\(.*key_added='other'\)` first"
    ):
        td.pl.proportions(adata, key="other")
    with pytest.raises(KeyError, match="adata.obs has no column 'stage'"):
        td.pl.proportions(adata, "stage")
    adata.obs["none"] = pd.Categorical([None] * 4, categories=["a"])
    with pytest.raises(ValueError, match=r"adata.obs\['none'\] is missing for all samples"):
        td.pl.proportions(adata, "none")
    with pytest.raises(TypeError, match="intervals must be a bool"):
        td.pl.proportions(adata, intervals="no")
