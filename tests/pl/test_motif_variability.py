from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

import sctandem as td


def ranked(n: int, *, flat: bool = False) -> AnnData:
    """Make what the tool writes, in no order, with long names."""
    rng = np.random.default_rng(0)
    spread = 1 + rng.gamma(0.3, 0.01 if flat else 0.35, n)
    if not flat:
        spread[:2] += [4, 3.9]
    table = pd.DataFrame(
        {
            "name": [f"MA{i}.1_{'GATA1::TAL1' if i % 3 else 'SPI1'}" for i in range(n)],
            "n_peaks": 50,
            "n_cells": 40,
            "variability": spread,
            "pvalue": 0.1,
            "fdr": np.where(spread > 1.2, 0.01, 0.5),
        }
    )
    return AnnData(uns={"motif_deviations": {"table": table.sample(frac=1, random_state=0)}})


def test_the_curve():
    atac = ranked(100)
    table = atac.uns["motif_deviations"]["table"]
    table.loc[table.index[5], ["variability", "pvalue", "fdr"]] = np.nan
    ax = td.pl.motif_variability(atac, n_names=3)
    points = ax.collections[0]
    expected = np.sort(table["variability"].dropna())[::-1]
    np.testing.assert_allclose(points.get_offsets(), np.column_stack([np.arange(1, 100), expected]))
    first = td.get.sequence_deviations(atac)["name"].tolist()[:3]
    assert [text.get_text() for text in ax.texts] == first
    colors = [to_hex(color).upper() for color in points.get_facecolors()]
    assert colors.count("#B2182B") == (expected > 1.2).sum()
    assert colors[0] == "#B2182B"
    assert "motifs at FDR ≤ 0.05" in ax.get_title(loc="left")
    assert not td.pl.motif_variability(atac, n_names=0).texts


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize(("n", "flat", "least"), [(700, False, 12), (60, False, 10), (700, True, 10), (12, False, 3)])
def test_names_overlap_nothing(n, flat, least, given):
    axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")[1] if given else [None]
    ax = td.pl.motif_variability(ranked(n, flat=flat), n_names=12, ax=axes[0])
    ax.figure.canvas.draw()  # as it is looked at in the end
    # the annotation's box holds its line too: the text alone is what may not overlap
    boxes = [super(type(text), text).get_window_extent() for text in ax.texts]
    assert least <= len(boxes) <= 12
    assert not any(one.overlaps(two) for one, two in itertools.combinations(boxes, 2))
    points = ax.transData.transform(ax.collections[0].get_offsets())
    assert max(box.count_contains(points) for box in boxes) == 0
    assert all(ax.bbox.y0 - 1 <= box.y0 and box.y1 <= ax.bbox.y1 + 1 for box in boxes)
    assert all(box.x1 <= ax.bbox.x1 + 1 for box in boxes)


def test_bad_input():
    with pytest.raises(KeyError, match=r"td.tl.sequence_deviations\(data, 'kmers'\)"):
        td.pl.motif_variability(ranked(50), "kmers")
    with pytest.raises(ValueError, match="n_names=-1 is not an integer"):
        td.pl.motif_variability(ranked(50), n_names=-1)
    with pytest.raises(ValueError, match="fdr=2 is not a number between 0 and 1"):
        td.pl.motif_variability(ranked(50), fdr=2)
