from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib import pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sctandem._checks import check_slot
from sctandem._chromatin_keys import PEAK_ROLES, GeneFunctionKeys
from sctandem.get import gene_function as read_roles
from sctandem.get import gene_windows
from sctandem.pl._peak_gene_links import _Kilobases
from sctandem.pl._style import ACTIVATING, INK, NEUTRAL, REPRESSING, SMALL, TEXT, plain

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from mudata import MuData

#: Colour of each role, and whether its mark is filled: the two that say "no effect" and "not known" differ in both.
_COLORS = dict(zip(PEAK_ROLES, (ACTIVATING, REPRESSING, INK, NEUTRAL), strict=True))
_FILLED = dict(zip(PEAK_ROLES, (True, True, True, False), strict=True))
_WIDTH, _HEIGHT = 7.2, 3.0
#: Areas of the marks in square points, of a peak that is never open and of the most open one.
_AREAS = (12.0, 110.0)
#: Half of the interval that is drawn, in standard errors: 90 %, that of the tests.
_INTERVAL = 1.645


def gene_function(
    mdata: MuData,
    gene: str,
    *,
    key: str = "gene_function",
    windows_key: str = "gene_windows",
    ax: Axes | None = None,
) -> Axes:
    """Draw the peaks around a gene along the genome: what each does, how much, and how sure that is.

    Needs :func:`sctandem.tl.gene_function`.

    Parameters
    ----------
    mdata
        The object.
    gene
        The gene.
    key
        The `key_added` of :func:`sctandem.tl.gene_function`.
    windows_key
        The `key_added` of :func:`sctandem.pp.gene_windows`.
    ax
        Axes to draw on; by default new ones.

    Returns
    -------
    The axes. A mark per peak with an effect: its height is the effect on expression, with its 90 % interval, its colour the role, its area the share of
    cells in which it is open. The band holds effects below `min_effect`: a silent peak's interval lies within, by and large (the test
    counts all peaks that are tested). The arrow is the transcription start site.

    Raises
    ------
    KeyError
        When roles or windows are missing, or the gene has none.
    TypeError
        When `gene` is not one name.
    ValueError
        When no peak of the gene could be tested.

    Examples
    --------
    >>> import sctandem as td
    >>> mdata = td.datasets.simulate_multiome(n_cells=300, n_genes=60, n_peaks=600, rng=0)
    >>> td.pp.gene_windows(mdata)
    >>> td.tl.gene_function(mdata)
    >>> ax = td.pl.gene_function(mdata, mdata["rna"].var_names[5])
    """
    if not isinstance(gene, str):
        msg = f"gene={gene!r:.80} is not the name of one gene; draw a figure a gene: for gene in genes: ..."
        raise TypeError(msg)
    keys = GeneFunctionKeys(key)
    table = read_roles(mdata, gene, key=key)
    place = gene_windows(mdata, gene, key=windows_key).iloc[0]
    table = table.assign(middle=place["tss"] + (-1 if place["strand"] == "-" else 1) * table[keys.distance])
    drawn = table[table[keys.effect].notna()]
    if drawn.empty:
        msg = f"gene={gene!r} has {len(table)} peaks, but it or they have too few counts: no effect was estimated."
        raise ValueError(msg)
    params = check_slot(mdata.uns[key], keys.params, f"mdata.uns[{key!r}]", "td.tl.gene_function(mdata)")
    if ax is None:
        _, ax = plt.subplots(figsize=(_WIDTH, _HEIGHT), layout="constrained")
    least = params["min_effect"]
    ax.axhspan(-least, least, color=NEUTRAL, alpha=0.18, linewidth=0, zorder=0)
    ax.axhline(0, color=INK, linewidth=0.6, zorder=1)
    _draw_peaks(ax, drawn, keys)
    _draw_start(ax, place, table)
    ax.set_ylabel("Effect on expression\n(ln change per s.d. of the peak)", fontsize=TEXT)
    ax.set_xlabel(f"{place['chrom']} (kb)", fontsize=TEXT, loc="left")
    ax.xaxis.set_major_formatter(_Kilobases())
    ax.set_title(gene, loc="left", fontsize=TEXT + 2, fontstyle="italic")
    _legend(ax, drawn, keys, least)
    plain(ax)
    return ax


def _draw_peaks(ax: Axes, drawn: pd.DataFrame, keys: GeneFunctionKeys) -> None:
    """Draw marks and intervals, undecided peaks first so that they hide none of the others."""
    share = drawn[keys.openness] / max(float(drawn[keys.openness].max()), 1e-12)
    area = _AREAS[0] + (_AREAS[1] - _AREAS[0]) * share
    for order, role in enumerate(reversed(PEAK_ROLES)):
        rows = (drawn[keys.role] == role).to_numpy()
        if not rows.any():
            continue
        part, color = drawn[rows], _COLORS[role]
        ax.errorbar(
            part["middle"], part[keys.effect], _INTERVAL * part[keys.se], fmt="none", ecolor=color,
            elinewidth=0.8 if order == 0 else 1.2, zorder=2 + 2 * order,
        )  # fmt: skip
        ax.scatter(
            part["middle"], part[keys.effect], s=area[rows], zorder=3 + 2 * order,
            facecolors=color if _FILLED[role] else "white", edgecolors=color, linewidths=1.0,
        )  # fmt: skip


def _draw_start(ax: Axes, place: pd.Series, table: pd.DataFrame) -> None:
    """Draw the start site, with the direction of transcription where the strand is known, in a free strip at the bottom."""
    tss, strand = place["tss"], place["strand"]
    low, high = min(table["middle"].min(), tss), max(table["middle"].max(), tss)
    span = max(high - low, 2000)
    ax.set_xlim(low - 0.08 * span, high + 0.08 * span)
    bottom, top = ax.get_ylim()
    strip = 0.16 * (top - bottom)
    ax.set_ylim(bottom - strip, top)
    ax.axvline(tss, color=INK, linewidth=0.6, linestyle=(0, (2, 3)), zorder=1)
    foot, head = bottom - 0.85 * strip, bottom - 0.3 * strip
    ax.plot([tss, tss], [foot, head], color=INK, linewidth=1.3, zorder=9)
    if strand in {"+", "-"}:
        reach = 0.06 * span * (-1 if strand == "-" else 1)
        ax.annotate(
            "", (tss + reach, head), (tss, head), zorder=9, arrowprops={
                "arrowstyle": "-|>", "color": INK, "linewidth": 1.3, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 9
            },
        )  # fmt: skip
    side = "right" if strand == "-" else "left"
    ax.text(tss, foot, " TSS ", fontsize=SMALL, color=INK, ha="left" if side == "right" else "right", va="bottom")


def _legend(ax: Axes, drawn: pd.DataFrame, keys: GeneFunctionKeys, least: float) -> None:
    """Name the roles that occur, how many peaks have them, and the band."""
    counts = drawn[keys.role].value_counts()
    handles: list[Line2D | Patch] = [
        Line2D(
            [], [], marker="o", linestyle="none", markersize=6, color=_COLORS[role], label=f"{role} ({counts[role]})",
            markerfacecolor=_COLORS[role] if _FILLED[role] else "white",
        )
        for role in PEAK_ROLES
        if counts.get(role, 0)
    ]  # fmt: skip
    handles.append(Patch(facecolor=NEUTRAL, alpha=0.3, linewidth=0, label=f"effect below {least:g}"))
    ax.legend(
        handles=handles, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(handles), frameon=False, fontsize=SMALL,
        borderaxespad=0, handletextpad=0.3, columnspacing=1.0,
    )  # fmt: skip
