from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.colors import ListedColormap

from sctandem._check_arguments import check_number, check_positive
from sctandem._chromatin_keys import GRAMMAR_TESTS, GrammarKeys
from sctandem.get import motif_grammar as read_grammar
from sctandem.pl._style import EMPTY, INK, SMALL, TEXT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData
    from matplotlib.axes import Axes
    from mudata import MuData

#: Inches of a square, and least inches of a side.
_SQUARE, _LEAST = 0.36, 3.2
#: With up to so many motifs there is no room for words above the diagonal.
_ROOM = 8
#: Colours end at this log2 ratio at the least; squares beyond this part of the end are dark.
_FAINTEST, _DARK = 1.0, 0.6


def motif_grammar(
    data: AnnData | MuData,
    group: str | None = None,
    *,
    n_motifs: int = 16,
    fdr: float = 0.05,
    modalities: Mapping[str, str] | None = None,
    key: str = "motif_grammar",
    ax: Axes | None = None,
) -> Axes:
    """Draw the grammar of the motifs of a group: which lie together, in which order and how far apart.

    Needs :func:`sctandem.tl.motif_grammar`.

    Parameters
    ----------
    data
        The object.
    group
        The group of cells; may be left out where there is one.
    n_motifs
        How many motifs to draw, at most: those of the most significant pairs.
    fdr
        False discovery rate up to which pairs are marked, between 0 and 1.
    modalities
        From the role ``"atac"`` to the name of the modality of a MuData. By default the same.
    key
        The `key_added` of :func:`sctandem.tl.motif_grammar`.
    ax
        Axes to draw on; by default new ones.

    Returns
    -------
    The axes. Below the diagonal: log2 of how much the odds to lie together exceed those of the background, with a dot where that is significant
    (grey: not tested). Above it, for pairs where that is significant: the preferred gap in bp, and ``<`` or ``^`` where the motif of the row or of
    the column lies upstream of the other, in its own direction (``>`` or ``v``: downstream).

    Raises
    ------
    KeyError
        When the grammar was not read.
    ValueError
        When there are several groups and none is named, or the group is not there.
    TypeError
        When `data` is neither an AnnData nor a MuData, or a name not text.

    Examples
    --------
    >>> import pandas as pd
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> row = {"group": "B", "motif_a": "PAX5", "motif_b": "EBF1", "test": "cooccurrence", "effect": 1.5, "spacing": -1}
    >>> adata = AnnData(shape=(2, 3))
    >>> adata.uns["motif_grammar"] = {
    ...     "table": pd.DataFrame([row]).assign(pvalue=0.01, fdr=0.02)
    ... }  # tl.motif_grammar writes this
    >>> ax = td.pl.motif_grammar(adata)
    """
    check_positive(n_motifs, "n_motifs", whole=True)
    check_number(fdr, "fdr", low=0, high=1)
    keys = GrammarKeys(key)
    table = read_grammar(data, group, modalities=modalities, key=key)
    table = table.astype({keys.group: str, keys.motif_a: str, keys.motif_b: str, keys.test: str})
    groups = list(table[keys.group].unique())
    if len(groups) != 1:
        msg = f"there are {len(groups)} groups, {groups[:10]}; name the one to draw: group=..."
        raise ValueError(msg)
    motifs = _chosen(table, keys, max(int(n_motifs), 2))
    if ax is None:
        side = max(_LEAST, 1.2 + _SQUARE * len(motifs))
        _, ax = plt.subplots(figsize=(side + 1.2, side), layout="constrained")
    place = {motif: i for i, motif in enumerate(motifs)}
    shown = table[table[keys.motif_a].isin(motifs) & table[keys.motif_b].isin(motifs)]
    _draw_together(ax, shown, place, keys, fdr)
    _draw_places(ax, shown, place, keys, fdr)
    ax.set_xticks(range(len(motifs)), motifs, rotation=90, fontsize=SMALL)
    ax.set_yticks(range(len(motifs)), motifs, fontsize=SMALL)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    words = (
        f"Dot: together, FDR ≤ {fdr:g}; grey: not tested\nNumber: preferred gap, bp\n"
        "< >  row upstream, downstream\n^ v  column upstream, downstream"
    )
    if len(motifs) > _ROOM:
        ax.text(0.99, 0.99, words, fontsize=SMALL, color=INK, ha="right", va="top", transform=ax.transAxes)
    else:  # the squares would lie under the words
        ax.set_xlabel(words, fontsize=SMALL, color=INK)
    ax.set_title(groups[0], loc="left", fontsize=TEXT + 1)
    return ax


def _chosen(table: pd.DataFrame, keys: GrammarKeys, n_motifs: int) -> list[str]:
    """Return the motifs of the most significant pairs, most significant first."""
    rows = table.sort_values(keys.pvalue, kind="stable")
    names = pd.unique(rows[[keys.motif_a, keys.motif_b]].to_numpy().ravel())
    return [str(name) for name in names[:n_motifs]]


def _draw_together(ax: Axes, table: pd.DataFrame, place: dict[str, int], keys: GrammarKeys, fdr: float) -> None:
    """Draw co-occurrence below the diagonal."""
    rows = table[table[keys.test] == GRAMMAR_TESTS[0]]
    n = len(place)
    values = np.full((n, n), np.nan)
    a, b = rows[keys.motif_a].map(place).to_numpy(int), rows[keys.motif_b].map(place).to_numpy(int)
    down, across = np.maximum(a, b), np.minimum(a, b)
    values[down, across] = rows[keys.effect]
    limit = max(float(np.nanmax(np.abs(values), initial=0)), _FAINTEST)
    backdrop = np.where(np.tri(n, k=-1), 1.0, np.nan)
    ax.grid(visible=False)
    ax.imshow(backdrop, cmap=ListedColormap([EMPTY]), vmin=0, vmax=1)
    image = ax.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit)
    called = (rows[keys.fdr] <= fdr).to_numpy()
    dark = np.abs(rows[keys.effect].to_numpy()[called]) > _DARK * limit
    ax.scatter(across[called], down[called], s=22, c=np.where(dark, "white", INK), linewidths=0)
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.6, pad=0.02)
    bar.set_label("Together: log2 odds ratio\nover background", fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)


def _draw_places(ax: Axes, table: pd.DataFrame, place: dict[str, int], keys: GrammarKeys, fdr: float) -> None:
    """Write preferred gaps and orders above the diagonal."""
    n = len(place)
    for i in range(n):
        ax.plot([i - 0.5, i + 0.5, i + 0.5], [i - 0.5, i - 0.5, i + 0.5], color=INK, linewidth=0.6)
    words: dict[tuple[int, int], list[str]] = {}
    for row in table[(table[keys.fdr] <= fdr) & (table[keys.test] != GRAMMAR_TESTS[0])].to_dict("records"):
        a, b = place[row[keys.motif_a]], place[row[keys.motif_b]]
        square = words.setdefault((min(a, b), max(a, b)), [])
        if row[keys.test] == GRAMMAR_TESTS[2]:
            square.insert(0, f"{row[keys.spacing]}")
        else:
            behind = row[keys.effect] > 0  # b lies downstream of a, which is therefore the upstream one
            square.append(("<" if behind else ">") if a < b else ("^" if behind else "v"))
    for (i, j), parts in words.items():
        ax.text(
            j,
            i,
            "\n".join([*parts[:1], "".join(parts[1:])]).strip(),
            fontsize=SMALL,
            color=INK,
            ha="center",
            va="center",
        )
    ax.set_xlim(-0.5, n - 0.5)
    ax.set_ylim(n - 0.5, -0.5)
