"""Whether two clusters are two: a valley between them, along an axis that was found without the cell that is placed on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points: TypeAlias = NDArray[np.floating]

SURE = 1.64
"""Standard errors by which the depth of a valley is lowered: one-sided confidence of 95 %."""
LEAST = 4
"""Points that either side needs."""
_MOST_SHRUNK = 0.9
_STEPS = 3
"""Steps of the grid in a bandwidth."""
_WINDOW = 2 * np.sqrt(np.pi)
"""Width of the window that counts as many points as a normal kernel does, in bandwidths."""


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
    n, d = points.shape
    sizes = np.where(second, second.sum(), (~second).sum()).astype(np.float64)
    means = points[~second].mean(axis=0, dtype=np.float64), points[second].mean(axis=0, dtype=np.float64)
    within = points - np.where(second[:, None], means[1], means[0])
    scatter = within.T @ within
    shrunk = min(_MOST_SHRUNK, d / n)
    ridge = max(shrunk / (1 - shrunk) * np.trace(scatter) / d, 1e-12)
    inverse = np.linalg.inv(scatter + ridge * np.eye(d))
    gap = means[1] - means[0]
    solved = within @ inverse
    z_z = np.einsum("ij,ij->i", solved, within)
    z_gap = solved @ gap
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


def valley_depth(scores: NDArray[np.float64], second: NDArray[np.bool_]) -> float:
    """Give the depth of the deepest valley of a density, as far as its points make it sure.

    Parameters
    ----------
    scores
        One value a point.
    second
        Whether a point is of the second group; the bandwidth follows the smaller and narrower of both.

    Returns
    -------
    Lower 95 % bound of ``log(peak / valley)``, where the valley lies between the means of the groups and ``peak`` is the
    lower of the highest densities on both sides of it; 0 or less where one peak is as likely.

    Notes
    -----
    Normal kernel of Silverman's bandwidth. Density times the kernel's width counts points, whose variance is taken for
    Poisson's; the bound grows with their number, so that few points are not cut by chance, and many not for nothing.
    """
    sides = scores[~second], scores[second]
    spread = min(sides[0].std(), sides[1].std(), 1.5)
    width = max(0.9 * spread * min(len(side) for side in sides) ** -0.2, 0.05)
    low, high = np.quantile(scores, [0.001, 0.999])
    n_steps = int(np.clip(_STEPS * (high - low) / width, 256, 4096))
    edges = np.linspace(low - 1.5 * width, high + 1.5 * width, n_steps + 1)
    step = edges[1] - edges[0]
    reach = int(4 * width / step) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step / width) ** 2)
    density = np.convolve(np.histogram(scores, edges)[0], kernel / kernel.sum(), mode="full")[reach : reach + n_steps]
    counts = density * _WINDOW * width / step
    peak = np.minimum(np.maximum.accumulate(counts), np.maximum.accumulate(counts[::-1])[::-1]) + 0.5
    valley = counts + 0.5
    depth = np.log(peak / valley) - SURE * np.sqrt(1 / peak + 1 / valley)
    middle = (edges[:-1] + edges[1:]) / 2
    between = (middle >= min(side.mean() for side in sides)) & (middle <= max(side.mean() for side in sides))
    return float(np.max(depth, where=between, initial=-np.inf))


def separation(points: Points, second: NDArray[np.bool_]) -> float:
    """Give the evidence that two groups of points are two: see `valley_depth` of `left_out_scores`.

    Parameters
    ----------
    points
        Points x dimensions.
    second
        Whether a point is of the second group.

    Returns
    -------
    The lower bound of the logarithm of peak over valley; minus infinity where a side has fewer than `LEAST` points.
    """
    if min(second.sum(), (~second).sum()) < LEAST:
        return -np.inf
    return valley_depth(left_out_scores(points, second), second)
