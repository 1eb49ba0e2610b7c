"""Expectation of log-normalised counts under a negative binomial."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from sctandem._compat import cached_njit

#: Probability that the sum over counts may leave out.
TAIL = 1e-6
#: Counts after which the sum stops in any case.
MAX_COUNT = 20_000
#: Mean, times one plus the dispersion, from which an integral takes the place of the sum.
LARGE = 50.0
#: Step of the integral in the logarithm.
STEP = 0.4
#: Quantiles of the library size over which the expectation is taken.
N_QUANTILES = 5


def expected_log1p(
    log_rate: np.ndarray,
    theta: np.ndarray,
    library: np.ndarray,
    *,
    library_sd: float = 0.0,
    scale: float = 1e4,
) -> np.ndarray:
    r"""Compute :math:`E[\log(1 + s k / \ell)]` for negative binomial counts :math:`k` of mean :math:`\ell e^\eta`.

    This, and not the log of the expected count, is what a measured log-normalised value is to be compared with.

    Parameters
    ----------
    log_rate
        :math:`\eta`: log of the expected count per unit of library size, cells x genes.
    theta
        Inverse dispersion, (genes,).
    library
        Median library size of each cell, (cells,).
    library_sd
        Standard deviation of the log of the library size about that.
    scale
        :math:`s`, the library size to which counts are normalised.

    Returns
    -------
    float32, cells x genes.

    Notes
    -----
    The sum over counts stops where less than 1e-6 of the probability is left: a few terms at single-cell depths. For
    large means or dispersions, an integral over the Laplace transform takes its place.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.stats import poisson
    >>> from sctandem.kernels import expected_log1p
    >>> value = expected_log1p(np.log([[1e-3]]), np.array([1e6]), np.array([1000.0]), scale=1000)
    >>> bool(np.isclose(value[0, 0], poisson(1).expect(np.log1p), atol=1e-4))
    True
    """
    middles = (np.arange(N_QUANTILES) + 0.5) / N_QUANTILES
    factors = np.exp(library_sd * norm.ppf(middles)) if library_sd > 0 else np.ones(1)
    out = np.empty(log_rate.shape, dtype=np.float32)
    arrays = (np.asarray(values, dtype=np.float64) for values in (log_rate, theta, library, factors))
    _sum_over_counts(*arrays, float(scale), out)
    return out


@cached_njit(nogil=True)
def _sum_over_counts(log_rate, theta, library, factors, scale, out):
    """Fill `out` with the expectations."""
    for i in range(log_rate.shape[0]):
        for j in range(log_rate.shape[1]):
            total = 0.0
            for q in range(factors.shape[0]):
                size = library[i] * factors[q]
                mean = np.exp(log_rate[i, j]) * size
                if mean * (1 + 1 / theta[j]) > LARGE:
                    total += _integral(mean, theta[j], scale / size)
                else:
                    total += _sum(mean, theta[j], scale / size)
            out[i, j] = total / factors.shape[0]


@cached_njit(nogil=True)
def _sum(mean, theta, unit):
    """Sum over counts."""
    total, k = 0.0, 0
    step = mean / (theta + mean)
    probability = np.exp(-theta * np.log1p(mean / theta))
    left = 1.0 - probability
    while left > TAIL and k < MAX_COUNT:
        k += 1
        probability *= step * (k - 1 + theta) / k
        left -= probability
        total += probability * np.log1p(unit * k)
    return total


@cached_njit(nogil=True)
def _integral(mean, theta, unit):
    """Integrate `(1 - E exp(-t unit k)) exp(-t) / t` over t, which is the same, by the trapezoidal rule in log t."""
    total = 0.0
    log_t = STEP * np.floor((-np.log(unit * mean) - 16.0) / STEP)
    while log_t < 4.0:
        t = np.exp(log_t)
        transform = -theta * np.log1p(mean / theta * -np.expm1(-t * unit))
        total -= np.expm1(transform) * np.exp(-t)
        log_t += STEP
    return total * STEP
