"""The `train` of every model."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from sctandem._checks import check_n_cells, check_type
from sctandem._random import spawn, torch_seeded
from sctandem.data import CountLoader
from sctandem.model.base._checkpoint import CheckpointMixin, part_of
from sctandem.model.base._devices import check_devices
from sctandem.model.base._domains import read_domains
from sctandem.model.base._weights import read_weights
from sctandem.train import AdversarialTrainingPlan, CountDataSplitter, CountTrainingPlan, CountTrainRunner, TrainConfig

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence
    from typing import Literal

    import numpy as np
    from torch import Tensor

    from sctandem._random import RNG
    from sctandem.train._checkpoint import TrainingPart

    Once = Callable[..., Any]


class TrainMixin(CheckpointMixin):
    """Train on sparse minibatches with fused Adam, large batches and a one-cycle learning rate.

    A model sets `_train_config` for defaults of its own, and `_data_splitter_cls`, `_training_plan_cls` or
    `_train_runner_cls` to swap a part, as in scvi-tools. `_min_training_cells` is the number below which it learns nothing.
    A model with defaults of its own states them in its Notes. Cells that teach nothing are left out where it has a method
    `_cells_to_learn`, which returns a mask.
    """

    _data_loader_cls = CountLoader
    _data_splitter_cls = CountDataSplitter
    _training_plan_cls = CountTrainingPlan
    _adversarial_plan_cls = AdversarialTrainingPlan
    _train_runner_cls = CountTrainRunner
    _train_config: ClassVar[TrainConfig] = TrainConfig()
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
        check_n_cells(n_cells, self._min_training_cells, f"training with train_size={config.train_size}")
        return weights, n_cells, entries

    def train(  # noqa: PLR0913 - the modes of the training beside the settings of a run
        self,
        max_epochs: int | None = None,
        *,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        train_size: float | None = None,
        early_stopping: bool | None = None,
        sample_weight: str | None = None,
        adversarial: Literal["fgsm", "pgd", "vat"] | None = None,
        domain_adversarial: str | None = None,
        accelerator: str = "auto",
        devices: int = 1,
        rng: RNG = None,
        progress: bool | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        config: TrainConfig | None = None,
    ) -> None:
        """Train the model.

        Parameters
        ----------
        max_epochs
            Passes through the training cells. This and the other arguments that default to `None` replace the field of
            `config` of the same name; by default that of the model's :class:`~sctandem.train.TrainConfig`, stated in the
            Notes of the model where it has defaults of its own. What is fitted before the first epoch is not governed by
            it: with :class:`~sctandem.model.TAPE` that is most of the time, which
            ``config=TAPEConfig(windows=WindowConfig(n_steps=...))`` shortens when the model is made (from
            `sctandem.module` and `sctandem.nn`).
        batch_size
            Most cells in a minibatch.
        learning_rate
            Peak learning rate of Adam for a batch of 128 cells, scaled linearly with the batch in use.
        train_size
            Part of the cells to train on, the others being kept for validation.
        early_stopping
            Whether to stop when the validation loss no longer improves, and to return to the best epoch, which is then
            chosen on the validation cells.
        sample_weight
            Column of `obs` with the weights of the cells, such as that of :func:`sctandem.pp.hierarchical_weights`. What they do says
            `weight_use` of `config`; what is fitted before the first epoch, and validation, do not know them unless the model says so.
        adversarial
            Also train on cells that are moved against the model, within the ball that
            ``config=TrainConfig(adversary=AdversarialConfig(...))`` states: `"fgsm"`, `"pgd"` or `"vat"`, as in
            :class:`~sctandem.train.TrainConfig`.
        domain_adversarial
            Column of `obs`, such as the batch, that the states of cells are to hide, within groups of like cells, from the best
            discriminator; its settings are those of ``config=TrainConfig(domain=DomainConfig(...))``.
        accelerator
            `"auto"`, `"cpu"`, `"gpu"`, ... as in scvi-tools.
        devices
            Processes that train together, on as many GPUs or on the processor. `batch_size` stays that of all together, and each
            takes its share of every batch. They are started anew, from a script or a notebook alike; the trained model is this one.
        rng
            Seed of all that is random in the training: the split, the order of the cells, dropout, noise. The same seed
            gives the same model on the same machine. `None` takes what `scvi.settings.seed` set.
        progress
            Whether to show a progress bar; `None` for in a terminal or notebook.
        checkpoint
            A file that holds how far the training is, written after epochs and deleted at the end. Where it exists, the
            training goes on from it, to the result that it would have had without the interruption: make the same model of the
            same data and call `train` with the same arguments. `None` keeps nothing.
        config
            All settings; `None` for the defaults of this model.

        Returns
        -------
        None. The model is then trained: `history` holds the losses by epoch, `train_indices` and `validation_indices` the
        cells, `chosen_on_` the names of those that chose the best epoch.

        Raises
        ------
        KeyError
            When there is no column `sample_weight` or `domain_adversarial`.
        ValueError
            For a setting out of bounds, weights that are none, a covariate that is missing in cells or has one value, a model without
            the network that `adversarial` or `domain_adversarial` needs, too few cells to train on, more `devices` than there are, or a checkpoint of another
            training: it says what differs.
        RuntimeError
            When one of several processes fails.
        OSError
            When the checkpoint cannot be written; the model is then trained as far as it came.
        TypeError
            When `config` is not a :class:`~sctandem.train.TrainConfig`.
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
            "sample_weight": sample_weight,
            "adversarial": adversarial,
            "domain_adversarial": domain_adversarial,
        }
        if config is not None:
            check_type(config, TrainConfig, "config", hint="An architecture is given when the model is made.")
        config = replace(config or self._train_config, **{k: v for k, v in given.items() if v is not None})
        check_devices(self, devices, config, accelerator=accelerator)
        kept = self._open_checkpoint(checkpoint, config, accelerator=accelerator, devices=devices, rng=rng)
        run: dict[str, Any] = {"accelerator": accelerator, "devices": devices, "progress": progress}
        finished = self._train_part(config, rng=rng if kept is None else kept.seed, part=part_of(kept), **run)
        self._close_checkpoint(kept, finished=finished)

    def _train_part(
        self,
        config: TrainConfig,
        *,
        accelerator: str,
        devices: int,
        rng: RNG,
        progress: bool | None,
        part: TrainingPart,
    ) -> bool:
        """Train over epochs; return whether they came to their end."""
        weights, n_cells, entries = self._training_cells(config)
        streams: list[Any] = [None, None] if rng is None else spawn(rng, 2)
        with nullcontext() if rng is None else torch_seeded(streams[0]):
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
            asked: dict[str, Any] = {} if progress is None else {"progress": progress}
            if part.checkpoint is not None:
                asked["part"] = part
            if devices > 1:
                asked["n_processes"] = devices
            runner = self._train_runner_cls(
                self,
                training_plan=plan,
                data_splitter=splitter,
                max_epochs=config.resolve_max_epochs(n_cells),
                accelerator=accelerator,
                **asked,
            )
            runner()
        chosen_on = self.adata.obs_names[self.validation_indices] if config.early_stopping else ()
        self.chosen_on_ = [str(name) for name in chosen_on]
        return getattr(runner, "is_finished", True)
