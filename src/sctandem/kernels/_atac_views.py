"""Views of chromatin counts in which cells are compared: linear in the peaks, so that weights a peak can be kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds

if TYPE_CHECKING:
    from sctandem._random import RNG

from sctandem._random import as_generator

#: Counts per cell to which the log view scales.
SCALE = 1e4
#: Expected count below which a peak's chi-squared residual is damped.
DAMP = 0.01
#: Singular values below this part of the largest are rounding.
RANK_TOLERANCE = 1e-6


def totals(counts: sparse.csr_matrix) -> np.ndarray:
    """Sum the counts of each cell, at least 1 so that an empty cell divides by something."""
    return np.maximum(np.asarray(counts.sum(1), dtype=np.float64).ravel(), 1.0)


def log_view(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """Scale each cell to 10,000 counts and take log1p.

    Parameters
    ----------
    counts
        Cells x peaks.

    Returns
    -------
    float32, cells x peaks, with the same zeros.
    """
    scaled = sparse.csr_matrix(sparse.diags_array(SCALE / totals(counts)) @ counts, dtype=np.float32)
    scaled.data = np.log1p(scaled.data)
    return scaled


@dataclass(frozen=True, slots=True)
class ChiView:
    """Chi-squared residuals of open against closed, as sparse part minus an outer product.

    With `b` the counts cut at 1, `n` the open peaks of a cell, `m` their median and `q` the share of a peak, the
    residual is `(b - n q) sqrt(m / n) / sqrt(m q + 0.01)`.

    Attributes
    ----------
    weight
        Weight of each peak, (peaks,).
    mean
        What a cell without signal has in each peak, in units of `level`, (peaks,).
    depth
        Median number of open peaks.
    """

    weight: np.ndarray
    mean: np.ndarray
    depth: float

    @classmethod
    def fit(cls, counts: sparse.csr_matrix) -> ChiView:
        """Read the shares of the peaks from reference cells."""
        opened = (counts > 0).astype(np.float64)
        share = np.asarray(opened.sum(0)).ravel()
        share /= max(share.sum(), 1.0)
        depth = float(np.median(totals(opened)))
        weight = 1 / np.sqrt(depth * share + DAMP)
        return cls(weight, share * weight, depth)

    def __call__(self, counts: sparse.csr_matrix) -> tuple[sparse.csr_matrix, np.ndarray]:
        """Split the residuals of cells in a sparse part (cells x peaks) and a level (cells,).

        Returns
        -------
        Sparse part and level; the residuals are `part - outer(level, mean)`.
        """
        opened = (counts > 0).astype(np.float32)
        n = totals(opened)
        part = sparse.diags_array(np.sqrt(self.depth / n)) @ opened @ sparse.diags_array(self.weight)
        return sparse.csr_matrix(part, dtype=np.float32), np.sqrt(n * self.depth)


def truncated_svd(matrix: sparse.csr_matrix, n_components: int, *, rng: RNG = 0) -> tuple[np.ndarray, np.ndarray]:
    """Decompose a sparse matrix, largest singular values first.

    Parameters
    ----------
    matrix
        Cells x peaks.
    n_components
        How many; fewer where the matrix is small or of lower rank.
    rng
        Seed of the start vector (the result depends on it by rounding only).

    Returns
    -------
    Coordinates of the cells (cells x components) and of the peaks (peaks x components, orthonormal), with the sign of
    each component such that its peaks sum to a positive number.
    """
    n_components = min(n_components, min(matrix.shape) - 1)
    start = as_generator(rng).standard_normal(min(matrix.shape))
    left, values, right = svds(matrix.astype(np.float64), k=n_components, v0=start)
    order = np.argsort(-values)
    order = order[values[order] > RANK_TOLERANCE * values[order[0]]]
    loadings = right[order].T
    sign = np.where(loadings.sum(0) < 0, -1.0, 1.0)
    return left[:, order] * values[order] * sign, loadings * sign
