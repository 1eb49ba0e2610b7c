"""One training step: the loss of scvi-tools modules, fused Adam and the learning-rate cycle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from scvi.train import TrainingPlan
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR

from sctandem.train._config import TrainConfig
from sctandem.train._crew import Objective
from sctandem.train._domain import DomainAdversary
from sctandem.train._loop_state import loop_state, take_up_loop

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scvi.module.base import BaseModuleClass, LossOutput
    from torch import Tensor

_NOT_BEGUN = "call `begin` before the first step"


def kl_weight(progress: float, warmup: float) -> float:
    """Return the weight of the Kullback-Leibler term.

    Parameters
    ----------
    progress
        Part of the run that is done, 0 to 1.
    warmup
        Part of the run over which the weight rises from 0 to 1.

    Returns
    -------
    The weight.

    Examples
    --------
    >>> from sctandem.train import kl_weight
    >>> kl_weight(0.05, 0.1), kl_weight(0.5, 0.1), kl_weight(0.0, 0.0)
    (0.5, 1.0, 1.0)
    """
    return min(1.0, progress / warmup) if warmup else 1.0


class CountTrainingPlan(TrainingPlan):
    """Train a module with fused Adam on a one-cycle schedule.

    :class:`~sctandem.train.CountTrainRunner` calls `begin`, `step` and `evaluate`; under the stock
    :class:`scvi.train.TrainRunner` it is an ordinary Lightning module.

    Parameters
    ----------
    module
        A scvi-tools module; its `loss` gets `kl_weight` when it has that argument.
    config
        Settings of the run.

    Notes
    -----
    A plan that trains otherwise (adversarially, say) overrides `step`, `compute_loss` or `objective`.
    """

    def __init__(self, module: BaseModuleClass, *, config: TrainConfig | None = None) -> None:
        self.config = config or TrainConfig()
        self._step, self._n_steps = 0, 0
        super().__init__(module)
        hides = self.config.domain_adversarial is not None
        self.domain_adversary = DomainAdversary(module, self.config) if hides else None
        self._optimizer: torch.optim.Optimizer | None = None
        self._scheduler: Any = None
        self._fabric: Any = None
        self._whole: Any = None
        #: Factor of the loss of a batch: where several processes share it, for its share of the cells.
        self.share = 1.0
        self.last_output: LossOutput | None = None

    @property
    def kl_weight(self) -> float:
        """Weight of the Kullback-Leibler term at this step."""
        step = self.global_step if self._trainer is not None else self._step
        return kl_weight(step / max(1, self._n_steps), self.config.kl_warmup)

    def make_optimizer(self, n_steps: int, batch_size: int) -> tuple[torch.optim.Optimizer, Any]:
        """Make the optimizer and the scheduler, which is stepped after every batch.

        Parameters
        ----------
        n_steps
            Batches in the whole run.
        batch_size
            Cells in a batch, for the scale of the learning rate.

        Returns
        -------
        Both.
        """
        config = self.config
        self._n_steps = n_steps
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        fused = bool(parameters) and all(p.device.type in {"cpu", "cuda"} and p.is_floating_point() for p in parameters)
        rate = config.scaled_learning_rate(batch_size)
        optimizer = torch.optim.Adam(
            parameters, lr=rate, eps=config.adam_eps, weight_decay=config.weight_decay, fused=fused
        )
        if config.schedule == "constant" or n_steps < 3:
            return optimizer, LambdaLR(optimizer, lambda _: 1.0)
        scheduler = OneCycleLR(
            optimizer, max_lr=rate, total_steps=n_steps + 1, pct_start=config.rise, cycle_momentum=False
        )
        return optimizer, scheduler

    def configure_optimizers(self) -> dict[str, Any]:
        """Return optimizer and scheduler to Lightning, under the stock runner."""
        n_steps = int(self.trainer.estimated_stepping_batches)
        optimizer, scheduler = self.make_optimizer(n_steps, self.config.resolve_batch_size(self.n_obs_training or 0))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def begin(self, n_steps: int, batch_size: int) -> None:
        """Get ready for a run.

        Parameters
        ----------
        n_steps
            Batches in the whole run.
        batch_size
            Cells in a batch.
        """
        self._step = 0
        self._optimizer, self._scheduler = self.make_optimizer(n_steps, batch_size)

    def attach(self, fabric: Any) -> None:
        """Let gradients be averaged over the processes of Lightning Fabric, after `begin`.

        Parameters
        ----------
        fabric
            A launched :class:`lightning.fabric.Fabric`.
        """
        self._fabric, self._whole = fabric, fabric.setup_module(Objective(self))

    def _descend(self, batch: dict[str, Tensor]) -> LossOutput:
        """Compute loss and gradients of a batch."""
        if self._fabric is None:
            output = self.compute_loss(batch)
            self.objective(output).backward()
            return output
        self._fabric.backward(self._whole(batch))
        if self.last_output is None:
            raise RuntimeError(_NOT_BEGUN)
        return self.last_output

    def run_state(self) -> dict[str, Any]:
        """Return how far the run is: weights, optimizer, schedule, steps and torch's random streams.

        Returns
        -------
        Dictionaries of tensors, numbers and text.
        """
        if self._optimizer is None:
            raise RuntimeError(_NOT_BEGUN)
        state = {"step": self._step, **loop_state(self.module, self._optimizer, self._scheduler)}
        return state if self.domain_adversary is None else {**state, "domain": self.domain_adversary.run_state()}

    def take_up(self, state: Mapping[str, Any]) -> None:
        """Go on where a run was, after `begin`.

        Parameters
        ----------
        state
            From `run_state`.
        """
        if self._optimizer is None:
            raise RuntimeError(_NOT_BEGUN)
        self._step = int(state["step"])
        take_up_loop(state, self.module, self._optimizer, self._scheduler)
        if self.domain_adversary is not None:
            self.domain_adversary.take_up(state["domain"])

    def compute_loss(self, batch: dict[str, Tensor]) -> LossOutput:
        """Return the loss of a batch.

        Parameters
        ----------
        batch
            From registry key to tensor, on the device of the module.

        Returns
        -------
        What the module's `loss` gives.
        """
        if "kl_weight" in self.loss_kwargs:
            self.loss_kwargs["kl_weight"] = self.kl_weight
        found, _, output = self.module(batch, loss_kwargs=self.loss_kwargs)
        if self.domain_adversary is None or not self.module.training:
            return output
        progress = self._step / max(1, self._n_steps)
        return self.domain_adversary.add_to(output, batch, found, progress=progress, n_cells=self.n_obs_training or 0)

    def objective(self, output: LossOutput) -> Tensor:
        """Return what a step descends: the loss, to which a plan may add what is not of the cells.

        Parameters
        ----------
        output
            The loss of a batch.

        Returns
        -------
        One number, with gradient.
        """
        return output.loss

    def step(self, batch: dict[str, Tensor]) -> LossOutput:
        """Take one step of the optimizer on a batch.

        Parameters
        ----------
        batch
            From registry key to tensor, on the device of the module.

        Returns
        -------
        The loss before the step.
        """
        if self._optimizer is None:
            raise RuntimeError(_NOT_BEGUN)
        # first, so that the old gradients are gone when most memory is in use
        self._optimizer.zero_grad(set_to_none=True)
        output = self._descend(batch)
        if self.config.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.config.gradient_clip)
        self._optimizer.step()
        self._scheduler.step()
        self._step += 1
        return output

    @torch.no_grad()
    def evaluate(self, batch: dict[str, Tensor]) -> LossOutput:
        """Return the loss of a batch without learning from it.

        Parameters
        ----------
        batch
            From registry key to tensor, on the device of the module.

        Returns
        -------
        What the module's `loss` gives.
        """
        return self.compute_loss(batch)
