from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from sctandem._checks import check_adata, check_key, check_slot, check_table
from sctandem._keys import AnnealKeys
from sctandem.get._values import group_colors
from sctandem.pl._style import INK, NEUTRAL, SMALL, TEXT, given_axes, palette, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

_HEIGHT, _WIDTHS = 3.4, (3.7, 3.1, 3.7)
"""Inches of the figure and of its axes."""
_LEAF, _MOST_NAMED = 0.21, 60
"""Inches that the name of a cluster needs below the tree, and the most clusters that are named."""
_MOST_CELLS = 5000
"""Columns of the picture of memberships, at most: of more cells every so many is shown."""


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
    The figure. Left: the tree, every split at the temperature below which it happens (logarithmic), the
    clusters with their shares of the cells. Middle: number of clusters on the way down in temperature, and of those in the tree.
    Right: memberships, cells x clusters, cells sorted by cluster and certainty. Tree and phases are those of all cells that clusters were
    found on, the memberships those of the cells at hand. Of more than 60 clusters the tree has no names.

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
    _draw_tree(axes[0], tree, colors, keys)
    _draw_phases(axes[1], phases, tree, keys)
    _draw_memberships(axes[2], np.asarray(memberships), list(colors.values()))
    return cast("Figure", axes[0].figure)


def _colors(adata: AnnData, groups: pd.Series, n_clusters: int) -> dict[str, str]:
    """Return a colour for every cluster that was found, also for one of which no cell is left."""
    names = [str(number) for number in range(n_clusters)]
    colors = dict(zip(names, palette(n_clusters), strict=True))
    kept = group_colors(adata, str(groups.name), [])
    here = [str(name) for name in groups.astype("category").cat.categories]
    if kept is not None and len(kept) >= len(here):
        colors |= {name: color for name, color in zip(here, kept, strict=False) if name in colors}
    return colors


def _draw_tree(ax: Axes, tree: pd.DataFrame, colors: dict[str, str], keys: AnnealKeys) -> None:
    """Draw the tree from the root at the top, its leaves side by side."""
    parent = tree[keys.parent].to_numpy()
    cluster = tree[keys.cluster].astype(str).to_numpy()
    temperature = tree[keys.temperature].to_numpy(dtype=float)
    children = {node: np.flatnonzero(parent == node) for node in range(len(tree))}
    splits = temperature[np.isfinite(temperature)]
    low, high = (splits.min(), splits.max()) if len(splits) else (1.0, 1.0)
    bottom = low / (high / low) ** 0.15 / 1.3
    height = np.where(np.isfinite(temperature), temperature, bottom)
    place = np.zeros(len(tree))
    for i, leaf in enumerate(_leaves(children, 0)):
        place[leaf] = i
    for node in range(len(tree) - 1, -1, -1):  # children come after their parents
        if len(children[node]):
            place[node] = place[children[node]].mean()
    for node, below in children.items():
        if len(below):
            ax.plot(place[below], [height[node]] * len(below), color=INK, linewidth=1)
        for child in below:
            color = colors.get(cluster[child], INK)
            ax.plot(
                [place[child]] * 2, [height[node], height[child]], color=color, linewidth=1 if not cluster[child] else 2
            )
    for leaf in _leaves(children, 0):
        share = tree[keys.mass].iloc[leaf]
        label = f"{cluster[leaf]}\n{100 * share:.0f}" if share >= 0.01 else f"{cluster[leaf]}\n<1"
        ax.scatter(place[leaf], bottom, s=12 + 200 * share, color=colors.get(cluster[leaf], INK), zorder=3)
        if len(colors) <= _MOST_NAMED:
            ax.annotate(
                label, (place[leaf], bottom), (0, -9), textcoords="offset points", ha="center", va="top", fontsize=SMALL
            )
    ax.set_yscale("log")
    _plain_numbers(ax.yaxis)
    ax.set_ylim(bottom / (1.3 * high / low) ** 0.25, high * 1.3)
    ax.margins(x=0.08)
    ax.set_ylabel("Critical temperature", fontsize=TEXT)
    ax.set_xlabel("Cluster, and its share of the cells in %", fontsize=TEXT)
    plain(ax, keep=("left",))
    ax.set_xticks([])
    if not len(splits):
        ax.set_yticks([])  # there is no temperature to read
        ax.minorticks_off()


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
        f"kept: {len(splits) + 1}", (end, len(splits) + 1), (-4, -4), textcoords="offset points",
        ha="right", va="top", fontsize=SMALL, color=INK,
    )  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_yticks(ticks := [n for n in (1, 2, 5, 10, 20, 50, 100) if n <= 1.3 * number[-1]], [str(n) for n in ticks])
    _plain_numbers(ax.xaxis)
    ax.minorticks_off()
    ax.set_ylim(0.85 if len(splits) else 0.55, 1.5 * max(number[-1], len(splits) + 1))
    ax.invert_xaxis()
    ax.set_xlabel("Temperature, falling", fontsize=TEXT)
    ax.set_ylabel("Clusters", fontsize=TEXT)
    plain(ax)


def _draw_memberships(ax: Axes, memberships: np.ndarray, shades: list[str]) -> None:
    """Draw the memberships, sorted by cluster and falling certainty, as stacked shares."""
    order = np.lexsort([-memberships.max(axis=1), memberships.argmax(axis=1)])
    order = order[:: -(-len(order) // _MOST_CELLS)]
    ax.stackplot(np.arange(len(order)), memberships[order].T, colors=shades, linewidth=0)
    ax.set_xlim(0, max(len(order) - 1, 1))
    ax.set_ylim(0, 1)
    ax.set_ylabel("Membership", fontsize=TEXT)
    ax.set_xlabel("Cells, by cluster and certainty", fontsize=TEXT)
    plain(ax, keep=("left",))
    ax.set_xticks([])
