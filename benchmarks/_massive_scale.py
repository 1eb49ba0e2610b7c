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


def table(rows: list[dict[str, Any]], simulated: dict[str, Any]) -> list[dict[str, str]]:
    """Carry the figures of the largest run over."""
    row = rows[-1]
    build, bare, train = row["build"], row["bare"], row["train"]
    entries = CELLS * ENTRIES
    ran = build["n_entries"]
    blocks, shards = entries / BLOCK, entries / SHARD
    on_disk = build["bytes"] / ran * entries
    first = 4 * entries + CELL_BYTES * CELLS
    passes = build["cpu_seconds"] / ran * entries
    parts = simulated["seconds_a_part"] * blocks * shards
    reading = bare["cpu_seconds"] / ran * entries
    lines = [
        (
            "collection on disk",
            f"{on_disk / 1e9:,.0f} GB",
            f"{build['bytes'] / ran:.2f} bytes an entry x {entries:.0e} entries",
        ),
        ("more disk while it is built", f"{first / 1e9:,.0f} GB", f"4 bytes an entry + {CELL_BYTES} a cell"),
        (
            "build, both passes",
            f"{passes / 3600:,.1f} h",
            f"{build['cpu_seconds'] / ran * 1e9:.0f} ns an entry, one core",
        ),
        (
            "build, finding parts in blocks",
            f"{parts / 3600:,.1f} h",
            f"{blocks:,.0f} blocks x {shards:,.0f} shards x {simulated['seconds_a_part'] * 1e6:.0f} us (simulated)",
        ),
        ("reading, an epoch", f"{reading / 3600:,.1f} core-h", f"{bare['cpu_seconds'] / ran * 1e9:.0f} ns an entry"),
        (
            "training, an epoch on one core, 5,000 genes",
            f"{train['cpu_seconds'] / train['n_cells'] * CELLS / 3600:,.1f} h",
            f"{train['n_cells'] / train['cpu_seconds']:,.0f} cells a processor second",
        ),
    ]
    smaller = [other for other in rows if other["cells"] < row["cells"] and other["genes"] == row["genes"]]
    if smaller:
        more = (train["peak_mb"] - smaller[0]["train"]["peak_mb"]) * 1e6
        a_cell = more / (row["build"]["n_obs"] - smaller[0]["build"]["n_obs"])
        memory = (train["peak_mb"] * 1e6 + a_cell * CELLS) / 1e9
        by = f"{train['peak_mb'] / 1e3:.1f} GB + {a_cell:.0f} bytes a cell: names, words, splits"
        lines.append(("memory of a process that trains", f"{memory:,.0f} GB", by))
    for n_gpus in (1, 8):
        for rate in GPU_RATES:
            hours = max(reading / (CORES * n_gpus), CELLS / (rate * n_gpus)) / 3600
            limit = "reading" if reading / (CORES * n_gpus) > CELLS / (rate * n_gpus) else "training"
            assumed = f"larger of {reading / 3600:.1f} core-h / {CORES * n_gpus} cores and 1e8 / ({n_gpus} x {rate:,} cells a second)"
            lines.append(
                (f"an epoch, {n_gpus} GPU{'s' * (n_gpus > 1)}, assumed", f"{hours:,.2f} h ({limit} limits)", assumed)
            )
    return [{"what": what, "cost": cost, "by": by} for what, cost, by in lines]
