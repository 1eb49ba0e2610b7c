"""What genes share: factors of their correlations above the noise, turned to few genes each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sctandem.kernels._gene_associations import Dependence

#: Standard deviations of a pair beyond which what others lead to expect of it makes no more difference.
_EXPECTED = 3.0
_TURNS, _SETTLED = 200, 1e-8


@dataclass(frozen=True, slots=True)
class SharedStructure:
    """What pairs of genes share.

    Attributes
    ----------
    loadings
        Genes x modules, the strongest module first; the sum of the cubes of each column is not negative.
    association
        The strongest that each pair shares, signed, genes x genes, 0 on the diagonal.
    module
        The module that this is, genes x genes; -1 for what the pair shares with no other gene, and where there is nothing.
    expected
        Correlation that other pairs lead to expect of each pair, genes x genes.
    """

    loadings: np.ndarray
    association: np.ndarray
    module: np.ndarray
    expected: np.ndarray


def shared_structure(found: Dependence) -> SharedStructure:
    """Part correlations into modules, what pairs have for themselves, and noise.

    Parameters
    ----------
    found
        The correlations.

    Returns
    -------
    The parts.

    Notes
    -----
    Eigenvalues of the correlations above the Marchenko-Pastur edge are shrunken to what they are without noise; the factors are
    turned by varimax. A hidden regulator drives many genes, and all their pairs tell of it: that is why the product of two
    loadings says more of a pair than its own correlation. What is left of a correlation counts if it exceeds what the largest of
    all would be by chance.

    References
    ----------
    Donoho, Gavish & Johnstone, Optimal shrinkage of eigenvalues in the spiked covariance model, Annals of Statistics 46 (2018).
    Fan, Liao & Mincheva, Large covariance estimation by thresholding principal orthogonal complements, Journal of the Royal
    Statistical Society B 75 (2013).
    """
    n_genes = len(found.correlation)
    above = np.triu_indices(n_genes, 1)
    variance = found.variance[above]
    noise = float(np.median(variance[variance > 0])) if (variance > 0).any() else 1.0
    values, vectors = np.linalg.eigh(found.correlation)
    kept, size = shrink_spikes(values, n_genes * noise)
    vectors = vectors[:, kept]
    raw = vectors * np.sqrt(size)
    loadings = _varimax(raw, noise * len(size))
    loadings *= np.where((loadings**3).sum(0) < 0, -1, 1)
    loadings = loadings[:, np.argsort(-(loadings**2).sum(0), kind="stable")]
    smooth = raw @ raw.T
    association, module = np.zeros_like(smooth), np.full(smooth.shape, -1)
    for k, column in enumerate(loadings.T):
        part = np.outer(column, column)
        better = np.abs(part) > np.abs(association)
        association[better], module[better] = part[better], k
    rest = found.correlation - smooth
    chance = np.sqrt(2 * np.log(max(len(above[0]), 2)) * found.variance)
    own = (np.abs(rest) > np.maximum(chance, np.abs(association))) & (found.variance > 0)
    association[own], module[own] = rest[own], -1
    np.fill_diagonal(association, 0)
    np.fill_diagonal(module, -1)
    lent = (vectors**2 * (size / np.maximum(size + 1, 1e-300))).sum(1)
    expected = smooth - found.correlation * np.minimum(lent[:, None] + lent, 1)
    return SharedStructure(loadings, association, module, expected)


def pair_weights(found: Dependence, shared: SharedStructure) -> np.ndarray:
    """Weigh the pairs for the control of the false discovery rate by what other pairs lead to expect.

    Parameters
    ----------
    found
        The correlations.
    shared
        What `shared_structure` made of them.

    Returns
    -------
    Genes x genes, above 0. What the pair itself adds to the factors is taken off, to first order: a weight must not know the test.
    """
    error = np.sqrt(np.where(found.variance > 0, found.variance, np.inf))
    return np.exp(2 * np.minimum(np.abs(shared.expected) / error, _EXPECTED))


def shrink_spikes(values: np.ndarray, aspect: float) -> tuple[np.ndarray, np.ndarray]:
    """Find the eigenvalues above the noise, and what they are without it.

    Parameters
    ----------
    values
        Eigenvalues of a matrix whose noise has eigenvalues around 1.
    aspect
        Number of variables over that of observations.

    Returns
    -------
    Positions of the eigenvalues above the edge, and the size of each beyond 1, less what its eigenvector is off.
    """
    kept = np.flatnonzero(values > (1 + np.sqrt(aspect)) ** 2)
    middle = values[kept] + 1 - aspect
    spike = (middle + np.sqrt(np.maximum(middle**2 - 4 * values[kept], 0))) / 2 - 1
    cosine = (1 - aspect / spike**2) / (1 + aspect / spike)
    size = spike * np.maximum(cosine, 0)
    return kept[size > 0], size[size > 0]


def _varimax(loadings: np.ndarray, ridge: float) -> np.ndarray:
    """Turn loadings so that each gene has few large ones (Kaiser 1958); `ridge` keeps genes with next to none from deciding."""
    if loadings.shape[1] < 2:
        return loadings.copy()
    length = np.sqrt((loadings**2).sum(1, keepdims=True) + ridge)
    scaled = loadings / length
    turn, reached = np.eye(loadings.shape[1]), 0.0
    for _ in range(_TURNS):
        turned = scaled @ turn
        left, values, right = np.linalg.svd(scaled.T @ (turned**3 - turned * (turned**2).mean(0)))
        turn = left @ right
        if values.sum() <= reached * (1 + _SETTLED):
            break
        reached = values.sum()
    return loadings @ turn
