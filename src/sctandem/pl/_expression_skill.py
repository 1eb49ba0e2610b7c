from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib import pyplot as plt

from sctandem._checks import check_number
from sctandem._keys import VERDICTS
from sctandem.get import expression_skill as read_skill
from sctandem.pl._style import INK, TEXT, VERDICT_COLORS, legend_above, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from mudata import MuData


#: More bins than a figure has pixels would be drawn for nothing, and take as long as they are many.
_MOST_BINS = 1000


def expression_skill(
    mdata: MuData,
    *,
    bins: int = 40,
    modalities: Mapping[str, str] | None = None,
    key: str = "tape",
    ax: Axes | None = None,
) -> Axes:
    """Draw how well the genes are predicted: the distribution of their correlations, and the share of each verdict.

    Needs :func:`sctandem.tl.predict_expression` on data with measured expression.

    Parameters
    ----------
    mdata
        The object.
    bins
        Number of bins, at most 1,000: more are narrower than what can be drawn.
    modalities
        From the role ``"rna"`` to the name of the modality in `mdata`. By default the same.
    key
        The `key_added` of :func:`sctandem.tl.predict_expression`.
    ax
        Axes to draw on; by default a new figure.

    Returns
    -------
    The axes: a histogram of the Pearson correlations of genes, stacked and coloured by verdict, with their median as a
    line. The legend gives the share of each verdict among all genes, those that were not scored included.

    Raises
    ------
    KeyError
        When no prediction was scored.
    ValueError
        When `bins` is no number of bins.
    TypeError
        When `mdata` is not a MuData, or a name not text.

    Examples
    --------
    >>> import numpy as np
    >>> import sctandem as td
    >>> mdata = td.datasets.simulate_multiome(n_cells=50, n_genes=40, n_peaks=400)
    >>> mdata["rna"].var["tape_pearson"] = np.linspace(0, 0.5, 40)  # tl.predict_expression writes this
    >>> mdata["rna"].var["tape_verdict"] = "better than the mean"
    >>> ax = td.pl.expression_skill(mdata)
    """
    check_number(bins, "bins", low=1, high=_MOST_BINS, whole=True)
    skill = read_skill(mdata, modalities=modalities, key=key)
    scores = skill["pearson"].to_numpy(float)
    scored = np.isfinite(scores)
    verdict = (
        skill["verdict"].astype(object).to_numpy() if "verdict" in skill else np.full(len(skill), "scored", object)
    )
    verdict = np.where(scored, verdict, VERDICTS[-1])
    present = [v for v in (*VERDICTS, "scored") if (verdict == v).any()]
    if ax is None:
        _, ax = plt.subplots(figsize=(5.8, 3.6), layout="constrained")
    drawn = [v for v in present if (scored & (verdict == v)).any()][::-1]
    if drawn:
        ax.hist(
            [scores[scored & (verdict == v)] for v in drawn],
            bins=np.linspace(min(scores[scored].min(), 0), max(scores[scored].max(), 0.05), bins + 1).tolist(),
            stacked=True,
            color=[VERDICT_COLORS.get(v, INK) for v in drawn],
            edgecolor="white",
            linewidth=0.4,
        )
    handles = [
        plt.Rectangle(
            (0, 0), 1, 1, color=VERDICT_COLORS.get(v, INK), label=_share(v, (verdict == v).sum(), len(verdict))
        )
        for v in present
    ]
    if scored.any():
        median = float(np.median(scores[scored]))
        handles.append(ax.axvline(median, color=INK, linewidth=1, linestyle=(0, (4, 2)), label=f"median {median:.2f}"))
    ax.axvline(0, color=INK, linewidth=0.6)
    ax.set_ylim(0, ax.get_ylim()[1])
    ax.set_xlabel("Pearson correlation of predicted and measured expression", fontsize=TEXT)
    ax.set_ylabel("Genes", fontsize=TEXT)
    plain(ax)
    legend_above(ax, handles, columnspacing=1.2, handlelength=1.4)
    return ax


def _share(verdict: str, n: int, total: int) -> str:
    return f"{verdict}: {n:,} ({100 * n / total:.0f}%)"
