"""From many small clusters to those that valleys part, and the tree of their phases."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from sctandem._progress import progress_bar
from sctandem.kernels._annealing_evidence import Dip, separation
from sctandem.kernels._annealing_shoulder import WORTH, has_shoulder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points: TypeAlias = NDArray[np.floating]
    Labels: TypeAlias = NDArray[np.intp]

_MANY = 100
"""Groups of which a tree takes so long that it shows how far it is."""
_NEAR = 6
"""Nearest groups against which a group is held."""


class SplitTree(NamedTuple):
    """Nodes of a binary tree, the root first, every parent before its children."""

    parent: NDArray[np.int64]
    """-1 for the root."""
    leaf: NDArray[np.int64]
    """The group of a leaf, -1 for a split."""
    temperature: NDArray[np.float64]
    """Below which the node splits; NaN for a leaf."""
    n_points: NDArray[np.int64]
    evidence: NDArray[np.float64]
    """For the split of the node: how deep the density surely dips between its sides, in logarithms; NaN for a leaf."""


def merge_by_evidence(
    points: Points, labels: Labels, *, n_groups: int = 1, least: float = np.inf, shoulders: bool = False
) -> Labels:
    """Unite the two groups that are likely least parted, of those not surely parted, again and again.

    Parameters
    ----------
    points
        Points x dimensions.
    labels
        The group of each point, 0, 1, ...; every group has points.
    n_groups
        Number of groups at which to stop.
    least
        Evidence (see `separation`) at which to stop: all groups are parted by it.
    shoulders
        Also keeps two groups apart of which one is a shoulder of the other (see `has_shoulder`), whatever their evidence.

    Returns
    -------
    The united group of each of the given groups, 0, 1, ...
    """
    labels = labels.copy()
    n_given = int(labels.max()) + 1
    united = np.arange(n_given)
    known: dict[tuple[int, int], Dip] = {}
    groups = list(range(n_given))
    members = {g: np.flatnonzero(labels == g) for g in groups}
    means = {g: points[members[g]].mean(axis=0, dtype=np.float64) for g in groups}
    parted: dict[tuple[int, int], bool] = {}

    def by_shoulder(pair: tuple[int, int]) -> bool:
        if not shoulders or known[pair].likely < WORTH:
            return False
        if pair not in parted:
            parted[pair] = has_shoulder(*_both(points, members[pair[0]], members[pair[1]]))
        return parted[pair]

    while len(groups) > max(n_groups, 1):
        pairs = _near_pairs(groups, means)
        for a, b in pairs:
            if (a, b) not in known:
                known[a, b] = separation(*_both(points, members[a], members[b]))
        unsure = sorted((pair for pair in pairs if known[pair].sure < least), key=lambda pair: known[pair].likely)
        # shoulders cost more to see than valleys: only pairs that would be united are asked
        pair = next((pair for pair in unsure if not by_shoulder(pair)), None)
        if pair is None:
            break
        a, b = pair
        new = max(members) + 1
        members[new] = np.concatenate([members[a], members[b]])
        means[new] = points[members[new]].mean(axis=0, dtype=np.float64)
        united[(united == a) | (united == b)] = new
        groups = [g for g in groups if g not in {a, b}] + [new]
    return np.searchsorted(groups, united)


def split_tree(points: Points, labels: Labels) -> SplitTree:
    """Order groups in a tree by the temperature at which each union of them splits.

    Parameters
    ----------
    points
        Points x dimensions.
    labels
        The group of each point, 0, 1, ...

    Returns
    -------
    The tree. From the leaves up, the two nodes are united whose union has the lowest critical temperature, so that from the
    root down the tree splits as the temperature falls; no child splits above its parent.
    """
    members = {g: np.flatnonzero(labels == g) for g in range(int(labels.max()) + 1)}
    children: dict[int, tuple[int, int]] = {}
    temperature: dict[int, float] = {}
    evidence: dict[int, float] = {}
    nodes = list(members)
    moments = {g: _Moments.of(points[cells]) for g, cells in members.items()}
    known = _union_temperatures(moments)
    while len(nodes) > 1:
        a, b = min(((a, b) for i, a in enumerate(nodes) for b in nodes[:i]), key=lambda pair: known[pair])
        new = max(members) + 1
        cells = np.concatenate([members[a], members[b]])
        children[new] = (a, b) if len(members[a]) >= len(members[b]) else (b, a)
        members[new], moments[new] = cells, moments[a].united(moments[b])
        known |= {(new, c): moments[new].united(moments[c]).critical_temperature() for c in nodes if c not in {a, b}}
        temperature[new] = max([known[a, b], *(temperature.get(c, 0.0) for c in (a, b))])
        evidence[new] = separation(*_both(points, members[a], members[b])).sure
        nodes = [n for n in nodes if n not in {a, b}] + [new]
    order: list[tuple[int, int]] = [(nodes[0], -1)]
    for place, (node, _) in enumerate(order):  # grows while it is read: parents come first
        order += [(child, place) for child in children.get(node, ())]
    names = [node for node, _ in order]
    return SplitTree(
        parent=np.array([parent for _, parent in order]),
        leaf=np.array([-1 if node in children else node for node in names]),
        temperature=np.array([temperature.get(node, np.nan) for node in names]),
        n_points=np.array([len(members[node]) for node in names]),
        evidence=np.array([evidence.get(node, np.nan) for node in names]),
    )


def unparted(points: Points, labels: Labels, tree: SplitTree, *, least: float, shoulders: bool) -> NDArray[np.bool_]:
    """Say which splits of a tree nothing in the points asks for.

    Parameters
    ----------
    points, labels
        As for `split_tree`, which gave the `tree`.
    tree
        Its leaves are the groups.
    least, shoulders
        As for `merge_by_evidence`.

    Returns
    -------
    A node: whether its two sides have less evidence than `least`, and neither is a shoulder of the other; never so for a leaf.
    """
    result = np.zeros(len(tree.parent), dtype=bool)
    below = [{int(leaf)} if leaf >= 0 else set() for leaf in tree.leaf]
    sides: list[list[set[int]]] = [[] for _ in below]
    for node in range(len(result) - 1, 0, -1):  # children come after their parents
        above = int(tree.parent[node])
        below[above] |= below[node]
        sides[above].append(below[node])
    for node in np.flatnonzero(tree.evidence < least).tolist():
        a, b = (np.flatnonzero(np.isin(labels, list(side))) for side in sides[node])
        result[node] = not (shoulders and has_shoulder(*_both(points, a, b)))
    return result


def _union_temperatures(moments: dict[int, _Moments]) -> dict[tuple[int, int], float]:
    """Give the critical temperature of the union of any two groups, the later one first."""
    with (
        progress_bar(len(moments), "Tree of clusters", unit="cluster")
        if len(moments) > _MANY
        else nullcontext() as tick
    ):
        known: dict[tuple[int, int], float] = {}
        for a, of_a in moments.items():
            known |= {(a, b): of_a.united(moments[b]).critical_temperature() for b in range(a)}
            if tick is not None:
                tick(1)
    return known


def _both(points: Points, a: Labels, b: Labels) -> tuple[Points, NDArray[np.bool_]]:
    """Give the points of two groups, and which are of the second."""
    cells = np.concatenate([a, b])
    return points[cells], np.arange(len(cells)) >= len(a)


def _near_pairs(groups: list[int], means: dict[int, NDArray[np.float64]]) -> list[tuple[int, int]]:
    """List each group with those whose means are nearest."""
    centres = np.array([means[g] for g in groups])
    distance = ((centres[:, None] - centres) ** 2).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    near = np.argsort(distance, axis=1, kind="stable")[:, : min(_NEAR, len(groups) - 1)]
    return sorted({(groups[min(i, j)], groups[max(i, j)]) for i in range(len(groups)) for j in near[i]})


class _Moments(NamedTuple):
    """Sums over the points of a group, from which those of unions follow."""

    n: int
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]

    @classmethod
    def of(cls, points: Points) -> _Moments:
        mean = points.mean(axis=0, dtype=np.float64)
        centred = points - mean
        return cls(len(points), mean, centred.T @ centred)

    def united(self, other: _Moments) -> _Moments:
        n, gap = self.n + other.n, other.mean - self.mean
        between = self.n * other.n / n * np.outer(gap, gap)
        return _Moments(n, self.mean + other.n / n * gap, self.scatter + other.scatter + between)

    def critical_temperature(self) -> float:
        """Give twice the largest eigenvalue of the covariance."""
        return 2 * float(np.linalg.eigvalsh(self.scatter / self.n)[-1])
