"""Where labelled cells lie, and how typical a cell is of its label."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.neighbors import NearestNeighbors

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PRIOR_CELLS = 60
"""Cells of a label at which its own covariance weighs as much as the common one."""
_NEIGHBOURS = 30
_MOST_NEIGHBOURS = 300


class LabelRegions(NamedTuple):
    """A normal distribution of the poses of each label."""

    means: NDArray[np.float64]
    """Labels x dimensions."""
    precisions: NDArray[np.float64]
    """Labels x dimensions x dimensions."""
    offsets: NDArray[np.float64]
    """Logarithm of the determinant of each covariance."""
    distances: NDArray[np.float64]
    """Sorted distances of labelled cells that were not used, which p-values are read from."""


def region_distances(points: NDArray[np.floating], regions: LabelRegions) -> NDArray[np.float64]:
    """Give how far out points lie, minus twice the log density up to a constant, in the label in which they lie least far out.

    Parameters
    ----------
    points
        Points x dimensions.
    regions
        Of the labels.

    Returns
    -------
    (points,).
    """
    return nearest_regions(points, regions)[0]


def nearest_regions(
    points: NDArray[np.floating], regions: LabelRegions
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Give the distances of `region_distances`, and the label of each, both (points,)."""
    best, label = np.full(len(points), np.inf), np.zeros(len(points), dtype=np.int64)
    for number, (mean, precision, offset) in enumerate(
        zip(regions.means, regions.precisions, regions.offsets, strict=True)
    ):
        centred = points - mean
        distance = np.einsum("ij,ij->i", centred @ precision, centred) + offset
        label[distance < best] = number
        best = np.minimum(best, distance)
    return best, label


def fit_regions(
    points: NDArray[np.floating], labels: NDArray[np.integer], held_out: NDArray[np.bool_], n_labels: int
) -> LabelRegions:
    """Fit the regions of labels, with covariances shrunk to the common one.

    Parameters
    ----------
    points
        Poses of labelled cells, cells x dimensions.
    labels
        Label of each, 0, 1, ...
    held_out
        Cells that only set the scale of the p-values; where there are fewer than 20, all cells do.
    n_labels
        Number of labels. No point lies in the region of one without cells; one that only held-out cells have gets theirs.

    Returns
    -------
    The regions.
    """
    points = np.asarray(points, dtype=np.float64)
    used = ~held_out
    members = [labels == label for label in range(n_labels)]
    groups = [points[own & used if (own & used).any() else own] for own in members]
    sizes = np.array([len(group) for group in groups])
    means = np.stack([group.mean(0) if len(group) else points[used].mean(0) for group in groups])
    scatters = [(group - mean).T @ (group - mean) for group, mean in zip(groups, means, strict=True)]
    common = sum(scatters) / max(int(sizes.sum() - (sizes > 0).sum()), 1)
    common = common + 1e-3 * np.trace(common) / len(common) * np.eye(len(common)) + 1e-9 * np.eye(len(common))
    covariances = [
        (scatter + _PRIOR_CELLS * common) / (size + _PRIOR_CELLS) for scatter, size in zip(scatters, sizes, strict=True)
    ]
    regions = LabelRegions(
        means,
        np.stack([np.linalg.inv(c) for c in covariances]),
        np.where(sizes > 0, [np.linalg.slogdet(c)[1] for c in covariances], np.inf),
        np.empty(0),
    )
    scale = points[held_out] if held_out.sum() >= 20 else points
    return regions._replace(distances=np.sort(region_distances(scale, regions)))


def typicality(points: NDArray[np.floating], regions: LabelRegions) -> NDArray[np.float64]:
    """Give the share of labelled cells that lie as far out as each point.

    Parameters
    ----------
    points
        Points x dimensions.
    regions
        Of the labels.

    Returns
    -------
    (points,), in (0, 1]: a p-value of the null that the point is a cell with one of the labels.
    """
    found = np.searchsorted(regions.distances, region_distances(points, regions), side="left")
    return (1 + len(regions.distances) - found) / (1 + len(regions.distances))


def labelled_share(points: NDArray[np.floating], labelled: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Give how many of the neighbours of each point are labelled, against what would be expected if labels were anywhere.

    Parameters
    ----------
    points
        Points x dimensions, with and without labels.
    labelled
        Which have one.

    Returns
    -------
    (points,), in [0, 1]: 0 where no neighbour has a label although some of all points have, 1 where as many as expected.

    Notes
    -----
    30 neighbours, or as many as let 10 with a label be expected, at most 300. A point is no neighbour of its own.
    """
    if not labelled.any():
        return np.zeros(len(points))
    share = labelled.mean()
    n = int(min(max(_NEIGHBOURS, np.ceil(10 / share)), _MOST_NEIGHBOURS, len(points) - 1))
    near = NearestNeighbors(n_neighbors=n + 1).fit(points).kneighbors(points, return_distance=False)
    others = near != np.arange(len(points))[:, None]
    return np.minimum((labelled[near] & others).sum(1) / np.maximum(others.sum(1), 1) / share, 1.0)
