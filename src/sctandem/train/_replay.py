"""Learn on without forgetting: which old cells are seen again, and how firmly old weights are held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sctandem.train._plan import CountTrainingPlan

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from scvi.module.base import BaseModuleClass, LossOutput
    from torch import Tensor

    from sctandem.train._config import TrainConfig

#: Cells of a minibatch whose gradient is squared: few, so that the square of the mean is near the mean of the squares.
FISHER_BATCH = 16


def balanced_reservoir(group: NDArray[np.integer], n_cells: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Choose cells to keep, from each group as many as from any other, as far as it has so many.

    Parameters
    ----------
    group
        Group of each cell, integers from 0.
    n_cells
        How many to keep at most.
    rng
        Draws them.

    Returns
    -------
    Positions, ascending; all where there are no more than `n_cells`. A group that is smaller than its share is kept whole, and the others
    share what it leaves.

    Examples
    --------
    >>> import numpy as np
    >>> from sctandem.train._replay import balanced_reservoir
    >>> group = np.repeat([0, 1, 2], [90, 90, 4])
    >>> np.bincount(group[balanced_reservoir(group, 24, np.random.default_rng(0))])
    array([10, 10,  4])
    """
    if len(group) <= n_cells:
        return np.arange(len(group))
    order = rng.permutation(len(group))
    groups = [order[group[order] == name] for name in np.unique(group)]
    kept: list[np.ndarray] = []
    left = n_cells
    for number, members in enumerate(sorted(groups, key=len)):
        take = min(len(members), left // (len(groups) - number))
        kept.append(members[:take])
        left -= take
    return np.sort(np.concatenate(kept))


def fisher_information(
    plan: CountTrainingPlan, batches: Iterable[dict[str, Tensor]]
) -> dict[int, tuple[torch.nn.Parameter, Tensor, Tensor]]:
    """Estimate how much each weight matters for the loss of a cell: the diagonal of the Fisher information.

    Parameters
    ----------
    plan
        Gives the loss.
    batches
        Small minibatches of old cells.

    Returns
    -------
    For each parameter that is trained itself, its present values and its information a cell, by identity.
    """
    module = plan.module
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    squares = [torch.zeros_like(parameter) for parameter in trained]
    was_training = module.training
    module.eval()
    n_cells = 0
    for batch in batches:
        output = plan.compute_loss(batch)
        gradients = torch.autograd.grad(output.loss, trained, allow_unused=True)
        for square, gradient in zip(squares, gradients, strict=True):
            if gradient is not None:
                square.add_(gradient.square() * output.n_obs_minibatch**2)
        n_cells += output.n_obs_minibatch
    module.train(was_training)
    return {
        id(parameter): (parameter, parameter.detach().clone(), square / max(1, n_cells))
        for parameter, square in zip(trained, squares, strict=True)
    }


class ElasticTrainingPlan(CountTrainingPlan):
    r"""Train with springs: the loss grows by :math:`\frac{s}{2} \sum_i F_i (\theta_i - \theta^0_i)^2`.

    Parameters
    ----------
    module
        A scvi-tools module.
    config
        Settings of the run.
    springs
        For each parameter itself, the values that it is held at and its information; see `fisher_information`.
    strength
        The factor `s`; 1 counts as much as as many old cells as there are cells in the training.

    References
    ----------
    Kirkpatrick et al., Overcoming catastrophic forgetting in neural networks, PNAS 114 (2017).
    """

    def __init__(
        self,
        module: BaseModuleClass,
        *,
        config: TrainConfig | None = None,
        springs: Sequence[tuple[torch.nn.Parameter, Tensor, Tensor]] = (),
        strength: float = 1.0,
    ) -> None:
        super().__init__(module, config=config)
        self.springs, self.strength = list(springs), strength

    def make_optimizer(self, n_steps: int, batch_size: int) -> tuple[torch.optim.Optimizer, Any]:
        """Make the optimizer, and bring the springs to where their parameters now are; see :meth:`CountTrainingPlan.make_optimizer`."""
        self.springs = [
            (parameter, at.to(parameter.device), weight.to(parameter.device)) for parameter, at, weight in self.springs
        ]
        return super().make_optimizer(n_steps, batch_size)

    def penalty(self) -> Tensor:
        """Sum the springs, without their strength."""
        parts = [(weight * (parameter - at).square()).sum() for parameter, at, weight in self.springs]
        return 0.5 * torch.stack(parts).sum() if parts else torch.zeros((), device=self.module.device)

    def objective(self, output: LossOutput) -> Tensor:
        """Return the loss of a batch and of the springs."""
        return output.loss + self.strength * self.penalty()
