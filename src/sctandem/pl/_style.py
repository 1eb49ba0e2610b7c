from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex

from sctandem._keys import PROGRAMME_VERDICTS, VERDICTS
from sctandem.get._values import group_colors

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.image import AxesImage
    from matplotlib.transforms import Bbox
    from mudata import MuData

# colours that readers with colour blindness tell apart; those of links are not among those of groups
ACTIVATING = "#B2182B"
REPRESSING = "#2166AC"
NEUTRAL = "#B3B3B3"
INK = "#333333"

_BEST_TO_NONE = ("#009E73", "#56B4E9", "#E69F00", "#D9D9D9")
VERDICT_COLORS = dict(zip(VERDICTS, _BEST_TO_NONE, strict=True))
PROGRAMME_COLORS = dict(zip(PROGRAMME_VERDICTS, _BEST_TO_NONE, strict=True))
_GROUPS = ("#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#8C6D31", "#7B5EA7", "#999933", "#44AA99", "#DDAA99", "#6E6E6E")
_MOST_LISTED = 24  # colours of scanpy's longest list; the next two are greys, which are kept for what is unknown

# part of the fold changes that colours hold apart, the smallest change at which they end, the part of it from which a square is dark
_PART, _FAINTEST, _DARK = 0.95, 0.5, 0.6
EMPTY = "#E5E5E5"

TEXT = 9
SMALL = 8


def colors_of_groups(mdata: MuData, groupby: str | None, groups: pd.Series, names: Sequence[str]) -> dict[str, str]:
    """Return a colour for each category: those kept for it in ``uns``, or else a palette that can be told apart."""
    categories = list(groups.cat.categories)
    if groupby is None:
        return dict.fromkeys(categories, "#6E6E6E")
    kept = group_colors(mdata, groupby, names)
    if kept is not None and len(kept) >= len(categories):
        return dict(zip(categories, kept, strict=False))
    return dict(zip(categories, palette(len(categories)), strict=True))


def palette(n: int) -> list[str]:
    """Return colours that can be told apart."""
    if n <= len(_GROUPS):
        return list(_GROUPS[:n])
    if n <= _MOST_LISTED:
        # here, not above: scanpy takes long to import
        from scanpy.plotting.palettes import default_20, default_28

        return [str(color) for color in (default_20 if n <= len(default_20) else default_28)[:n]]
    return [to_hex(color) for color in colormaps["turbo"](np.linspace(0.03, 0.97, n))]


def given_axes(axes: Axes | Sequence[Axes] | None, n: int, needed: str) -> list[Axes] | None:
    """Return the axes that a caller gives to draw to, one by itself among them; `None` where none are given.

    Raises
    ------
    ValueError
        When there are not `n`; `needed` says what for.
    """
    if axes is None:
        return None
    found = list(np.asarray(axes, dtype=object).ravel())  # one by itself has no length
    if len(found) != n:
        msg = f"axes has {len(found)} axes; {needed}."
        raise ValueError(msg)
    return found


def plain(ax: Axes, *, keep: Sequence[str] = ("left", "bottom")) -> None:
    """Take the frame off the sides that carry no axis and the grid of the user's settings off all, and set the size of the tick labels."""
    ax.grid(visible=False)  # scanpy's set_figure_params turns it on
    for side, spine in ax.spines.items():
        spine.set_visible(side in keep)
        spine.set_color(INK)
    ax.tick_params(labelsize=SMALL, color=INK)


def draw_changes(ax: Axes, table: pd.DataFrame, called: np.ndarray, *, dot: float) -> AxesImage:
    """Draw log2 fold changes (rows down, columns across; grey where there is none), with a dot where one was called."""
    change = table.to_numpy()
    limit = max(float(np.nanquantile(np.abs(change), _PART)), _FAINTEST)
    ax.set_facecolor(EMPTY)
    ax.grid(visible=False)
    image = ax.imshow(change, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    down, across = np.nonzero(called)
    dark = np.abs(change[down, across]) > _DARK * limit  # dark dots are lost on dark squares
    ax.scatter(across, down, s=dot, c=np.where(dark, "white", INK), linewidths=0)
    ax.set_xticks(range(table.shape[1]), list(table.columns), rotation=90, fontsize=SMALL)
    ax.set_yticks(range(table.shape[0]), list(table.index), fontsize=SMALL)
    return image


def label_changes(bar: Colorbar) -> None:
    """Name the scale of fold changes."""
    bar.set_label("Log2 fold change", fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)


def legend_above(
    ax: Axes, handles: Sequence[Artist], *, columnspacing: float | None = None, handlelength: float | None = None
) -> None:
    """Put a legend of two columns above the axes, where it hides nothing; by default spaced as matplotlib does."""
    ax.legend(
        handles=handles,
        frameon=False,
        fontsize=SMALL,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=2,
        borderaxespad=0.3,
        columnspacing=columnspacing,
        handlelength=handlelength,
    )


def name_points(ax: Axes, genes: np.ndarray, x: np.ndarray, y: np.ndarray, n_names: int) -> None:
    """Name the first genes whose names have room: inside the axes, off other names and off other points."""
    ax.autoscale_view()
    root: Any = ax.figure.figure  # also where the axes are in a subfigure
    root.draw_without_rendering()  # limits and layout are final only then, and what is written can be measured
    points = ax.transData.transform(np.column_stack([x, y]))
    taken: list[Bbox] = []
    for i, gene in enumerate(genes):
        if len(taken) == n_names:
            break
        for right in (x[i] > 0, x[i] <= 0):
            name = ax.annotate(
                str(gene), (x[i], y[i]), (3 if right else -3, 2), textcoords="offset points",
                fontsize=SMALL, color=INK, ha="left" if right else "right",
            )  # fmt: skip
            box = name.get_window_extent()
            inside = ax.bbox.x0 <= box.x0 and box.x1 <= ax.bbox.x1
            if inside and not box.count_overlaps(taken) and not box.count_contains(np.delete(points, i, axis=0)):
                taken.append(box)
                break
            name.remove()
