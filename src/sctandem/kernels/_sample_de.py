"""Differential expression between samples, all genes and states at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from sctandem.kernels._hidden_factors import shared_part
from sctandem.kernels._moderation import moderate, natural_spline
from sctandem.kernels._nb_glm import NBFit, add_prior_counts, dispersion_trend, fit_nb, size_factors
from sctandem.kernels._sample_correlation import (
    SPREAD_PRIOR,
    null_spread,
    residual_coordinates,
    sample_covariance,
)

#: Fewest genes a dimension at which samples are taken to be correlated and null statistics to have a spread of their own.
GENES_PER_DIMENSION = 10
#: Fewest residual dimensions from which hidden factors are taken off. With one, that of two donors in two conditions, a hidden factor
#: looks like one donor responding more than the other, and taking it off calibrates nothing.
FEWEST_DIMENSIONS = 2
#: Largest spread of null statistics that is believed, three standard deviations of its prior above 1. What hidden factors leave after
#: their removal lies below; a wider middle is genes with effects, which dividing it out would hide and shrink.
LARGEST_SPREAD = float(np.exp(3 * SPREAD_PRIOR))


@dataclass(frozen=True, slots=True)
class StateFit:
    """Regressions of the genes of one state, before their variances are moderated.

    Attributes
    ----------
    counts
        Samples x genes.
    design
        Samples x columns.
    depth
        Effective depth of each sample.
    dispersion
        Of each gene.
    fit
        The regressions.
    reported
        Those with prior counts, whose coefficients are finite also where a group has no counts.
    surprise
        Log-variance of each gene less what is expected at its mean, (genes,).
    """

    counts: np.ndarray
    design: np.ndarray
    depth: np.ndarray
    dispersion: np.ndarray
    fit: NBFit
    reported: NBFit
    surprise: np.ndarray

    @property
    def free(self) -> int:
        """Residual degrees of freedom."""
        return self.design.shape[0] - self.design.shape[1]


@dataclass(frozen=True, slots=True)
class SampleDE:
    """Test of one column of the design, for each gene.

    Attributes
    ----------
    effect
        Natural logarithm, of counts with a prior count, freed of what the samples share, (genes,).
    error
        Its standard error, of the moderated variance and with `spread`. `effect / error` is close to `statistic`.
    statistic
        Normal score.
    p_value
        Two-sided.
    base_mean
        Mean count at the average depth.
    prior_df
        Degrees of freedom of the moderation.
    spread
        Spread of the statistics of genes without an effect, by which they were divided; at most `LARGEST_SPREAD`.
    covariance
        Of the residual coordinates, dimensions x dimensions.
    """

    effect: np.ndarray
    error: np.ndarray
    statistic: np.ndarray
    p_value: np.ndarray
    base_mean: np.ndarray
    prior_df: float
    spread: float
    covariance: np.ndarray


def fit_state(counts: np.ndarray, design: np.ndarray) -> StateFit:
    """Fit the genes of one state.

    Parameters
    ----------
    counts
        Samples x genes; every gene and every sample with a count. Sums over soft weights need not be whole.
    design
        Samples x columns, of full rank, with at least one residual degree of freedom.

    Returns
    -------
    The fits.
    """
    depth = size_factors(counts)
    dispersion = dispersion_trend(counts, design, depth)
    fit = fit_nb(counts, design, depth, dispersion)
    reported = fit_nb(add_prior_counts(counts, depth), design, depth, dispersion)
    free = design.shape[0] - design.shape[1]
    log = np.log(np.maximum(fit.deviance / free, 1e-3))
    level = natural_spline(np.log(counts.mean(0) + 0.1))
    surprise = log - level @ np.linalg.lstsq(level, log, rcond=None)[0]
    return StateFit(counts, design, depth, dispersion, fit, reported, surprise)


def assess_column(
    state: StateFit, column: int, *, covariates: np.ndarray | None = None, hidden_factors: bool = True
) -> SampleDE:
    """Test one column of the design for every gene.

    Parameters
    ----------
    state
        What `fit_state` gave.
    column
        Of the design, which has at least one other.
    covariates
        What is known of the variance of each gene beside its mean, genes x covariates: from other states, from cells.
    hidden_factors
        Whether to remove what the samples have in common over genes, and to measure the spread of null statistics. Neither is done
        with fewer than ten genes a residual dimension; nothing is removed where there is only one dimension.

    Returns
    -------
    The test.

    Notes
    -----
    The signed root of the likelihood ratio is a coordinate of the gene in the space of the samples, beside its residual
    coordinates. What correlates samples (a hidden factor: sex, stress, composition) is common to many genes: their residual
    coordinates have a common covariance, by which residuals are weighed (generalised least squares), and the contrasts of genes
    without an effect follow their residuals in a common way, which is estimated and taken off. No degrees of freedom are
    spent on it, since it is estimated from all genes. Effects may follow the residuals in a way of their own, since
    donors respond more or less, and stay: see :func:`~sctandem.kernels._hidden_factors.shared_part`. Variances are moderated by the mean of the gene and by `covariates`.
    """
    reduced = np.delete(state.design, column, axis=1)
    free, n_genes = state.free, state.counts.shape[1]
    smaller = fit_nb(state.counts, reduced, state.depth, state.dispersion).deviance
    contrast = np.sign(state.fit.coefficients[:, column]) * np.sqrt(np.maximum(smaller - state.fit.deviance, 0))
    residual = residual_coordinates(state.counts, state.design, state.dispersion, state.fit)
    known = natural_spline(np.log(state.counts.mean(0) + 0.1))
    if covariates is not None and covariates.size:
        known = np.column_stack([known, covariates])
    moderation = moderate((residual**2).sum(1) / free, free, known)
    covariance, removed = np.eye(free), np.zeros(n_genes)
    enough = hidden_factors and n_genes >= GENES_PER_DIMENSION * free
    if enough:
        for _ in range(2):
            covariance = sample_covariance(residual, moderation.expected)
            squares = np.einsum("gm,mk,gk->g", residual, np.linalg.inv(covariance), residual, optimize=True)
            moderation = moderate(squares / free, free, known)
    if enough and free >= FEWEST_DIMENSIONS:
        scale = np.sqrt(moderation.expected)
        removed = residual @ shared_part(contrast / scale, residual / scale[:, None])
    rest = contrast - removed
    size = stats.norm.isf(moderation.tail(rest) / 2)
    spread = min(null_spread(size), LARGEST_SPREAD) if enough else 1.0
    statistic = np.sign(rest) * size / spread
    effect, error = _effects(
        state.reported, column, contrast, removed, statistic, np.sqrt(moderation.expected) * spread
    )
    return SampleDE(
        effect=effect,
        error=error,
        statistic=statistic,
        p_value=2 * stats.norm.sf(np.abs(statistic)),
        base_mean=state.counts.T @ (state.depth.mean() / state.depth) / len(state.depth),
        prior_df=moderation.prior_df,
        spread=spread,
        covariance=covariance,
    )


def _effects(
    fit: NBFit, column: int, contrast: np.ndarray, removed: np.ndarray, statistic: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Give effects freed of what was removed, and the standard errors that agree with the statistics.

    Near 0, Wald's unit of an effect holds; far out, where it is not that of the likelihood ratio (in a group without counts it is far
    too wide), the effect of a unit of the signed root is. Between them stands the mean of the two, the second of which weighs as
    much as the square of the score.
    """
    beta, wald = fit.coefficients[:, column], np.sqrt(fit.covariance[:, column, column])
    unit = _between(wald, beta, contrast)
    effect = beta - unit * removed
    rest = contrast - removed
    effect = np.where(np.sign(effect) == np.sign(rest), effect, 0.0)
    return effect, _between(unit * scale, effect, statistic)


def _between(wald: np.ndarray, effect: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Average the effect a unit of the score with Wald's error."""
    return (wald + np.abs(effect * score)) / (1 + score**2)
