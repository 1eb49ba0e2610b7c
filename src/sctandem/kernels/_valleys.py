"""Groups of points that a valley of their density parts from all others; their number is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.linalg import solve

from sctandem._checks import check_number, check_positive
from sctandem._random import as_generator

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sctandem._random import RNG

#: Points below which half a group says nothing about a density.
MIN_HALF = 3
_N_GRID = 41
#: Grid points next to the medians of the groups at which no valley is looked for.
_EDGE = 5
#: Smallest weight of the isotropic part of the covariance.
_SHRINKAGE = 0.1


def valley_depth(first: ArrayLike, second: ArrayLike, *, rng: RNG = None) -> float:
    """Return how high the density is between two groups of points, as a part of the smaller of its two peaks.

    Fisher's axis is found on one half of either group, and the density along it is that of the other half; both halves take
    both parts, and the results are averaged. So a cut through one group of points shows no valley, however it was found.

    Parameters
    ----------
    first, second
        Points x dimensions.
    rng
        Seed of the halves.

    Returns
    -------
    0 for groups with nothing between them, about 1 or more for two parts of one group, and 1 where either has fewer than 6
    points.

    Examples
    --------
    >>> import numpy as np
    >>> from sctandem.kernels import valley_depth
    >>> points = np.random.default_rng(0).normal(size=(400, 2))
    >>> left = points[:, 0] < 0
    >>> valley_depth(points[left], points[~left], rng=0) > 0.8
    True
    >>> valley_depth(points[left] - 3, points[~left] + 3, rng=0) < 0.01
    True
    """
    rng = as_generator(rng)
    groups = [np.asarray(points, dtype=np.float64) for points in (first, second)]
    halves = [
        [part[start::2] for start in (0, 1)] for part in (points[rng.permutation(len(points))] for points in groups)
    ]
    if min(len(half) for parts in halves for half in parts) < MIN_HALF:
        return 1.0
    depths = []
    for learned in (0, 1):
        axis = _fisher_axis(halves[0][learned], halves[1][learned])
        depths.append(_depth(halves[0][1 - learned] @ axis, halves[1][1 - learned] @ axis))
    return float(np.mean(depths))


def _fisher_axis(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the axis that parts the means best in units of the covariance within, which is shrunk to an isotropic one."""
    n, n_dims = len(first) + len(second), first.shape[1]
    within = sum((part - part.mean(0)).T @ (part - part.mean(0)) for part in (first, second)) / n
    weight = min(1.0, _SHRINKAGE + n_dims / (n + n_dims))
    size = np.trace(within) / n_dims
    within = (1 - weight) * within + weight * (size if size > 0 else 1.0) * np.eye(n_dims)
    return solve(within, second.mean(0) - first.mean(0), assume_a="pos")


def _depth(first: np.ndarray, second: np.ndarray) -> float:
    """Return the lowest density between the medians, plus its error, over the smaller of the highest on either side of it."""
    start, stop = np.median(first), np.median(second)
    if stop <= start:  # the axis of one half does not order the other
        return 1.0
    grid = np.linspace(start, stop, _N_GRID)
    width = np.mean([_width(first), _width(second)])
    counts = _counts(first, grid, width) + _counts(second, grid, width)
    at = _EDGE + int(counts[_EDGE:-_EDGE].argmin())
    peak = min(counts[: at + 1].max(), counts[at:].max())
    return float((counts[at] + np.sqrt(counts[at])) / peak)


def _width(values: np.ndarray) -> float:
    """Return Silverman's width of a Gaussian kernel."""
    low, high = np.quantile(values, [0.25, 0.75])
    return max(0.9 * min(values.std(), (high - low) / 1.34) * len(values) ** -0.2, 1e-9)


def _counts(values: np.ndarray, grid: np.ndarray, width: float) -> np.ndarray:
    """Return the effective number of values under a Gaussian kernel at each point of the grid."""
    return np.sqrt(2) * np.exp(-0.5 * ((grid[:, None] - values) / width) ** 2).sum(1)


def merge_by_valleys(
    points: ArrayLike, *, n_start: int = 24, max_depth: float = 0.9, min_size: int = 10, rng: RNG = None
) -> np.ndarray:
    """Group points: cut into many parts by k-means, and merge parts as long as no valley lies between two of them.

    Parameters
    ----------
    points
        Points x dimensions, finite.
    n_start
        Parts to start from; more groups than that are not found.
    max_depth
        Height of the density between two parts, as a part of the smaller peak, up to which they stay two groups.
    min_size
        Points below which a group cannot stand alone; smaller ones go to where the density between is highest.
    rng
        Seed of k-means and of the halves that the densities are measured on.

    Returns
    -------
    Group of each point, (points,), int64: 0 is the largest.

    Raises
    ------
    ValueError
        For points that are no matrix or not finite, fewer than 2 points, or settings out of bounds.

    Notes
    -----
    Cost: k-means, and about `n_start` squared passes over two parts each; linear in the points.
    With a few hundred points in all, parts are too small for their densities: groups may then be cut.

    Examples
    --------
    >>> import numpy as np
    >>> from sctandem.kernels import merge_by_valleys
    >>> rng = np.random.default_rng(0)
    >>> points = np.concatenate([rng.normal(mean, 1, (size, 3)) for mean, size in ((0, 600), (8, 300), (-8, 100))])
    >>> np.bincount(merge_by_valleys(points, rng=0))
    array([600, 300, 100])
    """
    points = np.asarray(points, dtype=np.float64)
    _check(points, n_start, max_depth, min_size)
    rng = as_generator(rng)
    n_parts = min(n_start, max(1, len(points) // (4 * MIN_HALF)))
    part = _cut(points, n_parts, rng)
    members = {int(label): np.flatnonzero(part == label) for label in np.unique(part)}
    depth = {
        (i, j): valley_depth(points[members[i]], points[members[j]], rng=rng) for i in members for j in members if j < i
    }
    while depth:
        i, j = _next_pair(depth, members, max_depth, min_size)
        if i == j:
            break
        members[j] = np.concatenate([members[j], members.pop(i)])
        depth = {pair: value for pair, value in depth.items() if i not in pair and j not in pair}
        for k in members:
            if k != j:
                depth[max(k, j), min(k, j)] = valley_depth(points[members[k]], points[members[j]], rng=rng)
    label = np.empty(len(points), dtype=np.int64)
    for rank, where in enumerate(sorted(members.values(), key=lambda where: (-len(where), where.min()))):
        label[where] = rank
    return label


def _check(points: np.ndarray, n_start: int, max_depth: float, min_size: int) -> None:
    """Check what `merge_by_valleys` was given."""
    if points.ndim != 2 or len(points) < 2 or points.shape[1] < 1:
        msg = f"points must be a matrix of at least 2 points, got shape {points.shape}"
        raise ValueError(msg)
    if not np.isfinite(points).all():
        msg = f"points hold {int((~np.isfinite(points)).sum())} values that are not finite; take these cells out"
        raise ValueError(msg)
    check_positive(n_start, "n_start", whole=True)
    check_number(max_depth, "max_depth")
    check_positive(min_size, "min_size", whole=True)


def _cut(points: np.ndarray, n_parts: int, rng: np.random.Generator) -> np.ndarray:
    """Cut points into parts by k-means."""
    if n_parts < 2 or not np.ptp(points, axis=0).any():
        return np.zeros(len(points), dtype=np.int64)
    unique = np.unique(points, axis=0)
    n_parts = min(n_parts, len(unique))
    return kmeans2(points, n_parts, iter=50, minit="++", rng=rng)[1]


def _next_pair(
    depth: dict[tuple[int, int], float], members: dict[int, np.ndarray], max_depth: float, min_size: int
) -> tuple[int, int]:
    """Return the pair to merge next: the one with the highest density between, or one with too small a group; or (0, 0)."""
    pair = max(depth, key=depth.__getitem__)
    if depth[pair] > max_depth:
        return pair
    small = [key for key, where in members.items() if len(where) < min_size]
    if not small:
        return 0, 0
    smallest = min(small, key=lambda key: len(members[key]))
    return max((pair for pair in depth if smallest in pair), key=depth.__getitem__)
