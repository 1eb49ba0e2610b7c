"""Dependence between genes within strata, tested by the moments of permutations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special, stats

if TYPE_CHECKING:
    from sctandem.kernels._count_scores import CountScores

#: Below this skewness the normal distribution is exact enough.
STRAIGHT = 1e-3


@dataclass(frozen=True, slots=True)
class Dependence:
    """How genes vary together within strata.

    Attributes
    ----------
    correlation
        Of the scores, genes x genes, 1 on the diagonal.
    variance
        Of the correlations where genes are independent, genes x genes.
    p_value
        Two-sided, genes x genes; NaN on the diagonal and where there is nothing to test.
    """

    correlation: np.ndarray
    variance: np.ndarray
    p_value: np.ndarray


def dependence(scores: CountScores) -> Dependence:
    """Correlate the scores of all pairs of genes, and test them.

    Parameters
    ----------
    scores
        Of the genes.

    Returns
    -------
    Correlations and p-values.

    Notes
    -----
    The statistic is the sum over cells of the product of two scores. Its distribution where the genes are independent given stratum
    and depth is that over all permutations of the standardised scores of one gene within strata. Its variance has a closed form, and so
    has its skewness up to a factor a gene, which is estimated; a Pearson type III distribution with these gives the p-value. Nothing
    is drawn. What all genes have in common because the depth is estimated from them is known too, and is taken off.
    """
    n_genes = scores.n_genes
    total, variance, third, shift = (np.zeros((n_genes, n_genes)) for _ in range(4))
    bend = np.zeros((2, n_genes))
    for stratum, score, width in scores:
        n = len(score)
        total += score.T @ score
        shared = width / scores.information(stratum)[:, None]
        shift += shared.T @ width
        root = np.sqrt(width)
        standard = np.divide(score, root, out=np.zeros_like(score), where=root > 0)
        second = (standard**2).mean(0)
        variance += n / (n - 1) * np.outer(second, second) * (width.T @ width)
        cubed = scores.third(width)
        third += cubed.T @ cubed
        bend += np.stack([(score**3).sum(0), cubed.sum(0)])
    skew = np.divide(bend[0], bend[1], out=np.zeros(n_genes), where=bend[1] > 0)
    third *= np.outer(skew, skew)
    size = np.sqrt(np.diag(total))
    scale = np.outer(size, size)
    known = (variance > 0) & (scale > 0)
    spread = np.sqrt(np.where(known, variance, 1))
    statistic = np.where(known, total + shift, 0) / spread
    p_value = pearson_tail(statistic, np.where(known, third, 0) / spread**3)
    np.fill_diagonal(p_value, np.nan)
    scale = np.where(known, scale, 1)
    correlation = np.clip(np.where(known, total + shift, 0) / scale, -1, 1)
    np.fill_diagonal(correlation, 1)
    return Dependence(correlation, np.where(known, variance, 0) / scale**2, np.where(known, p_value, np.nan))


def pearson_tail(statistic: np.ndarray, skewness: np.ndarray) -> np.ndarray:
    """Return two-sided p-values of standardised statistics with a Pearson type III distribution.

    Parameters
    ----------
    statistic
        With mean 0 and variance 1.
    skewness
        Of each.

    Returns
    -------
    Twice the tail, at most 1. The light tail ends somewhere, and where it ends is not known well: there it is at least that of the normal
    distribution.
    """
    bent = np.abs(skewness) > STRAIGHT
    result = 2 * stats.norm.sf(np.abs(statistic))
    shape = 4 / skewness[bent] ** 2
    place = np.maximum(shape + np.sign(skewness[bent]) * np.sqrt(shape) * statistic[bent], 0)
    heavy = 2 * special.gammaincc(shape, place)
    light = np.maximum(2 * special.gammainc(shape, place), result[bent])
    result[bent] = np.minimum(np.where(statistic[bent] * skewness[bent] > 0, heavy, light), 1)
    return result
