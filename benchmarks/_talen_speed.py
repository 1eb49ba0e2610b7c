"""How long a genome takes: generated sequence of human composition, streamed from a FASTA file, each run in a process of its own."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._talen_parity import PAIR

TITLE = "Time and memory of the search"
CAPTION = """\
Random bases (29.5 % A and T, 20.5 % C and G) in a FASTA file of 60 columns, cut-off 3.0, spacers of 15 to 30, both strands and all four dimers: a position is one
base of the file with all of that done. Processor seconds hold the reading of the file; the compilation comes before. NN-rich is TALE-NT's test pair, which finds a place
every 28 bases; ordinary repeats find one in 70 million. The baseline is NumPy: a table look-up a repeat for every position, on 2 million bases in memory. Wall seconds are those
of a machine that others use as well."""
SEEDS = (0,)

ORDINARY = (
    "NI HD NG NN NI HD NG NG NI NI HD NN NG NI HD NG",
    "HD NG NI NN HD NI NG NG NN HD NI NI NG HD NN NG NI",
)
PAIRS = {"ordinary": ORDINARY, "NN-rich": PAIR}
SHARES = (0.295, 0.205, 0.205, 0.295)
GENOME, PART, CONTIG, LINE = 3_100_000_000, 300_000_000, 150_000_000, 60


def data() -> list[Path]:
    return []


def generate(path: Path, n: int, seed: int) -> None:
    """Write random sequences of 150 million bases each."""
    rng = np.random.default_rng(seed)
    bounds = (np.cumsum(SHARES[:3]) * 256).round().astype(np.uint8)
    letters = np.frombuffer(b"ACGT", dtype=np.uint8)[np.searchsorted(bounds, np.arange(256), side="right")]
    with path.open("wb") as out:
        for at in range(0, n, CONTIG):
            out.write(f">contig{at // CONTIG + 1}\n".encode())
            left = min(CONTIG, n - at)
            while left:
                width = min(left, LINE * 100_000)
                lines = np.full((width // LINE, LINE + 1), 10, dtype=np.uint8)
                lines[:, :LINE] = letters[rng.integers(0, 256, size=(width // LINE, LINE), dtype=np.uint8)]
                out.write(lines.tobytes())
                left -= width


def child(path: str, pair: str, threads: int) -> dict[str, Any]:
    """Search one file, and tell time and memory."""
    from sctandem.genome import scan_talens

    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder, "a.fa")
        small.write_text(">a\nACGT\n")
        scan_talens(small, PAIRS[pair], n_threads=1)  # compiles
    wall, processor = time.perf_counter(), time.process_time()
    found = scan_talens(path, PAIRS[pair], n_threads=threads)
    return {
        "bases": found.attrs["n_bases"],
        "places": found.attrs["n_found"],
        "wall": time.perf_counter() - wall,
        "processor": time.process_time() - processor,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def numpy_baseline(seed: int) -> dict[str, Any]:
    """What one would write first: a look-up for every repeat at every position, and a shift for every spacer."""
    from sctandem.kernels._talens import score_matrix

    codes = np.random.default_rng(seed).choice(4, size=2_000_000, p=SHARES).astype(np.uint8)
    start = time.process_time()
    matrices = [score_matrix(array.split()) for array in ORDINARY]
    n, places = len(codes), 0
    lefts, rights = [], []
    for scores in matrices:
        length = len(scores)
        forward, backward = np.zeros(n - length), np.zeros(n - length)
        for at, row in enumerate(scores):
            forward += row[codes[at : at + n - length]]
            backward += row[3 - codes[length - 1 - at : n - 1 - at]]
        limit = 3.0 * scores.min(axis=1).sum()
        lefts.append(np.flatnonzero((forward[1:] <= limit) & (codes[: n - length - 1] == 3)) + 1 + length)
        right = np.zeros(n + 100, dtype=bool)
        right[: n - length] = (backward <= limit) & (codes[length:] == 0)
        rights.append(right)
    for ends in lefts:
        for right in rights:
            places += sum(int(right[ends + spacer].sum()) for spacer in range(15, 31))
    return {"bases": n, "places": places, "processor": time.process_time() - start}


def measure(seed: int) -> list[dict[str, Any]]:
    rows = [{"seed": seed, "name": "NumPy, ordinary, 1 threads"} | numpy_baseline(seed)]
    with tempfile.TemporaryDirectory(dir=os.environ.get("SCTANDEM_SCRATCH")) as folder:
        path = Path(folder, "part.fa")
        generate(path, PART, seed)
        runs = [(path, pair, threads) for pair in PAIRS for threads in (1, 2)]
        rows += [_run(seed, *run) for run in runs]
        path.unlink()
        path = Path(folder, "genome.fa")
        generate(path, GENOME, seed)
        rows += [_run(seed, path, pair, 2) for pair in PAIRS]
    return rows


def _run(seed: int, path: Path, pair: str, threads: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks._talen_speed", str(path), pair, str(threads)]
    environment = {**os.environ, "NUMBA_NUM_THREADS": str(threads)}
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    what = "genome" if path.stem == "genome" else "part"
    return {"seed": seed, "name": f"{pair}, {what}, {threads} threads"} | json.loads(output)


def table(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [
        {
            "pair": row["name"].split(", ")[1] if row["name"].startswith("NumPy") else row["name"].split(", ")[0],
            "method": "NumPy" if row["name"].startswith("NumPy") else "scan_talens",
            "million bases": f"{row['bases'] / 1e6:,.0f}",
            "threads": row["name"].split(", ")[-1].split()[0],
            "places": f"{row['places']:,}",
            "million positions a processor second": f"{row['bases'] / row['processor'] / 1e6:.0f}",
            "wall s": f"{row['wall']:.1f}" if "wall" in row else "",
            "peak MB": f"{row['peak_mb']:.0f}" if "peak_mb" in row else "",
        }
        for row in rows
    ]


def targets(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Hold what was measured against what is claimed, for ordinary repeats and for those of TALE-NT's test pair, which find far more."""
    found = {row["name"]: row for row in rows}
    out = []
    for pair in PAIRS:
        one, genome = found.get(f"{pair}, part, 1 threads"), found.get(f"{pair}, genome, 2 threads")
        speed = one and one["bases"] / one["processor"] / 1e6
        wall = f"{{:.0f}} s ({genome['processor']:.0f} processor seconds; others used the machine)" if genome else ""
        out += [
            _target(
                f"{pair} pair: 100 million positions a second and core at cut-off 3.0",
                speed,
                lambda v: v >= 100,
                "{:.0f} million a processor second",
            ),
            _target(f"{pair} pair: 3.1 Gb on 2 cores below 60 s", genome and genome["wall"], lambda v: v < 60, wall),
        ]
    peak = max((row["peak_mb"] for row in rows if "peak_mb" in row), default=None)
    return [*out, _target("memory below 1 GB, all pairs", peak, lambda v: v < 1000, "{:.0f} MB")]


def _target(text: str, value: float | None, met: Any, form: str) -> dict[str, str]:
    if value is None:
        return {"target": text, "measured": "", "met": "not measured"}
    return {"target": text, "measured": form.format(value), "met": "yes" if met(value) else "no"}


if __name__ == "__main__":
    print(json.dumps(child(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
