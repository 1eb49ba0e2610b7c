from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D

from sctandem._check_arguments import check_number, check_positive
from sctandem._regulation_keys import RegulatoryGraphKeys
from sctandem.get import regulatory_graph as read_edges
from sctandem.pl._style import ACTIVATING, INK, REPRESSING, SMALL, TEXT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from matplotlib.axes import Axes
    from mudata import MuData

#: Inches between two names, least inches of the figure, widths of the weakest and strongest line.
_STEP, _LEAST, _THIN, _THICK = 0.2, 3.0, 0.4, 2.6


def regulatory_graph(
    data: AnnData | MuData,
    tfs: Sequence[str] | None = None,
    *,
    n_tfs: int = 8,
    n_targets: int = 6,
    fdr: float = 0.05,
    key: str = "regulatory_graph",
    ax: Axes | None = None,
) -> Axes:
    """Draw the strongest edges: factors on the left, ordered so that those above regulate those below, and targets on the right.

    Needs :func:`sctandem.tl.regulatory_graph`.

    Parameters
    ----------
    data
        The object.
    tfs
        The factors to draw; by default those with the largest sum of weights.
    n_tfs, n_targets
        How many factors, and targets of each, at most; half as many of its edges to other factors.
    fdr
        Largest false discovery rate of the edges, between 0 and 1.
    key
        The `key_added` of :func:`sctandem.tl.regulatory_graph`.
    ax
        Axes to draw on; by default new ones.

    Returns
    -------
    The axes. Red lines activate and blue ones repress, thicker ones weigh more; bows on the left join factors.

    Raises
    ------
    KeyError
        When there is no such result.
    ValueError
        When no edge is left.
    TypeError
        When `data` is neither an AnnData nor a MuData, or a name not text.

    Examples
    --------
    >>> import pandas as pd
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> adata = AnnData(shape=(2, 3))
    >>> edges = pd.DataFrame(
    ...     {"tf": "SPI1", "target": ["CSF1R", "LYZ"], "weight": [1.0, 0.4], "sign": [1, -1], "fdr": 0.01}
    ... )
    >>> adata.uns["regulatory_graph"] = {"table": edges}  # tl.regulatory_graph writes this
    >>> ax = td.pl.regulatory_graph(adata)
    """
    check_positive(n_tfs, "n_tfs", whole=True)
    check_positive(n_targets, "n_targets", whole=True)
    check_number(fdr, "fdr", low=0, high=1)
    keys = RegulatoryGraphKeys(key)
    table = read_edges(data, tfs, fdr=fdr, key=key).astype({keys.tf: str, keys.target: str})
    if table.empty:
        msg = f"no edge has an FDR of at most {fdr}; raise fdr, or look at td.get.regulatory_graph(data)."
        raise ValueError(msg)
    table[keys.weight] = table[keys.weight] - min(float(table[keys.weight].min()), 0)
    chosen = strongest_factors(table, keys, int(n_tfs))
    table = table[table[keys.tf].isin(chosen)]
    # half as many bows as lines: more of them cover each other
    between = table[table[keys.target].isin(chosen)].groupby(keys.tf, observed=True).head(max(1, int(n_targets) // 2))
    outward = table[~table[keys.target].isin(chosen)].groupby(keys.tf, observed=True).head(int(n_targets))
    left = _by_rank(chosen, between, keys)
    # targets lie at the mean height of their factors
    height = {name: i / max(len(left) - 1, 1) for i, name in enumerate(left)}
    targets = outward.assign(height=outward[keys.tf].map(height)).groupby(keys.target)["height"].mean()
    right = list(targets.sort_values(kind="stable").index)
    if ax is None:
        tall = max(_LEAST, _STEP * max(len(right), 2 * len(left)) + 0.8)
        _, ax = plt.subplots(figsize=(5.2, tall), layout="constrained")
    place = {name: (0.0, y) for name, y in zip(left, _spread(len(left)), strict=True)}
    aim = {name: (1.0, y) for name, y in zip(right, _spread(len(right)), strict=True)}
    largest = max(float(pd.concat([between, outward])[keys.weight].max()), 1e-12)
    for row in outward.to_dict("records"):
        _line(ax, place[row[keys.tf]], aim[row[keys.target]], row[keys.weight] / largest, sign=row[keys.sign])
    for row in between.to_dict("records"):
        _bow(ax, place[row[keys.tf]][1], place[row[keys.target]][1], row[keys.weight] / largest, sign=row[keys.sign])
    for name, (x, y) in place.items():
        ax.text(x + 0.01, y, name, ha="left", va="bottom", fontsize=TEXT, color=INK, weight="bold")
        ax.plot(x, y, "o", color=INK, markersize=5, zorder=3)
    for name, (x, y) in aim.items():
        ax.text(x + 0.02, y, name, ha="left", va="center", fontsize=SMALL, color=INK)
    marks = [
        Line2D([], [], color=color, label=word)
        for color, word in ((ACTIVATING, "activates"), (REPRESSING, "represses"))
    ]
    ax.legend(handles=marks, fontsize=SMALL, frameon=False, loc="lower left", ncols=2, bbox_to_anchor=(0, 1))
    ax.set_xlim(-0.32, 1.3)
    ax.set_ylim(1.04, -0.04)
    ax.axis("off")
    return ax


def strongest_factors(table: pd.DataFrame, keys: RegulatoryGraphKeys, n: int) -> list[str]:
    """Return the factors with the largest sums of weights, largest first."""
    sums = table.groupby(keys.tf, observed=True)[keys.weight].sum().sort_values(ascending=False, kind="stable")
    return [str(name) for name in sums.index[:n]]


def _by_rank(chosen: list[str], between: pd.DataFrame, keys: RegulatoryGraphKeys) -> list[str]:
    """Order factors by what they send to other factors less what they receive."""
    sent = between.groupby(keys.tf, observed=True)[keys.weight].sum()
    received = between.groupby(keys.target, observed=True)[keys.weight].sum()
    net = {name: float(sent.get(name, 0)) - float(received.get(name, 0)) for name in chosen}
    return sorted(chosen, key=lambda name: -net[name])


def _spread(n: int) -> np.ndarray:
    return np.linspace(0, 1, n) if n > 1 else np.array([0.5])


def _line(ax: Axes, start: tuple[float, float], end: tuple[float, float], weight: float, *, sign: int) -> None:
    x = np.linspace(0, 1, 40)
    y = start[1] + (end[1] - start[1]) * (3 * x**2 - 2 * x**3)
    width = _THIN + (_THICK - _THIN) * weight
    ax.plot(x, y, color=ACTIVATING if sign > 0 else REPRESSING, linewidth=width, alpha=0.65, solid_capstyle="round")


def _bow(ax: Axes, start: float, end: float, weight: float, *, sign: int) -> None:
    color = ACTIVATING if sign > 0 else REPRESSING
    # bows down bulge less than bows up, so that both directions of a pair can be seen
    bulge = (0.08 if end > start else 0.12) + 0.18 * abs(end - start)
    angle = np.linspace(0, np.pi, 40)
    x, y = -bulge * np.sin(angle), (start + end) / 2 - (end - start) / 2 * np.cos(angle)
    width = _THIN + (_THICK - _THIN) * weight
    ax.plot(x[:-2], y[:-2], color=color, linewidth=width, alpha=0.65)
    tip = {"arrowstyle": "-|>", "color": color, "linewidth": 0, "mutation_scale": 9}
    ax.annotate("", (x[-2], y[-2]), (x[-6], y[-6]), arrowprops=tip)
