"""pychromVAR, which runs in an environment of its own: it needs the source of a motif scanner that is not on all platforms.

`PYCHROMVAR_PYTHON` names the interpreter of that environment (`pip install pychromvar`); without it the present one is taken. Run as a
script, this file is what that interpreter runs.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

TITLE = "pychromVAR"


def available() -> bool:
    """Whether there is an interpreter that can run it."""
    answer = subprocess.run([_python(), "-c", "import pychromvar"], capture_output=True, check=False)
    return answer.returncode == 0


def deviations(counts: Any, matches: Any, drawn: np.ndarray) -> dict[str, Any]:
    """Give its Z scores, seconds of the clock and of the processors, and peak memory.

    `counts` are cells x peaks and `matches` peaks x features, both sparse; `drawn` has the background peaks, peaks x draws.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, gave = Path(folder, "given.npz"), Path(folder, "gave.npz")
        np.savez(given, counts=counts.toarray(), matches=(matches > 0).toarray(), drawn=drawn)
        subprocess.run([_python(), __file__, given, gave], check=True, capture_output=True)
        with np.load(gave) as found:
            return {
                "z": found["z"],
                **{name: float(found[name]) for name in ("seconds", "processor_seconds", "peak_mb")},
            }


def _python() -> str:
    return os.environ.get("PYCHROMVAR_PYTHON", sys.executable)


def _main(given: str, gave: str) -> None:
    """Run it on the arrays of a file."""
    import pychromvar
    from anndata import AnnData

    with np.load(given) as arrays:
        adata = AnnData(arrays["counts"].astype(np.float32))
        adata.varm["motif_match"] = arrays["matches"].astype(np.float32)
        adata.varm["bg_peaks"] = arrays["drawn"]
    adata.uns["motif_name"] = [str(i) for i in range(adata.varm["motif_match"].shape[1])]
    start, processors = time.perf_counter(), time.process_time()
    found = pychromvar.compute_deviations(adata, n_jobs=1)
    taken = {"seconds": time.perf_counter() - start, "processor_seconds": time.process_time() - processors}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    np.savez(gave, z=found.X, peak_mb=peak, **taken)


if __name__ == "__main__":
    _main(*sys.argv[1:])
