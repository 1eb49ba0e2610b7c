"""What each of several processes does: `python -m sctandem.train._worker FOLDER PARENT`, started by torchrun."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from sctandem.train._crew import EPOCH, JOB, Crew
from sctandem.train._watch import end_with


def main(folder: Path) -> OSError | None:
    """Train a share of a job; return what kept the checkpoint from being written.

    Parameters
    ----------
    folder
        Made by the process that waits for this one, for its user alone: what lies there is its own.
    """
    from lightning.fabric import Fabric
    from lightning.fabric.strategies import DDPStrategy

    job = torch.load(folder / JOB, map_location="cpu", weights_only=False)
    loop = job["loop"]
    fabric = Fabric(
        accelerator="cuda" if loop.device.type == "cuda" else "cpu",
        devices=int(os.environ["WORLD_SIZE"]),
        # labels are not learned from in every batch
        strategy=DDPStrategy(find_unused_parameters=True),
    )
    fabric.launch()
    fabric.barrier()
    if fabric.global_rank == 0:  # all have read it: counts are not to lie there for longer
        (folder / JOB).unlink()
    crew = Crew(fabric, job["seed"])
    crew.join(loop)

    def told(done: int, loss: float) -> None:
        (folder / EPOCH).write_text(json.dumps([done, loss]))

    loop.run(progress=False, told=told if crew.rank == 0 else None)
    fabric.barrier()
    kept = loop.part.checkpoint
    return None if kept is None else kept.fault


def tell(folder: Path, error: Exception, message: str, number: int | None = None) -> None:
    """Say to the process that waits what went wrong; `number` is that of a checkpoint that could not be written."""
    content: dict[str, Any] = {"kind": type(error).__name__, "message": message, "errno": number}
    (folder / f"error-{os.environ.get('RANK', '0')}.json").write_text(json.dumps(content))


if __name__ == "__main__":
    where = Path(sys.argv[1])
    end_with(int(sys.argv[2]), lambda: os.kill(os.getpid(), signal.SIGKILL))
    try:
        fault = main(where)
    except Exception as error:
        tell(where, error, str(error))
        raise
    if fault is not None:
        tell(where, fault, str(fault.strerror), fault.errno)
        raise fault
