"""k-means where clusters may stay empty."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from scipy.cluster.vq import kmeans2

if TYPE_CHECKING:
    from numpy.typing import NDArray


def kmeans(
    points: NDArray[np.float64], n_clusters: int, *, n_steps: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.integer]]:
    """Cluster points from distant first centres, and say nothing of clusters that stay empty.

    Parameters
    ----------
    points
        Points x dimensions.
    n_clusters
        How many clusters there are at most: fewer have points where points coincide.
    n_steps
        How often centres are moved.
    rng
        Draws the first centres.

    Returns
    -------
    Centres, clusters x dimensions, and the cluster of each point.

    References
    ----------
    Arthur & Vassilvitskii, k-means++: the advantages of careful seeding, SODA 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from sctandem.kernels._kmeans import kmeans
    >>> centres, cluster = kmeans(np.zeros((6, 2)), 3, n_steps=5, rng=np.random.default_rng(0))
    >>> len(np.unique(cluster))
    1
    """
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):  # distances of points that coincide add up to 0
        warnings.filterwarnings("ignore", "One of the clusters is empty")
        return kmeans2(points, n_clusters, iter=n_steps, minit="++", rng=rng)
