"""Functions of the chromatin of cells, free of depth and batch, and what genes and peaks do along them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sctandem.kernels._atac_views import log_view, totals, truncated_svd
from sctandem.kernels._gene_profiles import gene_profiles, whiten
from sctandem.kernels._rna_factors import dispersion

if TYPE_CHECKING:
    from scipy import sparse

#: Functions of the cells in which genes and peaks are compared.
N_FUNCTIONS = 20
#: Genes with fewer counts are not tested.
LEAST_COUNTS = 20
#: Peaks that are treated at once.
BLOCK = 500


@dataclass(frozen=True, slots=True)
class CellFunctions:
    """Functions of the chromatin of cells, free of depth and batch, and what genes and peaks do along them.

    Attributes
    ----------
    response
        Change of the log accessibility of each peak, shrunken by its noise, peaks x functions.
    profile, information
        Change of the log rate of each gene, genes x functions, without what all genes share, and inverse variance of
        each entry, (genes,).
    tested
        Genes with counts enough, (genes,).
    """

    response: np.ndarray
    profile: np.ndarray
    information: np.ndarray
    tested: np.ndarray


def cell_functions(
    rna: sparse.csr_matrix,
    atac: sparse.csr_matrix,
    *,
    library: np.ndarray,
    batch: np.ndarray | None = None,
    n_functions: int = N_FUNCTIONS,
) -> CellFunctions:
    """Describe genes and peaks by how they change along the leading components of the chromatin.

    Parameters
    ----------
    rna, atac
        Counts, cells x genes and cells x peaks; no cell is empty.
    library
        Library size of the RNA of each cell, (cells,).
    batch
        Columns that are 1 in the cells of a batch, cells x batches; `None` for one batch.
    n_functions
        Components of the chromatin, at most.

    Returns
    -------
    The functions, peaks and genes. Depths of both modalities (their logarithms) and batches are regressed out of the
    functions, so that nothing that follows them is left in what genes and peaks share.
    """
    depth = totals(atac)
    components = truncated_svd(log_view(atac), n_functions + 1, rng=0)[0][:, 1:]
    nuisance = [np.ones(len(depth)), np.log(depth), np.log(library)]
    design = np.column_stack(nuisance if batch is None else [*nuisance, batch])
    root = np.sqrt(library / library.sum())[:, None]
    components -= design @ np.linalg.lstsq(root * design, root * components, rcond=None)[0]
    mean, matrix = whiten(components, library)
    functions = (components - mean) @ matrix
    rate, theta = dispersion(rna, library)
    profiles = gene_profiles(rna, library, functions, rate=rate, theta=theta)
    tested = np.asarray(rna.sum(0)).ravel() >= LEAST_COUNTS
    profile = profiles.target
    if tested.any():
        profile = profile - np.average(profile[tested], axis=0, weights=profiles.information[tested])
    return CellFunctions(peak_responses(atac, depth, functions), profile, profiles.information, tested)


def peak_responses(counts: sparse.csr_matrix, depth: np.ndarray, functions: np.ndarray) -> np.ndarray:
    """Regress the log accessibility of each peak on functions of the cells, and shrink what may be noise.

    Parameters
    ----------
    counts
        Cells x peaks.
    depth
        Counts of each cell, (cells,).
    functions
        Cells x functions.

    Returns
    -------
    Peaks x functions. One step of the likelihood of counts with a common overdispersion (fragments leave two cuts, hence
    about 2), and then the posterior mean where peaks are drawn from the normal distribution that fits them all.
    """
    total = np.asarray(counts.sum(0), dtype=np.float64).ravel()
    rate = (total + 0.1) / depth.sum()
    squares = float((counts.data.astype(np.float64) ** 2).sum())
    over = max(1.0, (squares - (depth**2).sum() * (rate**2).sum()) / max(total.sum(), 1.0))
    centred = functions - np.average(functions, axis=0, weights=depth)
    inverse = np.linalg.inv((centred * depth[:, None]).T @ centred)
    slopes = ((counts.T @ centred) / rate[:, None]) @ inverse
    noise = over * inverse
    seen = total > 0
    if not seen.any():
        return np.zeros_like(slopes)
    around = slopes[seen] - slopes[seen].mean(0)
    share = 1 / rate
    prior = positive_part(around.T @ around / seen.sum() - noise * share[seen].mean())
    out = np.zeros_like(slopes)
    for start in range(0, len(out), BLOCK):
        rows = np.flatnonzero(seen[start : start + BLOCK]) + start
        out[rows] = _shrunken(prior, noise * share[rows, None, None], slopes[rows])
    return out


def positive_part(matrix: np.ndarray) -> np.ndarray:
    """Return the nearest matrix without negative eigenvalues; all are a little above 0."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 1e-6 * max(values[-1], 1e-6))) @ vectors.T


def _shrunken(prior: np.ndarray, noise: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return posterior means: one covariance of the truth, a covariance of the noise for each row."""
    return (prior @ np.linalg.solve(prior + noise, values[:, :, None]))[:, :, 0]
