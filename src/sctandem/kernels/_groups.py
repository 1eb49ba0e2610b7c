"""Means and sums of groups of points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from numpy.typing import NDArray


def group_means(
    points: NDArray[np.floating], groups: NDArray[np.integer], n_groups: int | None = None
) -> NDArray[np.float64]:
    """Return the mean of each group.

    Parameters
    ----------
    points
        Points x dimensions.
    groups
        Group of each point, 0, 1, ...
    n_groups
        Number of groups; by default as many as there are up to the last one with a point.

    Returns
    -------
    Groups x dimensions; the mean of all points for a group without any.
    """
    n_groups = int(groups.max()) + 1 if n_groups is None else n_groups
    size = np.bincount(groups, minlength=n_groups)
    sums = np.stack([np.bincount(groups, column, n_groups) for column in points.T.astype(np.float64)], axis=1)
    return np.where(size[:, None] > 0, sums / np.maximum(size, 1)[:, None], points.mean(0))


def group_sums(rows: sparse.csr_matrix, groups: NDArray[np.integer], n_groups: int) -> NDArray[np.float64]:
    """Add up the rows of each group.

    Parameters
    ----------
    rows
        Rows x columns, sparse.
    groups
        Group of each row, 0, 1, ...
    n_groups
        Number of groups.

    Returns
    -------
    Groups x columns, dense; 0 for a group without rows.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> from sctandem.kernels._groups import group_sums
    >>> group_sums(sparse.csr_matrix(np.arange(6.0).reshape(3, 2)), np.array([0, 2, 0]), 3)
    array([[4., 6.],
           [0., 0.],
           [2., 3.]])
    """
    n = len(groups)
    member = sparse.csr_matrix((np.ones(n), (groups, np.arange(n))), shape=(n_groups, n))
    return np.asarray((member @ rows).todense(), dtype=np.float64)
