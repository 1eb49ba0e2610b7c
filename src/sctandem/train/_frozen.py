"""Train some entries of some parameters; all others stay, to the last bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from sctandem.train._plan import CountTrainingPlan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scvi.module.base import BaseModuleClass, LossOutput
    from torch import Tensor

    from sctandem.train._config import TrainConfig


class FrozenTrainingPlan(CountTrainingPlan):
    """Train pieces of a module, which is otherwise as in use: no dropout, and its normalisation does not follow the cells.

    Parameters
    ----------
    module
        A scvi-tools module.
    config
        Settings of the run.
    pieces
        What is trained: parameters, each with a mask of the entries or `None` for all.

    Raises
    ------
    ValueError
        When there is nothing to train.

    Notes
    -----
    Entries outside of the masks are put back after every step: neither momentum nor weight decay moves them.
    """

    def __init__(
        self,
        module: BaseModuleClass,
        *,
        config: TrainConfig | None = None,
        pieces: Sequence[tuple[torch.nn.Parameter, Tensor | None]] = (),
    ) -> None:
        super().__init__(module, config=config)
        self.pieces = [(parameter, entries) for parameter, entries in pieces if entries is None or entries.any()]
        if not self.pieces:
            msg = (
                "there is nothing to train in this query: what `load_query_data(trained=...)` named has no weights here, as new batches have "
                "none where all are known. The model can be used as it is."
            )
            raise ValueError(msg)
        self._kept: list[tuple[torch.nn.Parameter, Tensor, Tensor]] = []

    def make_optimizer(self, n_steps: int, batch_size: int) -> tuple[torch.optim.Optimizer, Any]:
        """Make the optimizer of the pieces; see :meth:`CountTrainingPlan.make_optimizer`."""
        chosen = {id(parameter) for parameter, _ in self.pieces}
        for parameter in self.module.parameters():
            parameter.requires_grad = id(parameter) in chosen
        self._kept = [
            (parameter, ~entries.to(parameter.device), parameter.detach().clone())
            for parameter, entries in self.pieces
            if entries is not None
        ]
        return super().make_optimizer(n_steps, batch_size)

    def compute_loss(self, batch: dict[str, Tensor]) -> LossOutput:
        """Return the loss of a batch, with the module as it is in use."""
        self.module.eval()
        return super().compute_loss(batch)

    def step(self, batch: dict[str, Tensor]) -> LossOutput:
        """Take one step on a batch, and put back what is not to be trained."""
        output = super().step(batch)
        with torch.no_grad():
            for parameter, frozen, before in self._kept:
                parameter[frozen] = before[frozen]
        return output
