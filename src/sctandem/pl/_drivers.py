from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sctandem._bulk_keys import DriverKeys
from sctandem._checks import check_number, check_positive
from sctandem.get._de import check_one
from sctandem.get._drivers import drivers as read
from sctandem.pl._style import INK, SMALL, TEXT, draw_changes, label_changes, plain

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours of the two parts of a change.
COMPOSITION, EXPRESSION = "#E69F00", "#009E73"


def drivers(
    adata: AnnData,
    n_genes: int = 20,
    *,
    group: str | None = None,
    max_q: float = 0.05,
    key: str = "drivers",
) -> Figure:
    """Draw the genes that drive a difference between groups of bulk samples, where they change, and what composition adds.

    Needs :func:`sctandem.tl.drivers`.

    Parameters
    ----------
    adata
        The bulk.
    n_genes
        Genes, the most significant first; those of a pattern stand together.
    group
        Which group; may be left out where one was compared with the reference.
    max_q
        Only genes up to this q-value are shown; in the types where they reach it they have a dot.
    key
        The `key_added` of :func:`sctandem.tl.drivers`.

    Returns
    -------
    The figure. Left: genes down, types across, coloured by log2 fold change within the type (red a rise, blue a fall, grey where the type
    makes less than 5 % of the gene). Right: the part of each gene's change that composition makes and that of expression, and
    a mark at their sum.

    Raises
    ------
    KeyError
        When nothing was tested under `key`.
    ValueError
        When there are several groups and none is named, or no gene reaches `max_q`.
    TypeError
        When `adata` is not an AnnData, or a name not text.

    Examples
    --------
    >>> import pandas as pd
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> row = {"gene": "G1", "group": "case", "statistic": 5.0, "p_value": 0.01, "q_value": 0.02}
    >>> parts = {"log2fc": 1.5, "composition": 0.5, "expression": 1.0, "pattern": "B up", "candidates": "B"}
    >>> within = {"cell_type": "B", "log2fc": 2.0, "se": 0.3, "share": 0.5}
    >>> tables = {"genes": pd.DataFrame([row | parts]), "types": pd.DataFrame([row | within])}
    >>> adata = AnnData(uns={"drivers": tables})  # tl.drivers writes this
    >>> figure = td.pl.drivers(adata)
    """
    keys = DriverKeys(key)
    check_positive(n_genes, "n_genes", whole=True)
    check_number(max_q, "max_q", low=0, high=1)
    table = read(adata, group=group, key=key)
    check_one(table, keys.group, "group", key)
    shown = table[table[keys.q_value] <= max_q].head(n_genes)
    if not len(shown):
        msg = f"no gene of adata.uns[{key!r}] has a q-value of at most {max_q}; raise max_q, or look at td.get.drivers(adata)."
        raise ValueError(msg)
    order = {pattern: i for i, pattern in enumerate(dict.fromkeys(shown[keys.pattern]))}
    shown = shown.iloc[np.argsort(shown[keys.pattern].map(order).to_numpy(), kind="stable")]
    within = read(adata, group=str(shown[keys.group].iloc[0]), cell_type="all", key=key)
    types = sorted(within[keys.cell_type].unique())
    size = (3.4 + 0.32 * len(types) + 2.6, 1.9 + 0.21 * len(shown))
    figure, (left, right) = plt.subplots(
        1, 2, figsize=size, layout="constrained", sharey=True, width_ratios=[0.32 * len(types) + 0.6, 2.4]
    )
    wide = within[within[keys.gene].isin(shown[keys.gene])].pivot_table(
        index=keys.gene, columns=keys.cell_type, values=[keys.log2fc, keys.q_value]
    )
    genes = list(shown[keys.gene])
    change, below = (wide[column].reindex(index=genes, columns=types) for column in (keys.log2fc, keys.q_value))
    _squares(left, change, (below <= max_q).to_numpy())
    _parts(right, shown, keys)
    run = adata.uns[key].get(keys.params, {})
    title = str(shown[keys.group].iloc[0]) + (f" vs {run['reference']}" if "reference" in run else "")
    figure.suptitle(title, fontsize=TEXT, color=INK, x=0.01, ha="left")
    return figure


def _squares(ax: Axes, table: pd.DataFrame, called: np.ndarray) -> None:
    """Draw the changes within types (genes x types), with a dot where one was found."""
    image = draw_changes(ax, table, called, dot=12)
    ax.set_title("Change within type", fontsize=SMALL, color=INK, loc="left")
    shrink = min(1.0, 8 / len(table))
    label_changes(ax.figure.colorbar(image, ax=ax, location="left", shrink=shrink, pad=0.02, aspect=12))


def _parts(ax: Axes, shown: pd.DataFrame, keys: DriverKeys) -> None:
    """Draw the two parts of each change, and the names of the patterns."""
    rows = np.arange(len(shown))
    composition, expression = (shown[column].to_numpy() for column in (keys.composition, keys.expression))
    # parts of one sign are stacked, those of two signs go either way from 0
    start = np.where(np.sign(composition) == np.sign(expression), composition, 0.0)
    ax.barh(rows, composition, height=0.7, color=COMPOSITION)
    ax.barh(rows, expression, height=0.7, left=start, color=EXPRESSION)
    ax.scatter(shown[keys.log2fc], rows, marker="|", s=70, color=INK, linewidths=1.5, zorder=3)
    ax.axvline(0, color=INK, linewidth=0.8)
    ax.set_xlabel("Log2 fold change of the bulk", fontsize=SMALL)
    plain(ax, keep=("bottom",))
    ax.tick_params(axis="y", length=0, labelleft=False)
    patterns = shown[keys.pattern].to_numpy()
    starts = np.flatnonzero(np.append(True, patterns[1:] != patterns[:-1]))
    for first, after in zip(starts, np.append(starts[1:], len(patterns)), strict=True):
        ax.text(
            1.02,
            (first + after - 1) / 2,
            patterns[first],
            transform=ax.get_yaxis_transform(),
            fontsize=SMALL,
            va="center",
        )
        if first:
            ax.axhline(first - 0.5, color=INK, linewidth=0.5, linestyle=":")
    handles = [
        Patch(color=COMPOSITION, label="composition"),
        Patch(color=EXPRESSION, label="expression"),
        Line2D([], [], marker="|", linestyle="", color=INK, markersize=8, label="sum"),
    ]
    ax.legend(
        handles=handles, frameon=False, fontsize=SMALL, loc="lower left", bbox_to_anchor=(0, 1), ncols=3,
        borderaxespad=0.1, columnspacing=0.9, handlelength=1.0,
    )  # fmt: skip
