"""What batches add to features, among groups of like rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.cluster.vq import kmeans2

if TYPE_CHECKING:
    from numpy.typing import NDArray

_POINTS_A_GROUP = 30
_MOST_GROUPS = 20


def shifts_within_groups(
    features: sparse.csr_matrix,
    group: NDArray[np.integer],
    batch: NDArray[np.integer],
    n_batch: int,
    *,
    ridge: float = 1.0,
) -> NDArray[np.float64]:
    r"""Estimate what each batch adds to each feature, whatever groups its rows are of.

    Parameters
    ----------
    features
        Rows x features.
    group, batch
        Of each row, integers from 0.
    n_batch
        Number of batches.
    ridge
        Rows beside others of their groups at which the shift of a batch is half believed.

    Returns
    -------
    Features x batches; the mean over the rows is 0.

    Notes
    -----
    Least squares of :math:`x_{ij} = m_{g_i j} + s_{b_i j}` with a ridge on the shifts: a batch is compared with others only where it has rows of the same group,
    and directly or over further batches, so that no batch needs all groups. Of a batch that shares no group with any other nothing is known, and the shift is 0.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> from sctandem.kernels._batch_shifts import shifts_within_groups
    >>> group, batch = np.repeat([0, 1, 1], 100), np.repeat([0, 0, 1], 100)
    >>> features = sparse.csr_matrix(10.0 * group[:, None] + 3.0 * batch[:, None])
    >>> shifts_within_groups(features, group, batch, 2).round(1)
    array([[-1.,  2.]])
    """
    n_groups = int(group.max()) + 1
    code = group * n_batch + batch
    size = np.bincount(code, minlength=n_groups * n_batch).reshape(n_groups, n_batch).astype(np.float64)
    shares = size / np.maximum(size.sum(1, keepdims=True), 1)
    # what each row has beyond the mean of its group, added up by batch
    ones = np.ones(len(code))
    of_batch = sparse.csr_matrix((ones, (batch, np.arange(len(code)))), (n_batch, len(code)))
    of_group = sparse.csr_matrix((ones, (group, np.arange(len(code)))), (n_groups, len(code)))
    beyond = (of_batch @ features).toarray() - shares.T @ (of_group @ features).toarray()
    laplacian = np.diag(size.sum(0)) - size.T @ shares
    shift = np.linalg.solve(laplacian + ridge * np.eye(n_batch), beyond)
    return (shift - size.sum(0) @ shift / size.sum()).T


def groups_of_points(points: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.intp]:
    """Cut points into as many groups as give 30 points to each, but no more than 20; give the group of each."""
    n_groups = int(np.clip(len(points) // _POINTS_A_GROUP, 2, _MOST_GROUPS))
    return kmeans2(np.asarray(points, dtype=np.float64), n_groups, iter=25, minit="++", rng=rng)[1]
