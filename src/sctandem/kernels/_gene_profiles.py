"""How the expression of each gene follows the components of the cells: one vector a gene instead of one value a cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy import sparse

#: Genes that are treated at once.
BLOCK = 2000


@dataclass(frozen=True, slots=True)
class GeneProfiles:
    """Second-order expansion of the negative binomial log-likelihood about constant rates.

    With `C` the change of a gene's log rate per unit of each basis function, its log-likelihood is
    `information * (C @ target - C @ C / 2)` up to a constant.

    Attributes
    ----------
    target
        Most likely `C` of each gene, genes x functions.
    information
        Fisher information of each gene, (genes,): the standard error of `target` is its inverse square root.
    """

    target: np.ndarray
    information: np.ndarray


def whiten(basis: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Make functions of the cells uncorrelated and of unit variance.

    Parameters
    ----------
    basis
        Cells x functions.
    weights
        Weight of each cell, (cells,).

    Returns
    -------
    Mean, (functions,), and matrix, functions x functions, such that `(basis - mean) @ matrix` is white.
    """
    share = weights / weights.sum()
    mean = share @ basis
    centred = basis - mean
    values, vectors = np.linalg.eigh((centred * share[:, None]).T @ centred)
    keep = np.maximum(values, 1e-6 * values[-1])
    return mean, vectors / np.sqrt(keep) @ vectors.T


def gene_profiles(
    counts: sparse.csr_matrix, library: np.ndarray, basis: np.ndarray, *, rate: np.ndarray, theta: np.ndarray
) -> GeneProfiles:
    """Compute the profile of every gene from its counts.

    Parameters
    ----------
    counts
        Cells x genes.
    library
        Library sizes, (cells,).
    basis
        Functions of the cells, white under the weights `library`, cells x functions.
    rate, theta
        Mean rate per unit of library and inverse dispersion of each gene, (genes,).

    Returns
    -------
    The profiles.

    Notes
    -----
    The weight of a cell in the information is taken as proportional to its library size for all genes, which is exact
    for Poisson counts; the cost is that of one sparse product, whatever is fitted to the profiles afterwards.
    """
    n_genes = counts.shape[1]
    target, information = np.empty((n_genes, basis.shape[1])), np.empty(n_genes)
    for start in range(0, n_genes, BLOCK):
        genes = slice(start, start + BLOCK)
        mean = np.outer(library, rate[genes])
        damp = 1 / (1 + mean / theta[genes])
        residual = (np.asarray(counts[:, genes].todense()) - mean) * damp
        information[genes] = (mean * damp).sum(0)
        target[genes] = (residual.T @ basis) / np.maximum(information[genes], 1e-12)[:, None]
    return GeneProfiles(target, information)
