"""What is kept of cells in place of the cells: where each group lies in the latent space, and how deep its cells are."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sctandem.kernels._kmeans import kmeans

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_CLUSTERS = 20
_POINTS_A_CLUSTER = 30


class LatentMemory(NamedTuple):
    """A normal distribution of the latent states of each group, and a log-normal one of its depths."""

    sizes: NDArray[np.int64]
    """Cells of each group."""
    means: NDArray[np.float64]
    """Groups x dimensions."""
    factors: NDArray[np.float64]
    """Groups x dimensions x dimensions: square roots of the covariances."""
    depths: NDArray[np.float64]
    """Groups x 2: mean and standard deviation of the logarithm of the depth."""
    codes: NDArray[np.int64]
    """Groups x 2: batch and label."""
    residuals: NDArray[np.float32]
    """Groups x features: logarithm of the counts of each feature against those that the decoder gives the group."""


def latent_groups(
    points: NDArray[np.floating],
    label: NDArray[np.integer] | None,
    batch: NDArray[np.integer],
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Group cells by batch and label; those without a label by clusters of their latent states.

    Parameters
    ----------
    points
        Latent states, cells x dimensions.
    label
        Label of each cell, -1 for none; `None` where there are no labels.
    batch
        Batch of each cell.
    rng
        Draws the first centres of the clusters.

    Returns
    -------
    Group of each cell, and batch and label of each group.
    """
    label = np.full(len(points), -1) if label is None else np.asarray(label)
    cluster = np.zeros(len(points), dtype=np.int64)
    free = np.flatnonzero(label < 0)
    n_clusters = int(np.clip(len(free) // _POINTS_A_CLUSTER, 1, _MOST_CLUSTERS))
    if n_clusters > 1:
        cluster[free] = kmeans(points[free].astype(np.float64), n_clusters, n_steps=10, rng=rng)[1]
    rows, group = np.unique(np.stack([batch, label, cluster], axis=1), axis=0, return_inverse=True)
    return group.ravel(), rows[:, :2]


def remember(
    points: NDArray[np.floating],
    group: NDArray[np.integer],
    codes: NDArray[np.int64],
    depth: NDArray[np.floating],
    totals: tuple[NDArray[np.floating], NDArray[np.floating]],
) -> LatentMemory:
    """Describe groups of cells.

    Parameters
    ----------
    points
        Latent states, cells x dimensions.
    group
        Group of each cell.
    codes
        Batch and label of each group.
    depth
        Counts of each cell.
    totals
        Counts of each feature in each group, groups x features, and those that the decoder expects.

    Returns
    -------
    The description; covariances of small groups lean on the common one.
    """
    points = np.asarray(points, dtype=np.float64)
    n_groups, n_dims = len(codes), points.shape[1]
    sizes = np.bincount(group, minlength=n_groups)
    means = np.stack([points[group == number].mean(0) for number in range(n_groups)])
    centred = points - means[group]
    common = centred.T @ centred / max(1, len(points) - n_groups) + 1e-6 * np.eye(n_dims)
    logs = np.log(np.maximum(depth, 1))
    factors, depths = [], []
    for number in range(n_groups):
        own = centred[group == number]
        covariance = (own.T @ own + n_dims * common) / (len(own) + n_dims)
        factors.append(np.linalg.cholesky(covariance))
        depths.append([logs[group == number].mean(), logs[group == number].std()])
    residuals = np.log((totals[0] + 1) / (totals[1] + 1)).astype(np.float32)
    return LatentMemory(sizes, means, np.stack(factors), np.array(depths), codes, residuals)


def recall(
    memory: LatentMemory, n_cells: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Draw latent states, from every group as many.

    Parameters
    ----------
    memory
        What `remember` gave.
    n_cells
        How many, at least one a group.
    rng
        Draws them.

    Returns
    -------
    States (cells x dimensions), depths (cells,), and the group of each.
    """
    group = np.arange(max(n_cells, len(memory.sizes))) % len(memory.sizes)
    noise = rng.standard_normal((len(group), memory.means.shape[1]))
    points = memory.means[group] + np.einsum("nij,nj->ni", memory.factors[group], noise)
    mean, spread = memory.depths[group].T
    return points, np.exp(mean + spread * rng.standard_normal(len(group))), group
