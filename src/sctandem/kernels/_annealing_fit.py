"""Single-cell annealing from end to end: subsample, metric, path, evidence, memberships of all cells."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from threadpoolctl import threadpool_limits

from sctandem._progress import progress_bar
from sctandem.kernels._annealing import AnnealingPath, anneal_path, critical_temperature, soft_memberships
from sctandem.kernels._annealing_consensus import FEWEST, most_agreed, overlapping_parts
from sctandem.kernels._annealing_lift import COLDEST, fit_lift
from sctandem.kernels._annealing_rare import Measured, rare_clusters
from sctandem.kernels._annealing_tree import SplitTree, merge_by_evidence, split_tree, unparted
from sctandem.kernels._groups import group_means

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Points: TypeAlias = NDArray[np.floating]

LEAST_EVIDENCE = 0.1
"""Depth of a dip that parts two clusters: the density falls by a tenth, as far as the points make it sure."""
_FINE = 40
"""Clusters of a path at its end, unless more are asked for."""
_POINTS_A_CLUSTER = 10
_FEW = 50
"""Points below which a small cluster is too small to be surely parted."""
_OF_ONE = 0.3
"""Where the path ends after a round that found one cluster. Its metric makes all points one round cloud of variance 1, of which the
likeliest temperature is that of a single normal whatever it holds."""
_LEAST_LIFTED = 0.01
"""Least share of the points in a cluster of the feature space, in which a few isolated points are a group."""
_ENOUGH = 4000
"""Points, and fewer than twice as many, of a round that only gives the metric of the next."""
_LONG = 5000
"""Points of which nine parts take so long that it is shown how far they are."""
_FLOOR = 1e-3
"""Least variance of the metric, as a share of the largest."""


class _Ends(NamedTuple):
    """Where a path ends."""

    n_clusters: int | None
    temperature: float | None
    fine: int
    coldest: float | None = None
    least_mass: float = 0.0
    shoulders: bool = False


@dataclass(frozen=True)
class Annealing:
    """What annealing found.

    Attributes
    ----------
    memberships
        Points x clusters, `float32`, rows adding up to 1; the largest cluster first.
    tree
        The splits between the clusters; leaves are named as the columns of `memberships`.
    phases
        Temperature, number of clusters, free energy a point: a row a temperature.
    temperature
        At which the memberships were taken.
    critical
        Temperature above which there is one cluster, in the units of `phases`.
    forced
        A node of the tree: whether only the number of clusters that was asked for splits it (see `unparted`); `None` where no number was
        asked for.
    """

    memberships: NDArray[np.float32]
    tree: SplitTree
    phases: NDArray[np.float64]
    temperature: float
    critical: float
    forced: NDArray[np.bool_] | None


# the products are too small to be parted among threads, which only spin; and so the result is that of any machine
@threadpool_limits.wrap(limits=1, user_api="blas")
def anneal(
    points: Points,
    *,
    n_clusters: int | None = None,
    temperature: float | None = None,
    n_rounds: int = 2,
    max_points: int = 8000,
    min_points: int | None = None,
    lift: bool = False,
    shoulders: bool = False,
    consensus: bool = False,
    rng: np.random.Generator,
) -> Annealing:
    """Cluster points by deterministic annealing, with as many clusters as valleys part.

    Parameters
    ----------
    points
        Points x dimensions, finite.
    n_clusters
        Their number; `None` finds it.
    temperature
        Ends the path and takes the clusters as they are there, in the metric of the points, in their squared units.
    n_rounds
        Rounds of annealing; each after the first works in the metric in which the clusters of the one before are round.
    max_points
        Points on which clusters are found; of more, as many are drawn. All are assigned.
    min_points
        Also looks for clusters of at least so many points among all points that the clusters found explain badly: see
        `rare_clusters`. Without effect where `n_clusters` or `temperature` is given, or with `lift`.
    lift
        Works in a kernel feature space, in one round: see `fit_lift`.
    shoulders
        Keeps apart what overlaps without a valley between, where that is sure: see `has_shoulder`. Without effect with `lift`,
        in whose features clusters are no normal clouds.
    consensus
        Finds clusters on nine parts of the points, each two thirds of them and at most `max_points`, and keeps what agrees most with
        the others: see `most_agreed`. Without effect below 100 points, with `lift`, or where `n_clusters` or `temperature` is given.
    rng
        Draws them.

    Returns
    -------
    Memberships, tree and phases.

    Raises
    ------
    ValueError
        When the clusters at `temperature` are more than a tenth of the points, and more than 40.

    Notes
    -----
    The path is taken to 40 small clusters (or a tenth of the points, or twice `n_clusters`), more than there are types. Of
    these the two that are least parted are united, until all are: see `separation`, and `has_shoulder`. Cost: linear in the points once there
    are more than `max_points`.
    """
    drawn = points
    free = not lift and n_clusters is None and temperature is None
    consensus = consensus and free and len(points) >= FEWEST
    most = max_points * 3 // 2 if consensus else max_points
    if len(points) > most:
        drawn = points[np.sort(rng.choice(len(points), most, replace=False))]
    n_at_once = len(drawn) * 2 // 3 if consensus else len(drawn)
    fine = min(max(_FINE, 2 * (n_clusters or 0)), max(n_at_once // _POINTS_A_CLUSTER, n_clusters or 1))
    ends = _Ends(n_clusters, temperature, fine, shoulders=shoulders and not lift and n_clusters is None)
    place: Callable[[Points], NDArray[np.float32]]
    if lift:
        place = fit_lift(drawn, rng=rng).of
        measured = place(drawn)
        ends = ends._replace(coldest=COLDEST, least_mass=_LEAST_LIFTED)
        path, united, group = _one_round(measured, ends)
    elif consensus:
        place, measured, path, united, group = _agreed(drawn, ends, n_rounds)
    else:
        place, measured, path, united, group = _rounds(drawn, ends, n_rounds)
    everything = Measured(points, place)
    if min_points is not None and free:
        large = _large(path, united, len(drawn))
        few = path._replace(centres=path.centres[large], masses=path.masses[large] / path.masses[large].sum())
        rare = rare_clusters(
            everything, few, united[large], min_points=min_points, max_points=max_points, least=LEAST_EVIDENCE
        )
        if rare:
            path, united, measured, group = _with_rare(everything, rare, few, united[large], measured, group)
    order = np.argsort(-np.bincount(group), kind="stable")
    rank = np.argsort(order)
    tree = split_tree(measured, rank[group])
    forced = None
    if n_clusters is not None:
        forced = unparted(measured, rank[group], tree, least=LEAST_EVIDENCE, shoulders=shoulders and not lift)
    return Annealing(
        memberships=_memberships(everything, path, rank[united]),
        tree=tree,
        phases=path.phases,
        temperature=path.temperature,
        critical=critical_temperature(measured)[0],
        forced=forced,
    )


def within_metric(points: Points, groups: NDArray[np.intp]) -> NDArray[np.float64]:
    """Give the map of the points after which the covariance within groups is the identity.

    Parameters
    ----------
    points
        Points x dimensions.
    groups
        Group of each point, 0, 1, ...

    Returns
    -------
    Dimensions x dimensions, symmetric; variances below a thousandth of the largest are taken for that.
    """
    within = points - group_means(points, groups)[groups]
    values, vectors = np.linalg.eigh(within.T @ within / len(points))
    values = np.maximum(values, max(_FLOOR * values[-1], 1e-30))
    return (vectors / np.sqrt(values)) @ vectors.T


def _rounds(
    drawn: Points, ends: _Ends, n_rounds: int
) -> tuple[
    Callable[[Points], NDArray[np.float32]], NDArray[np.float32], AnnealingPath, NDArray[np.intp], NDArray[np.intp]
]:
    """Anneal in the metric of the points, then in those that the clusters ask for; give the map to the last, and what it found."""
    centre = drawn.mean(axis=0, dtype=np.float64)
    drawn = (drawn - centre).astype(np.float32)
    metric = np.eye(drawn.shape[1])
    measured = drawn
    for _ in range(n_rounds - 1 if ends.temperature is None else 0):
        some = measured[:: max(1, len(drawn) // _ENOUGH)]
        path, united, group = _one_round(some, ends)
        if len(some) == len(drawn) and group.max() + 1 < (ends.n_clusters or 0):
            return _map_of(centre, metric), measured, path, united, group  # no other metric parts more cells
        metric = within_metric(some, group) @ metric
        measured = drawn @ metric.astype(np.float32).T
        alone = group.max() == 0 and ends.n_clusters is None
        ends = ends._replace(coldest=_OF_ONE if alone else None)
    path, united, group = _one_round(measured, ends)
    return _map_of(centre, metric), measured, path, united, group


def _agreed(
    drawn: Points, ends: _Ends, n_rounds: int
) -> tuple[
    Callable[[Points], NDArray[np.float32]], NDArray[np.float32], AnnealingPath, NDArray[np.intp], NDArray[np.intp]
]:
    """Anneal parts of the points; give what the part that the others agree with most found, for all."""
    found = []
    parts = overlapping_parts(len(drawn))
    with progress_bar(len(parts), "Annealing", unit="part") if len(drawn) > _LONG else nullcontext() as tick:
        for part in parts:
            place, _, path, united, _ = _rounds(drawn[part], ends, n_rounds)
            shares = soft_memberships(place(drawn), path.centres, path.masses, path.temperature)
            found.append((place, path, united, united[shares.argmax(axis=1)]))
            if tick is not None:
                tick(1)
    place, path, united, group = found[most_agreed([group for *_, group in found])]
    return place, place(drawn), path, united, group


def _map_of(centre: NDArray[np.float64], metric: NDArray[np.float64]) -> Callable[[Points], NDArray[np.float32]]:
    """Give the map of points to those measured from a centre in a metric."""
    turned = metric.astype(np.float32).T
    return lambda points: (points - centre).astype(np.float32) @ turned


def _one_round(points: Points, ends: _Ends) -> tuple[AnnealingPath, NDArray[np.intp], NDArray[np.intp]]:
    """Anneal, and unite what no dip parts; give the path, the group of each of its clusters and of each point."""
    n_clusters, temperature, fine, coldest, least_mass, shoulders = ends
    if temperature is not None:
        most = max(_FINE, len(points) // _POINTS_A_CLUSTER)
        path = anneal_path(points, n_max=most + 1, temperature=temperature, min_points=1)
        if len(path.centres) > most:
            msg = (
                f"temperature={temperature:g} is too low: at {path.temperature:.3g} already there are more than {most:,} clusters, "
                f"too many for the {len(points):,} cells that they are found on. Give a higher one."
            )
            raise ValueError(msg)
    else:
        coldest = 0.0 if n_clusters else coldest  # down to the number asked for
        least = max(min(5, len(points) // fine), 0 if n_clusters else int(least_mass * len(points)))
        path = anneal_path(points, n_max=fine, temperature=coldest, min_points=least)
    labels = soft_memberships(points, path.centres, path.masses, path.temperature).argmax(axis=1)
    present = np.unique(labels)
    path = path._replace(centres=path.centres[present], masses=path.masses[present] / path.masses[present].sum())
    labels = np.searchsorted(present, labels)
    united = np.arange(len(present))
    if temperature is None:
        evidence = np.inf if n_clusters else LEAST_EVIDENCE
        united = merge_by_evidence(points, labels, n_groups=n_clusters or 1, least=evidence, shoulders=shoulders)
    return path, united, united[labels]


def _large(path: AnnealingPath, united: NDArray[np.intp], n: int) -> NDArray[np.bool_]:
    """Say which clusters of the path stay when rare ones are looked for.

    One of few points that was united with others may be rare, with too few points drawn to show it: it goes, and its points are
    badly explained then. Of every group the largest stays.
    """
    large = path.masses * n >= _FEW
    for g in np.unique(united):
        large[np.argmax(np.where(united == g, path.masses, 0))] = True
    return large


def _with_rare(
    everything: Measured,
    rare: list[NDArray[np.intp]],
    path: AnnealingPath,
    united: NDArray[np.intp],
    measured: Points,
    group: NDArray[np.intp],
) -> tuple[AnnealingPath, NDArray[np.intp], Points, NDArray[np.intp]]:
    """Add rare clusters to those of the path, and their points to those that clusters were found on."""
    cells = [everything.of(rows) for rows in rare]
    names = int(united.max()) + 1 + np.arange(len(rare))
    masses = np.concatenate([path.masses, [len(rows) / len(everything.points) for rows in rare]])
    centres = np.concatenate([path.centres, np.stack([points.mean(axis=0) for points in cells])])
    path = path._replace(centres=centres, masses=masses / masses.sum())
    group = np.concatenate([group, np.repeat(names, [len(rows) for rows in rare])])
    return path, np.concatenate([united, names]), np.concatenate([measured, *cells]), group


def _memberships(everything: Measured, path: AnnealingPath, group: NDArray[np.intp]) -> NDArray[np.float32]:
    """Add up the memberships of each group's clusters, for all points, a block at a time."""
    onto = np.zeros((len(group), int(group.max()) + 1), np.float32)
    onto[np.arange(len(group)), group] = 1
    result = np.empty((len(everything.points), onto.shape[1]), np.float32)
    for here, block in everything.blocks():
        result[here] = soft_memberships(block, path.centres, path.masses, path.temperature) @ onto
    return result
