"""Parts of cells in each of which every cluster is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Starts of the search for a division of groups, and groups up to which pairs are exchanged.
_STARTS, _MOST_SWAPPED = 20, 60
#: What a cluster that a part lacks costs; sizes and compositions that differ cost at most a few.
_MISSING = 1e3


def split_points(
    clusters: NDArray[np.integer], shares: NDArray[np.floating], *, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Divide points, each cluster for itself.

    Parameters
    ----------
    clusters
        Cluster of each point, 0, 1, ...
    shares
        Part of the points that each part is to have, adding up to 1.
    rng
        Draws which points.

    Returns
    -------
    Part of each point. A cluster with at least as many points as parts is in each; of a smaller one the first part has at least one point. What is rounded in
    a small cluster is made good in the next larger.
    """
    parts = np.zeros(len(clusters), dtype=np.intp)
    size = np.bincount(clusters)
    carry = np.zeros(len(shares))
    members = _members(clusters, rng)
    for cluster in np.argsort(size, kind="stable"):
        n = int(size[cluster])
        if not n:
            continue
        least = np.ones(len(shares)) if n >= len(shares) else np.eye(len(shares))[0]
        wanted = shares * n + carry
        given = _whole(np.maximum(wanted - least, 0), n - int(least.sum())) + least.astype(np.intp)
        carry = wanted - given
        parts[members[cluster]] = np.repeat(np.arange(len(shares)), given)
    return parts


def _members(clusters: NDArray[np.integer], rng: np.random.Generator) -> list[NDArray[np.intp]]:
    """List the points of each cluster in random order."""
    order = rng.permutation(len(clusters))
    order = order[np.argsort(clusters[order], kind="stable")]
    return np.split(order, np.bincount(clusters).cumsum()[:-1])


def _whole(wanted: NDArray[np.floating], total: int) -> NDArray[np.intp]:
    """Round to whole numbers with a given sum, in proportion, by largest remainders."""
    sums = wanted.sum()
    wanted = wanted * (total / sums) if sums > 0 else np.full(len(wanted), total / len(wanted))
    found = np.floor(wanted + 1e-9).astype(np.intp)
    rest = total - int(found.sum())
    found[np.argsort(found - wanted, kind="stable")[:rest]] += 1
    return found


def split_groups(
    counts: NDArray[np.integer], shares: NDArray[np.floating], *, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Divide groups of points, such as donors, none of which may be cut.

    Parameters
    ----------
    counts
        Points of each cluster in a group, groups x clusters; at least as many groups as parts.
    shares
        Part of the points that each part is to have, adding up to 1.
    rng
        Draws starts.

    Returns
    -------
    Part of each group.

    Notes
    -----
    From 20 starts, groups are moved and exchanged as long as that lowers the cost: first the number of clusters that a part lacks, of those that
    enough groups have; then how far the sizes of the parts are from those wanted, and their compositions from that of all (chi-square a point).
    """
    n_parts = len(shares)
    best, least = np.zeros(len(counts), dtype=np.intp), np.inf
    for _ in range(_STARTS):
        parts = _start(counts, shares, rng)
        cost = _cost(counts, parts, shares)
        improved = True
        while improved:
            improved = False
            for trial in _neighbours(parts, n_parts):
                other = _cost(counts, trial, shares)
                if other < cost - 1e-12:
                    parts, cost, improved = trial, other, True
        if cost < least:
            best, least = parts, cost
    return best


def _start(counts: NDArray[np.integer], shares: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.intp]:
    """Deal groups, the largest first more or less, each to the part that lacks most; every part gets one."""
    size = counts.sum(1) * rng.uniform(0.7, 1.4, len(counts))
    parts = np.full(len(counts), -1)
    lacking = shares * counts.sum()
    for place, group in enumerate(np.argsort(-size)):
        left = len(counts) - place
        empty = np.flatnonzero(np.bincount(parts[parts >= 0], minlength=len(shares)) == 0)
        among = empty if len(empty) >= left else np.arange(len(shares))
        part = among[np.argmax(lacking[among])]
        parts[group] = part
        lacking[part] -= counts[group].sum()
    return parts


def _neighbours(parts: NDArray[np.intp], n_parts: int) -> list[NDArray[np.intp]]:
    """List the divisions that a move or an exchange away are."""
    found = []
    for i in range(len(parts)):
        for part in range(n_parts):
            if part != parts[i] and (parts == parts[i]).sum() > 1:
                found.append(parts.copy())
                found[-1][i] = part
        if len(parts) <= _MOST_SWAPPED:
            for j in range(i):
                if parts[i] != parts[j]:
                    found.append(parts.copy())
                    found[-1][[i, j]] = parts[[j, i]]
    return found


def _cost(counts: NDArray[np.integer], parts: NDArray[np.intp], shares: NDArray[np.floating]) -> float:
    """Say how bad a division is."""
    sums = np.stack([counts[parts == part].sum(0) for part in range(len(shares))])
    reachable = (counts > 0).sum(0) >= len(shares)
    total = counts.sum(0)
    expected = np.outer(shares, total)
    size = sums.sum(1) / total.sum()
    chi = ((sums - expected) ** 2 / np.maximum(expected, 1e-9)).sum() / total.sum()
    return float(_MISSING * (sums[:, reachable] == 0).sum() + (((size - shares) / shares) ** 2).sum() + chi)


def missed_at_random(size: NDArray[np.integer], n_part: int) -> float:
    """Give how many clusters a random part lacks, on average.

    Parameters
    ----------
    size
        Points of each cluster.
    n_part
        Points of the part, drawn without replacement from all.

    Returns
    -------
    The sum of the probabilities (hypergeometric) that none is drawn.
    """
    n = int(size.sum())
    possible = n - size >= n_part
    rest = np.where(possible, n - size, n_part)
    logs = gammaln(rest + 1) - gammaln(rest - n_part + 1) - gammaln(n + 1) + gammaln(n - n_part + 1)
    return float(np.exp(logs[possible]).sum())


def composition_divergence(counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """Give how far the compositions of parts are apart.

    Parameters
    ----------
    counts
        Points of each cluster in a part, parts x clusters.

    Returns
    -------
    Parts x parts: symmetric Kullback-Leibler divergence of the shares of the clusters, nats, with half a point added to each.
    """
    shares = counts + 0.5
    shares = shares / shares.sum(1, keepdims=True)
    logs = np.log(shares)
    return ((shares[:, None] - shares) * (logs[:, None] - logs)).sum(2)
