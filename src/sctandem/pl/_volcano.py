from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib import pyplot as plt

from sctandem._checks import check_number
from sctandem._keys import DEKeys
from sctandem.get._de import check_one, de
from sctandem.pl._style import ACTIVATING, INK, NEUTRAL, REPRESSING, TEXT, name_points, plain

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes


def volcano(
    adata: AnnData,
    state: str | None = None,
    *,
    contrast: str | None = None,
    q_value: float = 0.05,
    n_names: int = 10,
    key: str = "deepde",
    ax: Axes | None = None,
) -> Axes:
    """Draw the fold change of each gene against its p-value.

    Needs :func:`sctandem.tl.differential_expression`.

    Parameters
    ----------
    adata
        The object.
    state
        Which state; may be left out where there is one.
    contrast
        Which contrast, such as `"stim vs ctrl"`; may be left out where there is one.
    q_value
        Genes up to this q-value are coloured: red with a rise, blue with a fall.
    n_names
        How many of them are named, the most significant first, 0 for none; one whose name would lie on another name or
        point is passed over. That is judged by the size and limits that the figure has now.
    key
        The `key_added` of :func:`sctandem.tl.differential_expression`.
    ax
        Axes to draw into; `None` makes new ones.

    Returns
    -------
    The axes. Across: shrunken log2 fold change. Up: -log10 of the p-value.

    Raises
    ------
    KeyError
        When nothing was tested under `key`.
    ValueError
        When there are several states or contrasts and none is named, or `n_names` is not an integer of at least 0.
    TypeError
        When `adata` is not an AnnData, or a name not text.

    Examples
    --------
    >>> import pandas as pd
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> row = dict.fromkeys(["lfc_se", "ci_low", "ci_high", "log2fc_raw", "statistic", "base_mean"], 1.0)
    >>> row |= {"state": "B", "contrast": "stim vs ctrl", "n_samples": 8, "p_value": 0.01, "q_value": 0.02}
    >>> table = pd.DataFrame([row | {"gene": "G1", "log2fc": 1.0}, row | {"gene": "G2", "log2fc": -2.0}])
    >>> adata = AnnData(uns={"deepde": {"table": table}})  # tl.differential_expression writes this
    >>> ax = td.pl.volcano(adata)
    """
    keys = DEKeys(key)
    table = de(adata, state=state, contrast=contrast, key=key)
    check_number(q_value, "q_value", low=0, high=1)
    check_number(n_names, "n_names", whole=True)
    for name, column in (("state", keys.state), ("contrast", keys.contrast)):
        check_one(table, column, name, key)
    if ax is None:
        ax = plt.subplots(figsize=(4.2, 3.8), layout="constrained")[1]
    change = table[keys.log2fc].to_numpy()
    height = -np.log10(np.maximum(table[keys.p_value].to_numpy(), 1e-300))
    chosen = (table[keys.q_value] <= q_value).to_numpy()
    color = np.where(~chosen, NEUTRAL, np.where(change > 0, ACTIVATING, REPRESSING))
    ax.scatter(change, height, s=np.where(chosen, 12, 6), c=color, linewidths=0, rasterized=len(table) > 5000)
    ax.margins(x=0.15)
    ax.set_xlabel("Log2 fold change, shrunken", fontsize=TEXT)
    ax.set_ylabel("-log10 p", fontsize=TEXT)
    title = f"{table[keys.state].iloc[0]}, {table[keys.contrast].iloc[0]}: {int(chosen.sum())} at q ≤ {q_value:g}"
    ax.set_title(title, fontsize=TEXT, color=INK, loc="left")
    plain(ax)
    name_points(ax, table[keys.gene].to_numpy()[chosen], change[chosen], height[chosen], n_names)
    return ax
