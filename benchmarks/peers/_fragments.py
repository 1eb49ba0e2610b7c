"""Other ways to count fragments in peaks: SnapATAC2, in its own environment, and a loop over lines.

SnapATAC2 brings versions of packages that do not go with those here. `SCTANDEM_SNAPATAC2` names the Python of an environment that has
it (`python -m venv snap; snap/bin/pip install snapatac2`); without the variable this environment's own is asked. The file is also the
script that runs there: `python _fragments.py FRAGMENTS PEAKS CELLS OUT [name=length ...]`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from bisect import bisect_right
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS", "NUMBA_NUM_THREADS"), "1"
)


def snapatac2_python() -> str | None:
    """Return the Python that can import SnapATAC2, or None."""
    python = os.environ.get("SCTANDEM_SNAPATAC2", sys.executable)
    found = subprocess.run([python, "-c", "import snapatac2"], capture_output=True, check=False, env=_environment())
    return python if found.returncode == 0 else None


def snapatac2(fragments: Path, peaks: Path, cells: Path, sizes: dict[str, int], out: Path) -> dict[str, Any]:
    """Count insertions by SnapATAC2 in a process of its own, on one thread; give its seconds, memory and counts.

    `cells` lists the barcodes, one a line; `out` is the file for the counts.
    """
    python = snapatac2_python()
    if python is None:
        msg = "SnapATAC2 cannot be imported; SCTANDEM_SNAPATAC2 names the Python of an environment that has it."
        raise ImportError(msg)
    call = [python, __file__, str(fragments), str(peaks), str(cells), str(out)]
    lengths = [f"{name}={length}" for name, length in sizes.items()]
    answer = subprocess.run([*call, *lengths], capture_output=True, check=False, text=True, env=_environment())
    if answer.returncode:
        msg = f"SnapATAC2 failed:\n{answer.stderr[-2000:]}"
        raise RuntimeError(msg)
    with np.load(out) as file:
        shape = tuple(file["shape"])
        counts = sparse.csr_matrix((file["data"], file["indices"], file["indptr"]), shape=shape)
        names = {axis: file[axis].tolist() for axis in ("cells", "peaks")}
    return {**json.loads(answer.stdout.splitlines()[-1]), "counts": counts, **names}


def loop(fragments: Path, peaks: list[tuple[str, int, int]], cells: list[str]) -> sparse.csr_matrix:
    """Count insertions line by line, as many would: pysam's lines, a dictionary of barcodes, bisection among the peaks.

    The peaks must not overlap.
    """
    import pysam

    row = {cell: i for i, cell in enumerate(cells)}
    place: dict[str, list[tuple[int, int, int]]] = {}
    for j, (chrom, start, end) in enumerate(peaks):
        place.setdefault(chrom, []).append((start, end, j))
    place = {chrom: sorted(found) for chrom, found in place.items()}
    starts = {chrom: [start for start, _, _ in found] for chrom, found in place.items()}
    counts: dict[tuple[int, int], int] = {}
    with pysam.TabixFile(str(fragments)) as file:
        for line in file.fetch():
            chrom, start, end, barcode, *_ = line.split("\t")
            i = row.get(barcode)
            if i is None or chrom not in place:
                continue
            for cut in (int(start), int(end) - 1):
                k = bisect_right(starts[chrom], cut) - 1
                if k >= 0 and cut < place[chrom][k][1]:
                    key = i, place[chrom][k][2]
                    counts[key] = counts.get(key, 0) + 1
    rows, columns = np.array(list(counts), dtype=np.int64).reshape(-1, 2).T
    values = np.fromiter(counts.values(), dtype=np.int32, count=len(counts))
    return sparse.csr_matrix((values, (rows, columns)), shape=(len(cells), len(peaks)))


def _environment() -> dict[str, str]:
    """Return the variables of this process with one thread for everything, and without the packages of this one."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | ONE_THREAD


def _peak_mb() -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in status if line.startswith("VmHWM"))


def _main(fragments: str, peaks: str, cells: str, out: str, *lengths: str) -> None:
    """Run SnapATAC2: the fragments of the cells into an object, and its matrix of peaks."""
    import snapatac2

    sizes = {name: int(length) for name, length in (item.rsplit("=", 1) for item in lengths)}
    barcodes = Path(cells).read_text().split()
    start, used = time.perf_counter(), time.process_time()
    data = snapatac2.pp.import_fragments(
        fragments, sizes, whitelist=barcodes, min_num_fragments=0, sorted_by_barcode=False, n_jobs=1
    )
    matrix = snapatac2.pp.make_peak_matrix(data, peak_file=peaks, counting_strategy="insertion")
    seconds, cpu = time.perf_counter() - start, time.process_time() - used
    counts = sparse.csr_matrix(matrix.X[:])
    np.savez(
        out,
        data=counts.data.astype(np.int64),
        indices=counts.indices,
        indptr=counts.indptr,
        shape=counts.shape,
        cells=np.array(list(matrix.obs_names), dtype=str),
        peaks=np.array(list(matrix.var_names), dtype=str),
    )
    version = snapatac2.__version__
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak_mb": _peak_mb(), "version": version}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
