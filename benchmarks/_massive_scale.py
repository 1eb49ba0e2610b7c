"""What 100 million cells would cost by the figures of the largest run, and a simulation of a second pass over as many blocks."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

CELLS, GENES, ENTRIES = 100_000_000, 30_000, 2_000
#: As in `sctandem.data._plan`: entries of a block that is read, and of a shard.
BLOCK, SHARD = 1 << 23, 1 << 24
#: Bytes that a cell takes beside its counts while it is built: keys, places, names, words.
CELL_BYTES = 100
#: Cells a second that one GPU is taken to train, and processor cores beside each GPU.
GPU_RATES, CORES = (50_000, 200_000), 8


def simulate(n_blocks: int = 400, n_shards: int = 200, seed: int = 0) -> dict[str, Any]:
    """Time the second pass over small blocks: what opening and reading a part costs that holds next to nothing."""
    from sctandem.data._stage import Unit

    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        units = []
        for number in range(n_blocks):
            starts = np.arange(n_shards + 1, dtype=np.int64)
            arrays = {name: rng.integers(0, 100, n_shards + 1) for name in ("a", "b", "c", "d", "e", "f", "g", "h")}
            path = Path(folder) / f"{number:05d}"
            Unit.write(path, {**arrays, "starts": starts}, {})
            units.append(Unit(path))
        start = time.process_time()
        for shard in range(n_shards):
            for unit in units:
                with unit.open() as file:
                    first, last = unit.read("starts", shard, shard + 2, file=file).tolist()
                    for name in ("a", "b", "c", "d", "e", "f", "g", "h"):
                        unit.read(name, first, last, file=file)
        seconds = time.process_time() - start
    return {"parts": n_blocks * n_shards, "seconds_a_part": seconds / (n_blocks * n_shards)}


def figures(rows: list[dict[str, Any]], simulated: dict[str, Any]) -> dict[str, float]:
    """Carry the figures of the largest run over: what was measured, and what follows."""
    row = rows[-1]
    build, bare, train = row["build"], row["bare"], row["train"]
    entries, ran = CELLS * ENTRIES, build["n_entries"]
    found = {
        "cells": row["cells"],
        "genes": row["genes"],
        "ran": ran,
        "entries": entries,
        "blocks": entries / BLOCK,
        "shards": entries / SHARD,
        "bytes": build["bytes"],
        "bytes_an_entry": build["bytes"] / ran,
        "on_disk": build["bytes"] / ran * entries,
        "while_built": 4 * entries + CELL_BYTES * CELLS,
        "build_seconds": build["cpu_seconds"],
        "build_an_entry": build["cpu_seconds"] / ran,
        "build_peak_mb": build["peak_mb"],
        "passes": build["cpu_seconds"] / ran * entries,
        "a_part": simulated["seconds_a_part"],
        "parts": simulated["seconds_a_part"] * entries / BLOCK * entries / SHARD,
        # epochs that were read differ in number
        "epoch_seconds": bare["cpu_seconds"] / bare["n_cells"] * build["n_obs"],
        "train_rate": train["n_cells"] / train["cpu_seconds"],
        "train_peak_mb": train["peak_mb"],
    }
    found["read_an_entry"] = found["epoch_seconds"] / ran
    found["reading"] = found["read_an_entry"] * entries
    found["training"] = CELLS / found["train_rate"]
    smaller = [other for other in rows if other["cells"] < row["cells"] and other["genes"] == row["genes"]]
    if smaller:
        found["few_cells"] = smaller[0]["cells"]
        found["few_peak_mb"] = smaller[0]["train"]["peak_mb"]
        more = max(0.0, train["peak_mb"] - found["few_peak_mb"]) * 1e6
        found["bytes_a_cell"] = more / (build["n_obs"] - smaller[0]["build"]["n_obs"])
        found["memory"] = train["peak_mb"] * 1e6 + found["bytes_a_cell"] * CELLS
    return found


def epochs(found: dict[str, float]) -> list[dict[str, float]]:
    """Give seconds of an epoch by numbers of GPUs and their assumed speed: the longer of reading and training."""
    return [
        {"gpus": n, "rate": rate, "reading": found["reading"] / (CORES * n), "training": CELLS / (rate * n)}
        for n in (1, 8)
        for rate in GPU_RATES
    ]


def table(rows: list[dict[str, Any]], simulated: dict[str, Any]) -> list[dict[str, str]]:
    """Lay the figures out."""
    f = figures(rows, simulated)
    lines = [
        (
            "collection on disk",
            f"{f['on_disk'] / 1e9:,.0f} GB",
            f"{f['bytes_an_entry']:.2f} bytes an entry x {f['entries']:.0e} entries",
        ),
        ("more disk while it is built", f"{f['while_built'] / 1e9:,.0f} GB", f"4 bytes an entry + {CELL_BYTES} a cell"),
        (
            "build, both passes",
            f"{f['passes'] / 3600:,.1f} h",
            f"{f['build_an_entry'] * 1e9:.0f} ns an entry, one core",
        ),
        (
            "build, finding parts in blocks",
            f"{f['parts'] / 3600:,.1f} h",
            f"{f['blocks']:,.0f} blocks x {f['shards']:,.0f} shards x {f['a_part'] * 1e6:.0f} us (simulated)",
        ),
        ("reading, an epoch", f"{f['reading'] / 3600:,.1f} core-h", f"{f['read_an_entry'] * 1e9:.0f} ns an entry"),
        (
            "training, an epoch on one core, 5,000 genes",
            f"{f['training'] / 3600:,.1f} h",
            f"{f['train_rate']:,.0f} cells a processor second",
        ),
    ]
    if "memory" in f:
        by = f"{f['train_peak_mb'] / 1e3:.1f} GB + {f['bytes_a_cell']:.0f} bytes a cell: words, splits, orders"
        lines.append(("memory of a process that trains", f"{f['memory'] / 1e9:,.0f} GB", by))
    for e in epochs(f):
        hours, limit = max((e["reading"], "reading"), (e["training"], "training"))
        n = int(e["gpus"])
        assumed = f"larger of {f['reading'] / 3600:.1f} core-h / {CORES * n} cores and 1e8 / ({n} x {e['rate']:,} cells a second)"
        lines.append((f"an epoch, {n} GPU{'s' * (n > 1)}, assumed", f"{hours / 3600:,.2f} h ({limit} limits)", assumed))
    return [{"what": what, "cost": cost, "by": by} for what, cost, by in lines]
