"""How strongly the expression of a regulator goes with that of a target: scores, and their null from permuted cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.stats import false_discovery_control, rankdata

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

#: Genes ranked at once.
_BLOCK = 256
#: Standard deviations below this part of the mean size count as none.
_CONSTANT = 1e-6
#: Odd power of the target whose correlation with the regulator looks at the extremes.
EXTREME = 3


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
    values = np.asarray(values, dtype=np.float64)
    mean, spread = values.mean(axis=0), values.std(axis=0)
    keep = spread > _CONSTANT * np.maximum(np.abs(values).mean(axis=0), 1e-12)
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=keep)
    return ((values - mean) * scale).astype(np.float32)


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
    for start in range(0, values.shape[1], _BLOCK):
        block = slice(start, start + _BLOCK)
        ranks[:, block] = standardise(rankdata(values[:, block], axis=0))
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
    extreme = np.empty((len(regulators), values.shape[1]), dtype=np.float32)
    for start in range(0, values.shape[1], _BLOCK):
        block = slice(start, start + _BLOCK)
        extreme[:, block] = values[:, regulators].T @ standardise(values[:, block].astype(np.float64) ** EXTREME) / n
    return Association(ranks[:, regulators].T @ ranks / n, extreme)


def against_background(strength: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Hold each pair against all pairs of its regulator and all pairs of its target: the sum of both z-scores.

    Parameters
    ----------
    strength
        Absolute correlations, regulators x genes.
    own
        Whether a pair is a gene with itself: left out of the backgrounds.

    Returns
    -------
    Regulators x genes, float64; 0 for `own`.
    """
    total = np.zeros(strength.shape)
    known = np.where(own, np.nan, strength).astype(np.float64)
    for axis in (0, 1):
        n = np.maximum((~own).sum(axis=axis, keepdims=True), 1)
        mean = np.nansum(known, axis=axis, keepdims=True) / n
        spread = np.sqrt(np.nansum((known - mean) ** 2, axis=axis, keepdims=True) / n)
        total += np.divide(known - mean, spread, out=np.zeros(strength.shape), where=spread > 1e-9)
    return np.where(own, 0.0, total)


def association_score(found: Association, regulators: np.ndarray) -> np.ndarray:
    """Score all pairs by how far both correlations stand out from the backgrounds of regulator and target.

    Parameters
    ----------
    found
        Of `association`.
    regulators
        Positions of the regulators among the genes.

    Returns
    -------
    Regulators x genes, float64: larger is stronger; the least value for a gene with itself.
    """
    own = own_pairs(regulators, found.rank.shape[1])
    score = against_background(np.abs(found.rank), own) + against_background(np.abs(found.extreme), own)
    return np.where(own, score.min(), score)


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


def pooled_fdr(observed: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Turn statistics into false discovery rates by permuted ones (Benjamini and Hochberg).

    Parameters
    ----------
    observed
        The statistics, of one dimension.
    null
        Those of permuted data.

    Returns
    -------
    One rate a statistic, float64.
    """
    return false_discovery_control(pooled_pvalues(observed, null)) if len(observed) else np.zeros(0)
