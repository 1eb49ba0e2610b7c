"""Which groups of points of one domain are those of another, where nobody says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

from sctandem._random import as_generator
from sctandem.kernels._kmeans import kmeans

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from sctandem._random import RNG

_POINTS_A_CLUSTER = 25
_MOST_CLUSTERS = 20


class MatchedClusters(NamedTuple):
    """Clusters within domains.

    `centres` are clusters x dimensions, `domain` that of each cluster, `cluster` that of each point, and `matched` (clusters x
    clusters) says which are the same in two domains; each is its own match.
    """

    centres: NDArray[np.float64]
    domain: NDArray[np.int64]
    cluster: NDArray[np.int64]
    matched: NDArray[np.bool_]


def match_clusters(points: ArrayLike, domain: ArrayLike, *, rng: RNG = None) -> MatchedClusters:
    """Cluster the points of each domain finely, and match clusters of two domains that are each other's nearest.

    Parameters
    ----------
    points
        Points x dimensions, finite.
    domain
        Domain of each point, integers from 0.
    rng
        Seed of the first centres.

    Returns
    -------
    Clusters and matches. A group that one domain alone has is rarely matched: what is nearest to it in another domain has a
    nearer counterpart.

    References
    ----------
    Lin et al., scMerge leverages factor analysis, stable expression, and pseudoreplication to merge multiple single-cell
    RNA-seq datasets, PNAS 116 (2019).

    Examples
    --------
    >>> import numpy as np
    >>> from sctandem.kernels._matched_clusters import match_clusters
    >>> points = np.array([[0.0], [0.1], [9.0], [9.1], [0.5], [0.6]])
    >>> match_clusters(points, [0, 0, 1, 1, 1, 1], rng=0).matched.shape
    (2, 2)
    """
    points, domain = np.asarray(points, dtype=np.float64), np.asarray(domain)
    rng = as_generator(rng)
    centres: list[np.ndarray] = []
    owner: list[int] = []
    cluster = np.zeros(len(points), dtype=np.int64)
    for code in np.unique(domain):
        cells = np.flatnonzero(domain == code)
        n_clusters = int(np.clip(len(cells) // _POINTS_A_CLUSTER, 1, _MOST_CLUSTERS))
        found = kmeans(points[cells], n_clusters, n_steps=20, rng=rng)[1]
        for number in np.unique(found):
            cluster[cells[found == number]] = len(centres)
            centres.append(points[cells[found == number]].mean(0))
            owner.append(int(code))
    middle, of = np.stack(centres), np.array(owner)
    return MatchedClusters(middle, of, cluster, _mutual(cdist(middle, middle), of))


def _mutual(distance: np.ndarray, domain: np.ndarray) -> np.ndarray:
    """Match clusters of each pair of domains that are each other's nearest."""
    matched = np.eye(len(domain), dtype=bool)
    for first in np.unique(domain):
        for second in np.unique(domain[domain > first]):
            rows, columns = np.flatnonzero(domain == first), np.flatnonzero(domain == second)
            between = distance[np.ix_(rows, columns)]
            nearest, back = between.argmin(1), between.argmin(0)
            mutual = back[nearest] == np.arange(len(rows))
            matched[rows[mutual], columns[nearest[mutual]]] = True
    return matched | matched.T
