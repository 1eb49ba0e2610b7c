"""Differential expression between samples against pseudobulk peers: `python -m benchmarks de`.

Runs are kept in `benchmarks/results/de.json` as soon as they are measured, each with its day, commit and threads; those that are
there are not measured again without `--again`. `--take` adds the runs of other such files.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import _results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Run = tuple[str, Callable[[], list[dict[str, Any]]]]

NAME = "de"
PARTS = ("null", "states", "power", "interferon", "mixtures", "cost", "cells")
#: Kept in a file of its own.
ASSOCIATIONS = "associations"


def main(argv: list[str]) -> int:
    """Measure what is asked for, and write the results."""
    options = arguments(argv)
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    for file in options.take:
        for part, runs in json.loads(file.read_text())["measured"].items():
            keep(part, *runs, folder=options.folder)
    for part in () if options.take else options.part:
        if part == ASSOCIATIONS:
            from benchmarks import _de_associations

            _de_associations.run(options.seeds, folder=options.folder)
            continue
        for key, function in RUNS[part](options):
            if options.only not in key:
                continue
            wanted = key in _with_deseq(part, options)
            have = {one["run"]: one for one in _measured(options.folder).get(part, [])}
            if key in have and not options.again and not (wanted and not _has_deseq(have[key])):
                continue
            rows = function()
            keep(part, {"run": key, **_results.stamp(), "rows": rows}, folder=options.folder)
            print(time.strftime("%H:%M:%S"), part, key, flush=True)
    keep("null", folder=options.folder)
    if options.folder == _results.FOLDER:
        from benchmarks import _de_figure

        _de_figure.draw(_measured(options.folder))
    return 0


def arguments(argv: list[str]) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks de", description=__doc__)
    parser.add_argument("--part", nargs="+", choices=[*PARTS, ASSOCIATIONS], default=[*PARTS, ASSOCIATIONS])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(20)))
    parser.add_argument(
        "--deseq-seeds", type=int, default=2, help="seeds, and splits of each kind, on which PyDESeq2 runs"
    )
    parser.add_argument("--cells", type=int, nargs="*", default=[50, 150, 500], help="of simulated donors")
    parser.add_argument("--model-seeds", type=int, nargs="+", default=[0], help="of the models that find states")
    parser.add_argument("--only", default="", help="only runs whose name has this in it")
    parser.add_argument("--again", action="store_true", help="measure runs again that are there")
    parser.add_argument("--take", nargs="+", type=Path, default=[], metavar="FILE", help="only add the runs of FILE")
    parser.add_argument("--folder", type=Path, default=_results.FOLDER, help="of the results")
    return parser.parse_args(argv)


def _has_deseq(run: dict[str, Any]) -> bool:
    return any(row["method"] == "PyDESeq2" for row in run["rows"])


def _with_deseq(part: str, options: argparse.Namespace) -> set[str]:
    """Give the names of the runs in which PyDESeq2 takes part: the first of each kind."""
    kinds: dict[str, list[str]] = {}
    if part in {"null", "power"}:
        for key, _ in RUNS[part](options):
            kinds.setdefault(key.split(": ")[0], []).append(key)
    return {key for keys in kinds.values() for key in keys[: options.deseq_seeds]}


def null(options: argparse.Namespace) -> Iterator[Run]:
    """List the null runs."""
    from benchmarks import _de_data as data
    from benchmarks import _de_runs as runs

    for size in (4, 2):
        for number, first in enumerate(data.splits(size)):
            few = number < options.deseq_seeds
            key = f"{size} v {8 - size}: {'+'.join(first)}"
            yield key, lambda first=first, few=few: runs.null_split(first, deseq=few, cells=few)
    for n_cells, seed in itertools.product(options.cells, options.seeds):
        few = seed < options.deseq_seeds
        key = f"simulated, {n_cells} cells: {seed}"
        yield key, lambda n=n_cells, seed=seed, few=few: runs.null_simulated(n, seed, deseq=few)


def states(options: argparse.Namespace) -> Iterator[Run]:
    """List the null runs on states that a model found."""
    from benchmarks import _de_data as data
    from benchmarks import _de_states as runs

    for size, seed in itertools.product((4, 2), options.model_seeds):
        for first in data.splits(size):
            key = f"{size} v {8 - size}, states of the model: {seed} {'+'.join(first)}"
            yield key, lambda first=first, seed=seed: runs.null_split(first, seed)


def power(options: argparse.Namespace) -> Iterator[Run]:
    """List the runs with thinned genes."""
    from benchmarks import _de_runs as runs

    for (n, batch), change in itertools.product(((4, False), (3, False), (4, True)), (1.0, 0.5)):
        for seed in options.seeds:
            key = f"{n} v {n}{', batch' if batch else ''}, log2 fold change {change:g}: {seed}"
            few, keep = seed < options.deseq_seeds, 0.5**change
            yield key, lambda a=(n, keep, seed), b=batch, few=few: runs.power(*a, batch=b, deseq=few)


def interferon(options: argparse.Namespace) -> Iterator[Run]:
    """List the comparisons with bulk."""
    from benchmarks import _de_interferon as runs

    for name in ("eight donors", "two donors"):
        yield name, lambda name=name: runs.agreement(name, deseq=options.deseq_seeds > 0)


def mixtures(options: argparse.Namespace) -> Iterator[Run]:
    """List the titrations."""
    from benchmarks import _de_mixtures as runs

    yield "evidence", lambda: runs.evidence().reset_index(names="file").assign(method="").to_dict("records")
    for setting, pair in itertools.product(runs.SETTINGS, range(6)):
        yield f"{setting}: {pair}", lambda s=setting, k=pair: runs.slopes(s, k, deseq=options.deseq_seeds > 0)


def cost(options: argparse.Namespace) -> Iterator[Run]:
    """List what is timed."""
    from benchmarks import _de_cost as runs

    for what, method in runs.RUNS:
        yield f"{what}: {method}", lambda what=what, method=method: runs.cost(what, method)


def cells(options: argparse.Namespace) -> Iterator[Run]:
    """List the runs of peers that are not pseudobulk."""
    from benchmarks import _de_cells as runs

    for method in runs.METHODS:
        yield f"{method}, 4 v 4: 0", lambda method=method: runs.null(method, 0)
        yield f"{method}, 4 v 4, log2 fold change 1: 0", lambda method=method: runs.power(method, 0)


RUNS = {
    "null": null, "states": states, "power": power, "interferon": interferon, "mixtures": mixtures, "cost": cost, "cells": cells,
}  # fmt: skip


def _measured(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return _results.read(NAME, folder=folder).get("measured", {})


def keep(part: str, *runs: dict[str, Any], folder: Path = _results.FOLDER) -> None:
    """Write runs among those of their part, in the place of older ones of the same name.

    The file is read again each time: another process may have added runs.
    """
    from benchmarks import _de_data, _de_interferon, _de_mixtures, _de_report

    measured = _measured(folder)
    found = {run["run"]: run for run in [*measured.get(part, []), *runs]}
    measured[part] = [found[key] for key in sorted(found)]
    seeds = {key.split(": ")[1] for name in ("null", "power") for key in (run["run"] for run in measured.get(name, []))}
    data = [_de_data.CONTROL, *_de_interferon.FILES, *_de_mixtures.FILES]
    document = _de_report.document(measured)
    _results.write(NAME, document, seeds=sorted(int(s) for s in seeds if s.isdigit()), data=data, folder=folder)
