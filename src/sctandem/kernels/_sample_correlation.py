"""What correlates samples: the covariance that many genes share, and the spread of the statistics that is left."""

from __future__ import annotations

import numpy as np
from scipy import stats
from scipy.special import ndtr

from sctandem.kernels._nb_glm import NBFit, deviances

#: Standard deviation of the prior of the logarithm of the spread of null statistics, above and below 1. Below 1 the division makes
#: statistics larger, and what the middle of them is too narrow by the far tail need not be: simulated nulls have 1.5 times as many
#: p-values below 0.001 as there should be with one width on both sides.
SPREAD_PRIOR, NARROW_PRIOR = 0.07, 0.035
#: Statistics within this many spreads of 0 are looked at for the spread.
WINDOW = 2.0
#: Weight of the identity in the covariance of the samples, in genes a dimension.
SHRINKAGE = 10.0


def residual_coordinates(counts: np.ndarray, design: np.ndarray, dispersion: np.ndarray, fit: NBFit) -> np.ndarray:
    """Lay the deviance residuals of all genes out in one basis.

    Parameters
    ----------
    counts
        Samples x genes.
    design
        Samples x columns.
    dispersion
        Of each gene.
    fit
        The regressions.

    Returns
    -------
    Genes x (samples - columns). Each gene weighs the samples in its own way; its basis is that of the plain residuals, turned as
    little as is needed to be orthogonal to its own weighted design.
    """
    n_columns = design.shape[1]
    weight = np.sqrt(fit.mean / (1 + dispersion * fit.mean)).T
    weight /= np.sqrt((weight**2).mean(1, keepdims=True))
    basis = np.linalg.qr(design, mode="complete")[0][:, n_columns:]
    weighted = weight[:, :, None] * design
    inverse = np.linalg.inv(np.swapaxes(weighted, 1, 2) @ weighted + 1e-12 * np.eye(n_columns))
    part = basis - weighted @ (inverse @ (np.swapaxes(weighted, 1, 2) @ basis))
    values, vectors = np.linalg.eigh(np.swapaxes(part, 1, 2) @ part)
    root = (vectors / np.sqrt(np.maximum(values, 1e-3))[:, None, :]) @ np.swapaxes(vectors, 1, 2)
    signed = np.sign(counts - fit.mean) * np.sqrt(deviances(counts, fit.mean, dispersion))
    found = np.einsum("gn,gnm->gm", signed.T, part @ root, optimize=True)
    squares = (found**2).sum(1)
    return found * np.sqrt(np.maximum(fit.deviance, 1e-12) / np.maximum(squares, 1e-12))[:, None]


def sample_covariance(residual: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return the covariance of the residual coordinates that genes have in common.

    Parameters
    ----------
    residual
        Genes x dimensions.
    variance
        Of each gene.

    Returns
    -------
    Dimensions x dimensions, with a mean of 1 on the diagonal; genes far out count less, and few genes leave it near the identity.
    """
    n, m = residual.shape
    scaled = residual / np.sqrt(variance)[:, None]
    covariance = np.eye(m)
    for _ in range(5):
        distance = np.einsum("gm,mk,gk->g", scaled, np.linalg.inv(covariance), scaled, optimize=True)
        weight = np.minimum(1, 1.5 * m / np.maximum(distance, 1e-9))
        covariance = (scaled * weight[:, None]).T @ scaled / weight.sum()
        covariance *= m / np.trace(covariance)
        covariance = (n * covariance + SHRINKAGE * m * np.eye(m)) / (n + SHRINKAGE * m)
    return covariance


def null_spread(scores: np.ndarray) -> float:
    """Estimate the standard deviation of normal scores of genes without an effect.

    Parameters
    ----------
    scores
        (genes,), near 0 for genes without an effect.

    Returns
    -------
    Likeliest standard deviation of a normal distribution that is seen only within two of its standard deviations, with a prior
    around 1, narrower below it: few genes leave it there.

    References
    ----------
    Efron, Large-scale simultaneous hypothesis testing: the choice of a null hypothesis, JASA 99 (2004).
    """
    sizes = np.abs(scores)
    spread = float(np.clip(np.median(sizes) / stats.norm.ppf(0.75), 0.6, 2.0))
    grid = np.exp(np.linspace(np.log(0.5), np.log(2.5), 321))
    prior = -0.5 * (np.log(grid) / np.where(grid < 1, NARROW_PRIOR, SPREAD_PRIOR)) ** 2
    for _ in range(60):
        edge = WINDOW * spread
        inside = sizes < edge
        square = float((sizes[inside] ** 2).mean()) if inside.any() else 0.0
        log = inside.sum() * (-np.log(grid) - 0.5 * square / grid**2 - np.log(2 * ndtr(edge / grid) - 1))
        new = float(grid[int((log + prior).argmax())])
        if abs(new - spread) < 1e-3:
            return new
        spread = 0.5 * (spread + new)
    return spread
