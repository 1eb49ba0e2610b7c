"""torchrun for the processes of a job: `python -m sctandem.train._agent FOLDER N PARENT`. They end when the parent does."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from sctandem.train._watch import end_with


def main(folder: Path, n_processes: int, parent: int) -> None:
    """Start the processes and wait for them.

    Parameters
    ----------
    folder
        Of the job; the parent deletes it, and where that has ended, this does.
    n_processes
        How many.
    parent
        Number of the process that waits for this one.
    """
    signal.signal(signal.SIGTERM, _stop)  # until torchrun has its own, which ends the processes
    end_with(parent, lambda: os.kill(os.getpid(), signal.SIGTERM))
    try:
        from torch.distributed import run

        run.main(
            [
                "--standalone",
                f"--nproc-per-node={n_processes}",
                f"--log-dir={folder / 'logs'}",  # else a folder stays behind
                "-m",
                "sctandem.train._worker",
                str(folder),
                str(os.getpid()),
            ]
        )
    finally:
        if os.getppid() != parent:
            shutil.rmtree(folder, ignore_errors=True)


def _stop(*_: Any) -> None:
    raise SystemExit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
