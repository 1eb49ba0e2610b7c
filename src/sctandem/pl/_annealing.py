from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from sctandem._checks import check_adata, check_key, check_slot, check_table
from sctandem._keys import AnnealKeys
from sctandem.get._values import group_colors
from sctandem.pl._style import INK, NEUTRAL, SMALL, TEXT, given_axes, legend_above, palette, plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

_HEIGHT, _WIDTHS = 3.7, (3.9, 3.1, 3.9)
"""Inches of the figure and of its axes."""
_LEAF, _MOST_NAMED = 0.21, 60
"""Inches that the name of a cluster needs below the tree, and the most clusters that are named."""
_COLUMNS = 20
"""Of the block of a cluster in the picture of memberships, wide enough to be seen: of more cells the last of every so many is shown."""
_FLOOR, _STRIP = 1e-6, 2e-7
"""Least membership that is drawn, and where the strip below that names the clusters ends."""


def annealing(adata: AnnData, *, key: str = "anneal", axes: Sequence[Axes] | None = None) -> Figure:
    """Draw what annealing found: the tree of splits, the phases, and the memberships of the cells.

    Needs :func:`sctandem.tl.anneal`.

    Parameters
    ----------
    adata
        The object.
    key
        The `key_added` of :func:`sctandem.tl.anneal`.
    axes
        Three axes to draw to; `None` makes a figure.

    Returns
    -------
    The figure. Left: the tree, every split at the temperature below which it happens (on a scale of square roots, that is of distances), the
    clusters with their shares of the cells; a split is dashed that only `n_clusters` of :func:`sctandem.tl.anneal` made, where
    neither a valley nor a shoulder parts the cells. Middle: number of clusters on the way down in temperature, and of those in the tree.
    Right: how uncertain each cell is. Every cluster has a block, all equally wide, its cells from certain to uncertain; the height is the
    membership of a cell in all other clusters together (logarithmic, empty below a millionth), the colour the one it has most of; of more than 20 cells the most uncertain of each
    twentieth are drawn. Clusters are in the
    order of the tree. Tree and phases are those of all cells that clusters were
    found on, the memberships those of the cells at hand. Of more than 60 clusters none has a name.

    Raises
    ------
    KeyError
        When :func:`sctandem.tl.anneal` has not been run under `key`.
    ValueError
        When there are not three axes.
    TypeError
        When `adata` is not an AnnData.

    Examples
    --------
    >>> import numpy as np
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> rng = np.random.default_rng(0)
    >>> types = rng.integers(3, size=600)
    >>> adata = AnnData(obsm={"X_pca": 8 * np.eye(3, 10)[types] + rng.normal(size=(600, 10))})
    >>> td.tl.anneal(adata)
    >>> figure = td.pl.annealing(adata)
    """
    check_adata(adata)
    axes = given_axes(axes, 3, "three are needed, for the tree, the phases and the memberships")
    keys = AnnealKeys(key)
    function = f"td.tl.anneal(adata, key_added={key!r})"
    found = check_slot(adata.uns, keys.key, "adata.uns", function)
    memberships = check_slot(adata.obsm, keys.memberships, "adata.obsm", function)
    groups = check_key(adata.obs, keys.key, "adata.obs")
    tree, phases = (check_table(found, name, f"adata.uns[{key!r}]", function) for name in (keys.tree, keys.phases))
    colors = _colors(adata, groups, memberships.shape[1])
    widths = [max(_WIDTHS[0], _LEAF * min(len(colors), _MOST_NAMED)), *_WIDTHS[1:]]
    if axes is None:
        axes = plt.subplots(1, 3, figsize=(sum(widths), _HEIGHT), layout="constrained", width_ratios=widths)[1]
    units = _units(found.get(keys.params, {}))
    order = _draw_tree(axes[0], tree, colors, keys)
    axes[0].set_ylabel(f"Critical temperature\n({units})", fontsize=TEXT)
    _draw_phases(axes[1], phases, tree, keys)
    axes[1].set_xlabel(f"Temperature, falling\n({units})", fontsize=TEXT)
    _draw_memberships(axes[2], np.asarray(memberships), list(colors.values()), order)
    return cast("Figure", axes[0].figure)


def _units(params: Mapping[str, Any]) -> str:
    """Name the units of temperatures."""
    metric = params.get("metric", "within")
    if metric == "kernel":
        return "kernel features"
    if metric == "given" or "temperature" in params:
        return f"squared units of {params['use_rep']}".replace("$", r"\$")
    return "variances within clusters"


def _colors(adata: AnnData, groups: pd.Series, n_clusters: int) -> dict[str, str]:
    """Return a colour for every cluster that was found, also for one of which no cell is left."""
    names = [str(number) for number in range(n_clusters)]
    colors = dict(zip(names, palette(n_clusters), strict=True))
    kept = group_colors(adata, str(groups.name), [])
    here = [str(name) for name in groups.astype("category").cat.categories]
    if kept is not None and len(kept) >= len(here):
        colors |= {name: color for name, color in zip(here, kept, strict=False) if name in colors}
    return colors


def _draw_tree(ax: Axes, tree: pd.DataFrame, colors: dict[str, str], keys: AnnealKeys) -> list[int]:
    """Draw the tree from the root at the top, its leaves side by side; give the clusters from left to right."""
    parent = tree[keys.parent].to_numpy()
    cluster = tree[keys.cluster].astype(str).to_numpy()
    temperature = tree[keys.temperature].to_numpy(dtype=float)
    children = {node: np.flatnonzero(parent == node) for node in range(len(tree))}
    splits = temperature[np.isfinite(temperature)]
    high = splits.max() if len(splits) else 1.0
    height = np.where(np.isfinite(temperature), temperature, 0.0)
    forced = tree[keys.forced].to_numpy(dtype=bool) if keys.forced in tree else np.zeros(len(tree), dtype=bool)
    place = np.zeros(len(tree))
    for i, leaf in enumerate(_leaves(children, 0)):
        place[leaf] = i
    for node in range(len(tree) - 1, -1, -1):  # children come after their parents
        if len(children[node]):
            place[node] = place[children[node]].mean()
    for node, below in children.items():
        style = (0, (2, 1.2)) if forced[node] else "-"
        if len(below):
            ax.plot(place[below], [height[node]] * len(below), color=INK, linewidth=1.2, linestyle=style)
        for child in below:
            color = colors.get(cluster[child], INK)
            ax.plot(
                [place[child]] * 2, [height[node], height[child]], color=color, linestyle=style,
                linewidth=1.2 if not cluster[child] else 2,
            )  # fmt: skip
    for leaf in _leaves(children, 0):
        share = tree[keys.mass].iloc[leaf]
        label = f"{cluster[leaf]}\n{100 * share:.0f}" if share >= 0.01 else f"{cluster[leaf]}\n<1"
        ax.scatter(place[leaf], 0, s=12 + 200 * share, color=colors.get(cluster[leaf], INK), zorder=3, clip_on=False)
        if len(colors) <= _MOST_NAMED:
            ax.annotate(
                label, (place[leaf], 0), (0, -9), textcoords="offset points", ha="center", va="top", fontsize=SMALL
            )
    # roots, as of distances: on a logarithmic scale the first splits run into each other, on a linear one the last
    ax.set_yscale("function", functions=(lambda t: np.sqrt(np.maximum(t, 0)), np.square))
    ax.set_ylim(0, high * 1.1)
    ax.yaxis.set_major_locator(FixedLocator(_ticks_of_roots(high)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.margins(x=0.08)
    if forced.any():
        line = Line2D(
            [],
            [],
            color=INK,
            linewidth=1.2,
            linestyle=(0, (2, 1.2)),
            label="only made by n_clusters: no valley, no shoulder",
        )
        legend_above(ax, [line], handlelength=2.4)
    ax.set_xlabel(
        "Cluster, and its share of the cells in %", fontsize=TEXT, labelpad=32 if len(colors) <= _MOST_NAMED else 6
    )
    plain(ax, keep=("left",))
    ax.set_xticks([])
    if not len(splits):
        ax.set_yticks([])  # there is no temperature to read
        ax.minorticks_off()
    return [int(cluster[leaf]) for leaf in _leaves(children, 0)]


def _ticks_of_roots(high: float) -> list[float]:
    """Give round numbers up to `high` that stand apart on a scale of square roots."""
    digits = [
        m * 10.0**e
        for e in range(int(np.floor(np.log10(high))) - 2, int(np.floor(np.log10(high))) + 1)
        for m in (1, 2, 5)
    ]
    ticks = [0.0]
    for value in digits:
        if value <= 1.1 * high and np.sqrt(value) - np.sqrt(ticks[-1]) > 0.09 * np.sqrt(high):
            ticks.append(value)
    return ticks


def _plain_numbers(axis: Axis) -> None:
    """Write the ticks of a logarithmic axis as numbers."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _leaves(children: dict[int, np.ndarray], node: int) -> list[int]:
    """List the leaves below a node, from left to right."""
    if not len(children[node]):
        return [node]
    return [leaf for child in children[node] for leaf in _leaves(children, int(child))]


def _draw_phases(ax: Axes, phases: pd.DataFrame, tree: pd.DataFrame, keys: AnnealKeys) -> None:
    """Draw the number of clusters against falling temperature: all that the path has, and those that are kept."""
    temperature, number = phases[keys.temperature].to_numpy(), phases[keys.n_clusters].to_numpy()
    ax.step(temperature, number, where="post", color=NEUTRAL, linewidth=1.5)
    ax.annotate(
        "small clusters of the path", (temperature[-1], number[-1]), (-4, 4), textcoords="offset points",
        ha="right", fontsize=SMALL, color="#7A7A7A",
    )  # fmt: skip
    splits = np.sort(tree[keys.temperature].dropna().to_numpy())[::-1]
    start, end = max([temperature[0], *splits]) * 1.2, min([temperature[-1], *splits])
    ax.step(
        [start, *splits, end], [1, *range(2, len(splits) + 2), len(splits) + 1], where="post", color=INK, linewidth=1.8
    )
    ax.annotate(
        f"kept: {len(splits) + 1}", (end, len(splits) + 1), (-4, 4), textcoords="offset points",
        ha="right", va="bottom", fontsize=SMALL, color=INK,
    )  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_yticks(ticks := [n for n in (1, 2, 5, 10, 20, 50, 100) if n <= 1.3 * number[-1]], [str(n) for n in ticks])
    _plain_numbers(ax.xaxis)
    ax.minorticks_off()
    ax.set_ylim(0.85 if len(splits) else 0.55, 1.5 * max(number[-1], len(splits) + 1))
    ax.invert_xaxis()
    ax.set_ylabel("Clusters", fontsize=TEXT)
    plain(ax)


def _draw_memberships(ax: Axes, memberships: np.ndarray, shades: list[str], order: list[int]) -> None:
    """Draw a block a cluster: what membership its cells have elsewhere, by falling certainty, in the colour of where most of it is."""
    own = memberships.argmax(axis=1)
    for place, cluster in enumerate(order):
        shares = memberships[own == cluster].astype(np.float64)
        shares[:, cluster] = 0
        elsewhere = shares.sum(axis=1)
        last = np.unique(np.linspace(0, len(shares), _COLUMNS + 1).round().astype(int)[1:]) - 1
        ranks = np.argsort(elsewhere)[last[last >= 0]]
        edges = place + 0.04 + 0.92 * np.linspace(0, 1, len(ranks) + 1)
        if len(ranks):
            ax.fill_between(edges[[0, -1]], _STRIP, _STRIP * 3, color=shades[cluster], linewidth=0)
            _fill_columns(ax, edges, elsewhere[ranks], [shades[i] for i in shares[ranks].argmax(axis=1)])
    ax.set_yscale("log")
    ax.set_ylim(_STRIP, 1)
    ax.set_yticks([1e-6, 1e-4, 1e-2, 1], ["$10^{-6}$", "$10^{-4}$", "0.01", "1"])
    ax.minorticks_off()
    ax.set_xlim(0, len(order))
    ax.set_ylabel("Membership in other clusters", fontsize=TEXT)
    ax.set_xlabel("Cells of each cluster, from certain to uncertain", fontsize=TEXT)
    plain(ax, keep=("left",))
    names = [str(cluster) for cluster in order] if len(order) <= _MOST_NAMED else []
    ax.set_xticks(np.arange(len(names)) + 0.5, names)
    ax.tick_params(axis="x", length=0)


def _fill_columns(ax: Axes, edges: np.ndarray, heights: np.ndarray, colors: list[str]) -> None:
    """Draw columns side by side that stand on the floor."""
    seen = heights > _FLOOR
    corners = [
        [(left, _FLOOR), (left, height), (right, height), (right, _FLOOR)]
        for left, right, height in zip(edges[:-1][seen], edges[1:][seen], heights[seen], strict=True)
    ]
    shown = [color for color, kept in zip(colors, seen, strict=True) if kept]
    ax.add_collection(PolyCollection(corners, facecolors=shown, edgecolors=shown, linewidths=0.2), autolim=False)
