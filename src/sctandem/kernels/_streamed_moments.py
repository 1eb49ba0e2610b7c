"""Statistics of genes, and principal components, from cells that come in parts and are seen once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse


def normalised(counts: sparse.csr_matrix, totals: np.ndarray, target_sum: float) -> sparse.csr_matrix:
    """Scale cells to one sum.

    Parameters
    ----------
    counts
        Cells x genes.
    totals
        Counts of each cell over all genes; cells without any stay as they are.
    target_sum
        The sum.

    Returns
    -------
    float32.
    """
    factor = target_sum / np.maximum(totals.astype(np.float64), 1)
    values = counts.data * np.repeat(factor, np.diff(counts.indptr))
    return sparse.csr_matrix((values.astype(np.float32), counts.indices, counts.indptr), shape=counts.shape)


class GeneSums:
    """Running sums and sums of squares of each gene.

    Parameters
    ----------
    n_genes
        How many genes.
    """

    def __init__(self, n_genes: int) -> None:
        self.n_cells = 0
        self.sums, self.squares = np.zeros(n_genes), np.zeros(n_genes)

    def add(self, values: sparse.csr_matrix) -> None:
        """Add cells."""
        weights = values.data.astype(np.float64)
        n_genes = len(self.sums)
        self.sums += np.bincount(values.indices, weights, n_genes)
        self.squares += np.bincount(values.indices, weights**2, n_genes)
        self.n_cells += values.shape[0]

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and variance (of a sample) of each gene."""
        means = self.sums / max(1, self.n_cells)
        variances = (self.squares - self.n_cells * means**2) / max(1, self.n_cells - 1)
        return means, np.maximum(variances, 0)


def normalised_dispersions(means: np.ndarray, variances: np.ndarray, *, n_bins: int = 20) -> np.ndarray:
    """Compare the dispersion of each gene with that of genes of like mean, as Seurat and scanpy do by default.

    Parameters
    ----------
    means, variances
        Of normalised counts, not of their logarithms.
    n_bins
        Classes of the mean.

    Returns
    -------
    Deviations from the mean of the class; a gene alone in its class has 1; NaN for genes without counts.
    """
    means = np.where(means == 0, 1e-12, means)
    dispersions = variances / means
    dispersions[dispersions == 0] = np.nan
    table = pd.DataFrame({"dispersion": np.log(dispersions)})
    table["bin"] = pd.cut(np.log1p(means), bins=n_bins, labels=False)
    grouped = table.groupby("bin")["dispersion"]
    average, deviation = grouped.transform("mean"), grouped.transform("std")
    alone = deviation.isna() & average.notna()
    average, deviation = average.mask(alone, 0), deviation.mask(alone, average)
    return ((table["dispersion"] - average) / deviation).to_numpy()


class Components(NamedTuple):
    """Principal components.

    Attributes
    ----------
    loadings
        float32, genes x components.
    means
        float64, (genes,): of the logarithms.
    variances
        float64, (components,).
    ratio
        float64, (components,): shares of the variance of all genes.
    """

    loadings: np.ndarray
    means: np.ndarray
    variances: np.ndarray
    ratio: np.ndarray


class Products:
    """Running products of pairs of genes: principal components of cells that are seen once, exactly.

    Parameters
    ----------
    n_genes
        How many genes; the memory is the square of it.
    """

    def __init__(self, n_genes: int) -> None:
        self.n_cells = 0
        self.sums, self.products = np.zeros(n_genes), np.zeros((n_genes, n_genes))

    def add(self, values: np.ndarray) -> None:
        """Add cells x genes."""
        self.products += values.T @ values
        self.sums += values.sum(0, dtype=np.float64)
        self.n_cells += len(values)

    def components(self, n_components: int) -> Components:
        """Return the first components; the loading largest in size of each is positive."""
        means = self.sums / self.n_cells
        covariance = (self.products - self.n_cells * np.outer(means, means)) / (self.n_cells - 1)
        values, vectors = np.linalg.eigh(covariance)
        values, vectors = values[::-1][:n_components], vectors[:, ::-1][:, :n_components]
        signs = np.sign(vectors[np.abs(vectors).argmax(0), np.arange(vectors.shape[1])])
        share = values / max(np.trace(covariance), np.finfo(float).tiny)
        return Components((vectors * signs).astype(np.float32), means, np.maximum(values, 0), share)
