from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
from matplotlib import pyplot as plt

from sctandem._checks import check_data, check_slot, check_table, object_name
from sctandem._tail_keys import PARTS, HierarchyKeys, SplitKeys
from sctandem.pl._style import ACTIVATING, INK, NEUTRAL, SMALL, TEXT, given_axes, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from mudata import MuData

_HEIGHT, _WIDTH = 3.2, 4.2
"""Inches of the axes."""
_MOST_NAMED = 45
"""Clusters of which each has its name at the axis, at most."""
_NAME = 0.17
"""Inches that a name needs."""
_WEIGHED = "#0072B2"
_PART_COLORS = dict(zip(PARTS, ("#8C8C8C", "#E69F00", "#009E73"), strict=True))


def long_tail(
    data: AnnData | MuData, *, key: str = "hcm", split_key: str | None = None, axes: Sequence[Axes] | None = None
) -> Figure:
    """Draw ranked clusters with their shares of cells and of weight, and how a split divides them.

    Needs :func:`sctandem.pp.hierarchical_weights`, and for the right side :func:`sctandem.pp.long_tail_split`.

    Parameters
    ----------
    data
        The object.
    key
        The `key_added` of :func:`sctandem.pp.hierarchical_weights`.
    split_key
        The `key_added` of :func:`sctandem.pp.long_tail_split`; `None` draws no split.
    axes
        Axes to draw to, one, or two with a split; `None` makes a figure.

    Returns
    -------
    The figure. Left: clusters of the finest level by falling size, the share of each in cells and in weight, logarithmic.
    Right: cells of each cluster of the split in training, validation and test, logarithmic; a cross where a part lacks a cluster of at least three cells, in
    red. Of more than 45 clusters there are no names.

    Raises
    ------
    KeyError
        When a result is not there; names the function that writes it.
    ValueError
        When the number of axes is wrong.
    TypeError
        When `data` is not an AnnData or a MuData.

    Examples
    --------
    >>> import numpy as np
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> rng = np.random.default_rng(0)
    >>> types = np.repeat([0, 1, 2], [900, 90, 20])
    >>> adata = AnnData(obsm={"X_pca": 8 * np.eye(3, 10)[types] + rng.normal(size=(1010, 10))})
    >>> td.pp.hierarchical_weights(adata, rng=0)
    >>> td.pp.long_tail_split(adata, rng=0)
    >>> figure = td.pl.long_tail(adata, split_key="split")
    """
    check_data(data)
    keys, name = HierarchyKeys(key), object_name(data)
    function = f"td.pp.hierarchical_weights({name}, key_added={key!r})"
    found = check_slot(data.uns, key, f"{name}.uns", function)
    clusters = check_table(found, keys.clusters, f"{name}.uns[{key!r}]", function)
    divided = None
    if split_key is not None:
        function = f"td.pp.long_tail_split({name}, key_added={split_key!r})"
        found = check_slot(data.uns, split_key, f"{name}.uns", function)
        divided = check_table(found, SplitKeys(split_key).clusters, f"{name}.uns[{split_key!r}]", function)
    wanted = 1 if divided is None else 2
    axes = given_axes(axes, wanted, f"{wanted} {'is' if wanted == 1 else 'are'} needed")
    if axes is None:
        tables = [table for table in (clusters, divided) if table is not None]
        widths = [max(_WIDTH, _NAME * min(len(table), _MOST_NAMED)) for table in tables]
        shape = {"figsize": (sum(widths), _HEIGHT), "layout": "constrained", "width_ratios": widths}
        axes = plt.subplots(1, wanted, squeeze=False, **shape)[1][0]
    _draw_shares(axes[0], clusters, keys)
    if divided is not None:
        _draw_parts(axes[1], divided, SplitKeys(str(split_key)))
    return cast("Figure", axes[0].figure)


def _draw_shares(ax: Axes, table: pd.DataFrame, keys: HierarchyKeys) -> None:
    """Draw the share of each cluster in cells and in weight."""
    size = table[keys.n_cells].to_numpy(dtype=float)
    places = np.arange(len(size))
    shares = 100 * size / size.sum()
    mass = 100 * table[keys.mass].to_numpy(dtype=float)
    # dots and not bars: a bar has no foot on a logarithmic axis
    ax.vlines(places, np.minimum(shares, mass), np.maximum(shares, mass), color=NEUTRAL, linewidth=1)
    ax.scatter(places, shares, s=14, color=INK, zorder=3, label="of the cells")
    ax.scatter(places, mass, s=14, color=_WEIGHED, zorder=3, label="of the weight")
    ax.set_yscale("log")
    ax.set_ylim(min(shares.min(), mass.min()) / 2, 170)
    ax.set_ylabel("Share (%)", fontsize=TEXT)
    _percent(ax)
    _finish(ax, table[keys.cluster_name].astype(str).tolist())


def _draw_parts(ax: Axes, table: pd.DataFrame, keys: SplitKeys) -> None:
    """Draw the cells of each cluster in each part."""
    places = np.arange(len(table))
    lacking = np.zeros(len(table), dtype=bool)
    for part, shift in zip(PARTS, (-0.22, 0, 0.22), strict=True):
        cells = table[part].to_numpy(dtype=float)
        ax.scatter(places[cells > 0] + shift, cells[cells > 0], s=14, color=_PART_COLORS[part], label=part, zorder=3)
        lacking |= cells == 0
    enough = table[keys.n_cells].to_numpy() >= len(PARTS)
    for which, color in ((lacking & enough, ACTIVATING), (lacking & ~enough, NEUTRAL)):
        if which.any():
            label = "lacks in a part" if color == ACTIVATING else "fewer than 3 cells"
            ax.scatter(places[which], np.full(which.sum(), 0.6), s=22, color=color, marker="x", label=label)
    ax.set_yscale("log")
    ax.set_ylim(0.4, 4 * float(table[keys.n_cells].max()))
    ax.set_ylabel("Cells", fontsize=TEXT)
    _percent(ax)
    _finish(ax, table[keys.cluster].astype(str).tolist())


def _percent(ax: Axes) -> None:
    """Write the ticks of a logarithmic axis as plain numbers."""
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    ax.yaxis.set_minor_formatter(lambda *_: "")


def _finish(ax: Axes, names: list[str]) -> None:
    """Name the clusters, and say what colours mean."""
    ax.set_xlim(-0.7, len(names) - 0.3)
    if len(names) <= _MOST_NAMED:
        ax.set_xticks(range(len(names)), names, rotation=90, fontsize=SMALL)
        ax.set_xlabel("Cluster", fontsize=TEXT)
    else:
        ax.set_xlabel("Cluster, by falling size", fontsize=TEXT)
    ax.legend(
        fontsize=SMALL, frameon=False, ncols=3, loc="upper right", labelcolor=INK, handletextpad=0.3, columnspacing=1.0
    )
    plain(ax)
