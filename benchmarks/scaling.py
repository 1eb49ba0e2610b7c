"""`python -m benchmarks scaling`: time and memory of every public function that takes cells, at 10,000 and 40,000 cells."""

from __future__ import annotations

import argparse
import math
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import _results, _scaling_runs
from benchmarks._measure import measure
from benchmarks._scaling_data import N_GENES, N_PEAKS, SIZES, make
from benchmarks._scaling_model import EPOCHS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

TITLE = "Growth with the number of cells"
TEXT = f"""\
Every public function that takes cells, on simulated multiomes of {N_GENES:,} genes and {N_PEAKS:,} peaks with 6 types, 2 batches and 4 donors. Each
runs in a process of its own at {SIZES[0]:,} cells first, which takes imports and compilation off, and then at {", ".join(f"{n:,}" for n in SIZES)}; times
are processor seconds on one thread, calls below {_scaling_runs.SHORT:g} s the best of {_scaling_runs.REPEATS}. *Exponent* is that of the growth of the whole time from {SIZES[1]:,} to {SIZES[2]:,} cells.
A fixed start makes it small, so there is a second one, *beyond the start*: the same after the start is taken off, which is where the line through {SIZES[0]:,}
and {SIZES[1]:,} cells meets zero cells; it is left out below {_scaling_runs.TOO_SHORT:g} s beyond the start.
Peak memory is that of the process during the call, libraries and input included. Models are set up, made and trained for {EPOCHS} epochs."""
MOST = 1.1
#: Whose documentation says that the cost is linear in the cells, or gives it as a product with their number: docstrings of functions, and
#: epochs of a fixed number for models.
LINEAR = (
    *(
        "pp.embed_genes",
        "pp.hierarchical_weights",
        "tl.capsules",
        "tl.gene_associations",
        "tl.map_query",
        "tl.regulatory_graph",
    ),
    *("data.build_collection", "data.highly_variable_genes", "data.principal_components", "data.project"),
    *(f"model.{name}" for name in ("CapsuleNet", "DeepDE", "RSD", "TAPE")),
)
#: Why time grows faster, where it is known; shown beside what does.
REASONS = {
    "data.build_collection": "most of it is a fixed start, and the first cells cost less each; larger ones are under *Massive collections*",
    "tl.regulatory_graph": "cells x genes, dense: above 32 MB, which the middle size is below, each step gets new memory",
    "tl.simulate": "forests, which tell real cells from made ones",
    "tl.waypoints": "neighbours: by all distances up to 20,000 cells, searched above",
}


def main(argv: list[str]) -> int:
    """Measure what is asked for and not there, row by row; 1 where a function failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks scaling", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=sorted(_scaling_runs.calls()), help="functions; by default all")
    parser.add_argument("--again", action="store_true", help="measure rows again that are there")
    options = parser.parse_args(argv)
    done = {row["name"] for row in _rows() if not row.get("error")}
    asked = [name for name in options.only or _scaling_runs.calls() if options.again or name not in done]
    folder = Path(tempfile.mkdtemp())
    failed = False
    try:
        if asked:
            measure(make, folder)
        for name in asked:
            row = measure_one(name, folder)
            failed |= "error" in row
            _keep(row)
            print(time.strftime("%H:%M:%S"), row, flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _keep()
    return int(failed)


def measure_one(name: str, folder: Path) -> dict[str, Any]:
    """Give the row of one function; a failure is a row as well, so that the others go on."""
    try:
        found = measure(_scaling_runs.run, name, folder).value
    except RuntimeError as error:
        print(error, flush=True)
        found = {"error": str(error).strip().splitlines()[-1]}
    return {"name": name, **found, **_results.stamp()}


def report(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Make the document."""
    tables = [
        {"title": "Targets", "rows": targets(rows)},
        {"title": "Time and memory", "rows": [_line(row) for row in rows]},
        {"title": "Not measured", "rows": _reasons()},
    ]
    return {"title": TITLE, "text": TEXT, "tables": tables, "measured": rows}


def targets(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Judge those that are said to be linear, and say how the others grow."""
    others = [name for name in _scaling_runs.calls() if name not in LINEAR]
    return [
        _target("growth exponent where the docs say linear", rows, LINEAR, _exponent),
        _target("growth exponent beyond the fixed start where the docs say linear", rows, LINEAR, _beyond_start),
        _target("[growth exponent of all others]", rows, others, _exponent),
        _target("[growth exponent beyond the fixed start of all others]", rows, others, _beyond_start),
    ]


def _target(title: str, rows: list[dict[str, Any]], names: Iterable[str], grows: Callable[..., Any]) -> dict[str, Any]:
    there = {row["name"]: row for row in rows if row["name"] in set(names) and "error" not in row}
    known = {name: grows(row) for name, row in there.items() if grows(row) is not None}
    above = {name: value for name, value in known.items() if value > MOST}
    said = ", ".join(f"{name} {value:.2f}" for name, value in sorted(above.items(), key=lambda item: -item[1]))
    found = f"{len(known) - len(above)} of {len(known)}" + (f"; above: {said}" if above else "")
    if silent := sorted(set(there) - set(known)):
        found += f"; too short to tell: {', '.join(silent)}"
    met = "no" if above else "yes" if len(there) == len(set(names)) else "not measured in full"
    return {"target": title, "asked": f"<= {MOST}", "measured": found, "met": met}


def _exponent(row: dict[str, Any]) -> float | None:
    """Give the exponent of the whole time between the last two sizes; `None` where the clock says nothing."""
    before, after = row["processor_s"][1:]
    return math.log(after / before) / math.log(SIZES[2] / SIZES[1]) if after >= _scaling_runs.TOO_SHORT else None


def _beyond_start(row: dict[str, Any]) -> float | None:
    return row["exponent"]


def _line(row: dict[str, Any]) -> dict[str, Any]:
    line = {"function": f"`{row['name']}`"}
    if "error" in row:
        return line | {"note": f"failed: {row['error']}"}
    for n, seconds in zip(SIZES, row["processor_s"], strict=True):
        line[f"s, {n:,}"] = f"{seconds:.2f}"
    for n, peak in list(zip(SIZES, row["peak_mb"], strict=True))[1:]:
        line[f"MB, {n:,}"] = f"{peak:.0f}"
    grows = {"exponent": _exponent(row), "beyond the start": _beyond_start(row)}
    line |= {name: "-" if value is None else f"{value:.2f}" for name, value in grows.items()}
    fast = any(value is not None and value > MOST for value in grows.values())
    notes = ["said to be linear"] if row["name"] in LINEAR else []
    notes += [REASONS[row["name"]]] if fast and row["name"] in REASONS else []
    return line | {"note": "; ".join(notes)}


def _reasons() -> list[dict[str, str]]:
    groups = {f"all of td.{group}": reason for group, reason in _scaling_runs.GROUPS_NOT_MEASURED.items()}
    every = _scaling_runs.not_measured() | groups
    return [{"function": f"`{name}`", "reason": reason} for name, reason in every.items()]


def _rows() -> list[dict[str, Any]]:
    return _results.read("scaling").get("measured", [])


def _keep(*new: dict[str, Any]) -> None:
    """Write the document with new rows in the place of older ones."""
    with _results.alone():
        rows = _results.with_rows(_rows(), new, lambda row: (row["name"],))
        _results.write("scaling", report(rows), seeds=[0])
