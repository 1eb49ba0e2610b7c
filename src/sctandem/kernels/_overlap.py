"""How often points of each category are to be expected where a point lies, by counterparts and not by distance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_N_NEIGHBOURS = 20


def shares_by_label(labels: ArrayLike, category: ArrayLike) -> NDArray[np.float32]:
    """Give the shares of the categories among the points with the same label.

    Parameters
    ----------
    labels
        Label of each point, integers.
    category
        Category of each point, integers from 0.

    Returns
    -------
    Points x categories; rows add up to 1.

    Examples
    --------
    >>> from sctandem.kernels._overlap import shares_by_label
    >>> shares_by_label([0, 0, 1], [0, 1, 1]).tolist()
    [[0.5, 0.5], [0.5, 0.5], [0.0, 1.0]]
    """
    codes, category = np.unique(np.asarray(labels), return_inverse=True)[1], np.asarray(category)
    table = np.zeros((codes.max() + 1, category.max() + 1))
    np.add.at(table, (codes, category), 1)
    return (table / table.sum(1, keepdims=True))[codes].astype(np.float32)


def shares_by_counterparts(
    points: ArrayLike, category: ArrayLike, *, n_neighbors: int = _N_NEIGHBOURS
) -> NDArray[np.float32]:
    r"""Give the shares of the categories among the points like each, as far as mutual nearest neighbours tell.

    Parameters
    ----------
    points
        Points x dimensions.
    category
        Category of each point, integers from 0.
    n_neighbors
        Neighbours that are looked at, in each pair of categories and within a category.

    Returns
    -------
    Points x categories, float32; rows add up to 1. With the share :math:`f_b` of a category in all points, and the part
    :math:`o_{cb}` of the neighbours of the point in its own category that have a mutual nearest neighbour in :math:`b`
    (1 for its own), :math:`p_{cb} \propto f_b o_{cb}`.

    Notes
    -----
    Directions are compared and not lengths, from the mean of the category. A type that one category alone has gets few
    such neighbours: those that others get by mistake are outvoted within the type.

    References
    ----------
    Haghverdi et al., Batch effects in single-cell RNA-sequencing data are corrected by matching mutual nearest neighbors,
    Nature Biotechnology 36 (2018).
    """
    points, category = np.asarray(points, dtype=np.float64), np.asarray(category)
    where = [np.flatnonzero(category == code) for code in range(category.max() + 1)]
    parts = [normalize(points[cells] - points[cells].mean(0)) for cells in where]
    shares = np.array([len(cells) for cells in where]) / len(points)
    expected = np.zeros((len(points), len(where)))
    indices = [NearestNeighbors(n_neighbors=min(n_neighbors, len(part))).fit(part) for part in parts]
    near = [[index.kneighbors_graph(part, mode="connectivity").astype(bool) for index in indices] for part in parts]
    for own, cells in enumerate(where):
        smooth = sparse.csr_array(near[own][own].astype(np.float64))
        expected[cells, own] = shares[own]
        for other in range(len(where)):
            if other == own:
                continue
            mutual = np.asarray(near[own][other].multiply(near[other][own].T).sum(1)).ravel() > 0
            expected[cells, other] = shares[other] * (smooth @ mutual.astype(np.float64)) / smooth.sum(1)
    return (expected / expected.sum(1, keepdims=True)).astype(np.float32)
