"""Sums of counts over the cells of each sample and state, and how much the cells of a sample differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Iterable


def state_overlap(weights: Any) -> np.ndarray:
    """Say how far states hold the same cells.

    Parameters
    ----------
    weights
        Of each cell in each state, cells x states, sparse or dense.

    Returns
    -------
    States x states: cosine of their weights, 0 where no cell is in both and 1 where both hold the same cells alike.
    """
    share = sparse.csr_matrix(weights, dtype=np.float64)
    products = (share.T @ share).toarray()
    length = np.sqrt(np.maximum(np.diag(products), 1e-300))
    return products / length[:, None] / length


class CellSums:
    """Weighted sums over groups of cells, added up block by block.

    Parameters
    ----------
    n_groups, n_genes
        Of the result.

    Attributes
    ----------
    counts
        Sum of weight times count, groups x genes.
    n_cells
        Sum of weights, (groups,).
    """

    def __init__(self, n_groups: int, n_genes: int) -> None:
        self.counts, self._squares, self._cross = (np.zeros((n_groups, n_genes)) for _ in range(3))
        self.n_cells, self._depth, self._depth_squares = (np.zeros(n_groups) for _ in range(3))

    def add(self, block: Any, weights: Any) -> None:
        """Add some cells.

        Parameters
        ----------
        block
            Counts, cells x genes, sparse or dense.
        weights
            Weight of each cell in each group, cells x groups, sparse or dense.
        """
        counts = sparse.csr_matrix(block, dtype=np.float64)
        share = sparse.csr_matrix(weights, dtype=np.float64).T.tocsr()
        depth = np.asarray(counts.sum(1)).ravel()
        self.counts += (share @ counts).toarray()
        self.n_cells += np.asarray(share.sum(1)).ravel()
        self._depth += share @ depth
        self._depth_squares += share @ depth**2
        squared = sparse.csr_matrix((counts.data**2, counts.indices, counts.indptr), shape=counts.shape)
        self._squares += (share @ squared).toarray()
        squared.data = counts.data * np.repeat(depth, np.diff(counts.indptr))
        self._cross += (share @ squared).toarray()

    def overdispersion(self, groups: Iterable[int]) -> np.ndarray:
        """Return by how much the cells within groups differ beyond chance.

        Parameters
        ----------
        groups
            Groups that are looked at together, each around its own mean.

        Returns
        -------
        Of each gene: the excess of the variance over that of a Poisson distribution, in units of the squared mean; 0 where it was not
        seen.
        """
        where = np.asarray(list(groups))
        where = where[self._depth[where] > 0]
        share = self.counts[where] / self._depth[where, None]
        depth, squares = self._depth[where, None], self._depth_squares[where, None]
        excess = self._squares[where] - 2 * share * self._cross[where] + share**2 * squares - share * depth
        means = (share**2 * squares).sum(0)
        return np.divide(excess.sum(0), means, out=np.zeros(len(means)), where=means > 0)
