"""Whether the dependence of two genes differs between conditions, with samples as the unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sctandem.kernels._moderation import moderate, natural_spline

if TYPE_CHECKING:
    from sctandem.kernels._count_scores import CountScores

#: Fewest pairs from which the spread of others is learned.
MIN_PAIRS = 20


@dataclass(frozen=True, slots=True)
class SampleCovariances:
    """Covariance of the rates, relative to their means, of pairs of genes within the strata of each sample.

    Attributes
    ----------
    covariance
        Samples x pairs.
    precision
        One over its variance where the genes are independent, samples x pairs; 0 where the sample says nothing.
    """

    covariance: np.ndarray
    precision: np.ndarray


@dataclass(frozen=True, slots=True)
class Change:
    """Test of one column of the design, for each pair.

    Attributes
    ----------
    effect
        Change of the covariance, (pairs,); NaN where it was not tested.
    p_value
        Two-sided, (pairs,); NaN where it was not tested.
    """

    effect: np.ndarray
    p_value: np.ndarray


def sample_covariances(
    scores: CountScores, samples: np.ndarray, pairs: tuple[np.ndarray, np.ndarray]
) -> SampleCovariances:
    """Estimate the covariance of the rates, relative to their means, in each sample.

    Parameters
    ----------
    scores
        Of the genes.
    samples
        Sample of each stratum, -1 for none.
    pairs
        Positions of the two genes of each pair.

    Returns
    -------
    Covariances and their precisions.

    Notes
    -----
    A score is the deviation of the rate from its mean, relative to the mean, times the information, and noise. The sum of products
    of scores over that of products of informations is therefore a covariance of relative rates (for small deviations, of log-rates),
    whatever the depth of the sample and the level of the genes in it; a correlation of counts would rise with both.
    """
    first, second = pairs
    n_samples = int(samples.max()) + 1
    products, weight, variance = (np.zeros((n_samples, len(first))) for _ in range(3))
    for stratum, score, width in scores:
        sample = samples[stratum]
        if sample < 0:
            continue
        n = len(score)
        together = width.T @ width
        shift = (width / scores.information(stratum)[:, None]).T @ width
        root = np.sqrt(width)
        spread = (np.divide(score, root, out=np.zeros_like(score), where=root > 0) ** 2).mean(0)
        products[sample] += (score.T @ score + shift)[first, second]
        weight[sample] += together[first, second]
        variance[sample] += n / (n - 1) * (spread[first] * spread[second]) * together[first, second]
    known = (weight > 0) & (variance > 0)
    covariance = np.divide(products, weight, out=np.zeros_like(products), where=known)
    return SampleCovariances(covariance, np.divide(weight**2, variance, out=np.zeros_like(weight), where=known))


def assess_change(found: SampleCovariances, design: np.ndarray, column: int) -> Change:
    """Test one column of a design of samples for every pair.

    Parameters
    ----------
    found
        What `sample_covariances` gave, for the samples of the design.
    design
        Samples x columns, of full rank, with at least one residual degree of freedom.
    column
        The column.

    Returns
    -------
    The test: weighted regression, the variances moderated by those of the other pairs. Pairs of which a sample says nothing are
    not tested.
    """
    free = design.shape[0] - design.shape[1]
    effect, p_value = (np.full(found.covariance.shape[1], np.nan) for _ in range(2))
    tested = np.flatnonzero((found.precision > 0).all(0))
    if not len(tested):
        return Change(effect, p_value)
    weight, value = found.precision[:, tested].T, found.covariance[:, tested].T
    inverse = np.linalg.inv(np.einsum("si,ps,sj->pij", design, weight, design, optimize=True))
    beta = np.einsum("pij,sj,ps->pi", inverse, design, weight * value, optimize=True)
    variance = (weight * (value - beta @ design.T) ** 2).sum(1) / free
    known = np.ones((len(tested), 1))
    if len(tested) >= MIN_PAIRS:
        known = natural_spline(np.log(weight.mean(1)))
    effect[tested] = beta[:, column]
    p_value[tested] = moderate(variance, free, known).tail(beta[:, column] / np.sqrt(inverse[:, column, column]))
    return Change(effect, p_value)
