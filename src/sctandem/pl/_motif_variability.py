from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib import pyplot as plt

from sctandem._checks import check_number
from sctandem._chromatin_keys import DeviationKeys
from sctandem.get._sequence_deviations import sequence_deviations
from sctandem.pl._style import ACTIVATING, INK, NEUTRAL, SMALL, TEXT, name_points, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData
    from matplotlib.axes import Axes
    from mudata import MuData

_FEW, _COLUMN, _MOST = 40, 0.15, 0.8
"""Up to so many points are named beside them; where the column of names stands in the axes, and how much of their height it takes."""


def motif_variability(
    data: AnnData | MuData,
    features: str = "motifs",
    *,
    n_names: int = 10,
    fdr: float = 0.05,
    modalities: Mapping[str, str] | None = None,
    key: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how much the openness of the peaks with each motif, or word, varies between cells, from most to least.

    Needs :func:`sctandem.tl.sequence_deviations`.

    Parameters
    ----------
    data
        Peaks, or an object with such a modality.
    features
        ``"motifs"`` or ``"kmers"``.
    n_names
        How many are named, the most variable first, 0 for none; fewer where there is no room.
    fdr
        Those up to this false discovery rate are coloured, between 0 and 1.
    modalities
        From the role ``"atac"`` to the name of the modality in `data`. By default the same.
    key
        The `key_added` of :func:`sctandem.tl.sequence_deviations`.
    ax
        Axes to draw into; `None` makes new ones.

    Returns
    -------
    The axes. Across: rank. Up: standard deviation of Z over cells; the line at 1 is what chance gives.

    Raises
    ------
    KeyError
        When nothing was computed under `key`, or there is no such modality.
    ValueError
        When `n_names` is not an integer of at least 0, or `fdr` not between 0 and 1.
    TypeError
        When `data` is neither an AnnData nor a MuData, or a name not text.

    Examples
    --------
    >>> import pandas as pd
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> rows = {
    ...     "name": ["GATA1", "SPI1"],
    ...     "n_peaks": 90,
    ...     "n_cells": 50,
    ...     "variability": [1.1, 2.5],
    ...     "pvalue": 0.1,
    ...     "fdr": 0.1,
    ... }
    >>> atac = AnnData(uns={"motif_deviations": {"table": pd.DataFrame(rows)}})  # tl.sequence_deviations writes this
    >>> ax = td.pl.motif_variability(atac)
    """
    keys = DeviationKeys()
    table = sequence_deviations(data, features, modalities=modalities, key=key)
    check_number(n_names, "n_names", whole=True)
    check_number(fdr, "fdr", low=0, high=1)
    table = table[table[keys.variability].notna()]
    if ax is None:
        ax = plt.subplots(figsize=(4.2, 3.4), layout="constrained")[1]
    rank = np.arange(1, len(table) + 1)
    height = table[keys.variability].to_numpy(dtype=float)
    chosen = (table[keys.fdr] <= fdr).to_numpy()
    color = np.where(chosen, ACTIVATING, NEUTRAL)
    ax.axhline(1, color=INK, linewidth=0.8, linestyle=":", zorder=0)
    ax.scatter(rank, height, s=np.where(rank <= n_names, 14, 7), c=color, linewidths=0, rasterized=len(table) > 5000)
    ax.margins(x=0.03, y=0.08)
    what = {"motifs": "motifs", "kmers": "words"}[features]
    ax.set_xlabel(f"Rank of {len(table):,} {what}", fontsize=TEXT)
    ax.set_ylabel("Variability (s.d. of Z)", fontsize=TEXT)
    ax.set_title(f"{int(chosen.sum()):,} {what} at FDR ≤ {fdr:g}", fontsize=TEXT, color=INK, loc="left")
    plain(ax)
    _name_first(ax, table[keys.name].astype(str).to_numpy(), rank, height, n_names)
    return ax


def _name_first(ax: Axes, names: np.ndarray, rank: np.ndarray, height: np.ndarray, n_names: int) -> None:
    """Name the first points in a column over the curve, each joined to its point by a line.

    Points at the head of the curve lie almost above one another, and names beside them would overlap. The column stands right
    of them; each name is at the height of its point or as far above as the names below it need. The axes are made higher
    where the column has no room.
    """
    if len(names) <= _FEW:
        name_points(ax, names, rank.astype(float), height, n_names)
        return
    ax.autoscale_view()
    ax.figure.figure.draw_without_rendering()  # limits and layout are final only then
    line = 1.25 * SMALL * ax.figure.figure.dpi / 72
    n = min(n_names, len(names), int(_MOST * ax.bbox.height / line))
    if n == 0:
        return
    low, high = ax.get_ylim()
    left, right = ax.get_xlim()
    column = max(left + _COLUMN * (right - left), rank[n - 1] + _COLUMN / 4 * (right - left))
    curve = height[rank >= column - _COLUMN / 2 * (right - left)].max()
    free = 1 - (n + 1) * line / ax.bbox.height  # what is left below the column
    ax.set_ylim(low, max(high, low + (curve - low) / free))
    per_line = line / ax.bbox.height * (ax.get_ylim()[1] - low)
    y = curve + per_line * (n - np.arange(n) - 0.25)  # the lowest places, from the first name down
    for i in range(n - 1, -1, -1):
        y[i] = max(height[i], y[i], y[i + 1] + per_line if i < n - 1 else 0)
    y -= np.maximum(y[0] + per_line / 2 - ax.get_ylim()[1], 0)
    for i in range(n):
        ax.annotate(
            names[i], (rank[i], height[i]), (column, y[i]), textcoords="data", fontsize=SMALL, color=INK, va="center",
            ha="left", arrowprops={"arrowstyle": "-", "color": NEUTRAL, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 2, "relpos": (0, 0.5)},
        )  # fmt: skip
