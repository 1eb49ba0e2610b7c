"""The loop over epochs and batches, in one process or in each of several."""

from __future__ import annotations

import copy
import logging
import math
from typing import TYPE_CHECKING, Any

import torch
from tqdm import tqdm

from sctandem._progress import wants_progress
from sctandem.nn._threads import torch_on_one_thread
from sctandem.train._early_stopping import EarlyStopping
from sctandem.train._loop_state import check_alike

if TYPE_CHECKING:
    from collections.abc import Callable

    from scvi.module.base import LossOutput
    from torch import Tensor

    from sctandem.data import CountLoader
    from sctandem.train._checkpoint import TrainingPart
    from sctandem.train._crew import Crew
    from sctandem.train._plan import CountTrainingPlan

logger = logging.getLogger(__name__)


class _Sums:
    """Sums of the parts of the loss over an epoch, kept on the device."""

    def __init__(self) -> None:
        self.n_cells, self.n_batches = 0, 0
        self.values: dict[str, list[Tensor]] = {}

    def add(self, output: LossOutput) -> None:
        """Add a batch."""
        self.n_cells += output.n_obs_minibatch
        self.n_batches += 1
        reconstruction, kl = output.reconstruction_loss_sum.detach(), output.kl_local_sum.detach()
        parts = {"reconstruction_loss": reconstruction, "kl_local": kl, "elbo": reconstruction + kl}
        parts["loss"] = output.loss.detach() * output.n_obs_minibatch
        for key, value in output.extra_metrics.items():
            if not isinstance(value, torch.Tensor) or value.ndim == 0:
                parts[key] = torch.as_tensor(value).detach() * output.n_obs_minibatch
        for key, value in parts.items():
            self.values.setdefault(key, []).append(value)

    def means(self, suffix: str, crew: Crew | None) -> dict[str, float]:
        """Return means over cells, those of all processes, under the names that scvi-tools logs."""
        totals = {key: float(torch.stack(values).cpu().double().sum()) for key, values in self.values.items()}
        n_cells = self.n_cells
        if crew is not None:
            n_cells, totals = crew.sums(n_cells, totals)
        means = {key: total / max(1, n_cells) for key, total in totals.items()}
        loss = means.pop("loss", math.nan)
        return {f"{suffix}_loss": loss, **{f"{key}_{suffix}": value for key, value in means.items()}}


class _Memory:
    """What a run remembers of its epochs: the best one, and whether to stop."""

    def __init__(self, stopping: EarlyStopping | None) -> None:
        self.stopping, self.stopped = stopping, False
        self.best: dict[str, Any] | None = None

    def look_at(self, row: dict[str, float], module: torch.nn.Module, epoch: int) -> None:
        """Take in what an epoch gave."""
        if self.stopping is None or "elbo_validation" not in row:
            return
        decision = self.stopping.update(row["elbo_validation"])
        if decision.improved:
            self.best = copy.deepcopy(module.state_dict())
        if decision.stop:
            logger.info("Training stopped early at epoch %d: %s", epoch + 1, decision.reason)
            self.stopped = True

    def state(self) -> dict[str, Any]:
        """Return all of it."""
        stopping = None if self.stopping is None else {"best": self.stopping.best, "waited": self.stopping.waited}
        return {"best": None if self.best is None else dict(self.best), "stopped": self.stopped, "stopping": stopping}

    def take_up(self, state: dict[str, Any], module: torch.nn.Module) -> None:
        """Remember what `state` gave."""
        wanted = self.state()
        if state["best"] is not None:
            wanted["best"] = dict(module.state_dict())
        check_alike({key: state[key] for key in wanted}, wanted, "the memory of the run")
        self.best, self.stopped = state["best"], state["stopped"]
        if self.stopping is not None and state["stopping"] is not None:
            self.stopping.best, self.stopping.waited = state["stopping"]["best"], state["stopping"]["waited"]


def _checked_rows(rows: Any, n_epochs: float) -> list[dict[str, float]]:
    """Return what the epochs gave that are over, checked."""
    check_alike(rows, [dict.fromkeys(map(str, row), 0.0) for row in rows], "the list of epochs")
    if len(rows) != n_epochs:
        msg = f"it has losses of {len(rows)} epochs, and steps of {n_epochs:g}"
        raise ValueError(msg)
    return list(rows)


class EpochLoop:
    """Train over epochs, from where the part is.

    Parameters
    ----------
    plan
        Takes the steps.
    loader, validation
        Batches to train on and to validate on; `None` for no validation.
    max_epochs
        Passes.
    n_cells
        Cells to train on.
    device
        Where the module is.
    part
        Where it is kept how far the loop is.
    """

    def __init__(
        self,
        plan: CountTrainingPlan,
        loader: CountLoader,
        validation: CountLoader | None,
        *,
        max_epochs: int,
        n_cells: int,
        device: torch.device,
        part: TrainingPart,
    ) -> None:
        self.plan, self.loader, self.validation = plan, loader, validation
        self.max_epochs, self.n_cells, self.device, self.part = max_epochs, n_cells, device, part
        self.crew: Crew | None = None
        self.is_finished = False
        self.rows: list[dict[str, float]] = []

    def begin(self) -> None:
        """Make the optimizer."""
        n_batches = len(self.loader)
        self.plan.begin(n_batches * self.max_epochs, math.ceil(self.n_cells / max(1, n_batches)))

    def run(self, *, progress: bool | None = None, told: Callable[[int, float], None] | None = None) -> None:
        """Go through the epochs.

        Parameters
        ----------
        progress
            Whether to show a bar; `None` for in a terminal or notebook.
        told
            Called after each epoch with the number of those that are done and the loss.
        """
        with self.part.alone():
            self._run(progress=progress, told=told)

    @torch_on_one_thread()
    def _run(self, *, progress: bool | None, told: Callable[[int, float], None] | None) -> None:
        """Go through the epochs, as the only one who writes the file."""
        config, module = self.plan.config, self.plan.module
        memory = _Memory(EarlyStopping(config.patience) if config.early_stopping else None)
        self.take_up(memory)
        done = len(self.rows)
        shown = wants_progress(progress)
        with tqdm(total=self.max_epochs, initial=done, desc="Training", unit="epoch", disable=not shown) as bar:
            for epoch in range(done, self.max_epochs):
                if memory.stopped:
                    break
                row = self._epoch(epoch)
                if self.validation is not None and (epoch + 1) % config.validation_interval == 0:
                    row |= self._validate(self.validation)
                self.rows.append(row)
                bar.update()
                bar.set_postfix({"loss": f"{row['train_loss']:.4g}"})
                if told is not None:
                    told(epoch + 1, row["train_loss"])
                memory.look_at(row, module, epoch)
                if not memory.stopped and epoch + 1 < self.max_epochs and not self._keep(memory):
                    return
        if memory.best is not None:
            module.load_state_dict(memory.best)
            memory.best = None
        self.is_finished = True
        if done < len(self.rows):
            memory.stopped = True
            self.is_finished = self._keep(memory)  # parts that come after it would be lost

    def take_up(self, memory: _Memory | None = None) -> None:
        """Go on where the part is, if anything is kept of it."""
        if (state := self.part.state) is None:
            return
        with self.part.reading():
            rows = _checked_rows(state["rows"], state["plan"]["step"] / max(1, len(self.loader)))
            if memory is not None:
                memory.take_up(state, self.plan.module)
            self.plan.take_up(state["plan"])
            self.loader.take_up(state["loader"])
            self.rows, self.is_finished = rows, bool(state["stopped"])

    def _keep(self, memory: _Memory) -> bool:
        """Keep how far the loop is; return whether to go on."""
        going = self.part.keep(
            lambda: {
                "rows": self.rows,
                "plan": self.plan.run_state(),
                "loader": self.loader.state(),
                **memory.state(),
            },
            when=f"after epoch {len(self.rows)}",
            finished=memory.stopped,
        )
        return going if self.crew is None else self.crew.agree(going)

    def _epoch(self, epoch: int) -> dict[str, float]:
        """Train on every batch; return the means."""
        if self.crew is not None:
            self.crew.seed(epoch)
        self.plan.module.train()
        sums = _Sums()
        for number, batch in enumerate(self.loader):
            self.plan.share = self.loader.share(number)
            sums.add(self.plan.step(self._move(batch)))
        if self.crew is not None:
            self.crew.same_buffers(self.plan.module)
        row = sums.means("train", self.crew)
        if not math.isfinite(row["train_loss"]):
            msg = (
                f"the loss became {row['train_loss']} in epoch {epoch + 1}; lower the learning rate "
                f"(learning_rate={self.plan.config.learning_rate}), or set gradient_clip"
            )
            raise FloatingPointError(msg)
        return row

    def _validate(self, loader: CountLoader) -> dict[str, float]:
        """Evaluate every batch; return the means."""
        self.plan.module.eval()
        sums = _Sums()
        for batch in loader:
            sums.add(self.plan.evaluate(self._move(batch)))
        return sums.means("validation", self.crew)

    def _move(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Move a batch to the device."""
        if self.device.type == "cpu":
            return batch
        return {key: value.to(self.device, non_blocking=True) for key, value in batch.items()}
