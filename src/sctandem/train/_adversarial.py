"""Training on cells that are moved against the model."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
from scvi import REGISTRY_KEYS

from sctandem.nn._perturbation import count_ball, perturb
from sctandem.train._plan import CountTrainingPlan
from sctandem.train._terms import with_term

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scvi.module.base import BaseModuleClass, LossOutput
    from torch import Tensor

    from sctandem.nn._perturbation import CountBall
    from sctandem.train._adversarial_config import AdversarialConfig
    from sctandem.train._config import TrainConfig

#: Length of the random step from which `"vat"` takes its gradient, in half widths of the box: at the cell itself it is zero.
_NUDGE = 0.1


class Attackable(Protocol):
    """What a module says of itself so that it can be trained adversarially; each is in the units of its loss."""

    @abstractmethod
    def attack_loss(self, tensors: dict[str, Tensor], found: dict[str, Any], unit: Tensor) -> Tensor | None:
        """Score what was read off moved cells against what the minibatch holds; `None` where nothing is asked yet."""

    @abstractmethod
    def divergence(self, found: dict[str, Any], moved: dict[str, Any], unit: Tensor) -> Tensor:
        """Say how far moved cells are read otherwise, a mean over cells."""


class AdversarialTrainingPlan(CountTrainingPlan):
    """Train a module on the cells and on the cells moved against it.

    Parameters
    ----------
    module
        With the methods of :class:`Attackable`.
    config
        Settings; `adversarial` says how cells are moved, `adversary` all else.

    Raises
    ------
    ValueError
        When the module has none of these methods.

    Notes
    -----
    Cells are moved against the module as it stands for cells it is not trained on (no dropout, running means of batch
    normalisation), and these means are learned on unmoved cells only. Validation is on unmoved cells. The loss of the cells as
    they are is kept apart in the history from `adversarial`, which is added to it.

    References
    ----------
    Miyato et al., Virtual adversarial training: a regularization method for supervised and semi-supervised learning,
    IEEE TPAMI 41 (2019); Madry et al., Towards deep learning models resistant to adversarial attacks, ICLR (2018).
    """

    def __init__(self, module: BaseModuleClass, *, config: TrainConfig | None = None) -> None:
        super().__init__(module, config=config)
        if not hasattr(module, "attack_loss"):
            msg = (
                f"adversarial={self.config.adversarial!r} needs a network that reads counts of cells by gradient, and "
                f"{type(module).__name__} has none; leave it out."
            )
            raise ValueError(msg)

    def compute_loss(self, batch: dict[str, Tensor]) -> LossOutput:
        """Return the loss of a batch, in training with that of moved cells.

        Parameters
        ----------
        batch
            From registry key to tensor, on the device of the module.

        Returns
        -------
        The loss and its parts; its `reconstruction_loss` and `kl_local` are those of the unmoved cells.
        """
        clean = super().compute_loss(batch)
        if not self.module.training:
            return clean
        unit = clean.reconstruction_loss_sum.detach() / clean.n_obs_minibatch
        moved = self._loss_of_moved(batch, unit)
        if moved is None:
            return clean
        return with_term(clean, "adversarial", self.config.adversary.weight * moved)

    def _loss_of_moved(self, batch: dict[str, Tensor], unit: Tensor) -> Tensor | None:
        """Move the cells and read them again."""
        module, config = self.module, self.config.adversary
        counts = batch[REGISTRY_KEYS.X_KEY]
        with _as_for_new_cells(module):
            ball, read = ball_of(batch, config), partial(inferred, module, batch)
            if self.config.adversarial == "vat":
                with torch.no_grad():
                    fixed = read(counts)
                half = _NUDGE * (ball.high - ball.low) / 2
                near = ball._replace(low=ball.logs - half, high=ball.logs + half)
                start = near.clamp(near.low + 2 * half * torch.rand_like(half)).detach().requires_grad_()
                uphill = module.divergence(fixed, read(ball.counts(start)), unit)
                gradient = torch.autograd.grad(uphill, start)[0]
                moved = ball.counts(torch.where(gradient > 0, ball.high, ball.low))
                return module.divergence(fixed, read(moved), unit)
            with torch.no_grad():
                asked = module.attack_loss(batch, read(counts), unit) is not None
            if not asked:
                return None
            moved = perturb(
                ball,
                lambda cells: module.attack_loss(batch, read(cells), unit),
                n_steps=config.n_steps if self.config.adversarial == "pgd" else 1,
            )
            return module.attack_loss(batch, read(moved), unit)


def ball_of(batch: dict[str, Tensor], config: AdversarialConfig) -> CountBall:
    """Lay out what the cells of a minibatch may be moved to, as an adversary has it."""
    return count_ball(
        batch[REGISTRY_KEYS.X_KEY],
        config.radius,
        max_sd=config.max_sd,
        unexpressed=config.unexpressed,
        depth=batch.get(REGISTRY_KEYS.SIZE_FACTOR_KEY),
    )


def inferred(module: BaseModuleClass, batch: dict[str, Tensor], counts: Tensor) -> dict[str, Any]:
    """Give what `inference` of a module says of other counts of the cells of a minibatch."""
    return module.inference(**module._get_inference_input({**batch, REGISTRY_KEYS.X_KEY: counts}))


@contextmanager
def _as_for_new_cells(module: BaseModuleClass) -> Iterator[None]:
    """Turn dropout and the learning of means off for a while."""
    module.eval()
    try:
        yield
    finally:
        module.train()
