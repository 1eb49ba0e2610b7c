"""Figures of the demonstration that are not in `sctandem.pl`: comparisons with baselines and with the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib import pyplot as plt
from sklearn.metrics import average_precision_score, precision_recall_curve

from benchmarks._demo_tables import DRAFT, OURS
from benchmarks.peers import GeneScore

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from mudata import MuData

    from benchmarks._demo_tables import Heldout

INK, OURS_COLOR, BETTER, WORSE = "#333333", "#009E73", "#009E73", "#9A9A9A"
LINE_COLORS = (OURS_COLOR, "#0072B2", "#E69F00", "#999999")
TEXT, SMALL = 9, 8
STAMP = {"color": "#D55E00", "alpha": 0.5, "ha": "center", "va": "center", "zorder": 100}


def save(figure: Figure, path: str, *, draft: bool) -> None:
    """Write a figure; that of a draft says across it that it is one."""
    if draft:
        figure.text(0.5, 0.5, DRAFT.replace(": ", "\n", 1), fontsize=20, rotation=20, **STAMP)
    figure.savefig(path, dpi=200)


def gene_to_show(mdata: MuData) -> tuple[str, float]:
    """Choose the gene with the most certain links, and the false discovery rate at which it has them.

    The rate is the strictest of 5, 10 and 20 % at which there is any link; the gene has the most links then, or the heaviest.
    Where there is none, this is said, and the gene is that of the best link.
    """
    links = mdata.uns["tape_links"]["table"]
    for fdr in (0.05, 0.1, 0.2):
        kept = links[links["fdr"] <= fdr]
        if len(kept):
            strength = kept.groupby("gene", observed=True)["weight"].agg(["size", "sum"])
            return str(strength.sort_values(["size", "sum"], ascending=False).index[0]), fdr
    print(
        "No link has a false discovery rate of 20 % or less. The gene of the best one is drawn as an example; do not rely on it."
    )
    return str(links["gene"].iloc[0]), fdr


def links_of_gene(mdata: MuData, gene: str, groupby: str, *, fdr: float = 0.05) -> Figure:
    """Draw the links of a gene over the coverage of groups of cells; in simulations, mark the peaks that drive it."""
    import sctandem as td

    figure = td.pl.peak_gene_links(mdata, gene, groupby=groupby, fdr=fdr)
    if "truth" in mdata.uns:
        true = mdata.uns["truth"]["links"]
        peaks = mdata["atac"].var.loc[true.loc[true["gene"].astype(str) == gene, "peak"].astype(str)]
        ax = figure.axes[1]
        middle = (peaks["start"] + peaks["end"]) / 2
        ax.scatter(middle, np.full(len(middle), 0.42), marker="v", s=22, color=INK, zorder=4, clip_on=False)
        ax.text(1, 0.82, "▾ true links", transform=ax.transAxes, fontsize=SMALL, ha="right", va="center", color=INK)
    return figure


def skill_per_gene(heldout: Heldout) -> Figure:
    """Compare the correlation of every gene with that of the baselines, held-out cells; genes above the line are better."""
    learned = heldout.scores("pearson", hidden=False)
    shown = [(name, learned, f"against {name}") for name in ("kNN on LSI", "ridge on LSI")]
    if heldout.hidden.any():
        title = "hidden genes, against the gene score"
        shown.append((GeneScore.title, heldout.scores("pearson", hidden=True), title))
    figure, axes = plt.subplots(
        1, len(shown), figsize=(2.9 * len(shown), 3.3), sharex=True, sharey=True, layout="constrained", squeeze=False
    )
    values = np.concatenate([scores[key] for name, scores, _ in shown for key in (name, OURS)])
    low, high = np.floor(values.min() * 10 - 0.2) / 10, np.ceil(values.max() * 10 + 0.2) / 10
    for ax, (name, scores, title) in zip(axes.flat, shown, strict=True):
        better = scores[OURS] > scores[name]
        ax.scatter(
            scores[name], scores[OURS], s=9, c=np.where(better, BETTER, WORSE), alpha=0.7, linewidths=0, rasterized=True
        )
        ax.plot([low, high], [low, high], color=INK, linewidth=0.7, linestyle=(0, (3, 3)), zorder=0)
        ax.set_xlabel(f"r, {name}", fontsize=TEXT)
        ax.set_title(title, fontsize=TEXT, loc="left")
        note = f"TAPE better: {better.sum():,} of {better.size:,}\nmean r {scores[OURS].mean():.3f} against {scores[name].mean():.3f}"
        ax.text(0.03, 0.98, note, transform=ax.transAxes, fontsize=SMALL, va="top", color=INK)
        ax.set_xlim(low, high)
        ax.set_ylim(low, high + 0.16 * (high - low))
        _plain(ax)
    axes[0, 0].set_ylabel("r, TAPE", fontsize=TEXT)
    title = f"Pearson correlation r of each gene over {len(heldout.truth):,} held-out cells"
    figure.suptitle(title, fontsize=TEXT + 1, x=0.01, ha="left")
    return figure


def precision_recall(scored: tuple[np.ndarray, dict[str, np.ndarray]]) -> Figure:
    """Draw how well the true links are told from all other pairs within the windows."""
    truth, scores = scored
    figure, ax = plt.subplots(figsize=(4.8, 3.6), layout="constrained")
    for (name, values), color in zip(scores.items(), LINE_COLORS, strict=True):
        precision, recall, _ = precision_recall_curve(truth, values)
        area = average_precision_score(truth, values)
        width = 2.2 if name == OURS else 1.3
        # the first few links of a ranking make the curve jump without saying anything
        kept = recall >= 10 / truth.sum()
        ax.plot(recall[kept], precision[kept], color=color, linewidth=width, label=f"{name}: {area:.2f}")
    ax.axhline(truth.mean(), color=INK, linewidth=0.8, linestyle=(0, (3, 3)), label=f"chance: {truth.mean():.2f}")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.02)
    ax.set_xlabel("Recall: share of the true links found", fontsize=TEXT)
    ax.set_ylabel("Precision: share of found links that are true", fontsize=TEXT)
    ax.legend(frameon=False, fontsize=SMALL, title="average precision", title_fontsize=SMALL, loc="upper right")
    _plain(ax)
    return figure


def _plain(ax: Axes) -> None:
    """Take the frame off the sides without an axis."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.tick_params(labelsize=SMALL)
