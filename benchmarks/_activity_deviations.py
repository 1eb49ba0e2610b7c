"""Deviations of words beside those of pychromVAR: agreement, seconds and memory."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

import sctandem as td
from benchmarks._measure import measure as measured
from benchmarks.peers import _chromvar
from sctandem.kernels._background import peak_background
from sctandem.kernels._deviations import expected_deviations, sampled_deviations

if TYPE_CHECKING:
    from mudata import MuData

TITLE = "Deviations of words (chromVAR)"
CAPTION = """\
Agreement is over the Z scores of every tenth 6-letter word in simulated peaks (500 cells, 4,000 peaks): with the same 50 draws of background peaks ("drawn") and for infinitely many
("expected"), exchanging matches as pychromVAR does or counts as chromVAR does. "Drawn, other draws" is what pychromVAR agrees with itself. Cost
is on two threads for ours, on one for the others, with 5 % of the counts and 20 % of the matches above 0; seconds of the processors (all threads
together) do not grow with what else runs. From them those of pychromVAR and of the plain sparse products (the same 50 draws, on
scipy's sparse matrices) at the full size are extrapolated by cells x peaks x words; pychromVAR would need memory for 50 dense results."""
SEEDS = (0, 1, 2)

N_DRAWS, MANY = 50, 400
EVERY = 10
#: Threads of the target.
N_THREADS = 2
#: Cells, peaks and words of the cost: the full size, and what is feasible with pychromVAR.
FULL, SMALL, MIDDLE = (10_000, 100_000, 2080), (1000, 10_000, 200), (2000, 10_000, 200)
#: Columns of the table and their digits.
COLUMNS = {"r": 4, "slope": 3, "seconds": 1, "processor_seconds": 1, "peak_mb": 0, "extrapolated_seconds": 0}
LIMITS = {"r": 0.99, "seconds": 60.0, "peak_mb": 4000.0}


def measure(seed: int) -> list[dict[str, Any]]:
    """Measure agreement, and with the first seed the cost."""
    rows = _agreement(seed)
    if seed == SEEDS[0]:
        rows += _cost(seed)
    return [{"seed": seed, **row} for row in rows]


def _agreement(seed: int) -> list[dict[str, Any]]:
    atac = words_of_simulation(seed)["atac"]
    matches, gc = atac.varm["kmers"], atac.varm["nucleotides"]["gc"].to_numpy()
    background = peak_background(np.asarray(atac.X.sum(axis=0)).ravel(), gc)
    drawn, others = (background.draw(N_DRAWS, np.random.default_rng([seed, i])) for i in range(2))
    if not _chromvar.available():
        return []
    peer = _chromvar.deviations(atac.X, matches, drawn)["z"]
    again = _chromvar.deviations(atac.X, matches, others)["z"]
    rows = [{"name": "pychromVAR, other draws", **_agree(peer, again)}]
    for exchange in ("matches", "counts"):
        found = sampled_deviations(atac.X, matches, drawn, exchange=exchange)
        rows.append({"name": f"{exchange}, drawn", **_agree(peer, found.z, found.deviations)})
        limit = expected_deviations(atac.X, matches, background, exchange=exchange)
        z, deviations = limit.z, limit.deviations
        if exchange == "counts":  # chromVAR's definition, and what the public function gives
            td.tl.sequence_deviations(atac, "kmers")
            z, deviations = atac.obsm["X_kmers"], atac.obsm["kmers_deviations"]
        rows.append({"name": f"{exchange}, expected", **_agree(peer, z, deviations)})
        many = sampled_deviations(
            atac.X, matches, background.draw(MANY, np.random.default_rng(seed)), exchange=exchange
        )
        rows.append({"name": f"{exchange}, expected against 400 draws", **_agree(many.z, z, deviations)})
    return rows


def _agree(one: np.ndarray, two: np.ndarray, deviations: np.ndarray | None = None) -> dict[str, float]:
    known = np.isfinite(one) & np.isfinite(two)
    if deviations is not None:
        known &= np.isfinite(deviations)
    slope = np.polyfit(one[known], two[known], 1)[0]
    return {"r": float(np.corrcoef(one[known], two[known])[0, 1]), "slope": float(slope)}


def words_of_simulation(seed: int, n_cells: int = 500, n_peaks: int = 4000, k: int = 6) -> MuData:
    """Simulate a multiome, with some words of its peaks where `pp.nucleotide_spectrum` has them."""
    with tempfile.TemporaryDirectory() as folder:
        fasta = Path(folder, "genome.fa")
        mdata = td.datasets.simulate_multiome(n_cells, 400, n_peaks, fasta=fasta, rng=seed)
        td.pp.nucleotide_spectrum(mdata, fasta, k=k)
    atac = mdata["atac"]
    atac.varm["kmers"] = atac.varm["kmers"][:, ::EVERY].copy()
    atac.uns["kmers"]["names"] = atac.uns["kmers"]["names"][::EVERY]
    return mdata


def _cost(seed: int) -> list[dict[str, Any]]:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        full, out = Path(folder, "full.npz"), []
        measured(write_large, full, FULL, seed)
        for _ in range(3):  # the least of three: other programs only make it slower
            out.append(measured(_run_ours, full))
        best = min(out, key=lambda each: each.value)
        threads = os.environ.get("NUMBA_NUM_THREADS", str(os.cpu_count()))
        seconds, processors = best.value
        row = {"name": "ours, full size", "size": _size(FULL), "n_threads": int(threads), "peak_mb": best.peak_mb}
        rows.append(row | {"seconds": seconds, "processor_seconds": processors})
    for size in (SMALL, MIDDLE):
        counts, matches, _ = draw_large(size, seed)
        drawn = np.random.default_rng(seed).integers(0, size[1], (size[1], N_DRAWS))
        start, processors = time.perf_counter(), time.process_time()
        sampled_deviations(counts, matches, drawn)
        taken = {"seconds": time.perf_counter() - start, "processor_seconds": time.process_time() - processors}
        found = [("sparse products", taken)]
        if _chromvar.available():
            peer = _chromvar.deviations(counts, matches, drawn)
            found.append(("pychromVAR", {name: value for name, value in peer.items() if name != "z"}))
        for name, each in found:
            row = {"name": f"{name}, {_size(size)}", "size": _size(size), **each}
            row["extrapolated_seconds"] = each["processor_seconds"] * np.prod(FULL, dtype=float) / np.prod(size)
            rows.append(row)
    return rows


def _size(size: tuple[int, int, int]) -> str:
    return " x ".join(f"{n:,}" for n in size)


def draw_large(size: tuple[int, int, int], seed: int) -> tuple[sparse.csr_matrix, sparse.csr_matrix, np.ndarray]:
    """Draw counts with 5 % above 0 in peaks of very unequal openness, matches with 20 %, and a GC content."""
    n_cells, n_peaks, n_words = size
    rng = np.random.default_rng(seed)
    openness = rng.lognormal(-3.6, 1.1, n_peaks)
    openness = np.minimum(0.05 * openness / openness.mean(), 0.9)
    columns = [
        np.flatnonzero(rng.random(n_peaks, dtype=np.float32) < openness).astype(np.int32) for _ in range(n_cells)
    ]
    pointers = np.concatenate([[0], np.cumsum([len(each) for each in columns])])
    data = rng.geometric(0.8, pointers[-1]).astype(np.int32)
    counts = sparse.csr_matrix((data, np.concatenate(columns), pointers), shape=(n_cells, n_peaks))
    share = np.minimum(rng.lognormal(-1.8, 0.6, n_words), 0.95).astype(np.float32)
    rows = [sparse.csr_matrix(rng.random((b, n_words), dtype=np.float32) < share) for b in _blocks(n_peaks)]
    matches = sparse.vstack(rows, format="csr").astype(np.uint8)
    return counts, matches, rng.beta(12, 12, n_peaks)


def _blocks(n: int, step: int = 5000) -> list[int]:
    return [min(step, n - i) for i in range(0, n, step)]


def write_large(path: Path, size: tuple[int, int, int], seed: int) -> None:
    """Write them to a file, in a process whose memory does not count."""
    counts, matches, gc = draw_large(size, seed)
    parts = {
        f"{name}_{part}": getattr(m, part)
        for name, m in (("x", counts), ("m", matches))
        for part in ("data", "indices", "indptr")
    }
    np.savez(path, gc=gc, shape=np.array(size), **parts)


def _run_ours(path: Path) -> tuple[float, float]:
    """Run ours on that file; return the seconds of the call and of the processors, without reading and compiling."""
    with np.load(path) as found:
        n_cells, n_peaks, n_words = found["shape"]
        x, m = (tuple(found[f"{name}_{part}"] for part in ("data", "indices", "indptr")) for name in "xm")
        atac = AnnData(sparse.csr_matrix(x, shape=(n_cells, n_peaks)))
        atac.varm["nucleotides"] = pd.DataFrame({"gc": found["gc"]}, index=atac.var_names)
    atac.varm["kmers"] = sparse.csr_matrix(m, shape=(n_peaks, n_words))
    atac.uns["kmers"] = {"names": [f"word{i}" for i in range(n_words)]}
    small = atac[:2].copy()
    td.tl.sequence_deviations(small, "kmers")  # compiles
    del small
    start, processors = time.perf_counter(), time.process_time()
    td.tl.sequence_deviations(atac, "kmers")
    return time.perf_counter() - start, time.process_time() - processors


def table(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Give a row a method: agreement as the mean over seeds, or cost."""
    frame = pd.DataFrame(rows)
    shown = []
    for name, each in frame.groupby("name", sort=False):
        cells = {"method": str(name)}
        for column, digits in COLUMNS.items():
            values = each[column].dropna() if column in each else pd.Series(dtype=float)
            cells[column] = f"{values.mean():,.{digits}f}" if len(values) else ""
        shown.append(cells)
    return shown


def targets(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Hold what was measured against the targets."""
    r = [row["r"] for row in rows if row["name"] == "matches, drawn"]
    # the target is about two threads: what was measured on others says nothing of it
    full = [row for row in rows if row["name"] == "ours, full size" and row["n_threads"] == N_THREADS]
    found = [
        {
            "target": "Z scores on the background of pychromVAR correlate with it by more than 0.99",
            "measured": f"{min(r):.6f}" if r else "",
            "met": _met(min(r, default=None), LIMITS["r"], above=True),
        }
    ]
    for column, what, unit in (("seconds", "60 s", "s"), ("peak_mb", "4 GB", "MB")):
        found.append(
            {
                "target": f"{_size(FULL)} words within {what} on {N_THREADS} threads",
                "measured": f"{full[0][column]:,.0f} {unit}" if full else "",
                "met": _met(full[0][column] if full else None, LIMITS[column]),
            }
        )
    return found


def _met(value: float | None, limit: float, *, above: bool = False) -> str:
    if value is None:
        return "not measured"
    return "yes" if (value > limit if above else value <= limit) else "no"


def data() -> list[Path]:
    """Name the files that are read: none."""
    return []
