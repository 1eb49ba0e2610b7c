"""Training over epochs of minibatches."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

from sctandem._checks import check_n_cells, object_name
from sctandem._random import spawn, torch_seeded
from sctandem.data import CountLoader
from sctandem.model.base._checkpoint import part_of
from sctandem.model.base._domains import read_domains
from sctandem.model.base._train_method import Run, TrainMethodMixin
from sctandem.model.base._weights import read_weights
from sctandem.train import AdversarialTrainingPlan, CountDataSplitter, CountTrainingPlan, CountTrainRunner, TrainConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from torch import Tensor

    from sctandem.train._checkpoint import TrainingPart

    Once = Callable[..., Any]


class TrainMixin(TrainMethodMixin):
    """Train on sparse minibatches with fused Adam, large batches and a one-cycle learning rate.

    A model sets `_data_splitter_cls`, `_training_plan_cls` or `_train_runner_cls` to swap a part, as in scvi-tools.
    `_min_training_cells` is the number below which it learns nothing. Cells that teach nothing are left out where it has a method
    `_cells_to_learn`, which returns a mask.
    """

    _data_loader_cls = CountLoader
    _data_splitter_cls = CountDataSplitter
    _training_plan_cls = CountTrainingPlan
    _adversarial_plan_cls = AdversarialTrainingPlan
    _train_runner_cls = CountTrainRunner
    _min_training_cells: ClassVar[int] = 2

    #: Names of the cells by whose loss the best epoch was chosen; none without early stopping.
    chosen_on_: Sequence[str] = ()

    def _before_training(self, train_indices: np.ndarray, *, once: Once, progress: bool) -> dict[str, Any]:
        """Fit what is not fitted by minibatches, once the training cells are known; return options of the loaders.

        What takes long is done by `once(name, compute)`, so that a training that goes on finds it in its checkpoint.
        """
        return {}

    def _plan_of(self, config: TrainConfig) -> Any:
        """Choose the class of the plan by the settings."""
        return self._adversarial_plan_cls if config.is_adversarial else self._training_plan_cls

    def _training_cells(self, config: TrainConfig) -> tuple[np.ndarray | None, int, dict[str, Tensor]]:
        """Return the weights of the cells, or `None`, how many are trained on, and the covariate to hide; check all three."""
        entries = read_domains(self.adata, config)
        weights = read_weights(self.adata, config.sample_weight)
        n_obs = self.adata.n_obs if weights is None else int((weights > 0).sum())
        n_cells = round(n_obs * config.train_size)
        purpose = f"training with train_size={config.train_size}"
        check_n_cells(n_cells, self._min_training_cells, purpose, f"that part of {object_name(self.adata)}")
        return weights, n_cells, entries

    def _train(self, config: TrainConfig, run: Run) -> None:
        """Train in one part."""
        kept = self._open_checkpoint(
            run.checkpoint, config, accelerator=run.accelerator, devices=run.devices, rng=run.rng
        )
        finished = self._train_part(config, run if kept is None else run._replace(rng=kept.seed), part=part_of(kept))
        self._close_checkpoint(kept, finished=finished)

    def _train_part(self, config: TrainConfig, run: Run, *, part: TrainingPart) -> bool:
        """Train over epochs; return whether they came to their end."""
        weights, n_cells, entries = self._training_cells(config)
        streams: list[Any] = [None, None] if run.rng is None else spawn(run.rng, 2)
        with nullcontext() if run.rng is None else torch_seeded(streams[0]):
            splitter = self._data_splitter_cls(
                self.adata_manager,
                train_size=config.train_size,
                validation_size=config.validation_size,
                batch_size=config.resolve_batch_size(n_cells),
                weights=weights,
                weight_use=config.weight_use,
                rng=streams[1],
            )
            splitter.entries = entries
            plan = self._plan_of(config)(self.module, config=config)
            # other runners need not know these
            asked: dict[str, Any] = {} if run.progress is None else {"progress": run.progress}
            if part.checkpoint is not None:
                asked["part"] = part
            if run.devices > 1:
                asked["n_processes"] = run.devices
            runner = self._train_runner_cls(
                self,
                training_plan=plan,
                data_splitter=splitter,
                max_epochs=config.resolve_max_epochs(n_cells),
                accelerator=run.accelerator,
                **asked,
            )
            runner()
        chosen_on = self.adata.obs_names[self.validation_indices] if config.early_stopping else ()
        self.chosen_on_ = [str(name) for name in chosen_on]
        return getattr(runner, "is_finished", True)
