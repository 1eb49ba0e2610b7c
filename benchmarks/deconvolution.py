"""RSD and its peers on bulk whose composition is known: `python -m benchmarks deconvolution`.

Rows are kept in `benchmarks/results/deconvolution.json` as soon as they are measured, each with its day, commit and threads; those that are there are
not measured again without `--again`. `--take` adds the rows of another such file. Intervals are measured with the fractions.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import _deconvolution_data as data
from benchmarks import _deconvolution_report as report
from benchmarks import _deconvolution_sets as sets
from benchmarks import _results

if TYPE_CHECKING:
    from collections.abc import Iterator

    Row = dict[str, Any]

NAME = "deconvolution"
#: Sets of each part, when none are asked for.
PARTS = {
    "fractions": (*sets.REAL, *sets.SIMULATED),
    "pairs": sets.PAIRS,
    "missing": ("symphony_3pv2_5p", "kang_sim", "zheng_sim"),
    "expression": ("kang_expression",),
    "drivers": (),
    "cost": (),
}
KEY = ("set", "method", "contents", "hidden", "seed")
NO_TYPE = "none"


def main(argv: list[str]) -> None:
    """Measure what is asked for, and write the results."""
    options = _options(argv)
    for file in options.take:
        for part, rows in json.loads(file.read_text())["measured"].items():
            _keep(part, *rows)
    if options.take:
        return
    import torch

    torch.set_num_threads(_results.n_threads())
    for part in options.part:
        for seed in options.seeds:
            for rows in _measured(part, seed, options):
                stamped = [row | _results.stamp() for row in rows]
                if stamped:
                    _keep(part, *stamped)
                for row in stamped:
                    print(time.strftime("%H:%M:%S"), part, report.line(row), flush=True)


def _options(argv: list[str]) -> argparse.Namespace:
    from benchmarks._deconvolution_methods import TITLES

    parser = argparse.ArgumentParser(prog="python -m benchmarks deconvolution", description=__doc__)
    parser.add_argument("--part", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)))
    parser.add_argument("--sets", nargs="+", choices=list(sets.SETS), default=list(sets.SETS))
    parser.add_argument("--methods", nargs="+", choices=[*TITLES, "bulk"], default=[*TITLES, "bulk"])
    parser.add_argument("--again", action="store_true", help="measure rows again that are there")
    parser.add_argument("--take", nargs="+", type=Path, default=[], metavar="FILE", help="only add the rows of FILE")
    return parser.parse_args(argv)


@lru_cache(maxsize=2)
def _set(name: str, seed: int) -> data.Mixtures:
    return sets.load(name, seed)


def _measured(part: str, seed: int, options: argparse.Namespace) -> Iterator[list[Row]]:
    """Measure the rows of a part and seed that are not there."""
    from benchmarks import _deconvolution_methods as methods
    from benchmarks import _deconvolution_own as own
    from benchmarks import _deconvolution_runs as runs

    have = {_key(row) for row in _read().get(part, [])}

    def asked(name: str, method: str, hidden: str | None = None) -> bool:
        told = True if part in {"fractions", "pairs"} else None
        return options.again or (name, method, told, hidden, seed) not in have

    chosen = [one for one in runs.METHODS[part] if one in options.methods and (one != methods.OWN or own.available())]
    if part == "drivers":
        for n in runs.DRIVER_SIZES:
            if asked(runs.sizes(n), methods.DRIVERS, "genes"):
                yield runs.drivers(n, seed)
    elif part == "cost":
        for method in chosen:
            if asked("simulated", method):
                yield [runs.cost(method, seed)]
    for name in [name for name in PARTS[part] if name in options.sets]:
        for method in chosen:
            draws = method == methods.OWN or (method in methods.PEERS and methods.PEERS[method].draws)
            if seed and not draws and not sets.SETS[name].drawn:
                continue  # nothing is drawn: it would be the same row
            if part in {"fractions", "pairs"} and asked(name, method):
                yield runs.fractions(_set(name, seed), method, seed)
            elif part == "expression" and asked(name, method):
                yield [runs.expression(_set(name, seed), method, seed)]
            elif part == "missing":
                for hidden in (None, *_set(name, seed).types):
                    if asked(name, method, hidden or NO_TYPE):
                        yield [runs.missing(_set(name, seed), hidden, method, seed)]


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in KEY)


def _read() -> dict[str, list[Row]]:
    return _results.read(NAME).get("measured", {})


def _keep(part: str, *rows: Row) -> None:
    """Write rows among those of their part, in the place of older ones of the same key.

    The file is read again each time, with other runs of the benchmark kept out: they may have added rows.
    """
    with _results.alone():
        measured = _read()
        measured[part] = _results.with_rows(measured.get(part, []), rows, _key)
        seeds = sorted({row["seed"] for part_rows in measured.values() for row in part_rows})
        files = dict.fromkeys(name for entry in sets.SETS.values() for name in entry.files)
        _results.write(NAME, report.document(measured), seeds=seeds, data=[data.file(name) for name in files])
