"""Several processes that train one model: started by torchrun, joined by Lightning Fabric."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from sctandem._progress import wants_progress
from sctandem.train._checkpoint import Checkpoint

if TYPE_CHECKING:
    from sctandem.train._loop import EpochLoop
    from sctandem.train._plan import CountTrainingPlan

#: Files of a job: what the processes are handed, how far they are, and what they say.
JOB, EPOCH, LOG = "job.pt", "epoch.json", "log.txt"


class Crew:
    """One of several processes, and what it does together with the others.

    Parameters
    ----------
    fabric
        A launched :class:`lightning.fabric.Fabric`.
    seed
        Of what is random in training, the same in all processes; each draws its own.
    """

    def __init__(self, fabric: Any, seed: int) -> None:
        self.fabric, self._seed = fabric, seed
        self.rank, self.size = int(fabric.global_rank), int(fabric.world_size)

    def join(self, loop: EpochLoop) -> None:
        """Let a loop train its share, and average its gradients with those of the others."""
        for loader in (loop.loader, loop.validation):
            if loader is not None:
                loader.divide(self.rank, self.size)
        loop.crew, loop.device = self, self.fabric.device
        loop.plan.module.to(loop.device)
        loop.begin()
        loop.plan.attach(self.fabric)
        if loop.part.checkpoint is not None:
            loop.part.checkpoint.is_written = self.rank == 0

    def seed(self, epoch: int) -> None:
        """Seed torch, for each epoch and process anew, so that a run that goes on draws as one that was not interrupted."""
        state = np.random.SeedSequence([self._seed, epoch, self.rank]).generate_state(1)
        torch.manual_seed(int(state[0]))

    def sums(self, n_cells: int, totals: dict[str, float]) -> tuple[int, dict[str, float]]:
        """Add what all processes have summed."""
        values = torch.tensor([float(n_cells), *totals.values()], dtype=torch.float64, device=self.fabric.device)
        n_all, *summed = self.fabric.all_reduce(values, reduce_op="sum").tolist()
        return int(n_all), dict(zip(totals, summed, strict=True))

    def agree(self, going: bool) -> bool:  # noqa: FBT001 - what it is about
        """Return what the first process says."""
        return bool(self.fabric.broadcast(going))

    def same_buffers(self, module: nn.Module) -> None:
        """Give all processes the running means of the first."""
        kept = self.fabric.broadcast({name: value.cpu() for name, value in module.named_buffers()})
        for name, value in module.named_buffers():
            value.copy_(kept[name])


class Objective(nn.Module):
    """What a plan descends on a batch, as a module that Lightning can wrap.

    Parameters
    ----------
    plan
        The plan.
    """

    def __init__(self, plan: CountTrainingPlan) -> None:
        super().__init__()
        self.module = plan.module
        self._plan = [plan]  # hidden: the module is not to be found twice

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the loss; its parts are left with the plan."""
        plan = self._plan[0]
        plan.last_output = plan.compute_loss(batch)
        return plan.objective(plan.last_output) * plan.share


def run_in_processes(loop: EpochLoop, n_processes: int, *, progress: bool | None = None) -> None:
    """Run a loop in several new processes, and take over what they learned.

    Parameters
    ----------
    loop
        The loop, which `check_crew` has passed; nothing of it has begun.
    n_processes
        How many.
    progress
        Whether to show a bar; `None` for in a terminal or notebook.

    Raises
    ------
    FloatingPointError
        When the loss is no longer finite.
    RuntimeError
        When a process failed otherwise.
    """
    seed = int(torch.randint(2**31, ()).item())
    with tempfile.TemporaryDirectory(prefix="sctandem-") as place:
        folder = Path(place)
        if loop.part.checkpoint is None:  # the way on which the result comes back
            loop.part.checkpoint = Checkpoint(folder / "run.ckpt", {}, seed=0)
            own = True
        else:
            own = False
        torch.save({"loop": loop, "seed": seed}, folder / JOB)
        try:
            _work(folder, n_processes, loop, shown=wants_progress(progress))
        finally:
            loop.part.checkpoint.read_again()
            loop.begin()
            loop.take_up()
            if own:
                loop.part.checkpoint = None


def _work(folder: Path, n_processes: int, loop: EpochLoop, *, shown: bool) -> None:
    """Start the processes, and wait for them."""
    command = [sys.executable, "-m", "sctandem.train._agent", str(folder), str(n_processes), str(os.getpid())]
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // n_processes)))
    # they find modules where this process does
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p or "." for p in sys.path), "OMP_NUM_THREADS": threads}
    with (folder / LOG).open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            with tqdm(total=loop.max_epochs, desc="Training", unit="epoch", disable=not shown) as bar:
                bar.set_postfix_str(f"{n_processes} processes start")
                while process.poll() is None:
                    try:
                        process.wait(0.2)
                    except subprocess.TimeoutExpired:
                        _show(folder / EPOCH, bar)
        except BaseException:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    if process.returncode:
        _fail(folder, n_processes, loop)


def _show(path: Path, bar: Any) -> None:
    """Show how far the processes are."""
    try:
        done, loss = json.loads(path.read_text())
    except (OSError, ValueError):  # not there yet, or being written
        return
    bar.update(done - bar.n)
    bar.set_postfix({"loss": f"{loss:.4g}"})


def _fail(folder: Path, n_processes: int, loop: EpochLoop) -> None:
    """Raise what a process has raised; a checkpoint that could not be written is told when the model is in order."""
    errors = [json.loads(path.read_text()) for path in sorted(folder.glob("error-*.json"))]
    kept = loop.part.checkpoint
    if errors and errors[0]["errno"] is not None and kept is not None and kept.path.parent != folder:
        kept.fault = OSError(errors[0]["errno"], errors[0]["message"])
        return
    if errors and errors[0]["kind"] == FloatingPointError.__name__:
        raise FloatingPointError(errors[0]["message"])
    told = f"{errors[0]['kind']}: {errors[0]['message']}" if errors else (folder / LOG).read_text()[-2000:]
    msg = f"training on {n_processes} processes failed: {told}"
    raise RuntimeError(msg)
