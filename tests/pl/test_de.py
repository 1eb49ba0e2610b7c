from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

import sctandem as td
from sctandem._keys import DEKeys


@pytest.fixture
def adata():
    rng = np.random.default_rng(0)
    rows = []
    for state in ("B", "NK"):
        for i in range(20):
            p = 1e-6 if i < 3 else 0.5
            change = (2.0 if i % 2 else -2.0) if i < 3 else rng.normal(0, 0.1)
            row = dict.fromkeys(DEKeys().columns, 1.0)
            rows.append(
                row
                | {"gene": f"g{i}", "state": state, "contrast": "a vs b", "log2fc": change, "p_value": p}
                | {"q_value": p if state == "B" else 0.5, "n_samples": 6}
            )
    return AnnData(uns={"deepde": {"table": pd.DataFrame(rows)}})


def test_volcano(adata):
    ax = td.pl.volcano(adata, "B", n_names=2)
    points = ax.collections[0]
    assert points.get_offsets().shape == (20, 2)
    np.testing.assert_allclose(points.get_offsets()[0], [-2, 6])
    colors = [to_hex(color).upper() for color in points.get_facecolors()[:4]]
    assert colors == ["#2166AC", "#B2182B", "#2166AC", "#B3B3B3"]
    assert [text.get_text() for text in ax.texts] == ["g0", "g1"]
    with pytest.raises(ValueError, match="has several: 'B', 'NK'. Name one with state="):
        td.pl.volcano(adata)


def test_heatmap(adata):
    ax = td.pl.de_heatmap(adata, 2)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["g0", "g1"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["B", "NK"]
    assert ax.get_title(loc="left") == "a vs b\n● q ≤ 0.05"
    np.testing.assert_allclose(ax.images[0].get_array(), [[-2, 2], [-2, 2]])
    np.testing.assert_allclose(ax.collections[0].get_offsets(), [[0, 0], [1, 0]])  # significant in B only
    with pytest.raises(ValueError, match="no gene of adata.uns"):
        td.pl.de_heatmap(adata, q_value=0)


def crowded(n: int = 60) -> AnnData:
    """Significant genes close to one another, with names of unequal lengths."""
    rng = np.random.default_rng(1)
    row = dict.fromkeys(DEKeys().columns, 1.0) | {"state": "B", "contrast": "a vs b", "q_value": 0.01, "n_samples": 6}
    rows = [
        row | {"gene": "G" * (2 + i % 9) + str(i), "log2fc": rng.normal(0, 4), "p_value": 10 ** -rng.uniform(2, 9)}
        for i in range(n)
    ]
    return AnnData(uns={"deepde": {"table": pd.DataFrame(rows).sort_values("p_value")}})


@pytest.mark.parametrize("given", [False, True])
def test_names_in_the_volcano_overlap_nothing(given):
    axes = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")[1] if given else [None]
    ax = td.pl.volcano(crowded(), n_names=25, ax=axes[0])
    ax.figure.canvas.draw()  # as it is looked at in the end
    boxes = [text.get_window_extent() for text in ax.texts]
    assert 5 <= len(boxes) <= 25
    assert not any(one.overlaps(two) for one, two in itertools.combinations(boxes, 2))
    points = ax.transData.transform(ax.collections[0].get_offsets())
    assert max(box.count_contains(points) for box in boxes) == 0
    assert all(ax.bbox.x0 - 1 <= box.x0 and box.x1 <= ax.bbox.x1 + 1 for box in boxes)
    assert not td.pl.volcano(crowded(), n_names=0).texts


@pytest.mark.parametrize("n_names", [-1, 2.5, True, "ten", None])
def test_bad_number_of_names(adata, n_names):
    with pytest.raises(ValueError, match=f"n_names={n_names!r} is not an integer of at least 0"):
        td.pl.volcano(adata, "B", n_names=n_names)


def test_dots_of_the_heatmap_stand_out_from_their_squares(adata):
    table = adata.uns["deepde"]["table"]
    table.loc[(table["gene"] == "g0") & (table["state"] == "B"), "log2fc"] = 0.4
    ax = td.pl.de_heatmap(adata, 2)
    squares = ax.images[0].to_rgba(ax.images[0].get_array())
    for (x, y), color in zip(ax.collections[0].get_offsets(), ax.collections[0].get_facecolors(), strict=True):
        square = squares[int(y), int(x), :3] @ [0.2126, 0.7152, 0.0722]
        assert abs(color[:3] @ [0.2126, 0.7152, 0.0722] - square) > 0.35
