"""`python -m benchmarks massive`: twelve scattered files to one collection, read and trained from, beside the plain ways."""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import _massive_data, _massive_kills, _massive_runs, _massive_scale, _results
from benchmarks._measure import measure

TEXT = """\
Twelve files are resampled from sorted and from stimulated blood cells (each count a Poisson draw around that of a real cell), with 80 %
of the genes each, drawn anew, under ids with versions or symbols, labels under four names, and 2 % of the cells of the file before in
two of three. They become one collection; batches of 1,024 are read from it in random order, alone and as a model wants them, and a count VAE
is trained from it and on the same cells in memory; CapsuleNet is trained from it with labels and batches. The plain ways beside it: `anndata.concat` in memory, written and read as one
backed file in random batches.

Seconds are those of the clock, on two cores of which other work got what these processes left; processor seconds leave out what else runs, but not what switching between
processes costs. Both sizes train the same number of steps, since the memory of a process rises a little with time. Two processes on two cores gain next to
nothing: one process fills more than a core already (the reader works beside the training), each takes seconds to start, and gradients of the first and
last layer are averaged after every batch of 1,024 cells. Peak memory is that of a process of its own, libraries included.
Of bare reading and batches an epoch each is read in turn, and the median of the ratios of their times is taken. Builds, and trainings of three epochs, are killed (SIGKILL) at ten moments each, drawn evenly over the time that one takes that is left alone."""


def main(argv: list[str]) -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks massive", description=__doc__)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--genes", type=int, default=5_000)
    parser.add_argument("--epochs", type=int, default=2, help="of the training")
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="least seconds of each way of reading, whole epochs"
    )
    parser.add_argument("--folder", type=Path, help="where to work; deleted at the end")
    parser.add_argument("--no-memory", action="store_true", help="without what holds all cells in memory")
    parser.add_argument("--no-kills", action="store_true", help="without builds and trainings that are killed")
    parser.add_argument("--take", type=Path, metavar="FILE", help="only add the rows of FILE")
    parser.add_argument("--no-write", action="store_true", help="print only")
    options = parser.parse_args(argv)
    if options.take:
        keep(json.loads(options.take.read_text())["measured"])
        return
    work = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        row = run(options, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if not options.no_write:
        keep([row])


def keep(new: list[dict[str, Any]]) -> None:
    """Add rows to the file, in the place of older ones of the same size."""
    with _results.alone():
        rows = _results.with_rows(_rows(), new, lambda row: (f"{row['cells']:012d}", row["genes"]))
        _results.write("massive", report(rows, _massive_scale.simulate()), seeds=[0], data=_massive_data.files())


def _rows() -> list[dict[str, Any]]:
    return _results.read("massive").get("measured", [])


def run(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Measure one size."""
    row: dict[str, Any] = {"cells": options.cells, "genes": options.genes, "epochs": options.epochs, **_results.stamp()}
    sources, out, plain = work / "sources", work / "collection", work / "plain.h5ad"
    sources.mkdir()
    measure(_massive_data.make, sources, options.cells, options.genes, 0)
    steps: dict[str, tuple[Any, ...]] = {
        "build": (_massive_runs.build, sources, out),
        "bare": (_massive_runs.read_bare, out, options.seconds),
        "batches": (_massive_runs.read_batches, out, options.seconds),
        "in_turn": (_massive_runs.read_in_turn, out, 2 * options.seconds),
        "train": (_train_from_disk, out, options.epochs),
        "train_by_two": (_massive_runs.train_by_two, out, options.epochs),
        "train_capsules": (_massive_runs.train_capsules, out, options.epochs),
    }
    if not options.no_memory:
        steps |= {
            "train_in_memory": (_train_in_memory, out, options.epochs),
            "concatenate": (_massive_runs.concatenate, sources, plain),
            "backed": (_massive_runs.read_backed, plain, options.seconds),
        }
    if not options.no_kills:
        steps |= {
            "killed_builds": (_massive_kills.killed_builds, sources, out),
            "killed_trainings": (_massive_kills.killed_trainings, out),
        }
    for name, (function, *arguments) in steps.items():
        measured = measure(function, *arguments)
        row[name] = {**measured.value, "peak_mb": measured.peak_mb}
        row[name].setdefault("seconds", measured.seconds)
        print(time.strftime("%H:%M:%S"), name, row[name], flush=True)
    return row


def _train_from_disk(out: Path, epochs: int) -> dict[str, Any]:
    return _massive_runs.train(out, epochs, in_memory=False)


def _train_in_memory(out: Path, epochs: int) -> dict[str, Any]:
    return _massive_runs.train(out, epochs, in_memory=True)


def report(rows: list[dict[str, Any]], simulated: dict[str, Any]) -> dict[str, Any]:
    """Make the document."""
    targets = [target for row in rows for target in _targets(row)]
    for key, what in (("train", "training"), ("train_capsules", "training CapsuleNet")):
        targets += _growth(rows, key, what)
    tables = [{"title": "Targets", "rows": targets}]
    tables.append({"title": "Ways of building and reading", "rows": [line for row in rows for line in _ways(row)]})
    tables.append(
        {
            "title": "What 100 million cells would cost",
            "rows": _massive_scale.table(rows, simulated),
            "caption": f"From the run of {rows[-1]['cells']:,} cells, for {_massive_scale.GENES:,} genes of which "
            f"{_massive_scale.ENTRIES:,} are above zero in a cell. Nothing of this size was run; speeds of GPUs are assumed.",
        }
    )
    return {"title": "Massive collections", "text": TEXT, "tables": tables, "measured": rows, "simulated": simulated}


def _growth(rows: list[dict[str, Any]], key: str, what: str) -> list[dict[str, Any]]:
    """Give how much more memory the most cells take than the fewest."""
    peaks = {row["cells"]: row[key]["peak_mb"] for row in rows if row["genes"] == rows[-1]["genes"] and key in row}
    if len(peaks) < 2:
        return []
    ratio = peaks[max(peaks)] / peaks[min(peaks)]
    name = f"peak memory of {what}, {max(peaks):,} against {min(peaks):,} cells"
    return [{"target": name, "asked": "<= 1.1", "measured": f"{ratio:.2f}", "met": _met(ratio <= 1.1)}]


def _targets(row: dict[str, Any]) -> list[dict[str, Any]]:
    build, bare, batches, train = row["build"], row["bare"], row["batches"], row["train"]
    rate = build["n_read"] / build["seconds"]
    share = (batches["n_cells"] / batches["cpu_seconds"]) / (bare["n_cells"] / bare["cpu_seconds"])
    mixed = batches["entropy"] / batches["entropy_random"]
    where = f", {row['cells']:,} x {row['genes']:,}"
    lines = [
        ("build, cells a second", f"{rate:,.0f}", ">= 20,000", rate >= 20_000),
        ("[build, cells a processor second]", f"{build['n_read'] / build['cpu_seconds']:,.0f}", "-", None),
        ("build, peak memory (MB)", f"{build['peak_mb']:,.0f}", "<= 2,000", build["peak_mb"] <= 2000),
        ("[batches of a model against bare reading, cells a processor second]", f"{share:.0%}", "-", None),
        ("share of training spent waiting for cells", f"{train['waited']:.1%}", "<= 5 %", train["waited"] <= 0.05),
        ("training, peak memory (MB)", f"{train['peak_mb']:,.0f}", "<= 2,000", train["peak_mb"] <= 2000),
        ("entropy of sources in a batch against true random", f"{mixed:.2%}", "within 2 %", abs(mixed - 1) <= 0.02),
    ]
    if "train_in_memory" in row:
        ratio = train["loss"] / row["train_in_memory"]["loss"]
        lines.append(("loss against in-memory training", f"{ratio - 1:+.3%}", "within 1 %", abs(ratio - 1) <= 0.01))
    if (two := row.get("train_by_two")) is not None:
        ratio, faster = two["loss"] / train["loss"], train["seconds"] / two["seconds"]
        lines += [
            ("two processes, cells seen once in an epoch", f"{two['seen_once']:.2%}", "100 %", two["seen_once"] == 1),
            ("two processes, loss against one", f"{ratio - 1:+.3%}", "within 1 %", abs(ratio - 1) <= 0.01),
            ("[two processes on two cores, times faster by the clock]", f"{faster:.2f}", "-", None),
        ]
    if (capsules := row.get("train_capsules")) is not None:
        peak = capsules["peak_mb"]
        lines.append(("training CapsuleNet, peak memory (MB)", f"{peak:,.0f}", "<= 2,000", peak <= 2000))
    if (turns := row.get("in_turn")) is not None:
        name = "batches of a model against bare reading, cells a second, in turn"
        lines.append((name, f"{turns['share']:.0%}", ">= 90 %", turns["share"] >= 0.9))
    for key, name in (
        ("killed_builds", "build killed and resumed, same files"),
        ("killed_trainings", "training killed and resumed, same parameters and losses"),
    ):
        if (found := row.get(key)) is not None:
            said = f"{found['same']} of {found['killed']} ({found['with_work_left']} with something on disk)"
            lines.append((name, said, f"{found['killed']} of {found['killed']}", found["same"] == found["killed"]))
    return [
        {"target": name + where, "asked": asked, "measured": value, "met": "" if met is None else _met(met)}
        for name, value, asked, met in lines
    ]


def _ways(row: dict[str, Any]) -> list[dict[str, Any]]:
    names = {
        "build": "build: collection",
        "concatenate": "build: anndata.concat in memory",
        "bare": "read: collection, bare",
        "batches": "read: collection, batches of a model",
        "backed": "read: backed file, random batches",
        "train": "train: collection",
        "train_by_two": "train: collection, two processes",
        "train_in_memory": "train: in memory",
        "train_capsules": "train CapsuleNet, labels and batches: collection",
    }
    lines = []
    for key, name in names.items():
        if key not in row:
            continue
        found = row[key]
        n_cells = found.get("n_cells", found.get("n_read", found.get("n_obs")))
        lines.append(
            {
                "way": name,
                "cells": f"{row['cells']:,}",
                "cells a second": f"{n_cells / found['seconds']:,.0f}",
                "cells a processor second": f"{n_cells / found['cpu_seconds']:,.0f}",
                "peak memory (MB)": f"{found['peak_mb']:,.0f}",
            }
        )
    return lines


def _met(value: bool) -> str:  # noqa: FBT001
    return "yes" if value else "no"
