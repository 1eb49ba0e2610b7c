"""Whether two clusters are two: a dip of the density between them, on an axis found without the point that is placed on it."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points: TypeAlias = NDArray[np.floating]

SURE = 1.64
"""Standard errors by which the depth of a valley is lowered."""
LEAST = 4
"""Points that either side needs."""
_MOST_SHRUNK = 0.9
_STEPS = 3
"""Steps of the grid in a bandwidth."""
_WINDOW = 2 * np.sqrt(np.pi)
"""Width of the window that counts as many points as a normal kernel does, in bandwidths."""
_ENDS = 33
"""Places between the means at which chords begin, end and are looked at."""
_FROM, _BELOW, _TO = np.array(list(combinations(range(_ENDS), 3))).T
_NEARNESS = (_TO - _BELOW) / (_TO - _FROM)
"""Of the place below a chord to where the chord begins."""


class Dip(NamedTuple):
    """How far the density between two groups falls below what one group allows, as a difference of logarithms."""

    likely: float
    """Below a chord, lowered by one standard error: what pairs are compared by."""
    sure: float
    """Of a valley alone, lowered by as many as make it unlikely by chance: what clusters are parted by."""


NO_DIP = Dip(-np.inf, -np.inf)


def left_out_scores(points: Points, second: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Place every point on the discriminant axis of two groups that is found without it.

    Parameters
    ----------
    points
        Points x dimensions.
    second
        Whether a point is of the second group; either group has at least `LEAST`.

    Returns
    -------
    Scores, `float64`: in standard deviations within the groups from the middle between their means, positive on the side of
    the second group.

    Notes
    -----
    Fisher's discriminant with one covariance, shrunk to a multiple of the identity by dimensions / points. Leaving out a
    point changes the mean of its group and the scatter by a matrix of rank one, so that all scores come from one inverse
    (Sherman and Morrison 1950); the ridge alone is that of all points.
    """
    points = np.ascontiguousarray(points)
    n, d = points.shape
    sizes = np.where(second, second.sum(), (~second).sum()).astype(np.float64)
    means, within = _within(points, second)
    scatter = (within.T @ within).astype(np.float64)
    shrunk = min(_MOST_SHRUNK, d / n)
    ridge = max(shrunk / (1 - shrunk) * np.trace(scatter) / d, 1e-12)
    inverse = np.linalg.inv(scatter + ridge * np.eye(d))
    gap = means[1] - means[0]
    z_z = np.einsum("ij,ij->i", within @ inverse.astype(points.dtype), within, dtype=np.float64)
    z_gap = within @ (inverse @ gap)
    gap_gap = gap @ inverse @ gap
    # what leaving the point out makes of these forms
    factor = sizes / (sizes - 1)
    rest = np.maximum(1 - factor * z_z, 1e-6)
    z_z, z_gap, gap_gap = z_z / rest, z_gap / rest, gap_gap + factor * z_gap**2 / rest
    toward = np.where(second, -1.0, 1.0) / (sizes - 1)  # the gap moves by this much of the point
    side = np.where(second, 0.5, -0.5)
    along = 1 + 0.5 / (sizes - 1)  # the point is side * gap + along * z from the middle
    score = side * gap_gap + along * z_gap + toward * (side * z_gap + along * z_z)
    length = np.sqrt(np.maximum(gap_gap + 2 * toward * z_gap + toward**2 * z_z, 1e-300))
    return score / length * np.sqrt(max(n - 2, 1) / (1 - shrunk))


def _within(points: Points, second: NDArray[np.bool_]) -> tuple[list[NDArray[np.float64]], Points]:
    """Give the means of two groups, and the points without that of their own."""
    n = int(np.count_nonzero(~second))
    # points of one group after those of the other, as most come, are read where they are
    sides = [slice(n), slice(n, None)] if not second[:n].any() else [~second, second]
    means, within = [], np.empty_like(points)
    for side in sides:
        means.append(points[side].mean(axis=0, dtype=np.float64))
        within[side] = points[side] - means[-1].astype(points.dtype)
    return means, within


def density_dip(scores: NDArray[np.float64], second: NDArray[np.bool_]) -> Dip:
    """Give the deepest dip of a density between the means of two groups, as far as its points make it sure.

    Parameters
    ----------
    scores
        One value a point.
    second
        Whether a point is of the second group; the bandwidth follows the smaller and narrower of both.

    Returns
    -------
    The dip: as likely, how far the logarithm of the density lies below a chord of itself; as sure, the depth of a valley,
    ``log(peak / valley)`` where ``peak`` is the lower of the highest densities on both sides. Minus infinity where the
    means are nearer than the bandwidth.

    Notes
    -----
    A density is log-concave where no chord of its logarithm lies above it; normal clouds, skewed ones with exponential tails
    and even gradients are. Two normals of one variance are not once they are more than two standard deviations apart,
    whatever their masses, while a valley is only seen if the smaller is not hidden on the flank of the larger: a chord is a
    valley after the density was tilted by an exponential, which makes unequal masses equal. So chords say which of two pairs is
    rather one cluster; they do not part: bent and falling gradients and long tails lie below chords too.
    Normal kernel of Silverman's bandwidth. Density times the kernel's width counts points, whose variance is taken for
    Poisson's; the bounds grow with their number, so that few points are not cut by chance, and many not for nothing.
    """
    sides = scores[~second], scores[second]
    spread = min(sides[0].std(), sides[1].std(), 1.5)
    width = max(0.9 * spread * min(len(side) for side in sides) ** -0.2, 0.05)
    first, last = sorted(float(side.mean()) for side in sides)
    if last - first < width:
        return NO_DIP
    middle, counts = _smoothed(scores, width)
    peak = np.minimum(np.maximum.accumulate(counts), np.maximum.accumulate(counts[::-1])[::-1])
    depth = np.log(peak / counts) - SURE * np.sqrt(1 / peak + 1 / counts)
    between = (middle >= first) & (middle <= last)
    valley = np.max(depth, where=between, initial=-np.inf)
    at = np.interp(np.linspace(first, last, _ENDS), middle, counts)
    log, noise = np.log(at), 1 / at
    gap = _NEARNESS * log[_FROM] - log[_BELOW] + (1 - _NEARNESS) * log[_TO]
    error = np.sqrt(_NEARNESS**2 * noise[_FROM] + noise[_BELOW] + (1 - _NEARNESS) ** 2 * noise[_TO])
    return Dip(float((gap - error).max()), float(valley))


def separation(points: Points, second: NDArray[np.bool_]) -> Dip:
    """Give the evidence that two groups of points are two: see `density_dip` of `left_out_scores`.

    Parameters
    ----------
    points
        Points x dimensions.
    second
        Whether a point is of the second group.

    Returns
    -------
    The dip; minus infinity where a side has fewer than `LEAST` points.
    """
    if min(second.sum(), (~second).sum()) < LEAST:
        return NO_DIP
    return density_dip(left_out_scores(points, second), second)


def _smoothed(scores: NDArray[np.float64], width: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give places, and the number of points that a normal kernel counts there, plus a half."""
    low, high = np.quantile(scores, [0.001, 0.999])
    n_steps = int(np.clip(_STEPS * (high - low) / width, 256, 4096))
    edges = np.linspace(low - 1.5 * width, high + 1.5 * width, n_steps + 1)
    step = edges[1] - edges[0]
    reach = int(4 * width / step) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step / width) ** 2)
    density = np.convolve(np.histogram(scores, edges)[0], kernel / kernel.sum(), mode="full")[reach : reach + n_steps]
    return (edges[:-1] + edges[1:]) / 2, density * _WINDOW * width / step + 0.5
