"""The arguments of the `train` of every model, written once, and what a model refuses of them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from sctandem._checks import check_type
from sctandem._compat import torch_device
from sctandem.model.base._checkpoint import CheckpointMixin
from sctandem.model.base._devices import check_devices
from sctandem.train import TrainConfig

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from typing import Literal

    from sctandem._random import RNG

#: Settings that belong together, for models that have none of them.
OPTIMISER = ("learning_rate", "schedule", "rise", "weight_decay", "adam_eps", "kl_warmup", "gradient_clip")
VALIDATION = ("train_size", "validation_size", "early_stopping", "patience", "validate_every")
ADVERSARIAL = ("adversarial", "adversary")
DOMAIN = ("domain_adversarial", "domain")


class Run(NamedTuple):
    """What a training is besides its settings."""

    accelerator: str
    devices: int
    rng: RNG
    progress: bool | None
    checkpoint: str | os.PathLike[str] | None


class TrainMethodMixin(CheckpointMixin):
    """The method `train`. A model has a method `_train` that does it, and sets `_train_config` for defaults of its own.

    What it has no use for it names in `_refused`, from the argument, or field of `TrainConfig`, to the reason. A model with
    defaults of its own states them in its Notes.
    """

    _train_config: ClassVar[TrainConfig] = TrainConfig()
    _refused: ClassVar[Mapping[str, str]] = {}

    def _train(self, config: TrainConfig, run: Run) -> None:
        """Train with settings that were checked."""
        msg = f"{type(self).__name__} has no training."
        raise NotImplementedError(msg)

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
            For an argument that does not go with the model, which says why; a setting out of bounds, weights that are none, a covariate that is missing
            in cells or has one value, too few cells to train on, an `accelerator` that is not there, more `devices` than there are, or a checkpoint
            of another training: it says what differs.
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
        self._check_refused(
            {**given, "accelerator": None if str(accelerator) in {"auto", "cpu"} else accelerator}, config
        )
        config = replace(config or self._train_config, **{k: v for k, v in given.items() if v is not None})
        torch_device(accelerator, "auto")  # one that is not there is said before anything is done
        check_devices(self, devices, config, accelerator=accelerator)
        self._train(config, Run(accelerator, devices, rng, progress, checkpoint))

    def _check_refused(self, given: dict[str, Any], config: TrainConfig | None) -> None:
        """Refuse what the model has no use for, as an argument or in the settings, and say why."""
        asked = {} if config is None else {name: getattr(config, name) for name in _changed(config)}
        asked |= {name: value for name, value in given.items() if value is not None and value is not False}
        for name, reason in self._refused.items():
            if name in asked:
                msg = f"{name}={asked[name]!r} does not go with {type(self).__name__}: {reason}. Leave it out."
                raise ValueError(msg)


def _changed(config: TrainConfig) -> list[str]:
    """Name the settings that are not those of a plain training."""
    plain = TrainConfig()
    return [field.name for field in fields(config) if getattr(config, field.name) != getattr(plain, field.name)]
