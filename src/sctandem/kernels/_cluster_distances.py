"""How far groups of points lie apart: Mahalanobis, Mann-Whitney, Kullback-Leibler."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.distance import pdist, squareform

from sctandem.kernels._groups import group_means

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Bins of equal counts in which ranks are taken, and points that their edges are found on.
N_BINS, _SAMPLE = 128, 50_000
#: Points whose weight the variances of all groups have in that of one.
_PRIOR_POINTS = 10.0


def whitening(points: NDArray[np.floating], groups: NDArray[np.integer]) -> NDArray[np.float64]:
    """Give the matrix under which the covariance within groups is the identity.

    Parameters
    ----------
    points
        Points x dimensions.
    groups
        Group of each, 0, 1, ...

    Returns
    -------
    Dimensions x dimensions; multiply points by it from the right. Directions in which groups do not vary count as a millionth of the widest.
    """
    means = group_means(points, groups)
    covariance = np.zeros((points.shape[1], points.shape[1]))
    for start in range(0, len(points), 100_000):
        rows = slice(start, start + 100_000)
        rest = points[rows] - means[groups[rows]]
        covariance += rest.T @ rest
    covariance /= max(1, len(points) - len(means))
    part = points.shape[1] / (len(points) + points.shape[1])  # with few points towards its diagonal
    covariance = (1 - part) * covariance + part * np.diag(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance)
    if not values[-1] > 0:
        return np.eye(points.shape[1])
    return vectors / np.sqrt(np.maximum(values, values[-1] * 1e-6))


def mahalanobis(
    points: NDArray[np.floating], groups: NDArray[np.integer], within: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Give the distances between the means of groups, in standard deviations.

    Parameters
    ----------
    points
        Points x dimensions.
    groups
        Group of each, 0, 1, ...
    within
        Coarser groups, whose covariance is the unit.

    Returns
    -------
    Groups x groups.
    """
    return mean_distance(points, groups, whitening(points, within))


def mean_distance(
    points: NDArray[np.floating], groups: NDArray[np.integer], to_white: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Give what `mahalanobis` does, of points whose `whitening` is known.

    Parameters
    ----------
    points
        Points x dimensions.
    groups
        Group of each, 0, 1, ...
    to_white
        Dimensions x dimensions.

    Returns
    -------
    Groups x groups.
    """
    return squareform(pdist(group_means(points, groups) @ to_white))


def mann_whitney(points: NDArray[np.floating], groups: NDArray[np.integer]) -> NDArray[np.float64]:
    """Give how far groups differ in ranks.

    Parameters
    ----------
    points
        Points x dimensions, such as the programmes of genes.
    groups
        Group of each, 0, 1, ...

    Returns
    -------
    Groups x groups, in [0, 1]: the root mean square over dimensions of :math:`2 U / (n_1 n_2) - 1`, the probability that a point of one group lies
    above one of the other less the reverse. Ranks are taken in 128 bins of equal counts, points in one bin being ties: exact with up to as many values.
    """
    return rank_difference(rank_bins(points), groups)


def rank_bins(points: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Sort points into up to 128 bins of equal counts, by each dimension for itself.

    Parameters
    ----------
    points
        Points x dimensions.

    Returns
    -------
    Bin of each point, points x dimensions, rising with the value; of no dimension is the last bin empty.
    """
    bins = np.empty(points.shape, dtype=np.uint8, order="F")
    some = points[:: max(1, len(points) // _SAMPLE)]
    for i, (column, few) in enumerate(zip(points.T, some.T, strict=True)):
        values = np.unique(few)
        edges = values[1:] if len(values) <= N_BINS else np.unique(np.quantile(few, np.arange(1, N_BINS) / N_BINS))
        bins[:, i] = np.searchsorted(edges, column, side="right")
    return bins


def rank_difference(bins: NDArray[np.uint8], groups: NDArray[np.integer]) -> NDArray[np.float64]:
    """Give what `mann_whitney` does, of points whose `rank_bins` are known.

    Parameters
    ----------
    bins
        Bin of each point, points x dimensions.
    groups
        Group of each point, 0, 1, ...

    Returns
    -------
    Groups x groups, in [0, 1].
    """
    n = int(groups.max()) + 1
    size = np.bincount(groups, minlength=n)[:, None]
    total = np.zeros((n, n))
    for column in bins.T:
        n_bins = int(column.max()) + 1
        shares = np.bincount(groups * n_bins + column, minlength=n * n_bins).reshape(n, -1) / size
        below = shares.cumsum(1) - shares / 2
        above = shares @ below.T
        total += (above - above.T) ** 2
    return np.sqrt(total / bins.shape[1])


def kullback_leibler(points: NDArray[np.floating], groups: NDArray[np.integer]) -> NDArray[np.float64]:
    r"""Give the root of the symmetric Kullback-Leibler divergence of groups, as normal in every dimension.

    Parameters
    ----------
    points
        Points x dimensions.
    groups
        Group of each, 0, 1, ...

    Returns
    -------
    Groups x groups: :math:`\sqrt{KL(p \| q) + KL(q \| p)}`; with equal variances the distance of the means in standard deviations. Variances are drawn
    towards that within all groups by the weight of ten points.
    """
    means = group_means(points, groups)
    size = np.bincount(groups, minlength=len(means))[:, None]
    # about the mean of all: squares of large numbers would lose the variance
    origin = points.mean(0, dtype=np.float64)
    squares = np.stack(
        [np.bincount(groups, (column - at) ** 2, len(means)) for column, at in zip(points.T, origin, strict=True)], 1
    )
    sums = np.maximum(squares - size * (means - origin) ** 2, 0)
    pooled = sums.sum(0) / max(1, len(points) - len(means))
    # where every group is one point, or points alike, the spread of all is the scale: by a tiny one, divisions would overflow
    scale = float(pooled.max()) or float(squares.sum(0).max()) / len(points) or 1.0
    pooled = np.maximum(pooled, scale * 1e-6)
    variance = (sums + _PRIOR_POINTS * pooled) / (size + _PRIOR_POINTS)
    total = np.zeros((len(means), len(means)))
    for mean, spread in zip(means.T, variance.T, strict=True):
        ratio = spread[:, None] / spread
        gap = (mean[:, None] - mean) ** 2
        total += 0.5 * (ratio + ratio.T - 2 + gap * (1 / spread[:, None] + 1 / spread))
    np.fill_diagonal(total, 0)
    return np.sqrt(np.maximum(total, 0))
