"""What a capsule module says of itself so that it can be trained against moved cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from scvi import REGISTRY_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from sctandem.module._capsule_config import CapsuleConfig

#: Key of the minibatches beside those of scvi-tools, in later parts of the training: the type capsule of each cell, negative
#: where it is not known.
CAPSULE_KEY = "capsule"


class CapsuleAttackMixin:
    """State, loss and divergence of moved cells; see :class:`~sctandem.train.AdversarialTrainingPlan`."""

    config: CapsuleConfig
    n_labels: int
    _teach: Callable[[dict[str, Tensor], dict[str, Tensor]], Tensor]

    def state_of(self, found: dict[str, Tensor]) -> Tensor:
        """Pick the pose from what `inference` gave.

        Parameters
        ----------
        found
            What `inference` gave.

        Returns
        -------
        Cells x dimensions.
        """
        return found["pose"]

    def domain_groups(self, tensors: dict[str, Tensor]) -> Tensor | None:
        """Give the labels that are learned, within which domains are compared.

        Parameters
        ----------
        tensors
            The batch.

        Returns
        -------
        Code of the label of each cell, (cells,), -1 where it is not shown; `None` in the first part of the training, where nothing is
        asked of poses.
        """
        if CAPSULE_KEY not in tensors:
            return None
        none = torch.full_like(tensors[CAPSULE_KEY].reshape(-1), -1)
        if not self.n_labels:
            return none
        code = tensors[REGISTRY_KEYS.LABELS_KEY].reshape(-1).long()
        return torch.where(code < self.n_labels, code, none)

    def attack_loss(self, tensors: dict[str, Tensor], found: dict[str, Tensor], unit: Tensor) -> Tensor | None:
        """Score what is asked of the capsules of moved cells.

        Parameters
        ----------
        tensors
            The batch.
        found
            What `inference` gave of moved cells.
        unit
            Reconstruction loss a cell, in which what is asked of capsules is weighed.

        Returns
        -------
        A mean over cells; `None` in the first part of the training, where nothing is asked.
        """
        return unit * self._teach(tensors, found) if CAPSULE_KEY in tensors else None

    def divergence(self, found: dict[str, Tensor], moved: dict[str, Tensor], unit: Tensor) -> Tensor:
        """Say how far moved cells are read otherwise.

        Parameters
        ----------
        found, moved
            What `inference` gave of the cells as they are, and moved.
        unit
            Reconstruction loss a cell.

        Returns
        -------
        Of the pose, its Kullback-Leibler divergence under the noise of the training, and of the lengths of types and labels,
        as probabilities, in units of the margin loss; a mean over cells.
        """
        shift = (found["pose"] - moved["pose"]).square().sum(-1) / (2 * self.config.pose_noise**2)
        lengths = [name for name in ("presence", "labels") if name in found]
        apart = sum(_bernoulli_kl(found[name], moved[name]).sum(-1) for name in lengths)
        return (shift + self.config.margin_weight * unit * apart).mean()


def _bernoulli_kl(p: Tensor, q: Tensor) -> Tensor:
    """Kullback-Leibler divergence of probabilities from others, of the same shape; finite at 0 and 1."""
    p, q = p.clamp(1e-4, 1 - 1e-4), q.clamp(1e-4, 1 - 1e-4)
    return p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
