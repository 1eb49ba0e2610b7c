"""What batches add to features, among groups of like rows."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from sctandem.kernels._groups import group_sums

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_POINTS_A_GROUP = 30
_MOST_GROUPS = 100
"""More than there are types: groups that hold several take their shares for shifts."""
_STARTS, _MOST_POINTS = 3, 10_000
"""Of k-means, which is fitted on so many points at most."""


def shifts_within_groups(
    blocks: Iterable[tuple[slice, sparse.csr_matrix]],
    group: NDArray[np.integer],
    batch: NDArray[np.integer],
    n_batch: int,
    *,
    ridge: float = 1.0,
) -> NDArray[np.float64]:
    r"""Estimate what each batch adds to each feature, whatever groups its rows are of.

    Parameters
    ----------
    blocks
        Where a block of rows lies among them, and its rows x features; one is held at a time.
    group, batch
        Of each row, integers from 0.
    n_batch
        Number of batches.
    ridge
        Rows beside others of their groups at which the shift of a batch is half believed.

    Returns
    -------
    Features x batches; among batches that share groups, directly or over others, the mean over the rows is 0.

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
    >>> shifts_within_groups([(slice(None), features)], group, batch, 2).round(1)
    array([[-1.,  2.]])
    """
    n_groups = int(group.max()) + 1
    code = group * n_batch + batch
    size = np.bincount(code, minlength=n_groups * n_batch).reshape(n_groups, n_batch).astype(np.float64)
    shares = size / np.maximum(size.sum(1, keepdims=True), 1)
    of_batch, of_group = np.float64(0.0), np.float64(0.0)
    for rows, features in blocks:
        of_batch = of_batch + group_sums(features, batch[rows], n_batch)  # type: ignore[assignment]
        of_group = of_group + group_sums(features, group[rows], n_groups)  # type: ignore[assignment]
    beyond = of_batch - shares.T @ of_group  # what rows have beyond the means of their groups, added up by batch
    laplacian = np.diag(size.sum(0)) - size.T @ shares
    shift = np.linalg.solve(laplacian + ridge * np.eye(n_batch), beyond)
    together = connected_components(sparse.csr_matrix(size.T @ size))[1]
    for name in np.unique(together):
        weight = size.sum(0) * (together == name)
        shift[together == name] -= weight @ shift / max(weight.sum(), 1.0)
    return shift.T


def groups_of_points(points: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.intp]:
    """Cut points into as many groups as give 30 points to each, but no more than 100; give the group of each."""
    points = np.asarray(points, dtype=np.float64)
    n_groups = int(np.clip(len(points) // _POINTS_A_GROUP, 1, _MOST_GROUPS))
    seen = points[np.sort(rng.choice(len(points), min(len(points), _MOST_POINTS), replace=False))]
    means = KMeans(n_groups, n_init=_STARTS, random_state=int(rng.integers(2**31)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer points than groups that differ
        group = means.fit(seen).predict(points)
    return np.unique(group, return_inverse=True)[1]
