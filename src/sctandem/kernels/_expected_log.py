"""Expectation of log-normalised counts under a negative binomial."""

from __future__ import annotations

import numpy as np
from numba import njit
from scipy.stats import norm

#: Probability that the sum over counts may leave out.
TAIL = 1e-6
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
    The sum over counts stops where less than 1e-6 of the probability is left: a few terms at single-cell depths.

    Examples
    --------
    >>> import numpy as np
    >>> from sctandem.kernels import expected_log1p
    >>> value = expected_log1p(np.log([[1e-3]]), np.array([1e6]), np.array([1000.0]), scale=1000)
    >>> bool(abs(value[0, 0] - sum(np.exp(-1) / f * np.log1p(k) for k, f in enumerate([1, 1, 2, 6, 24, 120]))) < 1e-3)
    True
    """
    middles = (np.arange(N_QUANTILES) + 0.5) / N_QUANTILES
    factors = np.exp(library_sd * norm.ppf(middles)) if library_sd > 0 else np.ones(1)
    out = np.empty(log_rate.shape, dtype=np.float32)
    arrays = (np.asarray(values, dtype=np.float64) for values in (log_rate, theta, library, factors))
    _sum_over_counts(*arrays, float(scale), out)
    return out


@njit(cache=True, nogil=True)
def _sum_over_counts(log_rate, theta, library, factors, scale, out):
    """Fill `out` with the expectations."""
    for i in range(log_rate.shape[0]):
        for j in range(log_rate.shape[1]):
            total = 0.0
            for q in range(factors.shape[0]):
                size = library[i] * factors[q]
                mean = np.exp(log_rate[i, j]) * size
                if mean > 1000.0:
                    # the count hardly varies against the logarithm: second-order expansion about the mean
                    centre = 1.0 + scale * mean / size
                    variance = mean + mean * mean / theta[j]
                    total += np.log(centre) - 0.5 * variance * (scale / size / centre) ** 2
                    continue
                step = mean / (theta[j] + mean)
                probability = np.exp(-theta[j] * np.log1p(mean / theta[j]))
                left = 1.0 - probability
                k = 0
                while left > TAIL and k < 20000:
                    k += 1
                    probability *= step * (k - 1 + theta[j]) / k
                    left -= probability
                    total += probability * np.log1p(scale * k / size)
            out[i, j] = total / factors.shape[0]
