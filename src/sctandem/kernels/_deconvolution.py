"""Shares of RNA by type in bulk samples, under a factor of the platform for every gene."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import softmax

#: Degrees of freedom of the Student distributions of residuals and of platform factors.
NU_RESIDUAL, NU_PLATFORM = 4.0, 3.0
#: Median and log standard deviation of the share of molecules that fall evenly on all genes, whatever the sample holds.
FLOOR, FLOOR_SD = 0.02, 1.5
_LEAST_SIGMA, _LEAST_TAU = 0.05, 0.1
#: Of the median absolute deviation of factors, what the scale of a Student distribution with 3 degrees of freedom is.
_STUDENT_SCALE = 0.85


class BulkLogs(NamedTuple):
    """Bulk samples as logs of shares.

    Attributes
    ----------
    values
        Natural log of the share of each gene, samples x genes.
    variance
        Variance of `values` by counting, samples x genes; 0 where counts are not known.
    """

    values: np.ndarray
    variance: np.ndarray

    def at(self, genes: np.ndarray) -> BulkLogs:
        """Keep some genes."""
        return BulkLogs(self.values[:, genes], self.variance[:, genes])


class Composition(NamedTuple):
    """What bulk samples are made of.

    Attributes
    ----------
    rna
        Share of each type in the RNA, samples x types; rows add up to 1.
    size
        Log scale of each sample against the reference.
    platform
        Log factor of each gene.
    trend
        Coefficients of the platform factors on the level of expression.
    floor
        Share of molecules that fall evenly on all genes.
    sigma, tau
        Scales of residuals and of platform factors.
    residuals
        Log of measured by fitted, samples x genes.
    """

    rna: np.ndarray
    size: np.ndarray
    platform: np.ndarray
    trend: np.ndarray
    floor: float
    sigma: float
    tau: float
    residuals: np.ndarray


def bulk_logs(values: np.ndarray, *, counts: bool) -> BulkLogs:
    """Take logs of shares.

    Parameters
    ----------
    values
        Samples x genes, 0 or more.
    counts
        Whether they are counts, whose sampling variance is known.

    Returns
    -------
    Logs and their variances. Half a count is added, or one per million where there are no counts.
    """
    totals = values.sum(1, keepdims=True)
    added = 0.5 / totals if counts else 1e-6
    variance = 1 / (values + 1) if counts else np.zeros_like(values)
    return BulkLogs(np.log(values / totals + added), variance)


def level_terms(shares: np.ndarray) -> np.ndarray:
    """Lay out what platform factors may depend on smoothly: the level of expression in the reference.

    Parameters
    ----------
    shares
        Types x genes.

    Returns
    -------
    Genes x 4: linear, quadratic, and quadratic beyond 0.7 standard deviations to either side.
    """
    level = np.log(shares.mean(0))
    level = (level - level.mean()) / max(level.std(), 1e-9)
    return np.stack([level, level**2 - 1, np.maximum(level - 0.7, 0) ** 2, np.maximum(-level - 0.7, 0) ** 2], axis=1)


def fit_composition(
    bulk: BulkLogs,
    shares: np.ndarray,
    *,
    n_genes: int,
    prior: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    start: Composition | None = None,
    n_rounds: int = 4,
    n_steps: int = 150,
) -> Composition:
    r"""Fit shares of RNA of all samples together.

    Parameters
    ----------
    bulk
        Logs of the genes to use.
    shares
        Share of each gene in the molecules of a type, types x genes, before genes were chosen.
    n_genes
        Number of genes before they were chosen, on which the floor falls.
    prior
        Pseudo-counts of a Dirichlet prior beyond those of a flat one, samples x types; `None` for a tenth each.
    weights
        Weight of each gene; `None` for 1.
    start
        Where to start; its scales are kept where `n_rounds` is 1.
    n_rounds
        How often the scales of residuals and of factors are estimated anew.
    n_steps
        Steps of the optimiser a round.

    Returns
    -------
    The most probable composition.

    Notes
    -----
    Log shares are :math:`y_{sg} = \log(\sum_t r_{st} P_{tg} + \beta / G) + n_s + f_g + \epsilon_{sg}` with shares of RNA :math:`r`, the
    reference :math:`P`, a floor :math:`\beta`, a scale :math:`n` of the sample and a factor :math:`f` of the gene that all samples have
    in common. Residuals and factors are Student-t: a factor is wide of its trend for some genes on every platform. Their scales are
    taken from medians of residuals and factors.
    """
    n_samples, n_types = len(bulk.values), len(shares)
    terms = level_terms(shares)
    n_used, n_terms = len(terms), terms.shape[1]
    weights = np.ones(n_used) if weights is None else weights
    pseudo = np.full((n_samples, n_types), 0.1) if prior is None else prior
    sigma, tau = (0.2, 0.8) if start is None else (start.sigma, start.tau)
    sizes = [n_samples * n_types, n_samples, n_used, n_terms, 1]
    cuts = np.cumsum(sizes)[:-1]
    if start is None:
        free = np.zeros(sum(sizes))
        free[-1] = np.log(FLOOR)
    else:
        logits = np.log(np.maximum(start.rna, 1e-6))
        free = np.concatenate([logits.ravel(), start.size, start.platform, start.trend, [np.log(start.floor)]])

    def fitted(free: np.ndarray) -> tuple[np.ndarray, ...]:
        logits, size, platform, trend, floor = np.split(free, cuts)
        rna = softmax(logits.reshape(n_samples, n_types), axis=1)
        return rna, size, platform, trend, floor, rna @ shares + np.exp(floor[0]) / n_genes

    def loss(free: np.ndarray) -> tuple[float, np.ndarray]:
        rna, size, platform, trend, floor, mean = fitted(free)
        error = bulk.values - np.log(mean) - size[:, None] - platform
        value, slope = student(error, sigma**2 + bulk.variance, NU_RESIDUAL, weights)
        beyond = platform - terms @ trend
        value_f, slope_f = student(beyond, tau**2, NU_PLATFORM, weights)
        at_floor = (floor[0] - np.log(FLOOR)) / FLOOR_SD**2
        value += value_f + 0.5 * at_floor**2 * FLOOR_SD**2 - (pseudo * np.log(rna + 1e-300)).sum()
        by_mean = -slope / mean
        by_rna = by_mean @ shares.T
        by_logits = rna * (by_rna - (rna * by_rna).sum(1, keepdims=True)) - pseudo + rna * pseudo.sum(1, keepdims=True)
        by_floor = np.exp(floor[0]) / n_genes * by_mean.sum() + at_floor
        gradient = [by_logits.ravel(), -slope.sum(1), slope_f - slope.sum(0), -terms.T @ slope_f, [by_floor]]
        return value, np.concatenate(gradient)

    for _ in range(n_rounds):
        free = minimize(loss, free, jac=True, method="L-BFGS-B", options={"maxiter": n_steps, "maxcor": 20}).x
        rna, size, platform, trend, floor, mean = fitted(free)
        rest = bulk.values - np.log(mean) - size[:, None]
        if n_rounds > 1:
            sigma, tau = _scales(rest, bulk.variance, terms @ trend)
    return Composition(rna, size, platform, trend, float(np.exp(floor[0])), sigma, tau, rest - platform)


def student(
    error: np.ndarray, variance: np.ndarray | float, nu: float, weights: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return the negative log density of a Student distribution, up to a constant, and its slope.

    Parameters
    ----------
    error
        Distances from the middle, ... x genes.
    variance
        Square of the scale.
    nu
        Degrees of freedom.
    weights
        Weight of each gene.

    Returns
    -------
    The sum over all, and the slope by `error`.
    """
    square = error**2
    value = (weights * np.log1p(square / (nu * variance))).sum() * (nu + 1) / 2
    return float(value), weights * (nu + 1) * error / (nu * variance + square)


def _scales(rest: np.ndarray, variance: np.ndarray, trend: np.ndarray) -> tuple[float, float]:
    """Estimate the scales of residuals and factors from what the composition leaves, samples x genes."""
    n_samples = len(rest)
    middle = np.median(rest, axis=0)
    within = ((rest - middle) ** 2 * n_samples / max(n_samples - 1, 1) - variance).mean(0)
    sigma = np.sqrt(max(float(np.median(within)), _LEAST_SIGMA**2)) if n_samples > 2 else 0.2
    beyond = middle - trend
    tau = 1.4826 * float(np.median(np.abs(beyond - np.median(beyond)))) * _STUDENT_SCALE
    return sigma, max(tau, _LEAST_TAU)
