from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib import pyplot as plt
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from sctandem._checks import check_number, check_positive, check_table
from sctandem._keys import AssociationKeys
from sctandem.get._gene_associations import gene_associations as read_associations
from sctandem.pl._style import ACTIVATING, INK, NEUTRAL, REPRESSING, SMALL, TEXT, palette

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from matplotlib.axes import Axes

#: Of the circle of a module, in units of the distance between two.
RADIUS = 0.27


def gene_associations(
    adata: AnnData,
    n_pairs: int = 200,
    *,
    gene: str | Sequence[str] | None = None,
    module: str | None = None,
    n_names: int = 150,
    key: str = "gene_associations",
    ax: Axes | None = None,
) -> Axes:
    """Draw the network of genes that vary together.

    Needs :func:`sctandem.tl.gene_associations`.

    Parameters
    ----------
    adata
        The object.
    n_pairs
        Pairs that are drawn: the strongest of each module, in turn.
    gene
        Only pairs of this gene or these genes.
    module
        Only pairs of this module, such as `"M1"`.
    n_names
        Genes that are named, those with the most pairs first; 0 for none.
    key
        The `key_added` of :func:`sctandem.tl.gene_associations`.
    ax
        Axes to draw into; `None` makes new ones.

    Returns
    -------
    The axes. A circle is a module. A dot is a gene, larger the more of the drawn pairs it is in. A line is a pair: red where the
    genes rise together, blue where one falls when the other rises, wider the stronger the association.

    Raises
    ------
    KeyError
        When nothing was computed under `key`, or a gene is in no pair.
    ValueError
        When there is no such module, or no pair at all, or a number of pairs or names cannot be.
    TypeError
        When `adata` is not an AnnData, or a name not text.

    Examples
    --------
    >>> import pandas as pd
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> pair = dict.fromkeys(["correlation", "p_value", "q_value", "change", "change_p_value", "change_q_value"], 0.01)
    >>> table = pd.DataFrame([pair | {"gene_a": "G1", "gene_b": "G2", "association": 0.4, "module": "M1"}])
    >>> modules = pd.DataFrame({"gene": ["G1", "G2"], "module": "M1", "loading": 0.6})
    >>> adata = AnnData(
    ...     uns={"gene_associations": {"table": table, "modules": modules}}
    ... )  # tl.gene_associations writes this
    >>> ax = td.pl.gene_associations(adata)
    """
    keys = AssociationKeys(key)
    check_positive(n_pairs, "n_pairs", whole=True)
    check_number(n_names, "n_names", whole=True)
    table = read_associations(adata, gene, module=module, key=key)
    if not len(table):
        msg = f"adata.uns[{key!r}] holds no pair: nothing reached the false discovery rate."
        raise ValueError(msg)
    total, table = len(table), _in_turn(table, keys).head(n_pairs)
    function, needed = "td.tl.gene_associations(adata)", (keys.gene, keys.module)
    members = check_table(adata.uns[key], keys.modules, f"adata.uns[{key!r}]", function, needed)
    of_gene = dict(zip(members[keys.gene], members[keys.module], strict=True))
    circles = _circles(table, keys, of_gene, list(members[keys.gene]))
    columns, rows = _grid(len(circles))
    if ax is None:
        ax = plt.subplots(figsize=(2.4 * columns, 2.2 * rows + 0.4), layout="constrained")[1]
    place = {name: spot for circle in circles.values() for name, spot in circle.items()}
    _draw_pairs(ax, table, place, keys)
    degree = pd.concat([table[keys.gene_a], table[keys.gene_b]]).value_counts()
    for (module_name, circle), color in zip(circles.items(), palette(len(circles)), strict=True):
        where = np.array(list(circle.values()))
        size = 10 + 40 * degree[list(circle)].to_numpy() / degree.max()
        shade = color if module_name else NEUTRAL
        ax.scatter(where[:, 0], where[:, 1], s=size, color=shade, edgecolors="white", linewidths=0.6, zorder=2)
        _write_names(ax, circle, where.mean(0), set(degree.index[:n_names]))
        _write(ax, module_name or "no module", where.mean(0), TEXT, weight="bold")
    _legend(ax, table, keys)
    count = f"{len(table)} of {total}" if total > len(table) else str(total)
    ax.set_title(f"{count} associations, {len(place)} genes", fontsize=TEXT, color=INK, loc="left")
    ax.set(xlim=(-0.6, columns - 0.4), ylim=(0.57 - rows, 0.42), aspect="equal")
    ax.set_axis_off()
    return ax


def _in_turn(table: pd.DataFrame, keys: AssociationKeys) -> pd.DataFrame:
    """Sort pairs so that modules take turns, each with its strongest first."""
    table = table.sort_values(keys.association, key=np.abs, ascending=False, kind="stable")
    return table.iloc[np.argsort(table.groupby(keys.module).cumcount().to_numpy(), kind="stable")]


def _grid(n: int) -> tuple[int, int]:
    """Return columns and rows for a number of circles."""
    columns = int(np.ceil(np.sqrt(n)))
    return columns, -(-n // columns)


def _circles(
    table: pd.DataFrame, keys: AssociationKeys, of_gene: dict[str, str], order: list[str]
) -> dict[str, dict[str, np.ndarray]]:
    """Place the genes of each module around a circle, the circles on a grid."""
    drawn = list(dict.fromkeys([*table[keys.gene_a], *table[keys.gene_b]]))
    rank = {name: i for i, name in enumerate(order)}
    drawn.sort(key=lambda name: rank.get(name, len(rank)))
    modules = [*dict.fromkeys(of_gene.get(name, "") for name in drawn)]
    columns, _ = _grid(len(modules))
    found = {}
    for i, module in enumerate(modules):
        genes = [name for name in drawn if of_gene.get(name, "") == module]
        angle = np.pi / 2 - 2 * np.pi * (np.arange(len(genes)) + 0.5) / len(genes)
        around = RADIUS * np.column_stack([np.cos(angle), np.sin(angle)])
        centre = np.array([i % columns, -(i // columns)], dtype=float)
        found[module] = dict(zip(genes, centre + around, strict=True))
    return found


def _write_names(ax: Axes, circle: dict[str, np.ndarray], centre: np.ndarray, named: set[str]) -> None:
    """Write the names of genes outside their circle."""
    for name, spot in circle.items():
        if name not in named:
            continue
        out = (spot - centre) / RADIUS
        side = "left" if out[0] > 0.02 else "right" if out[0] < -0.02 else "center"
        height = "bottom" if out[1] > 0.25 else "top" if out[1] < -0.25 else "center"
        _write(ax, name, spot + 0.04 * out, SMALL - 1.5, ha=side, va=height, fontstyle="italic")


def _write(ax: Axes, text: str, place: np.ndarray, size: float, **style: Any) -> None:
    """Write a text that stands out from lines."""
    style = {"ha": "center", "va": "center"} | style
    written = ax.text(place[0], place[1], text, fontsize=size, color=INK, zorder=3, **style)
    written.set_path_effects([patheffects.withStroke(linewidth=2, foreground="white")])


def _draw_pairs(ax: Axes, table: pd.DataFrame, place: dict[str, np.ndarray], keys: AssociationKeys) -> None:
    """Draw a line a pair, the strongest on top."""
    table = table.sort_values(keys.association, key=np.abs)
    lines = [[place[a], place[b]] for a, b in zip(table[keys.gene_a], table[keys.gene_b], strict=True)]
    value = table[keys.association].to_numpy()
    strength = np.abs(value) / max(np.abs(value).max(), 1e-12)
    colors = np.where(value > 0, ACTIVATING, REPRESSING)
    ax.add_collection(
        LineCollection(lines, colors=list(colors), linewidths=0.4 + 2 * strength, alpha=0.2 + 0.4 * strength, zorder=1)
    )


def _legend(ax: Axes, table: pd.DataFrame, keys: AssociationKeys) -> None:
    """Say what the colours of lines mean, above the network."""
    positive = table[keys.association] > 0
    handles = [
        Line2D([], [], color=color, linewidth=1.5, label=label)
        for mask, color, label in ((positive, ACTIVATING, "together"), (~positive, REPRESSING, "against each other"))
        if mask.any()
    ]
    ax.legend(
        handles=handles, frameon=False, fontsize=SMALL, loc="lower right", bbox_to_anchor=(1, 1), ncols=2,
        handlelength=1.2, borderaxespad=0,
    )  # fmt: skip
