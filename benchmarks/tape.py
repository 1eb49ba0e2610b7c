"""TAPE and its peers on real and on simulated multiomes: `python -m benchmarks tape`.

Measurements are kept in `benchmarks/results/tape.json` as soon as they are made; `--only` measures some methods again and
keeps the others.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from typing import Any

from benchmarks import _a549, _results, _tables, _tape_methods, _tape_report

NAME = "tape"
N_SPLITS = 5
N_SIMULATIONS = 3


def main(argv: list[str]) -> None:
    """Measure what is asked for, and write the results."""
    options = _options(argv)
    measured = _results.read(NAME).get("measured", {})
    if options.part in {"cells", "all"}:
        _cells(options, measured.setdefault("cells", {}))
    if options.part in {"simulation", "all"}:
        from benchmarks import _tape_simulation

        measured["simulation"] = _tape_simulation.run(range(options.simulations))
    _write(measured, options.splits)


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks tape", description=__doc__)
    names = list(_tape_methods.entries())
    parser.add_argument("--only", nargs="+", choices=names, metavar="METHOD", help=f"measure these: {', '.join(names)}")
    parser.add_argument(
        "--part", choices=["cells", "simulation", "all"], default="all", help="held-out cells of A549, simulation"
    )
    parser.add_argument("--splits", type=int, default=N_SPLITS, help="how many random splits of the cells")
    parser.add_argument("--simulations", type=int, default=N_SIMULATIONS, help="how many simulations")
    parser.add_argument("--first-split", type=int, default=0, help="number of the first split to measure")
    parser.add_argument("--multivi-epochs", type=int, help="fewer epochs than MultiVI's default, marked in the table")
    return parser.parse_args(argv)


def _cells(options: argparse.Namespace, measured: dict[str, list[dict[str, Any]]]) -> None:
    """Measure methods on splits of the A549 cells; without `--only`, those that are missing."""
    listed = _tape_methods.entries()
    for seed in range(options.first_split, options.splits):
        for name in options.only or listed:
            done = {row["seed"] for row in measured.get(name, [])}
            if (seed in done and not options.only) or not _available(name):
                continue
            row = _tape_methods.run(name, seed, multivi_epochs=options.multivi_epochs)
            row |= _results.stamp()
            # another run of the benchmark may have added its own rows since
            measured.update(_results.read(NAME).get("measured", {}).get("cells", {}))
            others = [old for old in measured.get(name, []) if old["seed"] != seed]
            measured[name] = sorted([*others, row], key=lambda found: found["seed"])
            _write({**_results.read(NAME).get("measured", {}), "cells": measured}, options.splits)
            print(f"split {seed}, {listed[name].title}: {_tape_report.line(row)}", flush=True)


def _available(name: str) -> bool:
    """Whether a method can run here."""
    return name != "tape" or find_spec("sctandem.model._tape") is not None


def _write(measured: dict[str, Any], n_splits: int) -> None:
    document = _tape_report.document(measured)
    _results.write(NAME, document, seeds=range(n_splits), data=_a549.files())
    _tables.write_page()
