"""The share of a bulk sample that is of no type of the reference."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from sctandem.kernels._deconvolution import NU_PLATFORM, NU_RESIDUAL, UNKNOWN_COST, BulkLogs, level_terms, student

#: Correlation over samples, of the shares that two halves of the genes find, from which on both are believed.
AGREEMENT = 0.6
#: Samples below which a correlation says nothing.
LEAST_SAMPLES = 5


def unknown_share(
    bulk: BulkLogs, known: np.ndarray, shares: np.ndarray, *, sigma: float, tau: float, n_steps: int = 120
) -> np.ndarray:
    r"""Estimate the unknown share where the composition of the rest is given.

    Parameters
    ----------
    bulk
        Logs of the genes to use, those that differ little between types among them: they tell the scale of a sample.
    known
        Shares of genes that the known types give each sample, samples x genes.
    shares
        Share of each gene in the molecules of a type, types x genes.
    sigma, tau
        Scales of residuals and of platform factors.
    n_steps
        Steps of the optimiser.

    Returns
    -------
    Share of RNA, (samples,).

    Notes
    -----
    The model is that of :func:`~sctandem.kernels.fit_composition` with :math:`(1 - u_s) M_{sg} + u_s \bar P_g e^{\delta_g}` for the mean.
    """
    n_samples, n_genes = known.shape
    terms, average = level_terms(shares), shares.mean(0)
    cuts = np.cumsum([n_samples, n_samples, n_genes, terms.shape[1]])
    weights = np.ones(n_genes)
    start = np.concatenate([np.full(n_samples, -3.0), np.zeros(cuts[-1] - n_samples + n_genes)])

    def loss(free: np.ndarray) -> tuple[float, np.ndarray]:
        logit, size, platform, trend, departure = np.split(free, cuts)
        share, other = expit(logit), average * np.exp(departure)
        mean = (1 - share)[:, None] * known + share[:, None] * other
        error = bulk.values - np.log(mean) - size[:, None] - platform
        value, slope = student(error, sigma**2 + bulk.variance, NU_RESIDUAL, weights)
        value_f, slope_f = student(platform - terms @ trend, tau**2, NU_PLATFORM, weights)
        by_mean = -slope / mean
        by_share = (by_mean * (other - known)).sum(1) + UNKNOWN_COST
        by_departure = other * (share @ by_mean) + departure
        gradient = [
            by_share * share * (1 - share), -slope.sum(1), slope_f - slope.sum(0), -terms.T @ slope_f, by_departure
        ]  # fmt: skip
        value += value_f + UNKNOWN_COST * share.sum() + 0.5 * (departure**2).sum()
        return value, np.concatenate(gradient)

    free = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": n_steps, "maxcor": 20}).x
    return expit(free[:n_samples])


def halves_agree(first: np.ndarray, second: np.ndarray) -> bool:
    """Say whether two halves of the genes find the unknown in the same samples.

    Parameters
    ----------
    first, second
        Unknown share by each half, (samples,).

    Returns
    -------
    Whether they correlate by 0.6 and more, over at least 5 samples. What a half of the genes makes up does not come back in the other.
    """
    if len(first) < LEAST_SAMPLES or min(first.std(), second.std()) < 1e-6:
        return False
    return bool(np.corrcoef(first, second)[0, 1] >= AGREEMENT)
