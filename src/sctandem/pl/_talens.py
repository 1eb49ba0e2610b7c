from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.patches import FancyArrow, Rectangle

from sctandem._checks import check_positive, check_table
from sctandem._talen_keys import TalenKeys
from sctandem.get import talens as read_talens
from sctandem.pl._style import ACTIVATING, INK, NEUTRAL, REPRESSING, SMALL, TEXT, plain

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from mudata import MuData

#: Colours of the halves, and of the repeats by the base that they bind.
_LEFT, _RIGHT = ACTIVATING, REPRESSING
_BASES = {"A": "#DDEBD3", "C": "#D6E4F0", "G": "#FBE3C0", "T": "#F3D5D5"}
_COMPLEMENT = str.maketrans("ACGT", "TGCA")
_WIDTH = 7.2
_MAX_TICKS = 500


def talens(data: AnnData | MuData, pair: str | None = None, *, context: int = 2000, key: str = "talens") -> Figure:
    """Draw a pair of TALENs: where it cuts among peaks and genes, and its two halves base by base.

    Needs :func:`sctandem.tl.design_talens`.

    Parameters
    ----------
    data
        The object.
    pair
        The pair, such as ``"TALEN1"``; by default the first of the table.
    context
        How many bases around the target the upper part shows, at most 10,000.
    key
        The `key_added` of :func:`sctandem.tl.design_talens`.

    Returns
    -------
    A figure of two axes. Top: the locus with the target, peaks (as high as the share of cells in which they are open), genes,
    and a tick for the cut of every pair of this target, the pair's own in colour. Bottom: the DNA under the pair; above it the
    repeats of the left half, which reads the upper strand, and below it those of the right half, which reads the lower one;
    the upstream T of both, the spacer with the cut, and the scores.

    Raises
    ------
    KeyError
        When no pairs were designed, or there is none of that name.
    TypeError
        When `data` is neither an AnnData nor a MuData, or a name not text.
    ValueError
        When `context` is not an integer above 0.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import sctandem as td
    >>> with TemporaryDirectory() as folder:
    ...     fasta = Path(folder, "genome.fa")
    ...     mdata = td.datasets.simulate_multiome(n_cells=50, n_genes=40, n_peaks=400, fasta=fasta)
    ...     td.tl.design_talens(mdata, mdata["atac"].var_names[0], fasta)
    >>> figure = td.pl.talens(mdata)
    """
    check_positive(context, "context", whole=True)
    keys = TalenKeys(key)
    table = read_talens(data, key=key)
    if table.empty:
        msg = f"uns[{key!r}] has no pairs: there is nothing to draw."
        raise ValueError(msg)
    chosen = table.iloc[0] if pair is None else read_talens(data, pair, key=key).iloc[0]
    function = "sctandem.tl.design_talens(data, targets, fasta)"
    loci = check_table(data.uns[key], keys.loci, f"uns[{key!r}]", function)
    target = chosen[keys.target]
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(_WIDTH, 4.4), height_ratios=[1.25, 1.0], layout="constrained")
    _draw_locus(top, loci[loci["target"] == target], table[table[keys.target] == target], chosen, context)
    _draw_halves(bottom, chosen)
    return figure


def _draw_locus(ax: Axes, around: pd.DataFrame, pairs: pd.DataFrame, chosen: pd.Series, context: int) -> None:
    """Draw target, peaks, genes and cuts."""
    own = around[around["kind"] == "target"].iloc[0]
    low, high = own["start"] - context, own["end"] + context
    span = high - low
    ax.set(xlim=(low, high), ylim=(-1.25, 1.45))
    ax.axvspan(own["start"], own["end"], color="#F2F2F2", lw=0, zorder=0)
    peaks = around[(around["kind"] == "peak") & (around["end"] > low) & (around["start"] < high)]
    highest = max(peaks["accessibility"].max(), 1e-9) if len(peaks) and peaks["accessibility"].notna().any() else 1.0
    for peak in peaks.itertuples():
        height = 0.1 if np.isnan(peak.accessibility) else max(peak.accessibility / highest, 0.02)
        ax.add_patch(Rectangle((peak.start, 0), peak.end - peak.start, height, color=NEUTRAL, lw=0))
    if len(peaks) and peaks["accessibility"].notna().any():
        ax.set_yticks([0, 1], ["0", f"{100 * highest:.0f} %"], fontsize=SMALL)
        ax.set_ylabel("cells in which\nopen", fontsize=SMALL, color=INK, y=0.62)
    else:
        ax.set_yticks([])
    ax.axhline(0, color=INK, lw=0.6)
    genes = around[(around["kind"] == "gene") & (around["end"] > low) & (around["start"] < high)]
    ends: list[float] = []
    for gene in genes.head(4).itertuples():
        row = next((at for at, end in enumerate(ends) if end < gene.start), len(ends))
        ends[row : row + 1] = [gene.end + 0.05 * span]
        level = -0.5 - 0.32 * row
        start, end = max(gene.start, low), min(gene.end, high)
        if gene.strand == "-":
            start, end = end, start
        head = min(abs(end - start), 0.02 * span) if gene.strand in {"+", "-"} else 0
        ax.add_patch(
            FancyArrow(start, level, end - start, 0, width=0.06, head_width=0.18, head_length=head,
                       length_includes_head=True, color="#6E6E6E", lw=0)
        )  # fmt: skip
        ax.text((start + end) / 2, level - 0.09, gene.name, ha="center", va="top", fontsize=SMALL, style="italic")
    cuts = pairs["cut"].to_numpy()[:_MAX_TICKS]
    ax.plot(cuts, np.full(len(cuts), -0.22), "|", color=INK, ms=5, mew=0.6)
    ax.plot([chosen["cut"]] * 2, [-0.32, 1.2], color=_LEFT, lw=1.4)
    ax.text(chosen["cut"], 1.24, chosen["pair"], ha="center", va="bottom", fontsize=SMALL, color=_LEFT)
    ax.set_title(f"{chosen['target']}: {len(pairs)} pairs listed", fontsize=TEXT, loc="left", color=INK)
    ax.set_xlabel(f"position on {chosen['sequence']}, bp", fontsize=SMALL)
    ax.ticklabel_format(axis="x", useOffset=False, style="plain")
    ax.tick_params(labelsize=SMALL)
    ax.locator_params(axis="x", nbins=4)
    plain(ax)


def _draw_halves(ax: Axes, pair: pd.Series) -> None:
    """Draw the two halves and the spacer, base by base."""
    left, right, spacer = pair["left_target"], pair["right_target"], pair["spacer_sequence"]
    forward = f"T{left}{spacer}{right.translate(_COMPLEMENT)[::-1]}A"
    n, first = len(forward), len(left) + 1
    size = float(np.clip(400 / n, 4.5, 9))
    for place, base in enumerate(forward):
        inside = first <= place < first + len(spacer)
        color = NEUTRAL if inside else INK
        for y, letter in ((0.16, base), (-0.16, base.translate(_COMPLEMENT))):
            ax.text(place, y, letter.lower() if inside else letter, ha="center", va="center", fontsize=size, color=color,
                    family="monospace")  # fmt: skip
    begin_right = first + len(spacer)
    rows = (
        (0.42, 1.0, pair["left_rvds"].split(), left, np.arange(1, first), _LEFT),
        (-0.82, -1.0, pair["right_rvds"].split(), right, np.arange(n - 2, begin_right - 1, -1), _RIGHT),
    )
    for y, _, rvds, bases, where, color in rows:
        for rvd, base, at in zip(rvds, bases, where.tolist(), strict=True):
            ax.add_patch(Rectangle((at - 0.46, y), 0.92, 0.4, fc=_BASES[base], ec=color, lw=0.7))
            ax.text(at, y + 0.2, rvd, ha="center", va="center", fontsize=size * 0.8, color=INK, rotation=90)
    for end, y, color in ((0, 0.16, _LEFT), (n - 1, -0.16, _RIGHT)):
        ax.add_patch(Rectangle((end - 0.46, y - 0.15), 0.92, 0.3, fc="none", ec=color, lw=1.2))
    cut = first + int(pair["spacer"]) // 2 - 0.5
    ax.plot([cut, cut], [-0.4, 0.4], color=INK, lw=1.0, ls=(0, (2, 1.5)))
    ax.text(cut, 0.5, f"spacer {pair['spacer']} bp", ha="center", va="bottom", fontsize=SMALL, color=INK)
    ax.text(first / 2, 0.92, f"left: {len(left)} repeats, score {pair['left_score']:.2f}", ha="center", va="bottom",
            fontsize=SMALL, color=_LEFT)  # fmt: skip
    middle = (begin_right + n - 1) / 2
    ax.text(middle, -0.92, f"right: {len(right)} repeats, score {pair['right_score']:.2f}", ha="center", va="top",
            fontsize=SMALL, color=_RIGHT)  # fmt: skip
    ax.set(xlim=(-1, n), ylim=(-1.3, 1.3))
    ax.axis("off")
