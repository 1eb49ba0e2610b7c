from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb

from sctandem._checks import (
    check_adata,
    check_n_cells,
    check_slot,
    check_table,
    check_type,
    check_unique,
    listed,
    numeric_column,
    numeric_table,
)
from sctandem._regulation_keys import WaypointKeys
from sctandem.pl._style import INK, SMALL, TEXT, given_axes, palette, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BASES = ("X_umap", "X_draw_graph_fa", "X_tsne", "X_diffmap", "X_pca")
_GREY = np.array(to_rgb("#DDDDDD"))
#: Drivers that are named at a branch point, and the false discovery rate up to which they are.
_N_NAMED, _FDR = 3, 0.05


def waypoints(
    adata: AnnData, basis: str | None = None, *, key: str = "waypoints", axes: Sequence[Axes] | None = None
) -> Figure:
    """Draw lineages: pseudotime and waypoints, lineage probabilities, and the tree of branch points.

    Needs :func:`sctandem.tl.waypoints`, and a representation to draw cells in.

    Parameters
    ----------
    adata
        The object.
    basis
        Key of ``obsm`` whose first two columns place the cells. By default the first there is of ``X_umap``, ``X_draw_graph_fa``,
        ``X_tsne``, ``X_diffmap``, ``X_pca``.
    key
        The `key_added` of :func:`sctandem.tl.waypoints`.
    axes
        Three axes to draw to; `None` makes a figure.

    Returns
    -------
    The figure. Left: cells by pseudotime, the waypoints with their likeliest steps, the root as a square. Middle: cells in the colour of
    the lineage that is most likely, the paler the less likely it is, and the terminal cells. Right: the tree over pseudotime,
    with up to three drivers (5 % false discovery rate) at each branch point.

    Raises
    ------
    KeyError
        When :func:`sctandem.tl.waypoints` has not been run under `key`, and when there is no `basis`.
    ValueError
        When there are not three axes, or `basis` has fewer than two columns.
    TypeError
        When `adata` is not an AnnData.

    Examples
    --------
    >>> import numpy as np
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> adata = AnnData(obsm={"X_pca": np.random.default_rng(0).random((100, 2)) * [1, 0.1]})
    >>> td.tl.waypoints(adata, str(adata.obsm["X_pca"][:, 0].argmin()), rng=0)
    >>> figure = td.pl.waypoints(adata)
    """
    check_adata(adata)
    axes = given_axes(axes, 3, "three are needed, for pseudotime, lineages and the tree")
    keys = WaypointKeys(key)
    function = f"td.tl.waypoints(adata, root, key_added={key!r})"
    found = check_slot(adata.uns, keys.key, "adata.uns", function)
    for name in (keys.edges, keys.waypoints, keys.terminals):
        check_table(found, name, f"adata.uns[{key!r}]", function)
    fates = numeric_table(adata.obsm, keys.probabilities, "adata.obsm", function)
    time = numeric_column(adata.obs, keys.pseudotime, "adata.obs")
    place = _places(adata, basis)
    check_n_cells(adata.n_obs, 1, "the plot", "adata")
    check_unique(adata.obs_names, "adata.obs_names")
    colors = palette(fates.shape[1])
    if axes is None:
        height = max(3.6, 0.35 * fates.shape[1] + 1)
        axes = plt.subplots(1, 3, figsize=(12.5, height), layout="constrained", width_ratios=(4.4, 3.8, 4.3))[1]
    _draw_time(axes[0], adata, place, time, found=found, keys=keys)
    _draw_fates(axes[1], adata, place, fates, colors=colors, found=found, keys=keys)
    _draw_tree(axes[2], found, list(fates.columns), colors, keys)
    return cast("Figure", axes[0].figure)


def _places(adata: AnnData, basis: str | None) -> np.ndarray:
    """Return where cells are drawn."""
    check_type(basis or "", str, "basis", hint="It names one entry of obsm.")
    name = basis or next((key for key in _BASES if key in adata.obsm), None)
    if name is None or name not in adata.obsm:
        what = f"no {basis!r}" if basis else f"none of {listed(_BASES)}"
        msg = f"adata.obsm has {what}; it has {listed(adata.obsm)}. Name one with `basis`."
        raise KeyError(msg)
    place = np.asarray(adata.obsm[name])
    if place.ndim != 2 or place.shape[1] < 2:
        msg = f"adata.obsm[{name!r}] has fewer than two columns; name another one with `basis`."
        raise ValueError(msg)
    return place[:, :2]


def _at(adata: AnnData, place: np.ndarray, cells: pd.Series) -> np.ndarray:
    """Return the places of named cells; NaN for those that are no longer there."""
    index = adata.obs_names.get_indexer(cells.astype(str))
    return np.where(index[:, None] >= 0, place[index], np.nan)


def _draw_time(
    ax: Axes,
    adata: AnnData,
    place: np.ndarray,
    time: np.ndarray,
    *,
    found: dict[str, pd.DataFrame],
    keys: WaypointKeys,
) -> None:
    """Draw cells by pseudotime, and the waypoints with the likeliest step from each."""
    size = _size(len(place))
    top = float(np.quantile(time, 0.99)) or 1.0  # a few cells far away would take all colours
    drawn = ax.scatter(
        place[:, 0], place[:, 1], c=time, s=size, cmap="viridis", vmin=0, vmax=top, linewidths=0, rasterized=True
    )
    edges = found[keys.edges].drop_duplicates(keys.source)
    lines = np.stack([_at(adata, place, edges[end]) for end in (keys.source, keys.target)], axis=1)
    ax.add_collection(LineCollection(list(lines), colors=INK, linewidths=0.4, alpha=0.6))
    table = found[keys.waypoints]
    where = _at(adata, place, table[keys.cell])
    ax.scatter(where[:, 0], where[:, 1], s=4, c=INK, linewidths=0)
    root = (table[keys.role] == keys.root).to_numpy()
    ax.scatter(
        where[root, 0], where[root, 1], s=55, marker="s", facecolor="white", edgecolor=INK, linewidths=1.4, zorder=4
    )
    bar = ax.figure.colorbar(drawn, ax=ax, shrink=0.6, pad=0.01, extend="max" if top < 1 else "neither")
    bar.set_label("Pseudotime", fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    _bare(ax, "Waypoints and likeliest steps")


def _draw_fates(
    ax: Axes,
    adata: AnnData,
    place: np.ndarray,
    fates: pd.DataFrame,
    *,
    colors: list[str],
    found: dict[str, pd.DataFrame],
    keys: WaypointKeys,
) -> None:
    """Draw cells in the colour of their likeliest lineage, and terminal cells with their names."""
    share = fates.to_numpy()
    n = share.shape[1]
    best = share.argmax(axis=1)
    sure = share.max(axis=1) if n == 1 else (share.max(axis=1) - 1 / n) / (1 - 1 / n)
    shade = _GREY + sure[:, None] * (np.array([to_rgb(color) for color in colors])[best] - _GREY)
    ax.scatter(place[:, 0], place[:, 1], c=shade, s=_size(len(place)), linewidths=0, rasterized=True)
    where = _at(adata, place, found[keys.terminals][keys.cell])
    ax.scatter(where[:, 0], where[:, 1], s=60, c=colors, edgecolor=INK, linewidths=1.2, zorder=4)
    middle = np.nanmean(place, axis=0)
    for name, at in zip(fates.columns, where, strict=True):
        if np.isfinite(at).all():
            right = at[0] >= middle[0]
            ax.annotate(
                name, at, (-6 if right else 6, 6), textcoords="offset points", ha="right" if right else "left",
                fontsize=SMALL, color=INK, bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.75}, zorder=5,
            )  # fmt: skip
    _bare(ax, "Likeliest lineage (pale: uncertain)")


def _draw_tree(
    ax: Axes, found: dict[str, pd.DataFrame], names: list[str], colors: list[str], keys: WaypointKeys
) -> None:
    """Draw the branch points over pseudotime, lineages below one another in the order of the tree."""
    terminals, branches = found[keys.terminals].set_index(keys.lineage), found[keys.branches]
    nodes = [
        (row[keys.left].split(" | "), row[keys.right].split(" | "), float(row[keys.time]), row[keys.branch])
        for _, row in branches.iterrows()
    ]
    order = list(names)
    for left, right, _, _ in nodes:  # the first branch point has all lineages, those after it parts of them
        start = min(order.index(name) for name in (*left, *right))
        order[start : start + len(left) + len(right)] = [*left, *right]
    height = {name: -float(i) for i, name in enumerate(order)}

    def joins(side: list[str]) -> tuple[float, float, str]:
        """Where the line from a branch point to a side ends, and its colour."""
        if len(side) == 1:
            return float(terminals.loc[side[0], keys.time]), height[side[0]], colors[names.index(side[0])]
        node = next(node for node in nodes if set(node[0] + node[1]) == set(side))
        return node[2], _middle_of(side, height), INK

    if nodes:
        ax.plot([0, nodes[0][2]], [_middle_of(order, height)] * 2, color=INK, linewidth=1.4)
    else:
        ax.plot([0, terminals[keys.time].iloc[0]], [0, 0], color=colors[0], linewidth=2.2)
    for left, right, when, branch in nodes:
        ends = [joins(left), joins(right)]
        ax.plot([when, when], [ends[0][1], ends[1][1]], color=INK, linewidth=1.4)
        for end, level, color in ends:
            ax.plot([when, max(end, when)], [level, level], color=color, linewidth=1.4 if color == INK else 2.2)
        drivers = found[keys.drivers]
        drivers = drivers[(drivers[keys.branch] == branch) & (drivers[keys.fdr] <= _FDR)].head(_N_NAMED)
        label = ", ".join(f"{row[keys.tf]} {'↑' if row[keys.effect] > 0 else '↓'}" for _, row in drivers.iterrows())
        if label:
            ax.annotate(
                label, (when, np.mean([end[1] for end in ends])), (4, 0), textcoords="offset points",
                fontsize=SMALL, color=INK, va="center", bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none"}, zorder=4,
            )  # fmt: skip
    ax.scatter(0, _middle_of(order, height), s=45, marker="s", facecolor="white", edgecolor=INK, zorder=3)
    for name in order:
        ax.scatter(terminals.loc[name, keys.time], height[name], s=40, color=colors[names.index(name)], zorder=3)
    ax.set_yticks([height[name] for name in order], order, fontsize=SMALL)
    ax.yaxis.tick_right()
    ax.set_xlim(-0.04, 1.04)
    ax.set_ylim(-len(order) + 0.4, 0.6)
    ax.set_xlabel("Pseudotime", fontsize=TEXT)
    ax.set_title("Branch points", fontsize=TEXT)
    plain(ax, keep=("bottom",))
    ax.tick_params(axis="y", length=0)


def _middle_of(side: Sequence[str], height: dict[str, float]) -> float:
    """Return the level of several lineages."""
    return float(np.mean([height[name] for name in side]))


def _size(n_cells: int) -> float:
    """Area of a point."""
    return float(np.clip(20_000 / max(1, n_cells), 1.5, 14))


def _bare(ax: Axes, title: str) -> None:
    """Take off all axes."""
    plain(ax, keep=())
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_title(title, fontsize=TEXT)
