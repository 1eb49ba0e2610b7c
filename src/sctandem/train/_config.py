"""The settings of a training run, and their defaults, in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from sctandem._checks import check_number, check_option, check_positive, check_type
from sctandem.data._weights import WeightUse
from sctandem.train._adversarial_config import AdversarialConfig
from sctandem.train._domain_config import DomainConfig

#: Batch size for which learning rates are stated.
REFERENCE_BATCH = 128


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of a training run.

    Parameters
    ----------
    max_epochs
        Passes through the training cells; `None` for as many as give 1,000 batches, between 10 and 60.
    batch_size
        Most cells in a minibatch; `None` for a sixteenth of the training cells, between 128 and 1,024.
    learning_rate
        Peak learning rate of Adam for a batch of 128 cells. It is scaled linearly with the batch size in use.
    schedule
        - `"one_cycle"`: the rate rises over the first part of the run and falls to nearly zero by its end [Smith19]_
        - `"constant"`: the rate stays where it is
    rise
        Part of a one-cycle run in which the rate rises.
    weight_decay
        L2 penalty of Adam.
    adam_eps
        Term added to the denominator of Adam.
    kl_warmup
        Part of the run over which the weight of the Kullback-Leibler term rises from 0 to 1.
    train_size
        Part of the cells to train on.
    validation_size
        Part of the cells to validate on; `None` for all the others.
    early_stopping
        Whether to stop when the validation loss no longer improves, and to return to the best epoch.
    patience
        Epochs without improvement after which to stop.
    validate_every
        Epochs between two validations; `None` for every one with early stopping, and else none.
    gradient_clip
        Largest norm of the gradient; `None` for no limit.
    sample_weight
        Column of `obs` with the weights of the cells, such as that of :func:`sctandem.pp.hierarchical_weights`; `None` for equal
        weights. Cells with a weight of 0 are left out.
    weight_use
        What weights do.

        - `"sampler"`: in every epoch as many cells as there are to train on are drawn in proportion to them
        - `"loss"`: every cell is seen once in an epoch, and its loss is multiplied by its weight
        - `"unbiased"`: cells are drawn in proportion to the weights, and their loss is divided by them: rare cells are seen
          often, and the expectation of loss and gradient is that without weights
    adversarial
        How cells are moved against the model in training; `None` for not at all.

        - `"fgsm"`: up the gradient of its loss, in one step
        - `"pgd"`: in several steps
        - `"vat"`: to where the model reads them most otherwise, whatever their labels
    adversary
        How far, and how much it counts.
    domain_adversarial
        Column of `obs`, such as the batch, that the states are to hide from the best discriminator; `None` for none.
    domain
        What the discriminator sees, among which cells it compares, and how much it counts.

    Raises
    ------
    ValueError
        For a value out of bounds.

    References
    ----------
    .. [Smith19] Smith & Topin, Super-convergence: very fast training of neural networks using large learning rates (2019).

    Examples
    --------
    >>> from sctandem.train import TrainConfig
    >>> TrainConfig(batch_size=512).scaled_learning_rate(512) == 4 * TrainConfig().learning_rate
    True
    """

    max_epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float = 2e-3
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    rise: float = 0.3
    weight_decay: float = 1e-6
    adam_eps: float = 0.01
    kl_warmup: float = 0.1
    train_size: float = 0.9
    validation_size: float | None = None
    early_stopping: bool = False
    patience: int = 10
    validate_every: int | None = None
    gradient_clip: float | None = None
    sample_weight: str | None = None
    weight_use: WeightUse = "sampler"
    adversarial: Literal["fgsm", "pgd", "vat"] | None = None
    adversary: AdversarialConfig = AdversarialConfig()
    domain_adversarial: str | None = None
    domain: DomainConfig = DomainConfig()

    def __post_init__(self) -> None:
        if self.max_epochs is not None:
            check_positive(self.max_epochs, "max_epochs", whole=True)
        if self.batch_size is not None:
            check_number(self.batch_size, "batch_size", low=2, whole=True)
        check_positive(self.learning_rate, "learning_rate")
        check_option(self.schedule, ("one_cycle", "constant"), "schedule")
        check_number(self.rise, "rise", high=1)
        check_number(self.weight_decay, "weight_decay")
        check_positive(self.adam_eps, "adam_eps")
        check_number(self.kl_warmup, "kl_warmup", high=1)
        check_type(self.early_stopping, bool, "early_stopping")
        check_positive(self.patience, "patience", whole=True)
        if self.validate_every is not None:
            check_positive(self.validate_every, "validate_every", whole=True)
        if self.gradient_clip is not None:
            check_positive(self.gradient_clip, "gradient_clip")
        check_option(self.weight_use, get_args(WeightUse), "weight_use")
        if self.adversarial is not None:
            check_option(self.adversarial, ("fgsm", "pgd", "vat"), "adversarial")
        check_type(self.adversary, AdversarialConfig, "adversary")
        if self.domain_adversarial is not None:
            check_type(self.domain_adversarial, str, "domain_adversarial")
        check_type(self.domain, DomainConfig, "domain")
        self._check_sizes()

    def _check_sizes(self) -> None:
        """Check the parts of the cells against each other."""
        check_positive(self.train_size, "train_size")
        check_number(self.train_size, "train_size", high=1)
        if self.validation_size is not None:
            check_number(self.validation_size, "validation_size", high=1)
            if self.train_size + self.validation_size > 1 + 1e-9:
                msg = f"train_size={self.train_size} and validation_size={self.validation_size} add up to more than 1."
                raise ValueError(msg)
        nothing_left = self.validation_size == 0 or (self.validation_size is None and self.train_size == 1)
        if nothing_left and (self.early_stopping or self.validate_every):
            msg = (
                f"train_size={self.train_size} and validation_size={self.validation_size} leave no cells to validate on, "
                "which early_stopping and validate_every need; lower train_size."
            )
            raise ValueError(msg)

    @property
    def is_adversarial(self) -> bool:
        """Whether the adversarial plan is needed."""
        return self.adversarial is not None

    @property
    def validation_interval(self) -> int:
        """Epochs between two validations, 0 for none."""
        return self.validate_every or int(self.early_stopping)

    def resolve_batch_size(self, n_cells: int) -> int:
        """Return the batch size for a number of training cells: large, but not at the price of too few steps.

        Parameters
        ----------
        n_cells
            Cells to train on.

        Returns
        -------
        The batch size that was set, or the one that fits.
        """
        return self.batch_size or int(min(1024, max(REFERENCE_BATCH, n_cells // 16)))

    def resolve_max_epochs(self, n_cells: int) -> int:
        """Return the number of epochs for a number of training cells.

        Parameters
        ----------
        n_cells
            Cells to train on.

        Returns
        -------
        The number that was set, or the one that fits.
        """
        n_batches = max(1, math.ceil(n_cells / self.resolve_batch_size(n_cells)))
        return self.max_epochs or min(60, max(10, math.ceil(1000 / n_batches)))

    def scaled_learning_rate(self, batch_size: int) -> float:
        """Return the peak learning rate for the batches in use.

        Parameters
        ----------
        batch_size
            Cells in a batch.

        Returns
        -------
        The rate.
        """
        return self.learning_rate * batch_size / REFERENCE_BATCH
