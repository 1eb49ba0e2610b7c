"""CapsuleNet and its peers on cells whose types are known: `python -m benchmarks capsules`.

Rows are kept in `benchmarks/results/capsules.json` as soon as they are measured, each with its day, commit and threads; those
that are there are not measured again without `--again`. `--take` adds the rows of another such file.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import _capsules_report, _results
from benchmarks._labelled_sets import SETS, path

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "capsules"
ALL_SETS = tuple(entry.name for entry in SETS)
#: Sets of each part, when none are asked for.
PARTS = {
    "clusters": ALL_SETS,
    "labels": ("zheng", "mixology", "symphony"),
    "novelty": ALL_SETS,
    "cost": ALL_SETS,
}
METHODS = (
    "capsules",
    "capsules_inductive",
    "pca",
    "lr",
    "lr_median",
    "knn",
    "knn_unlabelled",
    "celltypist",
    "scvi",
    "scanvi",
)
WHEN_ASKED = ("scvi_complete",)
#: What tells rows of a part from one another.
KEY = ("set", "method", "seed", "hidden")


def main(argv: list[str]) -> None:
    """Measure what is asked for, and write the results."""
    options = _options(argv)
    for file in options.take:
        for part, rows in json.loads(file.read_text())["measured"].items():
            _keep(part, *rows)
    if options.take:
        return
    import torch

    from benchmarks import _capsules_runs as runs

    torch.set_num_threads(_results.n_threads())
    for part in options.part:
        for name in [name for name in PARTS[part] if name in options.sets]:
            for seed in options.seeds:
                for method in [method for method in runs.METHODS[part] if method in options.methods]:
                    for rows in _measured(part, name, method, seed, options):
                        stamped = [row | _results.stamp() for row in rows]
                        _keep(part, *stamped)
                        for row in stamped:
                            print(time.strftime("%H:%M:%S"), part, _capsules_report.line(row), flush=True)


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks capsules", description=__doc__)
    parser.add_argument("--part", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)))
    parser.add_argument("--sets", nargs="+", choices=ALL_SETS, default=ALL_SETS)
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=(*METHODS, *WHEN_ASKED),
        default=METHODS,
        help="clusters: capsules, pca, scvi; labels and novelty: capsules, capsules_inductive, lr, lr_median, knn, celltypist (labels), knn_unlabelled (novelty), "
        "scanvi; cost: capsules (and scVI, in turn), scvi_complete (only when asked for)",
    )
    parser.add_argument("--models", type=Path, help="folder in which scVI's trained models are kept and found again")
    parser.add_argument("--again", action="store_true", help="measure rows again that are there")
    parser.add_argument("--take", nargs="+", type=Path, default=[], metavar="FILE", help="only add the rows of FILE")
    return parser.parse_args(argv)


@lru_cache(maxsize=1)
def _cells(name: str) -> Any:
    from benchmarks._label_tasks import Cells

    return Cells.read(name)


def _measured(
    part: str, name: str, method: str, seed: int, options: argparse.Namespace
) -> Iterator[list[dict[str, Any]]]:
    """Measure the rows of one method on one set, as far as they are not there; give those of each training."""
    from benchmarks import _capsules_runs as runs

    have = {_key(row) for row in _read().get(part, [])}

    def missing(first_row: str, hidden: str | None = None) -> bool:
        return options.again or (name, first_row, seed, hidden) not in have

    if part == "clusters" and missing({"pca": "pca_leiden", "scvi": "scvi_leiden"}.get(method, method)):
        yield runs.clusters(_cells(name), method, seed, options.models)
    elif part == "labels" and missing(method):
        yield [runs.labels(_cells(name), method, seed, options.models)]
    elif part == "novelty":
        for hidden in sorted(set(_cells(name).labels)):
            if missing(method, hidden):
                yield [runs.novelty(_cells(name), method, seed, hidden, options.models)]
    elif part == "cost" and missing(method):
        yield runs.cost(_cells(name), method, seed)


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in KEY)


def _read() -> dict[str, list[dict[str, Any]]]:
    return _results.read(NAME).get("measured", {})


def _keep(part: str, *rows: dict[str, Any]) -> None:
    """Write rows among those of their part, in the place of older ones of the same key.

    The file is read again each time, with other runs of the benchmark kept out: they may have added rows.
    """
    with _results.alone():
        measured = _read()
        measured[part] = _results.with_rows(measured.get(part, []), rows, _key)
        document = _capsules_report.document(measured)
        seeds = sorted({row["seed"] for part_rows in measured.values() for row in part_rows})
        _results.write(NAME, document, seeds=seeds, data=[path(entry) for entry in SETS])
