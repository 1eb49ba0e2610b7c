from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import pyplot as plt

from sctandem._adversarial_keys import RobustnessKeys
from sctandem._checks import check_type
from sctandem.get import robustness as read_robustness
from sctandem.pl._style import INK, SMALL, TEXT, palette, plain

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.figure import Figure

#: Attacks in the order of the panels, and what their strength is.
_PANELS = {
    "pgd": ("Gradient attack", "Radius (log1p per 10,000)"),
    "genes": ("Few genes changed", "Genes changed"),
    "dropout": ("Genes dropped", "Part of genes lost"),
    "depth": ("Molecules lost", "Part of molecules lost"),
}


def robustness(adata: AnnData, key: str | Sequence[str] = "robustness") -> Figure:
    """Draw how accuracy falls as attacks grow, for one model or several.

    Needs :func:`sctandem.tl.robustness`.

    Parameters
    ----------
    adata
        The object.
    key
        The `key_added` of :func:`sctandem.tl.robustness`; several, to compare models.

    Returns
    -------
    A figure of a panel an attack: share of cells that are still read as what they are (line) against the strength, from no
    attack at the left. The legend gives the score of each key.

    Raises
    ------
    KeyError
        When :func:`sctandem.tl.robustness` has not been run under `key`.
    TypeError
        When `adata` is not an AnnData, or `key` neither a name nor a list of names.
    ValueError
        When `key` names no result.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> adata = AnnData(np.ones((2, 3)))
    >>> row = {"attack": ["pgd"], "strength": [0.1], "accuracy": [0.8], "kept": [0.9], "ari": [0.7]}
    >>> adata.uns["robustness"] = {"table": pd.DataFrame(row), "clean_accuracy": 0.85, "score": 0.8}
    >>> figure = td.pl.robustness(adata)
    """
    check_type(key, Sequence, "key", hint="It names one result or several.")
    names = [key] if isinstance(key, str) else list(key)
    if not names:
        msg = f"key={key!r} is empty: name one result or several."
        raise ValueError(msg)
    tables = {name: read_robustness(adata, key=name) for name in names}
    keys = RobustnessKeys()
    shown = [attack for attack in _PANELS if any((table[keys.attack] == attack).any() for table in tables.values())]
    figure, axes = plt.subplots(
        1, len(shown), figsize=(0.6 + 2.1 * len(shown), 2.7), layout="constrained", sharey=True, squeeze=False
    )
    for ax, attack in zip(axes[0], shown, strict=True):
        title, label = _PANELS[attack]
        ticks = {0.0}
        for name, color in zip(names, palette(len(names)), strict=True):
            rows = tables[name]
            rows = rows[rows[keys.attack] == attack]
            strength = rows[keys.strength].to_numpy(float)
            lost = 1 - strength if attack == "depth" else strength
            x, y = np.r_[0, lost], np.r_[adata.uns[name][keys.clean], rows[keys.accuracy]]
            score = f"{name} ({adata.uns[name][keys.score]:.2f})"
            ax.plot(x, y, marker="o", markersize=3.5, linewidth=1.5, color=color, label=score)
            ticks |= set(np.round(lost, 4))
        ax.set_title(title, fontsize=TEXT)
        ax.set_xlabel(label, fontsize=SMALL)
        if attack == "genes":
            ax.set_xticks(sorted(ticks))
        ax.set_ylim(0, 1.02)
        plain(ax)
        ax.grid(axis="y", color="#E5E5E5", linewidth=0.6)
        ax.set_axisbelow(True)
    axes[0, 0].set_ylabel("Accuracy", fontsize=TEXT, color=INK)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=len(names),
        frameon=False,
        fontsize=SMALL,
    )
    return figure
