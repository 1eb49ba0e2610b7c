"""The targets of RSD, and what the rows say of them."""

from __future__ import annotations

from statistics import mean, median, stdev
from typing import TYPE_CHECKING, Any

from benchmarks._deconvolution_methods import DRIVERS, OWN, TITLES
from benchmarks._deconvolution_sets import REAL, SETS, SIMULATED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Row = dict[str, Any]
    #: A method, and whether it was told the published contents.
    Method = tuple[str, bool]

OURS = (OWN, True)
RMSE, UNKNOWN, BIAS, FALSE, SECONDS, MEMORY = 0.07, 0.05, 0.03, 0.07, 180, 3000
COVERAGE, NEAR, COVERAGE_REAL = 0.90, 0.05, 0.80
#: Sets whose truth is exact and part of the comparison, and the simulated ones.
EXACT = ("rnamix", *(name for name in REAL if name.startswith("symphony")), *SIMULATED)
MEASURED = tuple(name for name in REAL if name not in EXACT)
GROUPS = tuple(dict.fromkeys(entry.group for entry in SETS.values() if entry.group))
#: The plain likelihood that is told the published contents (`peers/_deconvolution_plain.py`).
PLAIN = ("plain", True)


def targets(measured: dict[str, list[Row]]) -> list[Row]:
    """Give a row a target: what is asked for, what was found, and whether it is met (`-` where rows are missing)."""
    rows = [row for row in measured.get("fractions", []) if "skipped" not in row]
    return [
        *against_peers(rows),
        above_plain(rows),
        rmse_below(rows),
        *covered(rows),
        *unknown(measured.get("missing", [])),
        above_em(measured.get("expression", [])),
        *drivers(measured.get("drivers", [])),
        *costs(measured.get("cost", [])),
    ]


def by_set(rows: Iterable[Row], figure: str) -> dict[Method, dict[str, float]]:
    """Give the mean over seeds of each method and set."""
    found: dict[Method, dict[str, list[float]]] = {}
    for row in rows:
        sets = found.setdefault((row["method"], row.get("contents", True)), {})
        sets.setdefault(row["set"], []).append(row[figure])
    return {method: {name: mean(values) for name, values in sets.items()} for method, sets in found.items()}


def by_group(sets: dict[str, float]) -> dict[str, float]:
    """Average the sets of each group; groups that are not complete are left out."""
    members = {group: [name for name in REAL if SETS[name].group == group] for group in GROUPS}
    whole = {group: names for group, names in members.items() if all(name in sets for name in names)}
    return {group: mean(sets[name] for name in names) for group, names in whole.items()}


def overall(rows: Iterable[Row], figure: str) -> dict[Method, float]:
    """Give the mean over the groups of the methods that have all of them."""
    groups = {method: by_group(sets) for method, sets in by_set(rows, figure).items()}
    return {method: mean(found.values()) for method, found in groups.items() if len(found) == len(GROUPS)}


def called(method: Method) -> str:
    """Name a method and say whether it was told the published contents."""
    name, told = method
    return TITLES[name] + (", contents" if told and name != OWN else "")


def _row(target: str, asked: str, found: str | None, *, met: bool | None) -> Row:
    answer = "-" if met is None else "yes" if met else "no"
    return {"target": target, "asked": asked, "found": found or "not measured", "met": answer}


def against_peers(rows: list[Row]) -> list[Row]:
    """Compare with the best single peer on average over sets, and with the median peer on each.

    That is the better of two medians, of the peers that are told the contents and of those that are not: on sums of single cells the published
    contents are wrong, and to compare with the told alone would be to the advantage of RSD.
    """
    table = []
    for figure, title, better in (("ccc", "CCC", max), ("rmse", "RMSE", min)):
        averages = overall(rows, figure)
        ours, peers = averages.get(OURS), {name: value for name, value in averages.items() if name[0] != OWN}
        best = better(peers, key=peers.__getitem__, default=None)
        asked = "the best single peer" if best is None else f"{called(best)} {peers[best]:.3f}"
        met = None if ours is None or best is None else better(ours, peers[best]) == ours
        found = None if ours is None else f"{ours:.3f}"
        table.append(
            _row(f"mean {title} over {len(GROUPS)} sets at least as good as any one peer", asked, found, met=met)
        )
    for figure, title, sign in (("ccc", "CCC", 1), ("rmse", "RMSE", -1)):
        sets = by_set(rows, figure)
        ours = sets.get(OURS, {})
        both = [medians(sets, told=told) for told in (True, False)]
        middle = {
            name: sign * max(sign * found[name] for found in both if name in found) for name in {**both[0], **both[1]}
        }
        behind = [name for name in REAL if name in ours and name in middle and sign * (ours[name] - middle[name]) < 0]
        met = not behind if all(name in ours and name in middle for name in REAL) else None
        found = None if not ours else "nowhere worse" if not behind else "worse on " + ", ".join(behind)
        table.append(
            _row(f"{title} not worse than the median peer, told the contents or not", "on any set", found, met=met)
        )
    return table


def above_plain(rows: list[Row]) -> Row:
    """Compare with the plain likelihood on each set, in both figures."""
    behind, missing = [], False
    for figure, sign in (("ccc", 1), ("rmse", -1)):
        sets = by_set(rows, figure)
        ours, plain = sets.get(OURS, {}), sets.get(PLAIN, {})
        for name in REAL:
            if name not in ours or name not in plain:
                missing = True
            elif sign * ours[name] <= sign * plain[name]:
                behind.append(f"{figure.upper()} {ours[name]:.3f} against {plain[name]:.3f} on {name}")
    title = "above a plain likelihood with the same contents on every set"
    found = None if missing else "; ".join(behind) or "on all"
    return _row(title, "CCC and RMSE", found, met=None if missing else not behind)


def medians(sets: dict[Method, dict[str, float]], *, told: bool = True) -> dict[str, float]:
    """Give the median of the peers on each set, told the contents or not."""
    peers = [found for (name, one), found in sets.items() if name != OWN and one == told]
    names = dict.fromkeys(name for found in peers for name in found)
    return {name: median(found[name] for found in peers if name in found) for name in names}


def rmse_below(rows: list[Row]) -> Row:
    """Find the set with exact truth on which RMSE is highest."""
    ours = by_set(rows, "rmse").get(OURS, {})
    return _worst(
        "RMSE on mixtures whose truth is exact", f"below {RMSE}", ours, EXACT, fits=lambda value: value < RMSE
    )


def _worst(
    title: str,
    asked: str,
    found: dict[str, float],
    names: tuple[str, ...],
    *,
    fits: Callable[[float], bool],
    far: Callable[[float], float] = float,
) -> Row:
    """Judge a target by the set that is furthest from it."""
    there = {name: found[name] for name in names if name in found}
    if not there:
        return _row(title, asked, None, met=None)
    worst = max(there, key=lambda name: far(there[name]))
    text = f"worst {there[worst]:.3f} ({worst}), mean {mean(there.values()):.3f}"
    return _row(title, asked, text, met=fits(there[worst]) if len(there) == len(names) else None)


def covered(rows: list[Row]) -> list[Row]:
    """Compare the part of truths in the intervals with what they promise."""
    ours = by_set([row for row in rows if row["method"] == OWN and "coverage" in row], "coverage").get(OURS, {})
    each = _worst(
        "[intervals hold the truth, simulated bulk, every set]",
        f"{COVERAGE} within {NEAR}",
        ours,
        SIMULATED,
        fits=lambda value: abs(value - COVERAGE) <= NEAR,
        far=lambda value: abs(value - COVERAGE),
    )
    real = _worst(
        "intervals hold the truth, real bulk",
        f"at least {COVERAGE_REAL}",
        ours,
        REAL,
        fits=lambda value: value >= COVERAGE_REAL,
        far=lambda value: -value,
    )
    values = [ours[name] for name in SIMULATED if name in ours]
    simulated = _row(
        "intervals hold the truth, simulated bulk",
        f"{COVERAGE} within {NEAR}",
        f"mean {mean(values):.3f}" if values else None,
        met=abs(mean(values) - COVERAGE) <= NEAR if len(values) == len(SIMULATED) else None,
    )
    return [simulated, each, real]


def unknown(rows: list[Row]) -> list[Row]:
    """Judge unknown shares and the bias of the other types, with a type removed and with none."""
    ours = [row for row in rows if row["method"] == OWN]
    gone = [row for row in ours if row["hidden"] != "none"]
    whole = [row for row in ours if row["hidden"] == "none"]
    table = []
    for title, figure, part, bound in (
        ("a type removed: unknown share, mean error", "unknown_error", gone, UNKNOWN),
        ("a type removed: bias of the others", "mean_bias", gone, BIAS),
        ("nothing removed: unknown share", "unknown", whole, UNKNOWN),
    ):
        cases: dict[tuple[str, str], list[float]] = {}
        for row in part:
            cases.setdefault((row["set"], row["hidden"]), []).append(row[figure])
        found = {case: mean(values) for case, values in cases.items()}
        if not found:
            table.append(_row(title, f"at most {bound}", None, met=None))
            continue
        worst = max(found, key=found.__getitem__)
        where = worst[0] if figure == "unknown" else f"{worst[0]} without {worst[1]}"
        average = mean(found.values())
        met = average <= bound
        table.append(_row(title, f"at most {bound}", f"{average:.3f}, worst {found[worst]:.3f} ({where})", met=met))
    return table


def above_em(rows: list[Row]) -> Row:
    """Compare the rank correlation of type expression with that of EM."""
    found = {method: mean(sets.values()) for (method, _), sets in by_set(rows, "spearman").items()}
    ours, theirs = found.get(OWN), found.get("em")
    asked = "above EM" if theirs is None else f"above EM {theirs:.3f}"
    met = None if ours is None or theirs is None else ours > theirs
    return _row("expression of types, rank correlation a gene", asked, None if ours is None else f"{ours:.3f}", met=met)


def drivers(rows: list[Row]) -> list[Row]:
    """Judge the realised false discovery rate of drivers: the part of the calls of a cohort that is false, on average over cohorts of a size.

    The size with the highest counts: small cohorts, in which next to nothing is called, would hide the others in a mean over all.
    """
    table = []
    for level in ("genes", "types"):
        sizes: dict[str, list[float]] = {}
        for row in rows:
            if row["method"] == DRIVERS and row["level"] == level:
                sizes.setdefault(row["set"], []).append(row["fdp"])
        found = {size: mean(values) for size, values in sizes.items()}
        worst = max(found, key=found.__getitem__, default="")
        met = found[worst] <= FALSE if found else None
        text = f"worst {with_error(sizes[worst])} ({worst}, {len(sizes[worst])} cohorts)" if found else None
        table.append(_row(f"drivers, {level}: realised FDR at 0.05", f"at most {FALSE}", text, met=met))
    return table


def with_error(values: list[float]) -> str:
    """Give the mean of cohorts, and its standard error where there are several."""
    error = f" ± {stdev(values) / len(values) ** 0.5:.3f}" if len(values) > 1 else ""
    return f"{mean(values):.3f}{error}"


def costs(rows: list[Row]) -> list[Row]:
    """Judge seconds and memory."""
    ours = [row for row in rows if row["method"] == OWN]
    table = []
    for title, figure, bound, unit in (
        ("100 samples x 10 types x 15,000 genes, training included: seconds", "seconds", SECONDS, "s"),
        ("the same: memory", "peak_mb", MEMORY, "MB"),
    ):
        worst = max((row[figure] for row in ours), default=None)
        met = None if worst is None else worst <= bound
        table.append(_row(title, f"at most {bound} {unit}", None if worst is None else f"{worst:.0f} {unit}", met=met))
    return table
