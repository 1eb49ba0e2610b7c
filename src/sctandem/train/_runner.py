"""Training runs of models: what comes before the epochs and after."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pandas as pd

from sctandem._compat import torch_device
from sctandem._progress import wants_progress
from sctandem.train._checkpoint import TrainingPart
from sctandem.train._crew import run_in_processes
from sctandem.train._crew_checks import check_crew
from sctandem.train._loop import EpochLoop

if TYPE_CHECKING:
    from scvi.model.base import BaseModelClass

    from sctandem.train._plan import CountTrainingPlan
    from sctandem.train._splitter import CountDataSplitter

logger = logging.getLogger(__name__)


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
    n_processes
        Processes that train together; 1 for this one.
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
        n_processes: int = 1,
        progress: bool | None = None,
        part: TrainingPart | None = None,
    ) -> None:
        self.model, self.training_plan, self.data_splitter = model, training_plan, data_splitter
        self.max_epochs = max_epochs
        self.device = torch_device(accelerator, devices)
        self.progress, self.part, self.n_processes = progress, part or TrainingPart(), n_processes
        #: Whether the run has come to its end.
        self.is_finished = False

    def __call__(self) -> None:
        """Train, and leave the model trained."""
        splitter, plan, model = self.data_splitter, self.training_plan, self.model
        splitter.setup()
        if (to_learn := getattr(model, "_cells_to_learn", None)) is not None:
            splitter.keep(to_learn())
        if (before := getattr(model, "_before_training", None)) is not None:
            with self.part.reading_once():
                entries = before(splitter.train_idx, once=self.part.once, progress=wants_progress(self.progress))
            splitter.data_loader_kwargs.update(entries)
        plan.n_obs_training, plan.n_obs_validation = len(splitter.train_idx), len(splitter.val_idx)
        loop = EpochLoop(
            plan,
            splitter.train_dataloader(),
            splitter.val_dataloader() if plan.config.validation_interval else None,
            max_epochs=self.max_epochs,
            n_cells=len(splitter.train_idx),
            device=self.device,
            part=self.part,
        )
        if self.n_processes > 1:
            check_crew(loop, self.n_processes)
        # from here on the old parameters are gone: a model that fails in training counts as not trained
        model.is_trained_ = False
        model.to_device(self.device)
        try:
            if self.n_processes == 1:
                loop.begin()
                loop.run(progress=self.progress)
            else:
                run_in_processes(loop, self.n_processes, progress=self.progress)
        except KeyboardInterrupt:
            done = len(loop.rows)
            logger.warning(
                "Training was interrupted after %d of %d epochs; the model is as it was then.", done, self.max_epochs
            )
        finally:
            model.module.eval()
        self.is_finished = loop.is_finished
        self._finish(loop.rows)

    def _finish(self, rows: list[dict[str, float]]) -> None:
        """Write the history and what else scvi-tools keeps of a training run."""
        model, splitter = self.model, self.data_splitter
        table = pd.DataFrame(rows)
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
