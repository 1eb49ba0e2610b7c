"""Train a network on mixtures that are simulated as it goes."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Protocol

import torch
from tqdm.auto import tqdm

from sctandem._progress import wants_progress
from sctandem._random import torch_seeded
from sctandem.train._checkpoint import TrainingPart
from sctandem.train._loop_state import loop_state, take_up_loop, taken_losses

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    import numpy as np
    from torch import Tensor, nn

#: Batches an epoch.
N_BATCHES = 25
LEARNING_RATE = 2e-3


class LearnsFromMixtures(Protocol):
    """A module that simulates what it learns from."""

    @abstractmethod
    def parameters(self) -> Iterator[nn.Parameter]:
        """Give what is learned."""

    @abstractmethod
    def loss(self, n_mixtures: int) -> Tensor:
        """Score mixtures that are simulated anew."""

    @abstractmethod
    def train(self) -> Any:
        """Turn training on."""

    @abstractmethod
    def eval(self) -> Any:
        """Turn training off."""


def train_on_mixtures(
    module: LearnsFromMixtures,
    n_epochs: int,
    *,
    batch_size: int,
    rng: np.random.Generator,
    progress: bool | None,
    part: TrainingPart | None = None,
) -> list[float]:
    """Train.

    Parameters
    ----------
    module
        Its `loss(n)` simulates and scores n mixtures.
    n_epochs
        Epochs of 25 batches, in which the learning rate rises and falls once.
    batch_size
        Mixtures a batch.
    rng
        Seeds the mixtures.
    progress
        Whether to show a bar; `None` for a terminal or a notebook only.
    part
        Where it is kept how far the training is, and from where it goes on; `None` for nowhere.

    Returns
    -------
    Mean loss of each epoch. After an interruption these are fewer, and the module is as far as it came.
    """
    optimizer = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=n_epochs * N_BATCHES)
    shown = wants_progress(progress)
    losses: list[float] = []
    part = part or TrainingPart()
    module.train()
    try:
        with part.alone(), torch_seeded(rng):
            if (state := part.state) is not None:
                with part.reading():
                    take_up_loop(state, module, optimizer, schedule)
                    losses = taken_losses(state, N_BATCHES)
            left = range(len(losses), n_epochs)
            with tqdm(left, desc="Training", unit="epoch", initial=len(losses), disable=not shown) as bar:
                for _ in bar:
                    total = 0.0
                    for _ in range(N_BATCHES):
                        loss = module.loss(batch_size)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
                        schedule.step()
                        total += float(loss.detach())
                    losses.append(total / N_BATCHES)
                    bar.set_postfix(loss=f"{losses[-1]:.3f}")
                    if not part.keep(
                        lambda: {"losses": losses, **loop_state(module, optimizer, schedule)},
                        when=f"after epoch {len(losses)}",
                    ):
                        break
    except KeyboardInterrupt:
        if not losses:
            raise
    finally:
        module.eval()
    return losses
