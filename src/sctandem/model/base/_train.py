"""The `train` of every model."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from sctandem._checks import check_n_cells
from sctandem._random import spawn, torch_seeded
from sctandem.data import CountLoader
from sctandem.train import CountDataSplitter, CountTrainingPlan, CountTrainRunner, TrainConfig

if TYPE_CHECKING:
    import numpy as np

    from sctandem._random import RNG


class TrainMixin:
    """Train on sparse minibatches with fused Adam, large batches and a one-cycle learning rate.

    A model sets `_train_config` for defaults of its own, and `_data_splitter_cls`, `_training_plan_cls` or
    `_train_runner_cls` to swap a part, as in scvi-tools.
    """

    _data_loader_cls = CountLoader
    _data_splitter_cls = CountDataSplitter
    _training_plan_cls = CountTrainingPlan
    _train_runner_cls = CountTrainRunner
    _train_config: ClassVar[TrainConfig] = TrainConfig()

    def _before_training(self, train_indices: np.ndarray) -> dict[str, Any]:
        """Fit what has a closed form, once the training cells are known; return options of the loaders."""
        return {}

    def train(
        self,
        max_epochs: int | None = None,
        *,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        train_size: float | None = None,
        early_stopping: bool | None = None,
        accelerator: str = "auto",
        rng: RNG = None,
        progress: bool | None = None,
        config: TrainConfig | None = None,
    ) -> None:
        """Train the model.

        Parameters
        ----------
        max_epochs
            Passes through the training cells; by default as many as give 1,000 batches, between 10 and 60. This and the other arguments that default to `None` replace the field of
            `config` of the same name.
        batch_size
            Most cells in a minibatch; by default a sixteenth of the training cells, between 128 and 1,024.
        learning_rate
            Peak learning rate of Adam for a batch of 128 cells; scaled linearly with the batch in use.
        train_size
            Part of the cells to train on; the others are kept for validation.
        early_stopping
            Whether to stop when the validation loss no longer improves, and to return to the best epoch.
        accelerator
            `"auto"`, `"cpu"`, `"gpu"`, ... as in scvi-tools.
        rng
            Seed of the split, the order of the cells, dropout and the noise of the latent state. The same seed gives the
            same model on the same machine. `None` takes what `scvi.settings.seed` set.
        progress
            Whether to show a progress bar; `None` for in a terminal or notebook.
        config
            All settings; `None` for the defaults of this model.

        Returns
        -------
        None. The model is then trained: `history` holds the losses by epoch, `train_indices` and `validation_indices` the
        cells.

        Raises
        ------
        ValueError
            For a setting out of bounds, or fewer than two cells to train on.
        FloatingPointError
            When the loss is no longer finite.

        Notes
        -----
        An interruption (Ctrl-C) ends the training and leaves the model as it was then, usable; before the first epoch (in
        what some models fit in closed form) it leaves the model untrained.
        """
        given: dict[str, Any] = {
            "max_epochs": max_epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "train_size": train_size,
            "early_stopping": early_stopping,
        }
        config = replace(config or self._train_config, **{k: v for k, v in given.items() if v is not None})
        n_cells = round(self.adata.n_obs * config.train_size)
        check_n_cells(n_cells, 2, f"training with train_size={config.train_size}")
        streams: list[Any] = [None, None] if rng is None else spawn(rng, 2)
        with nullcontext() if rng is None else torch_seeded(streams[0]):
            splitter = self._data_splitter_cls(
                self.adata_manager,
                train_size=config.train_size,
                validation_size=config.validation_size,
                batch_size=config.resolve_batch_size(n_cells),
                rng=streams[1],
            )
            plan = self._training_plan_cls(self.module, config=config)
            runner = self._train_runner_cls(
                self,
                training_plan=plan,
                data_splitter=splitter,
                max_epochs=config.resolve_max_epochs(n_cells),
                accelerator=accelerator,
                **({} if progress is None else {"progress": progress}),
            )
            runner()
