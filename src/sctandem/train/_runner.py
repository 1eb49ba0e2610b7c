"""The loop over epochs and batches."""

from __future__ import annotations

import copy
import logging
import math
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from tqdm import tqdm

from sctandem._compat import torch_device
from sctandem._progress import wants_progress
from sctandem.nn._threads import torch_on_one_thread
from sctandem.train._checkpoint import TrainingPart
from sctandem.train._early_stopping import EarlyStopping

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scvi.model.base import BaseModelClass
    from scvi.module.base import LossOutput
    from torch import Tensor

    from sctandem.data import CountLoader
    from sctandem.train._plan import CountTrainingPlan
    from sctandem.train._splitter import CountDataSplitter

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

    def means(self, suffix: str) -> dict[str, float]:
        """Return means over cells, under the names that scvi-tools logs."""
        totals = {key: float(torch.stack(values).cpu().double().sum()) for key, values in self.values.items()}
        means = {key: total / max(1, self.n_cells) for key, total in totals.items()}
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

    def take_up(self, state: dict[str, Any]) -> None:
        """Remember what `state` gave."""
        self.best, self.stopped = state["best"], state["stopped"]
        if self.stopping is not None and state["stopping"] is not None:
            self.stopping.best, self.stopping.waited = state["stopping"]["best"], state["stopping"]["waited"]


class CountTrainRunner:
    """Run a training plan over epochs, without the machinery of Lightning.

    Stands in for :class:`scvi.train.TrainRunner`: afterwards the model has `history`, `train_indices`,
    `validation_indices`, `test_indices` and `is_trained`.

    Parameters
    ----------
    model
        The model to train.
    training_plan
        A :class:`~sctandem.train.CountTrainingPlan`.
    data_splitter
        A :class:`~sctandem.train.CountDataSplitter`.
    max_epochs
        Passes through the training cells.
    accelerator
        `"auto"`, `"cpu"`, `"gpu"`, ...
    devices
        `"auto"` or the number of one device.
    progress
        Whether to show a progress bar; `None` for in a terminal or notebook.
    part
        Where it is kept how far the run is, and from where it goes on; `None` for nowhere. When it cannot be written, the run ends there as
        if interrupted, and the checkpoint knows why.

    Notes
    -----
    An interruption (Ctrl-C, or the stop button of a notebook) ends the run after the last whole step; the model is then
    trained as far as it got, and a warning is logged.
    """

    def __init__(
        self,
        model: BaseModelClass,
        training_plan: CountTrainingPlan,
        data_splitter: CountDataSplitter,
        *,
        max_epochs: int,
        accelerator: str = "auto",
        devices: int | str = "auto",
        progress: bool | None = None,
        part: TrainingPart | None = None,
    ) -> None:
        self.model, self.training_plan, self.data_splitter = model, training_plan, data_splitter
        self.max_epochs = max_epochs
        self.device = torch_device(accelerator, devices)
        self.progress, self.part = progress, part or TrainingPart()
        #: Whether the run has come to its end.
        self.is_finished = False
        self._rows: list[dict[str, float]] = []

    def __call__(self) -> None:
        """Train, and leave the model trained."""
        splitter, plan, model = self.data_splitter, self.training_plan, self.model
        splitter.setup()
        if (to_learn := getattr(model, "_cells_to_learn", None)) is not None:
            splitter.keep(to_learn())
        if (before := getattr(model, "_before_training", None)) is not None:
            entries = before(splitter.train_idx, once=self.part.once, progress=wants_progress(self.progress))
            splitter.data_loader_kwargs.update(entries)
        # from here on the old parameters are gone: a model that fails in training counts as not trained
        model.is_trained_ = False
        plan.n_obs_training, plan.n_obs_validation = len(splitter.train_idx), len(splitter.val_idx)
        loader = splitter.train_dataloader()
        model.to_device(self.device)
        plan.begin(len(loader) * self.max_epochs, math.ceil(len(splitter.train_idx) / max(1, len(loader))))
        self._rows = []
        try:
            self._run(loader, splitter.val_dataloader() if plan.config.validation_interval else None)
        except KeyboardInterrupt:
            done = len(self._rows)
            logger.warning(
                "Training was interrupted after %d of %d epochs; the model is as it was then.", done, self.max_epochs
            )
        finally:
            model.module.eval()
        self._finish()

    @torch_on_one_thread()
    def _run(self, loader: CountLoader, validation: Iterable[dict[str, Tensor]] | None) -> None:
        """Go through the epochs."""
        config, module = self.training_plan.config, self.model.module
        memory = _Memory(EarlyStopping(config.patience) if config.early_stopping else None)
        if (state := self.part.state) is not None:
            self._take_up(state, loader, memory)
        done = len(self._rows)
        with tqdm(
            total=self.max_epochs,
            initial=done,
            desc="Training",
            unit="epoch",
            disable=not wants_progress(self.progress),
        ) as bar:
            for epoch in range(done, self.max_epochs):
                if memory.stopped:
                    break
                row = self._epoch(loader, epoch)
                if validation is not None and (epoch + 1) % config.validation_interval == 0:
                    row |= self._validate(validation)
                self._rows.append(row)
                bar.update()
                bar.set_postfix({"loss": f"{row['train_loss']:.4g}"})
                memory.look_at(row, module, epoch)
                if not memory.stopped and epoch + 1 < self.max_epochs and not self._keep(loader, memory):
                    return
        if memory.best is not None:
            module.load_state_dict(memory.best)
            memory.best = None
        self.is_finished = True
        if done < len(self._rows):
            memory.stopped = True
            self._keep(loader, memory)

    def _keep(self, loader: CountLoader, memory: _Memory) -> bool:
        """Keep how far the run is; return whether to go on."""
        return self.part.keep(
            lambda: {
                "rows": self._rows,
                "plan": self.training_plan.run_state(),
                "loader": loader.state(),
                **memory.state(),
            },
            when=f"after epoch {len(self._rows)}",
            finished=memory.stopped,
        )

    def _take_up(self, state: dict[str, Any], loader: CountLoader, memory: _Memory) -> None:
        """Go on where a run was."""
        self._rows = list(state["rows"])
        self.training_plan.take_up(state["plan"])
        loader.take_up(state["loader"])
        memory.take_up(state)

    def _epoch(self, loader: Iterable[dict[str, Tensor]], epoch: int) -> dict[str, float]:
        """Train on every batch; return the means."""
        self.model.module.train()
        sums = _Sums()
        for batch in loader:
            sums.add(self.training_plan.step(self._move(batch)))
        row = sums.means("train")
        if not math.isfinite(row["train_loss"]):
            msg = (
                f"the loss became {row['train_loss']} in epoch {epoch + 1}; lower the learning rate "
                f"(learning_rate={self.training_plan.config.learning_rate}), or set gradient_clip"
            )
            raise FloatingPointError(msg)
        return row

    def _validate(self, loader: Iterable[dict[str, Tensor]]) -> dict[str, float]:
        """Evaluate every batch; return the means."""
        self.model.module.eval()
        sums = _Sums()
        for batch in loader:
            sums.add(self.training_plan.evaluate(self._move(batch)))
        return sums.means("validation")

    def _move(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Move a batch to the device."""
        if self.device.type == "cpu":
            return batch
        return {key: value.to(self.device, non_blocking=True) for key, value in batch.items()}

    def _finish(self) -> None:
        """Write the history and what else scvi-tools keeps of a training run."""
        model, splitter = self.model, self.data_splitter
        table = pd.DataFrame(self._rows)
        previous = model.history_ if isinstance(model.history_, dict) else {}
        start = max((int(old.index.max()) + 1 for old in previous.values() if len(old)), default=0)
        table.index = pd.RangeIndex(start, start + len(table), name="epoch")
        history = {key: table[[key]].dropna() for key in table}
        model.history_ = {
            key: pd.concat([table for table in (previous.get(key), history.get(key)) if table is not None])
            for key in {**previous, **history}
        }
        model.train_indices, model.validation_indices = splitter.train_idx, splitter.val_idx
        model.test_indices = splitter.test_idx
        model.is_trained_ = True
