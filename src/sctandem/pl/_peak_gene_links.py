from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import Formatter

from sctandem._check_arguments import check_present
from sctandem._checks import check_layer, check_modalities, check_n_cells, check_number, check_unique, layer_slot
from sctandem.get import gene_windows
from sctandem.get import peak_gene_links as read_links
from sctandem.get._values import cell_groups, per_10k
from sctandem.pl._style import ACTIVATING, INK, NEUTRAL, REPRESSING, SMALL, TEXT, colors_of_groups, plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from mudata import MuData

_WIDTH, _ARCS, _GENE, _TRACK = 7.2, 1.9, 0.55, 0.4
"""Size of the figure and of its rows, inches."""
_BAR, _LINKED_BAR = 2.5, 5.0
"""Least width of the bar of a peak, points."""
_HEAD = 1.15
"""Height of a row of bars over the highest linked one."""


def peak_gene_links(
    mdata: MuData,
    gene: str,
    *,
    groupby: str | None = None,
    fdr: float = 0.1,
    layer: str | None = None,
    modalities: Mapping[str, str] | None = None,
    key: str = "tape_links",
    windows_key: str = "gene_windows",
) -> Figure:
    """Draw which peaks drive a gene: arcs from its transcription start site over the genome, and coverage below.

    Needs :func:`sctandem.pp.gene_windows` and :func:`sctandem.tl.peak_gene_links`.

    Parameters
    ----------
    mdata
        The object.
    gene
        The gene.
    groupby
        Column of ``obs`` that groups the cells for the coverage, such as ``"cell_type"``; colours kept in
        ``uns["<groupby>_colors"]`` are used. By default all cells together.
    fdr
        Links above this false discovery rate are drawn in grey, between 0 and 1.
    layer
        Layer of the accessibility that holds the counts; by default ``X``.
    modalities
        From the roles ``"rna"`` and ``"atac"`` to the names of the modalities in `mdata`. By default the same.
    key
        The `key_added` of :func:`sctandem.tl.peak_gene_links`.
    windows_key
        The `key_added` of :func:`sctandem.pp.gene_windows`.

    Returns
    -------
    A figure of 2 + (number of groups) axes. Top: an arc per link, as high as its weight, coloured by its sign. Middle:
    the start site, with the direction of transcription where the strand is known, and the peaks of the window. Bottom:
    for each group the mean accessibility of each peak, in counts per 10,000 of a cell, all on one scale. Where peaks are
    linked at `fdr`, bands lead down from them, the scale is theirs, and the bars of other peaks are pale; those that are
    higher are broken at the top.

    Raises
    ------
    KeyError
        When windows or links are missing, or the gene has none.
    TypeError
        When `gene` is not one name.
    ValueError
        When `fdr` is not between 0 and 1, or names of peaks repeat.

    Examples
    --------
    >>> import pandas as pd
    >>> import sctandem as td
    >>> mdata = td.datasets.simulate_multiome(n_cells=50, n_genes=40, n_peaks=400)
    >>> td.pp.gene_windows(mdata)
    >>> links = td.get.gene_windows(mdata).assign(weight=1.0, sign=1, pvalue=0.01, fdr=0.02)
    >>> mdata.uns["tape_links"] = {"params": {}, "table": links}  # tl.peak_gene_links writes this
    >>> figure = td.pl.peak_gene_links(mdata, links.gene.iloc[0], groupby="cell_type")
    """
    if not isinstance(gene, str):
        msg = f"gene={gene!r:.80} is not the name of one gene; draw a figure a gene: for gene in genes: ..."
        raise TypeError(msg)
    check_number(fdr, "fdr", low=0, high=1)
    atac_name = check_modalities(mdata, modalities)["atac"]
    peaks = _peaks(gene_windows(mdata, gene, key=windows_key), read_links(mdata, gene, key=key), fdr)
    groups = cell_groups(mdata, groupby, [atac_name])
    check_n_cells(len(groups), 1, "drawing the coverage of groups", f"mdata[{atac_name!r}]")
    colors = colors_of_groups(mdata, groupby, groups, [atac_name])
    atac = mdata.mod[atac_name]
    check_unique(atac.var_names, f"mdata[{atac_name!r}].var_names")
    counts = check_layer(atac, layer, f"mdata[{atac_name!r}]")
    check_present(counts, layer_slot(f"mdata[{atac_name!r}]", layer))
    values = pd.DataFrame(per_10k(counts, atac.var_names.get_indexer(peaks["peak"])))
    means = values.groupby(groups.array, observed=True).mean().reindex(groups.cat.categories)

    figure, axes = plt.subplots(
        2 + len(means),
        1,
        figsize=(_WIDTH, 0.95 + _ARCS + _GENE + _TRACK * len(means)),
        sharex=True,
        height_ratios=[_ARCS, _GENE, *[_TRACK] * len(means)],
        layout="constrained",
    )
    figure.get_layout_engine().set(h_pad=0.015, hspace=0.0)
    low, high = _limits(peaks)
    axes[0].set_xlim(low, high)
    _draw_arcs(axes[0], peaks, gene, fdr)
    _draw_gene(axes[1], peaks, gene, high - low)
    _draw_coverage(axes[2:], peaks, means, colors, high - low)
    axes[-1].set_xlabel(f"{peaks['chrom'].iloc[0]} (kb)", fontsize=TEXT, loc="left")
    axes[-1].xaxis.set_major_formatter(_Kilobases())
    for ax in axes:
        ax.axvline(peaks["tss"].iloc[0], color=INK, linewidth=0.6, linestyle=(0, (2, 3)), zorder=0)
    return figure


class _Kilobases(Formatter):
    """Writes positions in kb, with as many digits as all ticks need to be exact."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return self.format_ticks([x])[0]

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        digits = next((n for n in range(4) if np.allclose(np.round(values, n - 3), values, rtol=0, atol=1e-6)), 6)
        return [f"{value / 1000:,.{digits}f}" for value in values]


def _peaks(window: pd.DataFrame, links: pd.DataFrame, fdr: float) -> pd.DataFrame:
    """Place the peaks of the window on the genome and say what links them: ``weight`` 0 where nothing does."""
    direction = np.where(window["strand"] == "-", -1, 1)
    middle = window["tss"] + direction * window["distance"]
    start = middle - window["width"] // 2
    placed = window.assign(peak=window["peak"].astype(object), middle=middle, start=start)
    table = links.assign(peak=links["peak"].astype(object))[["peak", "weight", "sign", "fdr"]].drop_duplicates("peak")
    placed = placed.merge(table, on="peak", how="left").fillna({"weight": 0.0, "sign": 0, "fdr": 1.0})
    significant = (placed["fdr"] <= fdr) & (placed["weight"] > 0)
    color = np.select(
        [significant & (placed["sign"] > 0), significant & (placed["sign"] < 0)], [ACTIVATING, REPRESSING], NEUTRAL
    )
    return placed.assign(significant=significant, color=color)


def _limits(peaks: pd.DataFrame) -> tuple[float, float]:
    """Return what part of the genome to show."""
    ends = pd.concat([peaks["start"], peaks["start"] + peaks["width"], peaks["tss"]])
    span = max(ends.max() - ends.min(), 5000)
    tss = peaks["tss"].iloc[0]
    # on both sides of the start site there is room for its arrow
    return min(ends.min() - 0.03 * span, tss - 0.12 * span), max(ends.max() + 0.03 * span, tss + 0.12 * span)


def _draw_arcs(ax: Axes, peaks: pd.DataFrame, gene: str, fdr: float) -> None:
    """Draw an arc from the start site to every linked peak, the significant ones in colour and on top."""
    linked = peaks[peaks["weight"] > 0].sort_values(["significant", "weight"])
    top = linked["weight"].max() if len(linked) else 0.0
    if len(linked):
        angle = np.linspace(0, np.pi, 90)
        reach = (linked["tss"] - linked["middle"]).to_numpy()[:, None] / 2
        x = (linked["tss"] + linked["middle"]).to_numpy()[:, None] / 2 + reach * np.cos(angle)
        y = linked["weight"].to_numpy()[:, None] * np.sin(angle)
        arcs = LineCollection(
            list(np.stack([x, y], axis=2)),
            colors=list(linked["color"]),
            linewidths=np.where(linked["significant"], 0.9 + 1.3 * linked["weight"] / top, 0.7),
            alpha=np.where(linked["significant"], 0.95, 0.7),
            capstyle="round",
        )
        ax.add_collection(arcs)
    ax.set_ylim(0, 1.08 * top or 1)
    ax.yaxis.set_major_locator(plt.MaxNLocator(3))
    ax.set_ylabel("Link weight", fontsize=TEXT)
    plain(ax, keep=("left",))
    ax.tick_params(bottom=False)
    ax.set_title(gene, loc="left", fontsize=TEXT + 2, fontstyle="italic")
    names = {ACTIVATING: "activating", REPRESSING: "repressing", NEUTRAL: f"FDR > {fdr:g}"}
    counts = linked["color"].value_counts()
    handles = [
        Line2D([], [], color=color, linewidth=2, label=f"{name} ({counts[color]})")
        for color, name in names.items()
        if color in counts
    ]
    if handles:
        ax.legend(
            handles=handles, loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False, fontsize=SMALL,
            borderaxespad=0, handlelength=1.2, columnspacing=1.2,
        )  # fmt: skip


def _draw_gene(ax: Axes, peaks: pd.DataFrame, gene: str, span: float) -> None:
    """Draw the start site above the peaks of the window, with the direction of transcription where the strand is known."""
    tss, strand = peaks["tss"].iloc[0], peaks["strand"].iloc[0]
    forward, known = strand != "-", strand in {"+", "-"}
    reach = (0.05 if known else 0.01) * span * (1 if forward else -1)
    ax.plot([tss, tss], [0.42, 0.8], color=INK, linewidth=1.2)
    if known:
        ax.annotate(
            "", (tss + reach, 0.8), (tss, 0.8), arrowprops={
                "arrowstyle": "-|>", "color": INK, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 9
            },
        )  # fmt: skip
    low, high = ax.get_xlim()
    beyond = tss + 1.25 * reach
    name = gene if known else f"{gene} (strand not known)"
    # the name stands behind the arrow's head, or on the other side of the start site where there is no room
    room = (high - beyond if forward else beyond - low) > 0.015 * span * (len(name) + 1)
    place, side = (beyond, forward) if room else (tss - 0.15 * reach, not forward)
    ax.text(place, 0.8, name, fontsize=SMALL, fontstyle="italic", va="center", ha="left" if side else "right")
    _boxes(ax, peaks, np.full(len(peaks), 0.3), list(peaks["color"]), span)
    ax.set_ylim(0, 1.05)
    ax.set_yticks([])
    ax.set_ylabel("Peaks", fontsize=SMALL, rotation=0, ha="right", va="center", y=0.15)
    plain(ax, keep=())
    ax.tick_params(bottom=False)


def _draw_coverage(
    axes: np.ndarray, peaks: pd.DataFrame, means: pd.DataFrame, colors: dict[str, str], span: float
) -> None:
    """Draw the mean accessibility of the peaks in each group, a row each, on the scale of the linked peaks."""
    linked = peaks["significant"].to_numpy()
    values = means.to_numpy()
    top = float(np.nanmax(values[:, linked])) if linked.any() else 0.0
    top = top or float(np.nanmax(values)) or 1.0
    middle, reach = peaks["middle"].to_numpy(), 0.52 * _widths(peaks, span)
    for ax, (group, heights) in zip(axes, means.iterrows(), strict=True):
        for peak in peaks[linked].itertuples():
            half = max(peak.width, 1.6 * _points(_LINKED_BAR, span)) / 2
            ax.axvspan(peak.middle - half, peak.middle + half, color=peak.color, alpha=0.12, linewidth=0, zorder=0)
        pale = to_rgba(colors[group], 0.35)
        _boxes(
            ax, peaks, heights.to_numpy(), [colors[group] if each else pale for each in linked | ~linked.any()], span
        )
        # a gap below the top says that the bar goes on
        above = heights.to_numpy() > _HEAD * top
        ax.hlines(
            np.full(above.sum(), 0.87 * _HEAD * top),
            (middle - reach)[above],
            (middle + reach)[above],
            "white",
            linewidth=2,
        )
        ax.set_ylim(0, _HEAD * top)
        ax.set_yticks([_round_down(top)])
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.yaxis.tick_right()
        ax.set_ylabel(str(group), fontsize=SMALL, rotation=0, ha="right", va="center")
        plain(ax, keep=("right", "bottom"))
        ax.tick_params(bottom=ax is axes[-1])
    cut = "; broken bars are higher" if (values > _HEAD * top).any() else ""
    title = f"Mean accessibility of each peak (counts per 10,000{cut})"
    axes[0].set_title(title, fontsize=SMALL, loc="right", color=INK)


def _round_down(value: float) -> float:
    """Return the largest of 1, 2 and 5 times a power of ten that is not above a value."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(max(step for step in (1, 2, 5) if step * power <= value * (1 + 1e-9)) * power)


def _points(points: float, span: float) -> float:
    """Return a width in points as a part of the genome."""
    return points / 72 / (0.85 * _WIDTH) * span


def _widths(peaks: pd.DataFrame, span: float) -> np.ndarray:
    """Return the widths of the bars, so that they can be seen."""
    least = np.where(peaks["significant"], _points(_LINKED_BAR, span), _points(_BAR, span))
    return np.maximum(peaks["width"].to_numpy(), least)


def _boxes(ax: Axes, peaks: pd.DataFrame, heights: np.ndarray, colors: list[Any], span: float) -> None:
    """Draw a box over every peak."""
    width = _widths(peaks, span)
    left = peaks["middle"].to_numpy() - width / 2
    boxes = [Rectangle((x, 0), w, h) for x, w, h in zip(left, width, heights, strict=True)]
    ax.add_collection(PatchCollection(boxes, facecolors=colors, edgecolors="none"))
