"""The figure of the guide: which share of the p-values of nulls lies below a level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._de_report import flat, groups
from benchmarks._de_runs import LEVELS, OURS

FIGURE = Path(__file__).parents[1] / "docs" / "_static" / "de_calibration.png"
#: Line and colour of each method.
STYLES = {
    OURS: ("-", "#c1272d"),
    "moderated t (limma-like)": ("-", "#1f77b4"),
    "quasi-likelihood (edgeR-like)": ("-", "#2ca02c"),
    "PyDESeq2": ("--", "#9467bd"),
    "Wilcoxon on cells": (":", "#555555"),
}
PANELS = {"4 v 4": "4 v 4 donors", "2 v 6": "2 v 6 donors", "simulated, 50 cells": "simulated, 5 v 5, 50 cells a donor"}


def shares(rows: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give the mean share below each level over runs, and the shares that nine in ten runs lie between."""
    found = np.array([row["below"] for row in rows])
    return found.mean(0), *np.quantile(found, [0.05, 0.95], axis=0)


def draw(measured: dict[str, list[dict[str, Any]]], path: Path = FIGURE) -> None:
    """Draw the null runs that are there."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    kept = groups(flat(measured.get("null", [])), ("kind", "method"))
    figure, axes = plt.subplots(1, len(PANELS), figsize=(10, 3.6), sharex=True, sharey=True, layout="constrained")
    for axis, (kind, title) in zip(axes, PANELS.items(), strict=True):
        axis.plot(LEVELS, LEVELS, color="black", linewidth=0.8, zorder=0)
        for method, (line, colour) in STYLES.items():
            rows = kept.get((kind, method), [])
            if not rows:
                continue
            middle, low, high = shares(rows)
            label = f"{method} ({len({row['which'] for row in rows})})"
            axis.plot(LEVELS, np.maximum(middle, 1e-5), line, color=colour, marker=".", markersize=4, label=label)
            if method == OURS:
                axis.fill_between(LEVELS, np.maximum(low, 1e-5), high, color=colour, alpha=0.15, linewidth=0)
        axis.set(xscale="log", yscale="log", title=title, xlabel="level", ylim=(5e-5, 1))
        if axis.get_legend_handles_labels()[1]:
            axis.legend(frameon=False, fontsize=7, loc="lower right")
    axes[0].set_ylabel("share of p-values below")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
