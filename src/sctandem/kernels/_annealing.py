"""Mass-constrained deterministic annealing (Rose 1998): soft clusters at a falling temperature, split where they melt."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from sctandem._progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    Points: TypeAlias = NDArray[np.floating]

BLOCK = 8192
"""Rows whose distances to all centres are held at a time."""
_STEPS, _TOLERANCE = 20, 1e-5
"""Steps at one temperature at most, and the fall of the free energy, in temperatures, that ends them."""
_PUSH = 0.1
"""How far two children start from their parent, in standard deviations along its widest direction."""
_MANY = 100
"""Clusters from which on a path takes so long that it shows how far it is."""
_PARTED = 1e-3
"""Squared distance between two centres, in temperatures, under which they are one."""
_SHARE = 1e-3
"""Memberships below it are left out of covariances."""
_COLDEST = 1e-3
"""Lowest temperature of a path, as a share of the first."""
_LOWEST = 1e-6
"""The same where a lower one is asked for: single precision ends there."""


class AnnealingPath(NamedTuple):
    """Clusters at the end of a path of temperatures, and the path."""

    centres: NDArray[np.float32]
    """Clusters x dimensions."""
    masses: NDArray[np.float64]
    """Share of the points, adding up to 1."""
    temperature: float
    """Where the path ended."""
    phases: NDArray[np.float64]
    """A row a temperature: temperature, number of clusters, free energy a point."""


def annealing_step(
    points: Points, centres: Points, masses: Points, temperature: float
) -> tuple[NDArray[np.float32], NDArray[np.float64], float]:
    """Move centres and masses once towards the least free energy at a fixed temperature.

    Parameters
    ----------
    points
        Points x dimensions.
    centres
        Clusters x dimensions.
    masses
        Share of each cluster, adding up to 1.
    temperature
        In squared units of the points.

    Returns
    -------
    The new centres and masses, and the free energy a point *before* the step,
    ``-T mean(log(sum_j p_j exp(-|x - y_j|^2 / T)))``, which no step raises.
    """
    return _step(points, centres, masses, temperature, squares=_squares(points))


def _squares(points: Points) -> float:
    """Give the sum of squares of the coordinates, which is in the free energy at every step."""
    return float(np.einsum("ij,ij->", points, points, dtype=np.float64))


def _step(
    points: Points, centres: Points, masses: Points, temperature: float, *, squares: float
) -> tuple[NDArray[np.float32], NDArray[np.float64], float]:
    """Step as `annealing_step` does, with the `_squares` of the points."""
    total = np.zeros(centres.shape)
    mass = np.zeros(len(centres))
    energy = squares
    for start in range(0, len(points), BLOCK):
        block = points[start : start + BLOCK]
        shares, reach = _shares(block, centres, masses, temperature)
        mass += shares.sum(axis=1, dtype=np.float64)
        total += shares @ block
        energy -= temperature * float(reach.sum(dtype=np.float64))
    moved = (total / np.maximum(mass, 1e-12)[:, None]).astype(np.float32)
    return moved, mass / len(points), energy / len(points)


def soft_memberships(points: Points, centres: Points, masses: Points, temperature: float) -> NDArray[np.float32]:
    """Give the share of every cluster in every point, ``p_j exp(-|x - y_j|^2 / T)`` scaled to add up to 1.

    Parameters
    ----------
    points, centres, masses, temperature
        As in `annealing_step`.

    Returns
    -------
    Points x clusters, `float32`.
    """
    result = np.empty((len(points), len(centres)), np.float32)
    for start in range(0, len(points), BLOCK):
        stop = start + BLOCK
        result[start:stop] = _shares(points[start:stop], centres, masses, temperature)[0].T
    return result


def point_energies(
    points: Points, centres: Points, masses: Points, temperature: float
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Give the cluster of most membership and the free energy, ``-T log(sum_j p_j exp(-|x - y_j|^2 / T))``, of each point.

    Parameters
    ----------
    points, centres, masses, temperature
        As in `annealing_step`; all points are held at once.

    Returns
    -------
    Clusters and energies.
    """
    shares, reach = _shares(points, centres, masses, temperature)
    squares = np.einsum("ij,ij->i", points, points, dtype=np.float64)
    return shares.argmax(axis=0), squares - temperature * reach.astype(np.float64)


def critical_temperature(
    points: Points, shares: Points | None = None, centre: Points | None = None
) -> tuple[float, NDArray[np.float64]]:
    """Give the temperature below which a cluster splits: twice the largest eigenvalue of its covariance.

    Parameters
    ----------
    points
        Points x dimensions.
    shares
        Membership of every point in the cluster; `None` where all belong to it wholly.
    centre
        Its centre; `None` for the mean.

    Returns
    -------
    The temperature, in squared units of the points, and the direction (unit length) along which it splits.
    """
    if shares is not None:
        kept = shares > _SHARE
        points, shares = points[kept], shares[kept]
    if centre is None:
        centre = np.average(points, axis=0, weights=shares)
    centred = np.asarray(points - centre, dtype=np.float32)
    weighted = centred if shares is None else centred * shares[:, None]
    size = len(points) if shares is None else shares.sum(dtype=np.float64)
    values, vectors = np.linalg.eigh((weighted.T @ centred).astype(np.float64) / max(size, 1e-12))
    direction = vectors[:, -1] * np.where(vectors[np.argmax(np.abs(vectors[:, -1])), -1] < 0, -1.0, 1.0)
    return 2 * float(values[-1]), direction


def anneal_path(
    points: Points, *, n_max: int, cooling: float = 0.85, temperature: float | None = None, min_points: int = 5
) -> AnnealingPath:
    """Cool from above the first critical temperature until there are `n_max` clusters or `temperature` is reached.

    Parameters
    ----------
    points
        Points x dimensions, in the metric in use.
    n_max
        Clusters at which the path ends.
    cooling
        Factor between two temperatures, below 1.
    temperature
        Where the path ends at the latest; by default where it equals twice the variance that is left a dimension, the
        likeliest temperature of a mixture of round normals.
    min_points
        Least mass of a cluster, in points; one that a split leaves with less goes.

    Returns
    -------
    The clusters at the end, and the path.

    Notes
    -----
    A cluster whose critical temperature has been passed gets two centres, a little apart along its widest direction; they
    stay two where they part. Nothing is drawn at random. Cost: points x clusters x dimensions a step.
    """
    points = np.ascontiguousarray(points, dtype=np.float32)
    centres = points.mean(axis=0, dtype=np.float64)[None].astype(np.float32)
    masses: Points = np.ones(1)
    start = critical_temperature(points)[0]
    now = max(1.001 * start, temperature or 0.0)
    coldest = _COLDEST * start if temperature is None else max(temperature, _LOWEST * start)
    spread = (points.astype(np.float64) ** 2).sum() / len(points)
    phases = []
    with _bar(now, coldest, cooling, n_max) as tick:
        while True:
            centres, masses = _split(points, centres, masses, now, n_max, min_points)
            centres, masses, energy = _settle(points, centres, masses, now)
            kept = _distinct(centres, masses, now, min_points / len(points))
            if len(kept) < len(centres):
                masses = np.array([masses[group].sum() for group in kept])
                centres, masses = centres[[group[0] for group in kept]], masses / masses.sum()
                centres, masses, energy = _settle(points, centres, masses, now)
            phases.append((now, len(centres), energy))
            # at a fixed point the squared distances to the centres add up to what the centres leave
            left = (spread - masses @ (centres.astype(np.float64) ** 2).sum(axis=1)) / points.shape[1]
            if len(centres) >= n_max or now <= coldest or (temperature is None and now <= 2 * left):
                return AnnealingPath(centres, np.asarray(masses, dtype=np.float64), now, np.array(phases))
            now = max(cooling * now, coldest)
            if tick is not None:
                tick(1)


def _bar(
    start: float, coldest: float, cooling: float, n_max: int
) -> AbstractContextManager[Callable[[int], None] | None]:
    """Show the temperatures of a path that is to have many clusters."""
    if n_max <= _MANY:
        return nullcontext()
    n_steps = int(np.ceil(np.log(coldest / start) / np.log(cooling))) + 1
    return progress_bar(n_steps, "Cooling", unit="temperature")


def _shares(
    block: Points, centres: Points, masses: Points, temperature: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give the memberships of a block, clusters x points, and ``log(sum_j p_j exp(-|x - y_j|^2 / T)) + |x|^2 / T`` of its points.

    Clusters come first so that sums over the few clusters run along the many points, which are next to each other in memory.
    """
    block = np.asarray(block, dtype=np.float32)
    offset = np.log(np.maximum(masses, 1e-12)) - (centres.astype(np.float64) ** 2).sum(axis=1) / temperature
    logits: NDArray[np.float32] = np.asarray((centres * np.float32(2 / temperature)) @ block.T, dtype=np.float32)
    logits += offset.astype(np.float32)[:, None]
    top = logits.max(axis=0)
    logits -= top
    np.exp(logits, out=logits)
    total = logits.sum(axis=0)
    logits /= total
    return logits, np.asarray(top + np.log(total), dtype=np.float32)


def _settle(points: Points, centres: Points, masses: Points, temperature: float) -> tuple[Points, Points, float]:
    """Step until the free energy stays where it is."""
    before = np.inf
    energy = np.inf
    squares = _squares(points)
    for _ in range(_STEPS):
        centres, masses, energy = _step(points, centres, masses, temperature, squares=squares)
        if before - energy < _TOLERANCE * temperature:
            break
        before = energy
    return centres, masses, energy


def _split(
    points: Points, centres: Points, masses: Points, temperature: float, n_max: int, min_points: int
) -> tuple[Points, Points]:
    """Give two centres to each cluster whose critical temperature lies above `temperature`, while there is room."""
    shares = soft_memberships(points, centres, masses, temperature)
    critical = []
    for j, mass in enumerate(masses):
        large = mass * len(points) > 2 * min_points
        critical.append(critical_temperature(points, shares[:, j], centres[j]) if large else (0.0, centres[j]))
    melted = [j for j in np.argsort([-value for value, _ in critical]) if critical[j][0] > temperature]
    for j in melted[: n_max - len(centres)]:
        value, direction = critical[j]
        push = (_PUSH * np.sqrt(value / 2) * direction).astype(np.float32)
        centres = np.vstack([centres, centres[j] - push])
        centres[j] += push
        masses = np.append(masses, masses[j] / 2)
        masses[j] /= 2
    return centres, masses


def _distinct(centres: Points, masses: Points, temperature: float, least: float) -> list[list[int]]:
    """Group centres that have not parted, and leave out clusters with too little mass."""
    groups: list[list[int]] = []
    for j in range(len(centres)):
        distance = ((centres[[group[0] for group in groups]] - centres[j]) ** 2).sum(axis=1)
        near = np.flatnonzero(distance < _PARTED * temperature)
        if len(near):
            groups[near[0]].append(j)
        else:
            groups.append([j])
    large = [group for group in groups if masses[group].sum() >= least]
    return large or groups
