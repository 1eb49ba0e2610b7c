"""Factors of expression on the scale of the log rate, from counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils.extmath import randomized_svd

from sctandem._random import draw_seed

if TYPE_CHECKING:
    from scipy import sparse

    from sctandem._random import RNG

#: Pearson residuals are cut at plus and minus this.
CLIP = 8.0
#: Genes from which the factors are computed, at most.
MAX_GENES = 5000
#: Singular values below this part of the largest are rounding.
RANK_TOLERANCE = 1e-5
#: Range of the inverse dispersion.
THETA_RANGE = (0.1, 100.0)


@dataclass(frozen=True, slots=True)
class RnaFactors:
    """A factor model of counts: log rate = `log_mean + scores @ loadings.T`.

    Attributes
    ----------
    scores
        Cells x factors.
    loadings
        Genes x factors.
    log_mean
        Log of each gene's counts per unit of library size, (genes,).
    theta
        Inverse dispersion by moments, (genes,).
    """

    scores: np.ndarray
    loadings: np.ndarray
    log_mean: np.ndarray
    theta: np.ndarray


def dispersion(counts: sparse.csr_matrix, library: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Estimate the mean rate and the inverse dispersion of each gene by moments, at rates that do not vary.

    Returns
    -------
    Rate per unit of library size and inverse dispersion, (genes,) each.
    """
    total = np.asarray(counts.sum(0), dtype=np.float64).ravel()
    rate = (total + 0.1) / library.sum()
    # sum (k - l r)^2 = sum k^2 - 2 r sum k l + r^2 sum l^2, all from the stored values
    squares = np.asarray(counts.multiply(counts).sum(0), dtype=np.float64).ravel()
    cross = np.asarray(counts.T @ library).ravel()
    second = (library**2).sum() * rate**2
    excess = squares - 2 * rate * cross + second - total
    return rate, np.clip(second / np.maximum(excess, 1e-12), *THETA_RANGE)


def rna_factors(counts: sparse.csr_matrix, library: np.ndarray, n_factors: int = 20, *, rng: RNG = 0) -> RnaFactors:
    """Decompose counts by principal components of their Pearson residuals.

    Parameters
    ----------
    counts
        Cells x genes.
    library
        Library size of each cell, (cells,).
    n_factors
        How many; fewer where there are few genes or cells, or copies of them.
    rng
        Seed of the randomised decomposition.

    Returns
    -------
    The factors; loadings are turned from the scale of the residuals to that of the log rate, by the mean derivative of
    a residual by the log rate.
    """
    rate, theta = dispersion(counts, library)
    derivative = np.empty_like(rate)
    n_factors = max(1, min(n_factors, min(counts.shape) - 1))
    # rank genes by information: the more counts and the less dispersed, the more a residual says
    chosen = np.argsort(-rate * theta / (theta + rate * library.mean()))[:MAX_GENES]
    residuals = _residuals(counts, library, rate, theta, chosen)[0]
    residuals -= residuals.mean(0)
    left, values, _ = randomized_svd(residuals, n_factors, random_state=draw_seed(rng))
    keep = values > RANK_TOLERANCE * values[0]
    scores, values = (left * values)[:, keep], values[keep]
    loadings = np.empty((rate.size, values.size))
    for start in range(0, rate.size, MAX_GENES):
        genes = np.arange(start, min(start + MAX_GENES, rate.size))
        block, derivative[genes] = _residuals(counts, library, rate, theta, genes)
        loadings[genes] = (scores.T @ block / values[:, None] ** 2).T
    return RnaFactors(scores, loadings / derivative[:, None], np.log(rate), theta)


def _residuals(
    counts: sparse.csr_matrix, library: np.ndarray, rate: np.ndarray, theta: np.ndarray, genes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the Pearson residuals (cells x genes) and their mean derivative by the log rate, (genes,)."""
    mean = np.outer(library, rate[genes]).astype(np.float32)
    spread = np.sqrt(mean + mean**2 / theta[genes].astype(np.float32))
    values = np.asarray(counts[:, genes].todense(), dtype=np.float32)
    values -= mean
    values /= spread
    return np.clip(values, -CLIP, CLIP, out=values), (mean / spread).mean(0)
