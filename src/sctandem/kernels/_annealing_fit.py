"""Single-cell annealing from end to end: subsample, metric, path, evidence, memberships of all cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from sctandem.kernels._annealing import AnnealingPath, anneal_path, soft_memberships
from sctandem.kernels._annealing_rare import Measured, rare_clusters
from sctandem.kernels._annealing_tree import SplitTree, merge_by_evidence, split_tree

if TYPE_CHECKING:
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
_FLOOR = 1e-3
"""Least variance of the metric, as a share of the largest."""


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
    """

    memberships: NDArray[np.float32]
    tree: SplitTree
    phases: NDArray[np.float64]
    temperature: float


def anneal(
    points: Points,
    *,
    n_clusters: int | None = None,
    temperature: float | None = None,
    n_rounds: int = 2,
    max_points: int = 8000,
    min_points: int | None = None,
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
        `rare_clusters`.
    rng
        Draws them.

    Returns
    -------
    Memberships, tree and phases.

    Notes
    -----
    The path is taken to 40 small clusters (or a tenth of the points, or twice `n_clusters`), more than there are types. Of
    these the two that are least parted are united, until all are: see `separation`. Cost: linear in the points once there
    are more than `max_points`.
    """
    drawn = points
    if len(points) > max_points:
        drawn = points[np.sort(rng.choice(len(points), max_points, replace=False))]
    centre = drawn.mean(axis=0, dtype=np.float64)
    drawn = (drawn - centre).astype(np.float32)
    metric = np.eye(drawn.shape[1])
    measured = drawn
    fine = min(max(_FINE, 2 * (n_clusters or 0)), max(len(drawn) // _POINTS_A_CLUSTER, n_clusters or 1))
    path, united, group = _one_round(measured, n_clusters, temperature, fine)
    for _ in range(n_rounds - 1 if temperature is None else 0):
        metric = within_metric(measured, group) @ metric
        measured = drawn @ metric.astype(np.float32).T
        coldest = _OF_ONE if group.max() == 0 and n_clusters is None else None
        path, united, group = _one_round(measured, n_clusters, None, fine, coldest)
    everything = Measured(points, centre, metric)
    if min_points is not None and n_clusters is None and temperature is None:
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
    return Annealing(_memberships(everything, path, rank[united]), tree, path.phases, path.temperature)


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
    n_groups = int(groups.max()) + 1
    size = np.maximum(np.bincount(groups, minlength=n_groups), 1)
    means = np.stack([np.bincount(groups, column, n_groups) for column in points.T.astype(np.float64)], axis=1)
    within = points - (means / size[:, None])[groups]
    values, vectors = np.linalg.eigh(within.T @ within / len(points))
    values = np.maximum(values, max(_FLOOR * values[-1], 1e-30))
    return (vectors / np.sqrt(values)) @ vectors.T


def _one_round(
    points: Points, n_clusters: int | None, temperature: float | None, fine: int, coldest: float | None = None
) -> tuple[AnnealingPath, NDArray[np.intp], NDArray[np.intp]]:
    """Anneal, and unite what no dip parts; give the path, the group of each of its clusters and of each point."""
    if temperature is not None:
        path = anneal_path(points, n_max=len(points), temperature=temperature, min_points=1)
    else:
        coldest = 0.0 if n_clusters else coldest  # down to the number asked for
        path = anneal_path(points, n_max=fine, temperature=coldest, min_points=min(5, len(points) // fine))
    labels = soft_memberships(points, path.centres, path.masses, path.temperature).argmax(axis=1)
    present = np.unique(labels)
    path = path._replace(centres=path.centres[present], masses=path.masses[present] / path.masses[present].sum())
    labels = np.searchsorted(present, labels)
    united = np.arange(len(present))
    if temperature is None:
        least = np.inf if n_clusters else LEAST_EVIDENCE
        united = merge_by_evidence(points, labels, n_groups=n_clusters or 1, least=least)
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
