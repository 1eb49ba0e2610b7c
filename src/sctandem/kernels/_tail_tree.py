"""Clusters within clusters of cells, in which rare kinds are branches of their own."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import pdist, squareform

from sctandem.kernels._annealing_evidence import separation
from sctandem.kernels._annealing_fit import LEAST_EVIDENCE
from sctandem.kernels._annealing_tree import merge_by_evidence
from sctandem.kernels._cluster_distances import kullback_leibler, mahalanobis, mann_whitney, whitening
from sctandem.kernels._groups import group_means
from sctandem.kernels._micro_clusters import micro_clusters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Clusters that kinds are united from, at most, and points that each shows.
_MOST_KINDS, _SHOWN = 80, 1000
#: Near kinds that a small one has to be parted from, and how many times its points are looked at on the near side of each.
_RIVALS, _NEAR_SIDE = 3, 300

Distance = Literal["mahalanobis", "mann_whitney", "kullback_leibler"]


class ClusterTree(NamedTuple):
    """Clusters of points at several levels, and the tree above the finest.

    Attributes
    ----------
    levels
        Cluster of each point, levels x points, from coarse to fine, by falling size; every cluster lies within one of the level before.
    parent
        Parent of each node, -1 for the root, which is the first.
    height
        Distance between the two sides of a node, 0 for the clusters of the finest level.
    n_points
        Points of each node.
    cluster
        Cluster of the finest level that a node is, -1 for a split.
    kinds
        Kind of each point: the labels, or those found, by falling size.
    """

    levels: NDArray[np.intp]
    parent: NDArray[np.intp]
    height: NDArray[np.float64]
    n_points: NDArray[np.intp]
    cluster: NDArray[np.intp]
    kinds: NDArray[np.intp]


def cluster_tree(
    points: NDArray[np.floating],
    n_clusters: Sequence[int] | None = None,
    *,
    labels: NDArray[np.integer] | None = None,
    distance: Distance = "mahalanobis",
    min_points: int = 10,
    rng: np.random.Generator,
) -> ClusterTree:
    """Cluster points by average linkage of micro-clusters.

    Parameters
    ----------
    points
        Points x dimensions.
    n_clusters
        Most clusters of each level, rising; `None` for the root and the kinds.
    labels
        Kind of each point, 0, 1, ... without gaps; `None` finds kinds that valleys part. With as many clusters as kinds these are the kinds, with more each
        lies in one.
    distance
        Between micro-clusters.
    min_points
        Points that a cluster needs, given labels apart.
    rng
        Draws starts of micro-clusters.

    Returns
    -------
    The tree.

    Notes
    -----
    Linkage does not ask how many points a micro-cluster has: a rare kind that lies apart is a branch of its own, where the variance criterion (Ward)
    would give it to a large neighbour, whose variance it hardly adds to. On the way down from the root the highest node is split; where one side has fewer
    than `min_points` points these are outliers, which stay with the other side (as in the condensed tree of HDBSCAN).

    References
    ----------
    Campello, Moulavi & Sander, Density-based clustering based on hierarchical density estimates, PAKDD (2013).
    """
    codes = micro_clusters(points, rng=rng)
    kinds = find_kinds(points, codes, min_points=min_points, rng=rng) if labels is None else labels.astype(np.intp)
    n_labels = int(kinds.max()) + 1
    codes = np.unique(codes * n_labels + kinds, return_inverse=True)[1]
    size = np.bincount(codes)
    wanted = (1, n_labels) if n_clusters is None else tuple(n_clusters)
    if len(size) < 2:
        levels = np.zeros((len(wanted), len(points)), np.intp)
        return ClusterTree(levels, np.array([-1]), np.zeros(1), size, np.zeros(1, np.intp), kinds)
    between = {"mann_whitney": mann_whitney, "kullback_leibler": kullback_leibler}.get(
        distance, lambda points, codes: mahalanobis(points, codes, kinds)
    )(points, codes)
    of_micro = np.zeros(len(size), dtype=np.intp)
    of_micro[codes] = kinds
    apart = 2 * float(between.max()) + 1  # unites what is of one kind before anything else
    merges = linkage(squareform(between + apart * (of_micro[:, None] != of_micro), checks=False), "average")
    tree = _condense(merges, size, wanted, min_points=min_points, forced=n_labels - 1)
    height = np.where(tree.height >= apart, tree.height - apart, tree.height)
    return tree._replace(levels=tree.levels[:, codes], height=height, kinds=kinds)


def find_kinds(
    points: NDArray[np.floating], codes: NDArray[np.intp], *, min_points: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Find the kinds of points that valleys of their density part, rare ones included.

    Parameters
    ----------
    points
        Points x dimensions.
    codes
        Micro-cluster of each, 0, 1, ... without gaps.
    min_points
        Points that a kind needs.
    rng
        Draws the points that stand for large clusters.

    Returns
    -------
    Kind of each point, 0, 1, ... without gaps.

    Notes
    -----
    The tree of the micro-clusters is cut into up to 80 clusters, of which the two are united, again and again, between which the density shows no valley of a tenth at 95 %
    confidence (see :func:`sctandem.tl.anneal`). The periphery of a large cloud, which is the highest branch of any tree, is so given back to it. Of large clusters 1,000 points stand for all at first; what is found beside them has to be parted from all their points.
    """
    if codes.max() < 1:
        return codes
    merges = linkage(pdist(group_means(points, codes)), "average")
    fine = _condense(merges, np.bincount(codes), [_MOST_KINDS], min_points=min_points).levels[0][codes]
    members = [np.flatnonzero(fine == i) for i in range(int(fine.max()) + 1)]
    shown = np.concatenate([rng.choice(cells, min(len(cells), _SHOWN), replace=False) for cells in members])
    to_white = whitening(points, fine)
    united = merge_by_evidence((points[shown] @ to_white).astype(np.float32), fine[shown], least=LEAST_EVIDENCE)[fine]
    kinds = _given_back(points, united, to_white)
    kinds = np.unique(kinds, return_inverse=True)[1]
    return _ranks(np.bincount(kinds))[kinds]


def _given_back(
    points: NDArray[np.floating], kinds: NDArray[np.intp], to_white: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Give small kinds back that no valley parts from the near side of a large one, with all its points: beside a thinned cloud its outskirts look dense."""
    kinds, size = kinds.copy(), np.bincount(kinds)
    means = group_means(points, kinds) @ to_white
    for small in np.argsort(size, kind="stable"):
        if size[small] >= _SHOWN:
            break
        own = points[kinds == small]
        distance = ((means - means[small]) ** 2).sum(1)
        distance[size <= size[small]] = np.inf
        for rival in np.argsort(distance)[:_RIVALS]:
            if not np.isfinite(distance[rival]) or size[rival] <= _SHOWN:
                continue  # all of it was looked at
            axis = means[rival] - means[small]
            others = points[kinds == rival]
            near = np.argsort(others @ (to_white @ axis))[: _NEAR_SIDE * len(own)]  # the tail is lost among too many
            both = (np.concatenate([others[near], own]) @ to_white).astype(np.float32)
            if separation(both, np.arange(len(both)) >= len(both) - len(own)).sure < LEAST_EVIDENCE:
                kinds[kinds == small] = rival
                break
    return kinds


def _condense(
    merges: NDArray[np.float64], size: NDArray[np.intp], n_clusters: Sequence[int], *, min_points: int, forced: int = 0
) -> ClusterTree:
    """Split from the root down, the first `forced` nodes whatever their sizes; levels are by micro-cluster."""
    n = len(size)
    total = np.concatenate([size, np.zeros(n - 1, dtype=np.intp)])
    for i, (left, right) in enumerate(merges[:, :2].astype(int)):
        total[n + i] = total[left] + total[right]
    where = np.zeros(n, dtype=np.intp)  # node of each micro-cluster
    parent, height, made_by = [-1], [0.0], [0]
    heap = [(-float(merges[-1, 2]), 2 * n - 2, 0)]
    n_splits = 0
    while heap and n_splits < max(n_clusters) - 1:
        high, at, node = heapq.heappop(heap)
        small, large = sorted(merges[at - n, :2].astype(int), key=lambda side: (total[side], side))
        going = [(large, node)]
        if total[small] >= min_points or n_splits < forced:
            n_splits += 1
            height[node] = -high
            first = len(parent)
            where[where == node] = first  # outliers go with the larger side
            where[_members(merges, small, n)] = first + 1
            parent += [node, node]
            height += [0.0, 0.0]
            made_by += [n_splits, n_splits]
            going = [(large, first), (small, first + 1)]
        for side, owner in going:
            if side >= n:
                heapq.heappush(heap, (-float(merges[side - n, 2]), int(side), owner))
    parents = np.array(parent)
    levels = np.stack([_level(where, parents, np.array(made_by), k, size) for k in n_clusters])
    cluster = np.full(len(parents), -1)
    cluster[where] = levels[-1]
    n_points = np.bincount(where, size, len(parents)).astype(np.intp)
    for node in range(len(parents) - 1, 0, -1):
        n_points[parents[node]] += n_points[node]
    return ClusterTree(levels, parents, np.array(height), n_points, cluster, where)


def _members(merges: NDArray[np.float64], node: int, n: int) -> list[int]:
    """List the micro-clusters below a node of the linkage."""
    found, open_ = [], [int(node)]
    while open_:
        at = open_.pop()
        if at < n:
            found.append(at)
        else:
            open_ += merges[at - n, :2].astype(int).tolist()
    return found


def _level(
    where: NDArray[np.intp],
    parent: NDArray[np.intp],
    made_by: NDArray[np.intp],
    n_clusters: int,
    size: NDArray[np.intp],
) -> NDArray[np.intp]:
    """Cut the tree where there are so many clusters, which are numbered by falling size."""
    node = where.copy()
    while (late := made_by[node] >= n_clusters).any():  # made by a split that comes later
        node[late] = parent[node[late]]
    codes = np.unique(node, return_inverse=True)[1]
    return _ranks(np.bincount(codes, size))[codes]


def _ranks(size: NDArray[np.floating | np.integer]) -> NDArray[np.intp]:
    """Give the place of each group by falling size."""
    rank = np.empty(len(size), dtype=np.intp)
    rank[np.argsort(-size, kind="stable")] = np.arange(len(size))
    return rank
