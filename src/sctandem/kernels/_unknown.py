"""The share of a bulk sample that is of no type of the reference."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from sctandem.kernels._deconvolution import NU_PLATFORM, NU_RESIDUAL, BulkLogs, level_terms, student

#: What a share of 1 that is unknown costs in log-likelihood.
UNKNOWN_COST = 5.0
#: Something of a sample is always of the known types, so that shares among these are defined.
_LARGEST_LOGIT = 15.0


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
        Steps of the optimiser; few on purpose, see Notes.

    Returns
    -------
    Share of RNA, (samples,).

    Notes
    -----
    The model is that of :func:`~sctandem.kernels.fit_composition` with :math:`(1 - u_s) M_{sg} + u_s \bar P_g e^{\delta_g}` for the mean:
    what is unknown has the mean profile of the types, each gene of it a factor :math:`\delta_g \sim N(0, 1)` away. Run to its end the
    search is right where the known types are just as in the reference; in cells of other donors it then takes their state for something
    unknown, and stops early.
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
    return expit(np.minimum(free[:n_samples], _LARGEST_LOGIT))
