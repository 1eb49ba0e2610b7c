"""Lineages: where a random walk ends, which ends there are, and where their ways part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse.csgraph import breadth_first_order

#: A branch is kept if it adds at least this part of the longest one.
SHORTEST = 0.15
#: Share of the waypoints that belong to an end.
END = 0.02
#: Off the way to a waypoint by this part of the longest way, a point counts e times less as being on it.
OFF = 0.3


@dataclass(frozen=True, slots=True)
class BranchPoint:
    """Where lineages part.

    Attributes
    ----------
    parent
        The branch point before, -1 for the first.
    left, right
        Positions of the lineages on either side.
    waypoint
        Position of the waypoint nearest to it.
    """

    parent: int
    left: tuple[int, ...]
    right: tuple[int, ...]
    waypoint: int


def find_terminals(
    distance: np.ndarray, root: int, *, shortest: float = SHORTEST, most: int = 12
) -> tuple[list[int], np.ndarray]:
    """Find the tips of a tree from distances: again and again the point farthest from the tree spanned so far.

    Parameters
    ----------
    distance
        Between points; on a tree they add up along its edges.
    root
        The point where the tree begins.
    shortest
        A branch counts if it adds at least this part of the longest one.
    most
        Tips, at most.

    Returns
    -------
    The tips, and the length that each adds to the tree.
    """
    away = distance[root].copy()
    found: list[int] = []
    lengths: list[float] = []
    while len(found) < most:
        tip = int(away.argmax())
        if found and away[tip] < shortest * lengths[0]:
            break
        found.append(tip)
        lengths.append(float(away[tip]))
        # how far each point lies off the way from the root to the new tip
        away = np.minimum(away, (distance[root] + distance[tip] - distance[root, tip]) / 2)
    return found, np.array(lengths)


def end_regions(distance: np.ndarray, ends: list[int], share: float = END) -> np.ndarray:
    """Give to each end the waypoints around it.

    Parameters
    ----------
    distance
        Between waypoints.
    ends
        Positions of the ends, each once.
    share
        Share of the waypoints that an end has, at most; it has itself in any case.

    Returns
    -------
    For each waypoint the number of its end, or -1.
    """
    from_ends = distance[ends]
    nearest = from_ends.argmin(axis=0)
    region = np.full(distance.shape[0], -1)
    n = max(round(share * distance.shape[0]), 1)
    for end, away in enumerate(from_ends):
        around = np.argsort(away, kind="stable")[:n]
        region[around[nearest[around] == end]] = end
    region[ends] = np.arange(len(ends))
    return region


def absorption(affinity: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Give the probability that a random walk comes to each end first.

    Parameters
    ----------
    affinity
        Weights of the steps from each point (rows) to each other, not negative.
    region
        The number of the end that a point belongs to, -1 for none.

    Returns
    -------
    Points x ends; rows add up to 1.

    Raises
    ------
    ValueError
        When there are points from which no end can be reached.
    """
    n_ends = int(region.max()) + 1
    free = np.flatnonzero(region < 0)
    found = np.zeros((len(region), n_ends))
    at_end = np.flatnonzero(region >= 0)
    found[at_end, region[at_end]] = 1
    if not len(free):
        return found
    _check_reached(affinity, region)
    step = affinity[free] / affinity[free].sum(axis=1, keepdims=True)
    into = step[:, at_end] @ found[at_end]
    solved = np.linalg.solve(np.eye(len(free)) - step[:, free], into)
    solved = np.maximum(solved, 0)
    found[free] = solved / solved.sum(axis=1, keepdims=True)
    return found


def lineage_probabilities(affinity: np.ndarray, region: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give where walks end that do not come back to the root, and how likely it is that they do not.

    Parameters
    ----------
    affinity
        Weights of the steps, points x points.
    region
        As for `absorption`, 0 for the root, 1 and above for terminals.

    Returns
    -------
    Probabilities of the terminals, points x terminals, rows adding up to 1, and the probability of coming to a terminal before the
    root (0 at the root, 1 at terminals). From the root itself the way out decides, which is the same as where walks end at all.
    """
    hit = absorption(affinity, region)
    ahead = hit[:, 1:].sum(axis=1)
    out = absorption(affinity, np.where(region == 0, -1, region - 1 * (region > 0)))
    fates = np.divide(hit[:, 1:], ahead[:, None], out=out.copy(), where=ahead[:, None] > 1e-9)
    return fates / fates.sum(axis=1, keepdims=True), ahead


def progress(affinity: np.ndarray, region: np.ndarray, fates: np.ndarray) -> np.ndarray:
    """Say how far along its lineages a point is.

    Parameters
    ----------
    affinity
        Weights of the steps, points x points.
    region
        As for `lineage_probabilities`.
    fates
        Probabilities of the terminals, points x terminals.

    Returns
    -------
    For each point the probability that a random walk comes to a terminal before the root, the terminals taken one at a time and averaged
    by their probabilities. On a tree it rises evenly along each lineage and stays the same on side branches.
    """
    found = np.zeros(len(region))
    for terminal in range(fates.shape[1]):
        ends = np.select([region == 0, region == terminal + 1], [0, 1], -1)
        found += fates[:, terminal] * absorption(affinity, ends)[:, 1]
    return found


def share_of_the_way(to_root: np.ndarray, to_waypoints: np.ndarray, root_to_waypoints: np.ndarray) -> np.ndarray:
    """Say which part of its way a point has gone, when no ends are known.

    Parameters
    ----------
    to_root
        Distance of each point from the root; on a tree distances add up along its edges.
    to_waypoints
        Distances, points x waypoints.
    root_to_waypoints
        Distance of each waypoint from the root.

    Returns
    -------
    For each point the way from the root, divided by itself and the way that is still ahead: 0 at the root, 1 where nothing is. Ahead are waypoints
    farther from the root, those less to which the way leads past the point at a distance.
    """
    further = np.maximum(root_to_waypoints - to_root[:, None], 0)
    # the way from the root to the waypoint comes as near as this to the point
    off = np.maximum(to_waypoints - root_to_waypoints + to_root[:, None], 0) / 2
    longest = np.quantile(root_to_waypoints, 0.99)
    ahead = further * np.exp(-off / (OFF * longest))
    n = max(round(END * len(root_to_waypoints)), 1)
    remaining = np.partition(ahead, len(root_to_waypoints) - n, axis=1)[:, -n:].mean(axis=1)
    total = to_root + remaining
    return np.divide(to_root, total, out=np.zeros_like(total), where=total > 0)


def _check_reached(affinity: np.ndarray, region: np.ndarray) -> None:
    """Check that a walk from any point comes to an end."""
    n = len(region)
    back = np.zeros((n + 1, n + 1))
    back[:n, :n] = affinity.T > 0  # from the ends back to where walks came from
    back[n, :n] = region >= 0
    reached = breadth_first_order(back, n, directed=True, return_predecessors=False)
    if len(reached) < n + 1:
        msg = f"no end can be reached from {n + 1 - len(reached)} of {n} points."
        raise ValueError(msg)


def conditioned(affinity: np.ndarray, ahead: np.ndarray) -> np.ndarray:
    """Give the steps of walks that come to a terminal before they come back to the root (Doob's transform).

    Parameters
    ----------
    affinity
        Weights of the steps, points x points.
    ahead
        Probability of coming to a terminal first, from each point.

    Returns
    -------
    Transition probabilities; rows add up to 1, or to 0 where no step leads on.
    """
    forward = affinity * ahead
    total = forward.sum(axis=1, keepdims=True)
    return np.divide(forward, total, out=np.zeros_like(forward), where=total > 0)


def branch_points(distance: np.ndarray, root: int, terminals: list[int]) -> list[BranchPoint]:
    """Unite lineages, those first whose ways from the root part last.

    Parameters
    ----------
    distance
        Between waypoints; on a tree they add up along its edges.
    root, terminals
        Positions of waypoints.

    Returns
    -------
    Branch points, the one nearest the root first; none for a single lineage.
    """
    tips = np.array(terminals)
    shared = (distance[root, tips][:, None] + distance[root, tips] - distance[np.ix_(tips, tips)]) / 2
    groups: dict[tuple[int, ...], int] = {(i,): -1 for i in range(len(tips))}
    made: list[tuple[tuple[int, ...], tuple[int, ...], int]] = []
    children: dict[int, int] = {}
    while len(groups) > 1:
        names = list(groups)
        pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
        a, b = max(pairs, key=lambda pair: (shared[np.ix_(*pair)].mean(), pair))
        # the median of the root and both sides: the point with the shortest ways to all three
        ways = distance[root] + distance[tips[list(a)]].mean(axis=0) + distance[tips[list(b)]].mean(axis=0)
        children |= {groups[side]: len(made) for side in (a, b) if groups[side] >= 0}
        groups = {name: node for name, node in groups.items() if name not in (a, b)}
        groups[tuple(sorted(a + b))] = len(made)
        made.append((min(a, b), max(a, b), int(ways.argmin())))
    last = len(made) - 1
    return [BranchPoint(last - children[i] if i in children else -1, *made[i]) for i in range(last, -1, -1)]


def segments(
    probabilities: np.ndarray, time: np.ndarray, points: list[BranchPoint], times: np.ndarray
) -> list[tuple[int, ...]]:
    """Say for each cell which lineages are open to it: a cell past a branch point is on the side that is more likely.

    Parameters
    ----------
    probabilities, time
        Lineage probabilities and pseudotime of the cells.
    points, times
        Branch points as `branch_points` gives them, and their pseudotimes.

    Returns
    -------
    The positions of the lineages.
    """
    n_cells, n_lineages = probabilities.shape
    now = [tuple(range(n_lineages))] * n_cells
    for point, when in zip(points, times, strict=True):
        here = tuple(sorted(point.left + point.right))
        left = probabilities[:, list(point.left)].sum(axis=1) >= probabilities[:, list(point.right)].sum(axis=1)
        for cell in np.flatnonzero(time >= when):
            if now[cell] == here:
                now[cell] = point.left if left[cell] else point.right
    return now
