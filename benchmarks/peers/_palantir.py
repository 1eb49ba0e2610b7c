"""Palantir, which runs in an environment of its own.

`PALANTIR_PYTHON` names the interpreter of that environment (`pip install palantir`); without it the present one is taken. Run as a
script, this file is what that interpreter runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

TITLE = "Palantir"


def available() -> bool:
    """Whether there is an interpreter that can run it."""
    answer = subprocess.run([_python(), "-c", "import palantir"], capture_output=True, check=False)
    return answer.returncode == 0


def palantir(points: np.ndarray, root: int, terminals: list[int] | None = None) -> dict[str, Any]:
    """Give its pseudotime, terminal cells, their probabilities (cells x terminals, as given or found), and seconds of the clock.

    Settings are those of its tutorial: 10 diffusion components, of which its eigengap picks some, 500 waypoints, the early cell as the start.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, gave = Path(folder, "given.npz"), Path(folder, "gave.npz")
        np.savez(given, points=points, root=root, terminals=np.array([] if terminals is None else terminals, dtype=int))
        subprocess.run([_python(), __file__, given, gave], check=True, capture_output=True)
        with np.load(gave) as found:
            return {name: found[name] for name in found.files}


def _python() -> str:
    return os.environ.get("PALANTIR_PYTHON", sys.executable)


def _main(given: str, gave: str) -> None:
    """Run it on the arrays of a file."""
    import palantir
    import pandas as pd

    with np.load(given) as arrays:
        points, root, terminals = arrays["points"], int(arrays["root"]), [f"c{i}" for i in arrays["terminals"]]
    table = pd.DataFrame(points, index=[f"c{i}" for i in range(len(points))])
    start = time.perf_counter()
    maps = palantir.utils.run_diffusion_maps(table, n_components=10)
    space = palantir.utils.determine_multiscale_space(maps)
    found = palantir.core.run_palantir(
        space, f"c{root}", terminal_states=terminals or None, num_waypoints=500, use_early_cell_as_start=True
    )
    seconds = time.perf_counter() - start
    ends = terminals or list(found.branch_probs.columns)
    probabilities = found.branch_probs[ends].to_numpy()
    np.savez(
        gave,
        pseudotime=found.pseudotime.loc[table.index].to_numpy(),
        terminals=np.array([int(end[1:]) for end in ends]),
        probabilities=probabilities,
        seconds=seconds,
    )


if __name__ == "__main__":
    _main(*sys.argv[1:])
