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
from sctandem.train._early_stopping import EarlyStopping

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scvi.model.base import BaseModelClass
    from scvi.module.base import LossOutput
    from torch import Tensor

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
    ) -> None:
        self.model, self.training_plan, self.data_splitter = model, training_plan, data_splitter
        self.max_epochs = max_epochs
        self.device = torch_device(accelerator, devices)
        self.progress = progress
        self._rows: list[dict[str, float]] = []

    def __call__(self) -> None:
        """Train, and leave the model trained."""
        splitter, plan, model = self.data_splitter, self.training_plan, self.model
        splitter.setup()
        if (to_learn := getattr(model, "_cells_to_learn", None)) is not None:
            splitter.keep(to_learn())
        if (before := getattr(model, "_before_training", None)) is not None:
            splitter.data_loader_kwargs.update(before(splitter.train_idx, progress=wants_progress(self.progress)))
        if added := plan.entries(model):
            options = splitter.data_loader_kwargs
            options["entries"] = {**(options.get("entries") or {}), **added}
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
    def _run(self, loader: Iterable[dict[str, Tensor]], validation: Iterable[dict[str, Tensor]] | None) -> None:
        """Go through the epochs."""
        config = self.training_plan.config
        stopping = EarlyStopping(config.patience) if config.early_stopping else None
        best: dict[str, Any] | None = None
        with tqdm(
            total=self.max_epochs, desc="Training", unit="epoch", disable=not wants_progress(self.progress)
        ) as bar:
            for epoch in range(self.max_epochs):
                row = self._epoch(loader, epoch)
                if validation is not None and (epoch + 1) % config.validation_interval == 0:
                    row |= self._validate(validation)
                self._rows.append(row)
                bar.update()
                bar.set_postfix({"loss": f"{row['train_loss']:.4g}"})
                if stopping is None or "elbo_validation" not in row:
                    continue
                decision = stopping.update(row["elbo_validation"])
                if decision.improved:
                    best = copy.deepcopy(self.model.module.state_dict())
                if decision.stop:
                    logger.info("Training stopped early at epoch %d: %s", epoch + 1, decision.reason)
                    break
        if best is not None:
            self.model.module.load_state_dict(best)

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
