"""The tables of `tl.waypoints`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from sctandem._text_rows import text_rows

if TYPE_CHECKING:
    from sctandem._regulation_keys import WaypointKeys
    from sctandem.kernels._lineages import BranchPoint
    from sctandem.kernels._waypoints import WaypointWalk

#: Steps from a waypoint that are kept.
N_EDGES = 5
#: Fewest waypoints on the way from a branch point on which drivers are tested.
FEWEST = 20
#: Between the names of lineages.
JOIN = " | "


@dataclass(frozen=True, slots=True)
class Manifold:
    """Cells of the waypoints, the walk and commute times between them; `root` and `tips` are positions among the waypoints.

    Squared distances of `tree`, coordinates of all cells, are commute times.
    """

    cells: np.ndarray
    walk: WaypointWalk
    commute: np.ndarray
    tree: np.ndarray
    root: int
    tips: list[int]
    lengths: np.ndarray


@dataclass(frozen=True, slots=True)
class PerCell:
    """What each cell gets."""

    time: np.ndarray
    fates: np.ndarray
    entropy: np.ndarray
    segment: pd.Categorical


def tables_of(
    found: Manifold,
    fates: np.ndarray,
    times_of: tuple[np.ndarray, np.ndarray],
    names: list[str],
    cells: pd.Index,
    *,
    keys: WaypointKeys,
    factors: tuple[np.ndarray, list[str]] | None,
    rng: np.random.Generator,
    given: bool,
) -> tuple[dict[str, pd.DataFrame], PerCell]:
    """Give the tables of the waypoints, and what each cell gets; `fates` are those of the waypoints, times of these and of the cells."""
    from sctandem.kernels._lineages import branch_points, segments

    time, each_time = times_of
    points = branch_points(found.commute, found.root, found.tips)
    times = _rising(points, time)
    each = found.walk.mixture @ fates
    each = each / each.sum(axis=1, keepdims=True)
    logs = np.log(each, where=each > 0, out=np.zeros_like(each))
    open_to = [JOIN.join(names[i] for i in sides) for sides in segments(each, each_time, points, times)]
    every = [JOIN.join(names)] + [
        JOIN.join(names[i] for i in side) for point in points for side in (point.left, point.right)
    ]
    per_cell = PerCell(
        each_time, each, np.maximum(-(each * logs).sum(axis=1), 0), pd.Categorical(open_to, list(dict.fromkeys(every)))
    )
    role = np.full(len(found.cells), keys.waypoint, dtype=object)
    role[found.tips], role[found.root] = keys.terminal, keys.root
    named = cells[found.cells].astype(str)
    tables = {
        keys.waypoints: {keys.cell: named.to_numpy(dtype=object), keys.time: time, keys.role: role},
        keys.terminals: {
            keys.lineage: np.array(names, dtype=object),
            keys.cell: named[found.tips].to_numpy(dtype=object),
            keys.time: time[found.tips],
            keys.length: found.lengths,
            keys.given: np.full(len(names), given),
        },
        keys.branches: {
            keys.branch: np.array([str(i) for i in range(len(points))], dtype=object),
            keys.parent: np.array([str(point.parent) if point.parent >= 0 else "" for point in points], dtype=object),
            keys.left: np.array([JOIN.join(names[i] for i in point.left) for point in points], dtype=object),
            keys.right: np.array([JOIN.join(names[i] for i in point.right) for point in points], dtype=object),
            keys.cell: np.array([named[point.waypoint] for point in points], dtype=object),
            keys.time: times,
        },
    }
    made = {name: text_rows(pd.DataFrame(table)) for name, table in tables.items()}
    made[keys.drivers] = _driver_table(found, fates, time, points, times, factors=factors, keys=keys, rng=rng)
    return made, per_cell


def _rising(points: list[BranchPoint], time: np.ndarray) -> np.ndarray:
    """Give the pseudotime of branch points, none before the one it comes after."""
    times = np.zeros(len(points))
    for i, point in enumerate(points):
        times[i] = max(time[point.waypoint], times[point.parent] if point.parent >= 0 else 0)
    return times


def edge_table(steps: np.ndarray, cells: pd.Index, keys: WaypointKeys) -> pd.DataFrame:
    """List the most likely steps from each waypoint."""
    order = np.argsort(-steps, axis=1, kind="stable")[:, :N_EDGES]
    source = np.repeat(np.arange(len(steps)), order.shape[1])
    target = order.ravel()
    probability = steps[source, target]
    some = probability > 0
    columns = {
        keys.source: cells[source[some]].astype(str).to_numpy(dtype=object),
        keys.target: cells[target[some]].astype(str).to_numpy(dtype=object),
        keys.probability: probability[some],
    }
    return text_rows(pd.DataFrame(columns))


def _driver_table(
    found: Manifold,
    fates: np.ndarray,
    time: np.ndarray,
    points: list[BranchPoint],
    times: np.ndarray,
    *,
    factors: tuple[np.ndarray, list[str]] | None,
    keys: WaypointKeys,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Test every factor at every branch point."""
    from sctandem.kernels._branch_drivers import branch_drivers, smooth_bands
    from sctandem.kernels._waypoints import waypoint_means

    text, number = np.array([], dtype=object), np.array([], dtype=np.float64)
    empty = {keys.branch: text, keys.tf: text, keys.effect: number, keys.correlation: number}
    empty |= {keys.n_waypoints: np.array([], dtype=np.int64), keys.p_value: number, keys.fdr: number}
    if factors is None or not points:
        return text_rows(pd.DataFrame(empty))
    values = waypoint_means(found.walk.mixture, factors[0])
    bands = smooth_bands(found.walk.affinity)
    parts = []
    for i, point in enumerate(points):
        left, right = (fates[:, list(side)].sum(axis=1) for side in (point.left, point.right))
        before = times[point.parent] if point.parent >= 0 else 0.0
        weight = np.where((time >= before) & (time <= (1 + times[i]) / 2), left + right, 0)
        if (weight > 0.5).sum() < FEWEST:
            weight = np.where(time >= before, left + right, 0)
        side = (left - right) / np.maximum(left + right, 1e-12)
        tested = branch_drivers(values, side, time, weight, bands, rng=rng)
        columns = {
            keys.branch: np.full(len(factors[1]), str(i), dtype=object),
            keys.tf: np.array(factors[1], dtype=object),
            keys.effect: tested.effect,
        }
        columns |= {keys.correlation: tested.correlation}
        columns[keys.n_waypoints] = np.full(len(factors[1]), (weight > 0.5).sum(), dtype=np.int64)
        columns |= {keys.p_value: tested.p_value, keys.fdr: false_discovery_control(tested.p_value)}
        strength = pd.Series(-np.abs(tested.correlation))
        parts.append(pd.DataFrame(columns).iloc[np.lexsort([strength, tested.p_value])])
    return text_rows(pd.concat(parts))
