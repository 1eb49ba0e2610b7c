"""TAPE and its peers on real and on simulated multiomes: `python -m benchmarks tape`.

Measurements are kept in `benchmarks/results/tape.json` as soon as they are made; `--only` measures some methods again and
keeps the others.
"""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks import _a549, _results, _tables, _tape_methods, _tape_report, _tape_simulation
from benchmarks._measure import measure

NAME = "tape"
N_SPLITS = 5


def main(argv: list[str]) -> None:
    """Measure what is asked for, and write the results."""
    options = _options(argv)
    if options.part in {"cells", "all"}:
        _cells(options, _results.read(NAME).get("measured", {}).get("cells", {}))
    if options.part in {"simulation", "all"}:
        _simulations(options)


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks tape", description=__doc__)
    names = list(_tape_methods.entries())
    parser.add_argument("--only", nargs="+", choices=names, metavar="METHOD", help=f"measure these: {', '.join(names)}")
    parser.add_argument(
        "--part", choices=["cells", "simulation", "all"], default="all", help="held-out cells of A549, simulation"
    )
    parser.add_argument("--splits", type=int, default=N_SPLITS, help="how many random splits of the cells")
    worlds = list(_tape_simulation.WORLDS)
    parser.add_argument(
        "--worlds", nargs="+", choices=worlds, default=worlds, help=f"simulations of: {', '.join(worlds)}"
    )
    parts = list(_tape_simulation.PARTS)
    parser.add_argument(
        "--simulated", nargs="+", choices=parts, default=parts, help=f"parts to run on simulations: {', '.join(parts)}"
    )
    parser.add_argument("--first-simulation", type=int, default=0, help="number of the first simulation to measure")
    parser.add_argument("--first-split", type=int, default=0, help="number of the first split to measure")
    parser.add_argument("--multivi-epochs", type=int, help="fewer epochs than MultiVI's default, marked in the table")
    return parser.parse_args(argv)


def _cells(options: argparse.Namespace, measured: dict[str, list[dict[str, Any]]]) -> None:
    """Measure methods on splits of the A549 cells; without `--only`, those that are missing."""
    listed = _tape_methods.entries()
    for seed in range(options.first_split, options.splits):
        for name in options.only or listed:
            if not options.only and seed in {row["seed"] for row in measured.get(name, [])}:
                continue
            row = _tape_methods.run(name, seed, multivi_epochs=options.multivi_epochs) | _results.stamp()
            _keep(row, "cells", name)
            print(f"split {seed}, {listed[name].title}: {_tape_report.line(row)}", flush=True)


def _simulations(options: argparse.Namespace) -> None:
    """Measure links and held-out genes on simulations, each in a process of its own."""
    for world in options.worlds:
        for part, n_runs in _tape_simulation.WORLDS[world].runs.items():
            if part not in options.simulated:
                continue
            function = _tape_simulation.PARTS[part]
            for seed in range(options.first_simulation, n_runs):
                found = measure(function, world, seed)
                row = {
                    "seed": seed,
                    **found.value,
                    "seconds": round(found.seconds, 1),
                    "peak_mb": round(found.peak_mb, 1),
                }
                _keep(row | _results.stamp(), "simulation", part, world)
                print(f"simulation {seed}, {world}, {part}: {row}", flush=True)


def _keep(row: dict[str, Any], *place: str) -> None:
    """Write a row among those of its kind, in the place of an older one with the same seed.

    The file is read again each time: another run of the benchmark may have added rows.
    """
    measured = _results.read(NAME).get("measured", {})
    folder = measured
    for name in place[:-1]:
        folder = folder.setdefault(name, {})
    others = [old for old in folder.get(place[-1], []) if old["seed"] != row["seed"]]
    folder[place[-1]] = sorted([*others, row], key=lambda found: found["seed"])
    document = _tape_report.document(measured)
    _results.write(NAME, document, seeds=_tape_report.seeds(measured), data=_a549.files())
    _tables.write_page()
