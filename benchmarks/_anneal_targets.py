"""The targets of annealing, and what the rows say of them."""

from __future__ import annotations

from statistics import mean, pstdev, stdev
from typing import Any

Row = dict[str, Any]
OWN, LEIDEN = "sctandem anneal", "Leiden(1.0)"
TOLD = ("k-means, number told", "Gaussian mixture, number told")
N_SETS, CLOSE, MARGIN, SPREAD = 5, 3, 0.05, 0.01
PEER_CELLS, TIMES_FASTER = 100_000, 8
LARGE_CELLS, SECONDS, MEGABYTES = 1_000_000, 300, 2000
BENT = 0.25
"""Share by which a time may lie off the line and still count as linear."""
RARE_APART, RECALL, PRECISION = (5, 6), 0.8, 0.5
"""The target names no distance; 5 was set before anything was measured, and 6 was added after it was missed there."""


def targets(rows: list[Row], spread: list[Row], times: list[Row], rare: list[Row]) -> list[Row]:
    """Give a row a target: what is asked for, what was found, and whether it is met (`-` where rows are missing)."""
    table = []
    for rep in dict.fromkeys(row["representation"] for row in rows):
        table += clusters_right([row for row in rows if row["representation"] == rep], rep)
    return [*table, seeds_agree(rows, spread), *costs(times), *(rare_found(rare, apart) for apart in RARE_APART)]


def _row(target: str, asked: str, found: str, *, met: bool | None) -> Row:
    return {"target": target, "asked": asked, "found": found, "met": "-" if met is None else "yes" if met else "no"}


def _by_set(rows: list[Row], method: str, figure: str) -> dict[str, float]:
    """Give the mean over seeds of each set."""
    values: dict[str, list[float]] = {}
    for row in rows:
        if row["method"] == method:
            values.setdefault(row["set"], []).append(row[figure])
    return {name: mean(found) for name, found in values.items()}


def clusters_right(rows: list[Row], rep: str) -> list[Row]:
    """Compare number and agreement with the labels and with the peers."""
    number, true = _by_set(rows, OWN, "clusters"), _by_set(rows, OWN, "true")
    whole = len(number) == N_SETS
    close = sum(abs(number[name] - true[name]) <= 1 for name in number)
    table = [
        _row(
            f"{rep}: number of clusters within 1 of the labels",
            f"{CLOSE} of {N_SETS} sets",
            f"{close} of {len(number)}",
            met=close >= CLOSE if whole else None,
        )
    ]
    own = _by_set(rows, OWN, "ari")
    for peer in TOLD:
        other = _by_set(rows, peer, "ari")
        gap = mean(own[name] - other[name] for name in own)
        better = sum(own[name] >= other[name] for name in own)
        table += [
            _row(f"{rep}: mean ARI above {peer}", "by 0", f"{gap:+.3f}", met=gap >= 0 if whole else None),
            _row(
                f"{rep}: ARI of each set at least that of {peer}",
                f"{N_SETS} of {N_SETS} sets",
                f"{better} of {len(own)}",
                met=better == N_SETS if whole else None,
            ),
        ]
    other = _by_set(rows, LEIDEN, "ari")
    gap = mean(own[name] - other[name] for name in own)
    asked = f"by {MARGIN}"
    return [
        *table,
        _row(f"{rep}: mean ARI above {LEIDEN}", asked, f"{gap:+.3f}", met=gap >= MARGIN if whole else None),
    ]


def seeds_agree(rows: list[Row], spread: list[Row]) -> Row:
    """Say how far ARI varies over seeds at most, on the labelled sets and where cells are drawn."""
    groups: dict[Any, list[float]] = {}
    for row in rows:
        if row["method"] == OWN:
            groups.setdefault((row["set"], row["representation"]), []).append(row["ari"])
    labelled = max((pstdev(values) for values in groups.values()), default=None)
    changed: dict[tuple[str, str], list[float]] = {}
    for row in spread:
        if row["way"] == "nine parts":
            changed.setdefault((row["changed"], row["set"]), []).append(row["ari"])
    if labelled is None or not changed:
        return _row("s.d. of ARI over seeds", f"at most {SPREAD}", "not measured", met=None)
    told = "; ".join(
        f"{what}: "
        + ", ".join(f"{name} {stdev(values):.3f}" for (kind, name), values in changed.items() if kind == key)
        for key, what in (("draw", "over draws"), ("order", "over orders"))
    )
    found = f"nothing is drawn in the labelled sets ({labelled:.4f}); {told}"
    met = max(labelled, *(stdev(values) for values in changed.values())) <= SPREAD
    return _row("s.d. of ARI over seeds", f"at most {SPREAD}", found, met=met)


def line(times: list[Row]) -> tuple[float, float, float] | None:
    """Give start and slope of the line through the first and the last time (CPU s), and how far others lie off it at most."""
    if len(times) < 3:
        return None
    first, last = times[0], times[-1]
    cpu = f"{OWN}, CPU s"
    slope = (last[cpu] - first[cpu]) / (last["cells"] - first["cells"])
    start = first[cpu] - slope * first["cells"]
    return start, slope, max(abs(row[cpu] / (start + slope * row["cells"]) - 1) for row in times)


def costs(times: list[Row]) -> list[Row]:
    """Compare times and memory with what is asked."""
    by_size = {row["cells"]: row for row in times}
    peer, large = by_size.get(PEER_CELLS, {}), by_size.get(LARGE_CELLS)
    faster = peer[LEIDEN] / peer[OWN] if LEIDEN in peer else None
    fit = line(times)
    return [
        _row(
            f"{PEER_CELLS:,} cells: times faster than neighbours and Leiden",
            f"at least {TIMES_FASTER}",
            f"{faster:.1f}" if faster else "not measured",
            met=faster >= TIMES_FASTER if faster else None,
        ),
        _row(
            f"{LARGE_CELLS:,} cells: seconds",
            f"at most {SECONDS}",
            f"{large[OWN]:.0f}" if large else "not measured",
            met=large[OWN] <= SECONDS if large else None,
        ),
        _row(
            f"{LARGE_CELLS:,} cells: MB above the input",
            f"at most {MEGABYTES}",
            f"{large[f'{OWN}, peak MB above the input']:.0f}" if large else "not measured",
            met=large[f"{OWN}, peak MB above the input"] <= MEGABYTES if large else None,
        ),
        _row(
            "time linear in cells: off the line through the smallest and the largest",
            f"at most {100 * BENT:.0f} %",
            f"{100 * fit[2]:.0f} %" if fit else "not measured",
            met=fit[2] <= BENT if fit else None,
        ),
    ]


def rare_found(rare: list[Row], apart: int) -> Row:
    """Say what is found of the planted type, the worst over seeds and distances from `apart` on."""
    same = [row for row in rare if row["apart"] >= apart and row["min_cells"]]
    target = f"rare type of 50 in 100,000, {apart} standard deviations or more away, min_cells=20"
    asked = f"recall {RECALL}, precision {PRECISION}"
    if not same:
        return _row(target, asked, "not measured", met=None)
    recall, precision = min(row["recall"] for row in same), min(row["precision"] for row in same)
    return _row(
        target,
        asked,
        f"recall {recall:.2f}, precision {precision:.2f}",
        met=recall >= RECALL and precision >= PRECISION,
    )
