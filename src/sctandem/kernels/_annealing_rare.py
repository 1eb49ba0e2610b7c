"""Rare clusters, looked for among the points that the clusters of a part of them explain badly."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from sctandem.kernels._annealing import BLOCK, AnnealingPath, anneal_path, point_energies, soft_memberships
from sctandem.kernels._annealing_evidence import separation
from sctandem.kernels._annealing_tree import merge_by_evidence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Points: TypeAlias = NDArray[np.floating]
    Labels: TypeAlias = NDArray[np.intp]

_BAD, _DOUBTFUL = 2.5, 1.0
"""Robust standard deviations of free energy, within a group, from which a point is badly explained, or may be of a rare type."""
_CANDIDATES = 40
_STEPS = 3
_RIVALS = 2
"""Nearest groups that a rare cluster must be parted from."""
_SAMPLE = 10_000
"""Points of a rival on which a candidate is tried first; all are asked where it passes."""


class Measured(NamedTuple):
    """All points in the space of the clusters, made a block at a time."""

    points: Points
    place: Callable[[Points], NDArray[np.float32]]

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Yield where a block lies, and the block."""
        for start in range(0, len(self.points), BLOCK):
            here = slice(start, start + BLOCK)
            yield here, self.of(here)

    def of(self, rows: slice | NDArray[np.intp]) -> NDArray[np.float32]:
        """Give some of the points."""
        return self.place(self.points[rows])


def rare_clusters(
    measured: Measured, path: AnnealingPath, group: Labels, *, min_points: int, max_points: int, least: float
) -> list[NDArray[np.intp]]:
    """Find clusters of points that the groups of a path explain badly.

    Parameters
    ----------
    measured
        All points.
    path
        The clusters.
    group
        The group of each of these clusters.
    min_points
        Least number of points in a rare cluster.
    max_points
        Badly explained points among which candidates are looked for; the worst where there are more.
    least
        Evidence (see `separation`) of a valley that parts a rare cluster from the groups nearest to it.

    Returns
    -------
    The points of each cluster found, as indices.

    Notes
    -----
    A point is badly explained where its free energy lies 2.5 robust standard deviations above the median of its group.
    These are annealed by themselves; the small clusters compete with those of the path for the points, and those that hold
    `min_points` need a valley between them and *all* points of their nearest groups, since a test against outliers alone would
    part any of them.
    """
    home, excess = _excess(measured, path, group)
    doubtful = np.flatnonzero(excess > _DOUBTFUL)
    bad = doubtful[excess[doubtful] > _BAD]
    bad = np.sort(bad[np.argsort(-excess[bad], kind="stable")[:max_points]])
    if len(bad) < min_points:
        return []
    n_max = min(_CANDIDATES, max(len(bad) // min_points, 1))
    found = anneal_path(measured.of(bad), n_max=n_max, min_points=min(5, min_points))
    points = measured.of(doubtful)
    own = _compete(points, path, found, len(measured.points), min_points)
    sizes = np.bincount(own[own >= 0], minlength=len(found.centres))
    names = np.flatnonzero(sizes >= min_points)
    kept = np.flatnonzero(np.isin(own, names))
    if not len(kept):
        return []
    labels = np.searchsorted(names, own[kept])
    united = merge_by_evidence(points[kept], labels, least=least)[labels]
    rare = [doubtful[kept[united == j]] for j in range(int(united.max()) + 1)]
    means = np.stack([path.masses[group == g] @ path.centres[group == g] for g in range(int(group.max()) + 1)])
    means /= np.bincount(group, path.masses)[:, None]
    home[np.concatenate(rare)] = -1
    return [cells for cells in rare if _parted(measured, cells, home, means, least)]


def _excess(measured: Measured, path: AnnealingPath, group: Labels) -> tuple[Labels, NDArray[np.float32]]:
    """Give the group of each point, and its free energy above the group's median in robust standard deviations."""
    n = len(measured.points)
    home, energy = np.empty(n, np.intp), np.empty(n, np.float32)
    for here, block in measured.blocks():
        nearest, energy[here] = point_energies(block, path.centres, path.masses, path.temperature)
        home[here] = group[nearest]
    for g in np.unique(home):
        own = home == g
        middle, upper = np.quantile(energy[own], [0.5, 0.84])
        energy[own] = (energy[own] - middle) / max(upper - middle, 1e-12)
    return home, energy


def _compete(points: Points, path: AnnealingPath, found: AnnealingPath, n: int, min_points: int) -> Labels:
    """Give the candidate that each point goes to, -1 where it stays with the path; candidates move, those of the path do not."""
    centres, sizes = found.centres, np.full(len(found.centres), float(min_points))
    own = np.zeros(len(points), np.intp)
    for _ in range(_STEPS):
        masses = np.concatenate([path.masses, sizes / n])
        both = np.concatenate([path.centres, centres])
        own = soft_memberships(points, both, masses / masses.sum(), path.temperature).argmax(axis=1) - len(path.masses)
        own = np.maximum(own, -1)
        sizes = np.bincount(own[own >= 0], minlength=len(centres)).astype(float)
        centres = np.stack([points[own == j].mean(axis=0) if sizes[j] else centres[j] for j in range(len(centres))])
    return own


def _parted(measured: Measured, cells: Labels, home: Labels, means: Points, least: float) -> bool:
    """Say whether a valley parts some points from all points of the nearest groups."""
    points = measured.of(cells)
    distance = ((means - points.mean(axis=0)) ** 2).sum(axis=1)
    for g in np.argsort(distance)[:_RIVALS]:
        rivals = np.flatnonzero(home == g)
        for step in {max(len(rivals) // _SAMPLE, 1), 1}:
            both = np.concatenate([measured.of(rivals[::step]), points])
            if separation(both, np.arange(len(both)) >= len(both) - len(points)).sure < least:
                return False
    return True
