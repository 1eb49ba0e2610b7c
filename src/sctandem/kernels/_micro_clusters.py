"""Many small clusters of cells, rare kinds included: what a tree of a million cells is built of."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from sctandem.kernels._groups import group_means

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Micro-clusters at most, cells that one needs on average, and cells that the first of them are found on.
MOST, CELLS_EACH, SAMPLE = 1000, 5, 20_000
#: Part of the micro-clusters that start from a sample; the others start where cells are badly described by these.
_FROM_SAMPLE = 0.75
#: Distances that are held at once.
_BLOCK = 8_000_000


def micro_clusters(points: NDArray[np.floating], n: int | None = None, *, rng: np.random.Generator) -> NDArray[np.intp]:
    """Group points finely.

    Parameters
    ----------
    points
        Points x dimensions.
    n
        Most groups; `None` for one in five points, at most 1,000.
    rng
        Draws the sample and the starts.

    Returns
    -------
    Group of each point, 0, 1, ... without gaps.

    Notes
    -----
    Three quarters of the groups are found by k-means on a sample of 20,000 points. The others start at points that are drawn with probability proportional
    to the squared distance from the nearest of these, among all points (k-means||): a rare kind that the sample missed lies far from every centre.
    Two passes over all points follow. Cost: three products of the points with the centres.

    References
    ----------
    Bahmani et al., Scalable k-means++, PVLDB 5 (2012).
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    points = np.ascontiguousarray(points, dtype=np.float32)
    n = int(np.clip(len(points) // CELLS_EACH, 2, MOST)) if n is None else min(n, len(points))
    if n < 2:
        return np.zeros(len(points), dtype=np.intp)
    sample = points[np.sort(rng.choice(len(points), min(SAMPLE, len(points)), replace=False))]
    first = max(1, int(_FROM_SAMPLE * n))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than centres: some stay empty
        model = KMeans(first, n_init=1, max_iter=15, random_state=int(rng.integers(2**31))).fit(sample)
    centres = model.cluster_centers_
    far = nearest(points, centres)[1].astype(np.float64)
    wanted = min(n - first, int(np.count_nonzero(far)))
    if wanted:
        centres = np.concatenate([centres, points[rng.choice(len(points), wanted, replace=False, p=far / far.sum())]])
    codes = nearest(points, centres)[0]
    codes = nearest(points, group_means(points, np.unique(codes, return_inverse=True)[1]))[0]
    return np.unique(codes, return_inverse=True)[1]


def nearest(
    points: NDArray[np.floating], centres: NDArray[np.floating]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Find the nearest centre of each point.

    Parameters
    ----------
    points
        Points x dimensions.
    centres
        Centres x dimensions.

    Returns
    -------
    Its number, and the squared distance.
    """
    middle = centres.mean(0)  # products of numbers that are far from 0 lose digits
    centres = (centres - middle).astype(np.float32)
    lengths = np.einsum("ij,ij->i", centres, centres)
    codes, squares = np.empty(len(points), dtype=np.intp), np.empty(len(points), dtype=np.float32)
    step = max(1, _BLOCK // len(centres))
    for start in range(0, len(points), step):
        rows = slice(start, start + step)
        block = (points[rows] - middle).astype(np.float32)
        scores = block @ (-2 * centres.T)
        scores += lengths
        found = scores.argmin(1)
        codes[rows] = found
        squares[rows] = scores[np.arange(len(found)), found] + np.einsum("ij,ij->i", block, block)
    return codes, np.maximum(squares, 0)
