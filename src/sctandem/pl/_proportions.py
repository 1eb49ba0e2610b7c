from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

from sctandem._bulk_keys import RSDKeys
from sctandem._checks import check_adata, check_key, check_type
from sctandem._keys import UNKNOWN
from sctandem.get._fractions import sample_table, sample_values
from sctandem.pl._style import INK, NEUTRAL, SMALL, TEXT, palette, plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anndata import AnnData
    from matplotlib.axes import Axes

#: Inches of the bars, of the row of a type, and of a sample; and of all samples together, least and most.
_BARS, _ROW, _SAMPLE, _LEAST, _MOST = 2.4, 0.55, 0.24, 3.0, 11.0
#: Most samples whose names are written.
_MOST_NAMED = 45
#: Most entries of a column of the legend.
_MOST_LISTED = 12
#: Room between groups, in samples.
_GAP = 0.8
#: Most groups that are drawn.
_MOST_GROUPS = 20


def proportions(
    adata: AnnData,
    groupby: str | None = None,
    *,
    intervals: bool = True,
    colors: Mapping[str, str] | None = None,
    key: str = "rsd",
    ax: Axes | None = None,
) -> Axes:
    """Draw of which cells bulk samples are made: stacked bars, and below them each type with its intervals.

    Needs :func:`sctandem.tl.deconvolve`.

    Parameters
    ----------
    adata
        The bulk.
    groupby
        Column of ``obs`` with groups of samples, which stand side by side; samples without one are left out.
    intervals
        Whether a row for each type is drawn below the bars, with the intervals of 90 % and the mean of each group.
    colors
        Colour of a type by its name, such as that of the single cells; types that it lacks get one of their own.
    key
        The `key_added` of :func:`sctandem.tl.deconvolve`.
    ax
        Axes for the bars, which are then drawn without intervals; `None` makes a figure.

    Returns
    -------
    The axes of the bars; ``.figure`` has the rows below. The type that varies most is at the bottom and orders the samples within their group, others
    are stacked by their mean, and the unknown share lies on top, in grey. Rows stand in the order of the stack and have scales of their own.

    Raises
    ------
    KeyError
        When nothing was deconvolved under `key`, or there is no column `groupby`.
    ValueError
        When no sample has a group, or there are more than 20.
    TypeError
        When `adata` is not an AnnData, `intervals` not a bool, or a name not text.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> adata = AnnData(np.ones((2, 3)), obs=pd.DataFrame({"rsd_unknown": [0.0, 0.2]}, index=["s1", "s2"]))
    >>> shares = pd.DataFrame({"B": [0.3, 0.4], "T": [0.7, 0.4]}, index=adata.obs_names)
    >>> for name, off in (("fractions", 0), ("low", -0.1), ("high", 0.1)):
    ...     adata.obsm[f"rsd_{name}"] = shares + off  # tl.deconvolve writes these
    >>> ax = td.pl.proportions(adata)
    """
    check_adata(adata)
    check_type(intervals, bool, "intervals")
    keys = RSDKeys(key)
    shares = sample_table(adata, keys.fractions, key)
    unknown = sample_values(adata, keys.unknown, key)
    groups = _groups(adata, groupby)
    types = _stack(shares)
    order = np.lexsort([-shares[types[0]].to_numpy(dtype=float), groups.cat.codes])
    order = order[groups.cat.codes.to_numpy()[order] >= 0]
    codes = groups.cat.codes.to_numpy()[order]
    places = np.arange(len(order)) + _GAP * codes
    shades = _shades(types, colors or {})
    rows = types[::-1] if intervals and ax is None else []
    ends = [sample_table(adata, name, key) for name in (keys.low, keys.high)] if rows else []
    axes = _axes(len(order), len(rows)) if ax is None else [ax]
    layers = [*((name, shares[name]) for name in types), (UNKNOWN, unknown)]
    _bars(axes[0], places, [(name, 100 * values.to_numpy(dtype=float)[order]) for name, values in layers], shades)
    if groupby is not None:
        _name_groups(axes[0], places, codes, list(groups.cat.categories))
    for axis, name in zip(axes[1:], [UNKNOWN, *rows], strict=False):
        values = 100 * (unknown if name == UNKNOWN else shares[name]).to_numpy(dtype=float)[order]
        reach = None if name == UNKNOWN else [100 * end[name].to_numpy(dtype=float)[order] for end in ends]
        _row(axis, places, codes, values=values, reach=reach, name=name, shade=shades[name])
    if rows:
        line = "the mean" if groupby is None else "the mean of a group"
        axes[1].set_title(f"Each in %, with intervals of 90 % and {line}", fontsize=SMALL, color=INK, loc="left")
    else:
        _legend(axes[0], types, shades)
    _name_samples(axes[-1], places, [str(name) for name in adata.obs_names[order]])
    return axes[0]


def _groups(adata: AnnData, groupby: str | None) -> pd.Series:
    """Return the group of each sample; missing where it has none."""
    if groupby is None:
        return pd.Series(pd.Categorical(["all"] * adata.n_obs), index=adata.obs_names)
    groups = check_key(adata.obs, groupby, "adata.obs").astype("category").cat.remove_unused_categories()
    n_groups = len(groups.cat.categories)
    if not 0 < n_groups <= _MOST_GROUPS:
        what = "is missing for all samples" if n_groups == 0 else f"has {n_groups} different values"
        msg = f"adata.obs[{groupby!r}] {what}; a column with 1 to {_MOST_GROUPS} groups is needed."
        raise ValueError(msg)
    return groups


def _stack(shares: pd.DataFrame) -> list[str]:
    """Order the types from the bottom: the one that varies most, then the others by their mean."""
    means = shares.mean().sort_values(ascending=False, kind="stable")
    first = shares[means.index].std(ddof=0).idxmax()
    return [first, *means.index.drop(first)]


def _shades(types: list[str], colors: Mapping[str, str]) -> dict[str, str]:
    """Give each type its colour, and grey to what is unknown."""
    free = len(types)
    # the tenth of the palette is a grey, which is kept for what is unknown
    own = dict(zip(types, palette(free + (free == 10)), strict=False))
    return own | {name: str(colors[name]) for name in types if name in colors} | {UNKNOWN: NEUTRAL}


def _axes(n_samples: int, n_rows: int) -> list[Axes]:
    """Make a figure with axes for the bars, and for a row of each type and of what is unknown."""
    wide = float(np.clip(_SAMPLE * n_samples, _LEAST, _MOST)) + 2.2
    n = n_rows + bool(n_rows)
    _, axes = plt.subplots(
        n + 1,
        1,
        figsize=(wide, _BARS + _ROW * n + 0.9),
        sharex=True,
        squeeze=False,
        height_ratios=[_BARS, *[_ROW] * n],
        layout="constrained",
    )
    return list(axes[:, 0])


def _bars(ax: Axes, places: np.ndarray, layers: list[tuple[str, np.ndarray]], shades: dict[str, str]) -> None:
    """Stack the shares of each sample."""
    bottom = np.zeros(len(places))
    # an edge of many bars would hide what it parts
    edge = {"edgecolor": "white", "linewidth": 0.4} if len(places) <= _MOST_NAMED else {"linewidth": 0}
    for name, values in layers:
        ax.bar(
            places,
            values,
            bottom=bottom,
            width=0.9 if edge["linewidth"] else 1.0,
            color=shades[name],
            label=name,
            **edge,
        )
        bottom = bottom + values
    ax.set_ylim(0, 100)
    ax.set_xlim(places[0] - 0.7, places[-1] + 0.7)
    ax.set_ylabel("Share of cells in %", fontsize=TEXT)
    plain(ax)


def _name_groups(ax: Axes, places: np.ndarray, codes: np.ndarray, names: list[str]) -> None:
    """Write the groups above their bars, slanted where they would run into one another."""
    span = places[-1] - places[0] + 1
    crowded = any(len(str(name)) > 70 * (codes == code).sum() / span for code, name in enumerate(names))
    for code, name in enumerate(names):
        text = f"{name} ({(codes == code).sum()})"
        ax.annotate(
            text, (places[codes == code].mean(), 1), (0, 3), xycoords=ax.get_xaxis_transform(), textcoords="offset points",
            ha="left" if crowded else "center", va="bottom", rotation=30 if crowded else 0, fontsize=SMALL, color=INK,
        )  # fmt: skip


def _row(
    ax: Axes,
    places: np.ndarray,
    codes: np.ndarray,
    *,
    values: np.ndarray,
    reach: Sequence[np.ndarray] | None,
    name: str,
    shade: str,
) -> None:
    """Draw one type: a point and its interval for each sample, and a line at the mean of each group."""
    width = float(np.clip(150 / len(places), 0.8, 2.0))
    if reach is not None:
        ax.vlines(places, reach[0], reach[1], color=shade, linewidth=width, alpha=0.65)
    ax.scatter(places, values, s=float(np.clip(600 / len(places), 4, 14)), color=shade, linewidths=0, zorder=3)
    for code in np.unique(codes):
        inside = codes == code
        if inside.sum() < 2:
            continue
        ends = [places[inside][0] - 0.5, places[inside][-1] + 0.5]
        ax.plot(ends, [values[inside].mean()] * 2, color=INK, linewidth=0.8, zorder=4)
    top = max(float(np.nanmax(values if reach is None else reach[1])), 1.0)
    ax.set_ylim(-0.06 * top, 1.14 * top)
    ax.yaxis.set_major_locator(MaxNLocator(2, steps=[1, 2, 5, 10]))
    beside: dict[str, Any] = {
        "xycoords": "axes fraction",
        "textcoords": "offset points",
        "va": "center",
        "fontsize": SMALL,
    }
    ax.annotate("■", (1, 0.5), (4, 0), color=shade, **beside)
    ax.annotate(name, (1, 0.5), (16, 0), color=INK, **beside)
    plain(ax)
    ax.spines["bottom"].set_color("#DDDDDD")
    ax.tick_params(axis="x", length=0)


def _legend(ax: Axes, types: list[str], shades: dict[str, str]) -> None:
    """Name the colours to the right of the bars, in the order of the stack."""
    handles = [plt.Rectangle((0, 0), 1, 1, color=shades[name]) for name in [UNKNOWN, *types[::-1]]]
    ax.legend(
        handles, [UNKNOWN, *types[::-1]], frameon=False, fontsize=SMALL, loc="upper left", bbox_to_anchor=(1, 1),
        handlelength=1, handleheight=1, ncols=-(-len(handles) // _MOST_LISTED), columnspacing=1,
    )  # fmt: skip


def _name_samples(ax: Axes, places: np.ndarray, names: list[str]) -> None:
    """Write the names of the samples where there is room, or else how many there are."""
    if len(names) > _MOST_NAMED:
        ax.set_xticks([])
        ax.set_xlabel(f"{len(names)} samples", fontsize=TEXT)
        return
    slanted = max(map(len, names)) > 3
    ax.set_xticks(places, names, rotation=90 if slanted else 0, fontsize=SMALL)
