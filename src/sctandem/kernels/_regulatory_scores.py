"""How strongly the expression of a regulator goes with that of a target: scores, and their null from permuted cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.stats import false_discovery_control, rankdata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike

#: Genes whose background is computed at once.
_BLOCK = 256
#: Entries that are worked on at once: more do not fit into the cache of a processor, and time would grow faster than cells.
_ENTRIES = 1 << 19
#: Columns that are worked on at once, at the least: memory is read by 64 bytes of a row, and narrower blocks read it several times.
_COLUMNS = 16
#: Standard deviations below this part of the mean size count as none.
_CONSTANT = 1e-6


class Association(NamedTuple):
    """Signed correlations, regulators x genes, float32."""

    rank: np.ndarray
    """Of the ranks (Spearman): the bulk of the cells."""
    extreme: np.ndarray
    """Of the regulator with the cubed target: the cells in which the target is far from its mean."""


def standardise(values: ArrayLike) -> np.ndarray:
    """Shift and scale columns to mean 0 and standard deviation 1; constant ones become 0.

    Parameters
    ----------
    values
        Cells x genes.

    Returns
    -------
    The same shape, float32.
    """
    values = np.asarray(values)
    result = np.empty(values.shape, dtype=np.float32)
    for block in _blocks(values):
        result[..., block] = _standard(values[..., block].astype(np.float64))
    return result


def _standard(values: np.ndarray) -> np.ndarray:
    mean, spread = values.mean(axis=0), values.std(axis=0)
    keep = spread > _CONSTANT * np.maximum(np.abs(values).mean(axis=0), 1e-12)
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=keep)
    return (values - mean) * scale


def _blocks(values: np.ndarray) -> Iterator[slice]:
    """Yield columns that are worked on at once."""
    step = max(1, _ENTRIES // max(len(values), 1) // _COLUMNS) * _COLUMNS
    return (slice(start, start + step) for start in range(0, values.shape[-1], step))


def standard_ranks(values: ArrayLike) -> np.ndarray:
    """Rank the cells within each gene (ties share their mean) and standardise.

    Parameters
    ----------
    values
        Cells x genes.

    Returns
    -------
    The same shape, float32.
    """
    values = np.asarray(values)
    ranks = np.empty(values.shape, dtype=np.float32)
    for block in _blocks(values):
        ranks[:, block] = _standard(rankdata(values[:, block], axis=0))
    return ranks


def association(values: np.ndarray, ranks: np.ndarray, regulators: np.ndarray) -> Association:
    """Correlate regulators with all genes, by ranks and in the extremes.

    Parameters
    ----------
    values
        Of `standardise`, cells x genes.
    ranks
        Of `standard_ranks`, cells x genes.
    regulators
        Positions of the regulators among the genes.

    Returns
    -------
    Both correlations; those of a gene with itself are there as well.
    """
    n = max(len(values), 1)
    return Association(ranks[:, regulators].T @ ranks / n, values[:, regulators].T @ cubes(values) / n)


def cubes(values: np.ndarray) -> np.ndarray:
    """Cube standardised values and standardise again, cells x genes, float32."""
    cubed = np.empty(values.shape, dtype=np.float32)
    for block in _blocks(values):
        wide = values[:, block].astype(np.float64)
        cubed[:, block] = _standard(wide * wide * wide)  # a power takes ten times as long
    return cubed


class Background(NamedTuple):
    """Means and standard deviations of the absolute correlations of each gene with all others, (genes,) each, float64."""

    mean: np.ndarray
    spread: np.ndarray


def backgrounds(first: np.ndarray, second: np.ndarray) -> tuple[Background, Background]:
    """Describe the absolute correlations of each gene with all other genes, those that are constant left out.

    Parameters
    ----------
    first, second
        Standardised, cells x genes: what the genes are as regulators, and as targets.

    Returns
    -------
    Of the genes as regulators over all targets, and as targets over all regulators.
    """
    n, n_genes = max(len(first), 1), first.shape[1]
    varying = np.logical_and(first.any(axis=0), second.any(axis=0))
    sums, squares = np.zeros((2, n_genes)), np.zeros((2, n_genes))
    for start in range(0, n_genes, _BLOCK):
        block = np.arange(start, min(start + _BLOCK, n_genes))
        strength = np.abs(first.T @ second[:, block] / n).astype(np.float64)
        strength[block, np.arange(len(block))] = 0  # a gene with itself
        strength[~varying] = 0
        strength[:, ~varying[block]] = 0
        for power, total in ((1, sums), (2, squares)):
            total[0] += (strength**power).sum(axis=1)
            total[1, block] += (strength**power).sum(axis=0)
    others = max(int(varying.sum()) - 1, 1)
    mean = sums / others
    spread = np.sqrt(np.maximum(squares / others - mean**2, 0))
    return Background(mean[0], spread[0]), Background(mean[1], spread[1])


def against_background(
    strength: np.ndarray, regulators: np.ndarray, *, sending: Background, receiving: Background
) -> np.ndarray:
    """Hold each pair against all pairs of its regulator and all pairs of its target: the sum of both z-scores.

    Parameters
    ----------
    strength
        Absolute correlations, regulators x genes.
    regulators
        Positions of the regulators among the genes.
    sending, receiving
        Of `backgrounds`.

    Returns
    -------
    Regulators x genes, float64.
    """
    total = np.zeros(strength.shape)
    sides = ((sending.mean[regulators][:, None], sending.spread[regulators][:, None]), receiving)
    for mean, spread in sides:
        wide = np.broadcast_to(spread, strength.shape)
        total += np.divide(strength - mean, wide, out=np.zeros(strength.shape), where=wide > 1e-9)
    return total


def association_score(found: Association, values: np.ndarray, ranks: np.ndarray, regulators: np.ndarray) -> np.ndarray:
    """Score all pairs by how far both correlations stand out from the backgrounds of regulator and target.

    Parameters
    ----------
    found
        Of `association`.
    values, ranks
        Of `standardise` and `standard_ranks`, cells x genes.
    regulators
        Positions of the regulators among the genes.

    Returns
    -------
    Regulators x genes, float64: larger is stronger; the least value for a gene with itself.
    """
    score = np.zeros(found.rank.shape)
    for strength, first, second in ((found.rank, ranks, ranks), (found.extreme, values, cubes(values))):
        sending, receiving = backgrounds(first, second)
        score += against_background(np.abs(strength), regulators, sending=sending, receiving=receiving)
    return np.where(own_pairs(regulators, found.rank.shape[1]), score.min(), score)


def own_pairs(regulators: np.ndarray, n_genes: int) -> np.ndarray:
    """Say which pairs are a gene with itself, regulators x genes."""
    own = np.zeros((len(regulators), n_genes), dtype=bool)
    own[np.arange(len(regulators)), regulators] = True
    return own


def squared_z(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return squared correlations of all pairs of columns times rows less 1: their mean is 1 where cells are permuted.

    Parameters
    ----------
    first, second
        Standardised, rows x columns.

    Returns
    -------
    Columns of `first` x columns of `second`.
    """
    n = len(first)
    return (first.T @ second / n) ** 2 * (n - 1)


def pooled_pvalues(observed: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Compare statistics with those of all permutations: the share that is at least as large, itself counted.

    Parameters
    ----------
    observed
        The statistics.
    null
        Those of permuted data.

    Returns
    -------
    P-values in the shape of `observed`, float64.
    """
    null = np.sort(np.asarray(null).ravel())
    above = null.size - np.searchsorted(null, np.asarray(observed), side="left")
    return (above + 1) / (null.size + 1)


def family_fdr(pvalues: np.ndarray) -> np.ndarray:
    """Turn the p-values of pairs into false discovery rates (Benjamini and Hochberg), NaN left as it is.

    Parameters
    ----------
    pvalues
        Of all pairs, whatever null they were held against: rates are read off one column.

    Returns
    -------
    One rate a pair, float64.
    """
    fdr, known = np.full(len(pvalues), np.nan), ~np.isnan(pvalues)
    if known.any():
        fdr[known] = false_discovery_control(pvalues[known])
    return fdr
