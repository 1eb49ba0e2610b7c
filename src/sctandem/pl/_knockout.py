from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D

from sctandem._checks import check_positive, listed
from sctandem._talen_keys import KNOCKOUT_VERDICTS, KnockoutKeys
from sctandem.get import knockout as read_changes
from sctandem.pl._style import ACTIVATING, INK, NEUTRAL, REPRESSING, SMALL, TEXT, plain

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from mudata import MuData

#: Colours of the verdicts: what goes down as what is repressed.
_COLORS = dict(zip(KNOCKOUT_VERDICTS[:3], (REPRESSING, ACTIVATING, NEUTRAL), strict=True))
_WIDTH, _ROW, _PANEL = 7.2, 0.2, 1.15
_MAX_PANELS = 6


def knockout(mdata: MuData, element: str | None = None, *, n_genes: int = 8, key: str = "knockout") -> Figure:
    """Draw how the genes around an element are predicted to change in each group when it closes.

    Needs :func:`sctandem.tl.knockout`.

    Parameters
    ----------
    mdata
        The object.
    element
        The element; by default the first of the table.
    n_genes
        How many genes to show, those with the largest predicted change first.
    key
        The `key_added` of :func:`sctandem.tl.knockout`.

    Returns
    -------
    A figure with axes for each gene (six in a row), the groups below each other: predicted log2 fold change with its interval, coloured where the interval
    excludes 0, grey where it does not; a cross where nothing is predicted. All axes have the same scale. Below the name of a gene stands how far its start is
    from the element.

    Raises
    ------
    KeyError
        When nothing was predicted, or nothing for that element.
    ValueError
        When nothing is predicted for any gene of the element.
    TypeError
        When `mdata` is not a MuData, or a name not text.

    Examples
    --------
    >>> import sctandem as td
    >>> mdata = td.datasets.simulate_multiome(n_cells=300, n_genes=60, n_peaks=600, rng=0)
    >>> td.pp.gene_windows(mdata)
    >>> td.tl.knockout(mdata, mdata["atac"].var_names[5], settings={"n_members": 0}, rng=0)
    >>> figure = td.pl.knockout(mdata)
    """
    check_positive(n_genes, "n_genes", whole=True)
    keys = KnockoutKeys(key)
    table = read_changes(mdata, key=key)
    element = str(table[keys.element].iloc[0]) if element is None else element
    table = read_changes(mdata, element, key=key)
    told = table[table[keys.log2fc].notna()]
    if told.empty:
        reasons = ", ".join(sorted(set(table[keys.reason].astype(str))))
        others = read_changes(mdata, key=key).dropna(subset=[keys.log2fc])[keys.element].astype(str).unique()
        more = (
            f" Something is for {listed(others, 3)}: name one with element=."
            if len(others)
            else " Close other elements."
        )
        msg = f"nothing is predicted for {element!r}: {reasons}.{more}"
        raise ValueError(msg)
    genes = list(dict.fromkeys(told[keys.gene].astype(str)))[:n_genes]
    groups = [
        name
        for name in mdata.uns[key][keys.table][keys.group].astype("category").cat.categories
        if (table[keys.group] == name).any()
    ]
    n_columns = min(len(genes), _MAX_PANELS)
    n_rows = -(-len(genes) // n_columns)
    height = n_rows * (0.65 + _ROW * len(groups)) + 0.75
    figure, axes = plt.subplots(
        n_rows, n_columns, figsize=(max(_PANEL * n_columns + 1.2, 4.2), height), sharex=True, sharey=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    shown = told[told[keys.gene].isin(genes)]
    low, high = min(shown[keys.low].min(), 0.0), max(shown[keys.high].max(), 0.0)
    margin = 0.06 * max(high - low, 0.2)
    for ax, gene in zip(axes.flat, genes, strict=False):
        rows = table[table[keys.gene] == gene].set_index(keys.group).reindex(groups)
        _draw_gene(ax, rows, keys)
        distance = rows[keys.distance].iloc[0]
        where = "" if np.isnan(distance) else f"\n{distance / 1000:+.0f} kb"
        ax.set_title(gene, fontsize=TEXT, fontstyle="italic", pad=14 if where else 6)
        if where:
            ax.text(
                0.5, 1.02, where.strip(), transform=ax.transAxes, ha="center", va="bottom", fontsize=SMALL, color=INK
            )
        plain(ax, keep=("bottom",))
        ax.tick_params(axis="y", length=0)
    for ax in axes.flat[len(genes) :]:
        ax.set_visible(False)
    axes[0, 0].set_xlim(low - margin, high + margin)
    axes[0, 0].set_yticks(range(len(groups)), groups, fontsize=SMALL)
    axes[0, 0].set_ylim(len(groups) - 0.4, -0.6)
    figure.suptitle(_title(element, told, keys), fontsize=TEXT, x=0.01, ha="left")
    figure.supxlabel("Predicted log2 fold change", fontsize=TEXT, x=0.01, ha="left")  # the legend stands to the right
    _legend(figure, shown, mdata.uns[key].get(keys.params, {}).get("level", 0.9), keys)
    return figure


def _draw_gene(ax: plt.Axes, rows: pd.DataFrame, keys: KnockoutKeys) -> None:
    """Draw the intervals of one gene, a row a group."""
    ax.axvline(0, color=INK, linewidth=0.6, zorder=0)
    for at, row in enumerate(rows.itertuples()):
        value = getattr(row, keys.log2fc)
        if np.isnan(value):
            ax.plot(0, at, marker="x", color=NEUTRAL, markersize=4, zorder=2)
            continue
        color = _COLORS[str(getattr(row, keys.verdict))]
        ax.plot([getattr(row, keys.low), getattr(row, keys.high)], [at, at], color=color, linewidth=1.6, zorder=1)
        ax.plot(value, at, marker="o", color=color, markersize=4.5, zorder=2)


def _title(element: str, told: pd.DataFrame, keys: KnockoutKeys) -> str:
    n = told[keys.gene].nunique()
    return f"{element}: {n} gene{'' if n == 1 else 's'} predicted"


def _legend(figure: Figure, shown: pd.DataFrame, level: float, keys: KnockoutKeys) -> None:
    """Name the verdicts that occur."""
    handles = [
        Line2D([], [], marker="o", color=_COLORS[name], markersize=4.5, linewidth=1.6, label=name)
        for name in KNOCKOUT_VERDICTS[:3]
        if (shown[keys.verdict] == name).any()
    ]
    figure.legend(
        handles=handles, loc="outside lower right", ncols=3, frameon=False, fontsize=SMALL, title=f"{100 * level:g} % interval",
        title_fontsize=SMALL,
    )  # fmt: skip
