"""Train the network of `model.RegulatoryGraph` on all pairs and states at once, and read what it has learned."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from sctandem._progress import wants_progress
from sctandem.module._regulatory_graph import Edge, GraphInputs, GraphResult, RegulatoryGraphModule, both_ways
from sctandem.train._checkpoint import TrainingPart
from sctandem.train._loop_state import loop_state, take_up_loop, taken_losses

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

LEARNING_RATE, WEIGHT_DECAY = 3e-3, 1e-4


class _Tensors:
    """The inputs on a device, and the expression that weights of the pairs predict."""

    def __init__(self, inputs: GraphInputs, device: torch.device) -> None:
        def move(values: np.ndarray) -> Tensor:
            return torch.as_tensor(np.ascontiguousarray(values), device=device)

        self.nodes = {kind: move(values) for kind, values in inputs.nodes.items()}
        self.edges: dict[Edge, tuple[Tensor, Tensor]] = {}
        for ends, (index, weight) in inputs.edges.items():
            there, back = both_ways(ends)
            ahead, strength = move(index), move(weight)
            self.edges[there], self.edges[back] = (ahead, strength), (ahead.flip(0), strength)
        self.pairs, self.evidence = move(inputs.pairs), move(inputs.evidence)
        self.shared, self.paths = move(inputs.shared), None if inputs.paths is None else move(inputs.paths)
        self.expression = move(inputs.expression.T)
        n_genes = len(self.expression)
        self.share = torch.bincount(self.pairs[1], minlength=n_genes).clamp(min=1).sqrt()[:, None]

    def weights(self, module: RegulatoryGraphModule) -> Tensor:
        """Return the weight of each channel of each pair."""
        return module(self.nodes, self.edges, self.pairs, self.evidence)

    def predict(self, weights: Tensor, states: Tensor) -> Tensor:
        """Return the expression of genes in some states, genes x states."""
        n_genes, n_tfs = len(self.expression), self.shared.shape[1]
        told = weights.new_zeros(n_genes, len(states))
        for channel, signal in enumerate(self.shared):  # a product of matrices in place of a sum over pairs
            matrix = weights.new_zeros(n_genes, n_tfs).index_put((self.pairs[1], self.pairs[0]), weights[:, channel])
            told = told + matrix @ signal[:, states]
        if self.paths is not None:
            told = told.index_add(0, self.pairs[1], weights[:, -1:] * self.paths[:, states])
        return told / self.share


def fit_graph(
    module: RegulatoryGraphModule,
    inputs: GraphInputs,
    *,
    n_epochs: int,
    weights: np.ndarray | None = None,
    progress: bool | None = None,
    part: TrainingPart | None = None,
) -> list[float]:
    """Learn the weights of all pairs from the training states.

    Parameters
    ----------
    module
        The network, on its device.
    inputs
        Nodes, edges, pairs and what they are to predict.
    n_epochs
        Steps of Adam on all training states at once.
    weights
        Of the states, 0 or more; `None` for equal ones.
    progress
        Whether to show a bar; `None` for in a terminal or notebook.
    part
        Where it is kept how far the training is, and from where it goes on; `None` for nowhere.

    Returns
    -------
    Mean squared error of each epoch. After an interruption these are fewer, and the module is as far as it came.

    Raises
    ------
    FloatingPointError
        When the loss is no longer finite.
    """
    tensors = _Tensors(inputs, next(module.parameters()).device)
    chosen = torch.as_tensor(np.flatnonzero(inputs.training), device=tensors.pairs.device)
    wanted = tensors.expression[:, chosen]
    share = (
        torch.ones(len(chosen)) if weights is None else torch.as_tensor(weights[inputs.training], dtype=torch.float32)
    )
    share = (share / share.mean()).to(wanted.device)
    steps = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    losses: list[float] = []
    part = part or TrainingPart()
    if (state := part.state) is not None:
        with part.reading():
            take_up_loop(state, module, steps)
            losses = taken_losses(state, 1)
    module.train()
    try:
        left, shown = range(len(losses), n_epochs), wants_progress(progress)
        with part.alone(), tqdm(left, desc="Training", unit="epoch", initial=len(losses), disable=not shown) as bar:
            for epoch in bar:
                loss = module.loss(tensors.predict(tensors.weights(module), chosen), wanted, share)
                steps.zero_grad()
                loss.backward()
                steps.step()
                losses.append(float(loss.detach()))
                if not math.isfinite(losses[-1]):
                    msg = f"the loss became {losses[-1]} in epoch {epoch + 1}; are there values of extreme size?"
                    raise FloatingPointError(msg)
                bar.set_postfix(loss=f"{losses[-1]:.3f}")
                if not part.keep(
                    lambda: {"losses": losses, **loop_state(module, steps)}, when=f"after epoch {epoch + 1}"
                ):
                    break
    except KeyboardInterrupt:
        if not losses:
            raise
        logger.warning(
            "Training was interrupted after %d of %d epochs; the model is as it was then.", len(losses), n_epochs
        )
    finally:
        module.eval()
    return losses


@torch.no_grad()
def read_graph(module: RegulatoryGraphModule, inputs: GraphInputs) -> GraphResult:
    """Return the weights of the pairs, and the expression that they predict.

    Parameters
    ----------
    module
        The network.
    inputs
        As in training.

    Returns
    -------
    Both, for all states.
    """
    tensors = _Tensors(inputs, next(module.parameters()).device)
    weights = tensors.weights(module)
    everywhere = torch.arange(len(inputs.expression), device=weights.device)
    predicted = tensors.predict(weights, everywhere)
    weights = weights / tensors.share[tensors.pairs[1]]
    return GraphResult(weights.cpu().numpy(), predicted.T.cpu().numpy().copy())
