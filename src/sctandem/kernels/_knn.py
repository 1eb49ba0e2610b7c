"""Nearest-neighbour regression: the reference that a prediction has to beat."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

#: Numbers of neighbours that are tried.
NEIGHBOURS = (10, 20, 50, 100, 200, 400, 800)
#: Training cells and genes on which the number is chosen, at most.
MAX_CELLS, MAX_GENES = 2000, 1000


def _averaging(neighbours: np.ndarray, n_columns: int) -> sparse.csr_matrix:
    """Return the matrix that averages over the given neighbours of each row."""
    n_rows, k = neighbours.shape
    return sparse.csr_matrix(
        (np.full(neighbours.size, 1 / k), neighbours.ravel(), np.arange(0, neighbours.size + 1, k)),
        shape=(n_rows, n_columns),
    )


def knn_weights(
    train: np.ndarray, query: np.ndarray, values: sparse.csr_matrix, *, rng: np.random.Generator
) -> tuple[sparse.csr_matrix, int]:
    """Find for each cell the training cells to average over; their number is chosen by leaving out training cells.

    Parameters
    ----------
    train, query
        Coordinates of the training cells and of the cells to predict, cells x components.
    values
        What is predicted, training cells x genes.
    rng
        Draws the cells and genes on which the number is chosen where there are many.

    Returns
    -------
    Weights, query cells x training cells, with rows that sum to 1, and the number of neighbours.
    """
    n_cells = len(train)
    candidates = [k for k in NEIGHBOURS if k < n_cells] or [n_cells - 1]
    index = NearestNeighbors(n_neighbors=max(candidates) + 1).fit(train)
    cells = np.sort(rng.choice(n_cells, min(n_cells, MAX_CELLS), replace=False))
    genes = np.sort(rng.choice(values.shape[1], min(values.shape[1], MAX_GENES), replace=False))
    near = index.kneighbors(train[cells], return_distance=False)
    # a cell is its own nearest neighbour, except among copies of it: drop it wherever it stands
    near = np.stack([row[row != cell][: max(candidates)] for row, cell in zip(near, cells, strict=True)])
    pool = values[:, genes].toarray()
    truth = pool[cells]
    errors = [((_averaging(near[:, :k], n_cells) @ pool - truth) ** 2).sum() for k in candidates]
    k = candidates[int(np.argmin(errors))]
    return _averaging(index.kneighbors(query, n_neighbors=k, return_distance=False), n_cells), k
