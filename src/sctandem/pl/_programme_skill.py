from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib import pyplot as plt

from sctandem._checks import check_positive
from sctandem.get import programme_skill as read_skill
from sctandem.pl._style import INK, NEUTRAL, PROGRAMME_COLORS, TEXT, legend_above, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from mudata import MuData


def programme_skill(mdata: MuData, *, n: int = 30, key: str = "tape_programmes", ax: Axes | None = None) -> Axes:
    """Draw which programmes of genes chromatin predicts well and which it does not.

    Needs :func:`sctandem.tl.programme_skill`.

    Parameters
    ----------
    mdata
        The object.
    n
        At most so many programmes are shown: when there are more, the best and the worst halves of that number.
    key
        The `key_added` of :func:`sctandem.tl.programme_skill`.
    ax
        Axes to draw on; by default a new figure.

    Returns
    -------
    The axes: a row per programme, best on top, with the correlation of its score from predicted and from measured
    expression (point, coloured by verdict), the mean correlation of its genes (tick), and what random sets with as many
    genes of each level of expression reach on average (open diamond): a programme no better than that only tells of the
    state of the cell. Brackets give its number of genes.

    Raises
    ------
    KeyError
        When the programmes were not scored.
    TypeError
        When `mdata` is not a MuData, or a name not text.
    ValueError
        When `n` is not an integer above 0.

    Examples
    --------
    >>> import pandas as pd
    >>> import sctandem as td
    >>> mdata = td.datasets.simulate_multiome(n_cells=50, n_genes=40, n_peaks=400)
    >>> columns = ["programme", "n_genes", "pearson", "gain_mean", "score_pearson", "random_pearson", "verdict"]
    >>> table = pd.DataFrame([["S phase", 43, 0.1, 0.02, 0.35, 0.1, "predicted well"]], columns=columns)
    >>> mdata.uns["tape_programmes"] = {"params": {}, "table": table}  # tl.programme_skill writes this
    >>> ax = td.pl.programme_skill(mdata)
    """
    check_positive(n, "n", whole=True)
    table = read_skill(mdata, key=key)
    table = table.sort_values("score_pearson", ascending=False, kind="stable", na_position="last", ignore_index=True)
    if len(table) > n:
        table = table.iloc[np.r_[: -(-n // 2), len(table) - n // 2 : len(table)]].reset_index(drop=True)
    if ax is None:
        _, ax = plt.subplots(figsize=(5.6, 1.1 + 0.27 * len(table)), layout="constrained")
    row, score = np.arange(len(table)), table["score_pearson"].to_numpy(float)
    colors = [PROGRAMME_COLORS.get(str(verdict), NEUTRAL) for verdict in table["verdict"]]
    ax.axvline(0, color=INK, linewidth=0.6, zorder=0)
    ax.hlines(row, 0, score, colors=colors, linewidth=2)
    ax.scatter(score, row, c=colors, s=46, zorder=3)
    ax.scatter(table["pearson"], row, marker="|", c=INK, s=55, linewidths=1.4, zorder=4)
    if "random_pearson" in table:
        ax.scatter(
            table["random_pearson"], row, marker="D", facecolors="white", edgecolors=INK, s=22, linewidths=1, zorder=4
        )
    ax.set_yticks(row, [f"{p} ({g})" for p, g in zip(table["programme"], table["n_genes"], strict=True)])
    ax.set_ylim(len(table) - 0.4, -0.6)
    ax.set_xlabel("Pearson correlation over held-out cells", fontsize=TEXT)
    plain(ax, keep=("bottom",))
    ax.tick_params(axis="y", length=0)
    handles = [
        plt.Line2D([], [], marker="o", color=color, label=f"score: {verdict}")
        for verdict, color in PROGRAMME_COLORS.items()
        if (table["verdict"].astype(str) == verdict).any()
    ]
    handles.append(plt.Line2D([], [], marker="|", linestyle="", color=INK, markersize=8, label="mean of its genes"))
    if "random_pearson" in table:
        handles.append(
            plt.Line2D(
                [],
                [],
                marker="D",
                linestyle="",
                color=INK,
                markerfacecolor="white",
                markersize=5,
                label="score: random sets",
            )  # fmt: skip
        )
    legend_above(ax, handles)
    return ax
