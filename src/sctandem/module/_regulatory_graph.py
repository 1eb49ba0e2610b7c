"""The network behind `model.RegulatoryGraph`: states of regulators, sites and genes, and weights of the pairs they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import nn

from sctandem._random import RNG, torch_seeded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

TF, SITE, GENE = "tf", "site", "gene"
#: Ways that messages go; those back are named with an underscore.
RELATIONS = {(TF, SITE): "binds", (SITE, GENE): "near", (TF, GENE): "regulates"}

Edge = tuple[str, str, str]


@dataclass(frozen=True, kw_only=True)
class GraphInputs:
    """What the network reads; all arrays float32 where not told otherwise.

    Parameters
    ----------
    nodes
        For each kind of node its features, nodes x features.
    edges
        For each two kinds of node: ends of the edges (2 x edges, int64) and their weights.
    pairs
        Regulator and gene of each candidate pair, 2 x pairs, int64.
    evidence
        Features of the pairs, pairs x features.
    shared
        What a factor passes on to all its genes, channels x factors x states.
    paths
        What the sites of a pair pass on, pairs x states; `None` without sites.
    expression
        What is to be predicted, states x genes.
    training
        Which states are learned from, bool.
    """

    nodes: dict[str, np.ndarray]
    edges: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]
    pairs: np.ndarray
    evidence: np.ndarray
    shared: np.ndarray
    paths: np.ndarray | None
    expression: np.ndarray
    training: np.ndarray

    @property
    def n_channels(self) -> int:
        """Number of signals of a pair: the shared ones, then that of its sites."""
        return len(self.shared) + (self.paths is not None)

    def passed(self, weights: np.ndarray, rows: slice) -> np.ndarray:
        """Return what some pairs contribute to the expression of their genes, pairs x states.

        Parameters
        ----------
        weights
            Of `GraphResult`, all pairs x channels.
        rows
            Which pairs.
        """
        tf = self.pairs[0][rows]
        total = sum(weights[rows, i : i + 1] * signal[tf] for i, signal in enumerate(self.shared))
        return total if self.paths is None else total + weights[rows, -1:] * self.paths[rows]


class GraphResult(NamedTuple):
    """What the network has learned."""

    weights: np.ndarray
    """Of each channel of each pair, pairs x channels, float32."""
    predicted: np.ndarray
    """Expression, states x genes, float32."""
    loss: np.ndarray
    """Mean squared error of each epoch in the training states."""


class RegulatoryGraphModule(nn.Module):
    """Graph network over regulators, sites and genes (torch-geometric), and a decoder of pairs.

    Parameters
    ----------
    n_features
        Features of each kind of node.
    relations
        Kinds of node that edges join.
    n_evidence, n_channels
        Features and signals of a pair.
    n_hidden
        Width of the node states.
    n_layers
        Rounds of messages; 0 leaves the graph out.
    """

    def __init__(
        self,
        n_features: dict[str, int],
        relations: Iterable[tuple[str, str]],
        *,
        n_evidence: int,
        n_channels: int,
        n_hidden: int = 32,
        n_layers: int = 2,
    ) -> None:
        super().__init__()
        self.start = nn.ModuleDict({kind: nn.Linear(n, n_hidden) for kind, n in n_features.items()})
        both = [edge for ends in relations for edge in _both_ways(ends)]
        self.layers = nn.ModuleList([_messages(both, n_hidden) for _ in range(n_layers)])
        n_pair = 3 * n_hidden + n_evidence
        self.decoder = nn.Sequential(nn.Linear(n_pair, n_hidden), nn.ELU(), nn.Linear(n_hidden, n_channels))

    def forward(
        self,
        nodes: dict[str, Tensor],
        edges: dict[Edge, tuple[Tensor, Tensor]],
        pairs: Tensor,
        evidence: Tensor,
    ) -> Tensor:
        """Return a weight for each channel of each pair, pairs x channels."""
        state = {kind: torch.tanh(self.start[kind](values)) for kind, values in nodes.items()}
        index = {edge: ends for edge, (ends, _) in edges.items()}
        weight = {edge: values for edge, (_, values) in edges.items()}
        for layer in self.layers:
            told = layer(state, index, edge_weight_dict=weight)
            state = {k: v + torch.tanh(told[k]) if k in told else v for k, v in state.items()}
        tf, gene = state[TF][pairs[0]], state[GENE][pairs[1]]
        return self.decoder(torch.cat([tf, gene, tf * gene, evidence], dim=1))


def _messages(edges: list[Edge], n_hidden: int) -> nn.Module:
    """One round of messages along all edges, each kind with weights of its own."""
    from torch_geometric.nn import GraphConv, HeteroConv

    return HeteroConv({edge: GraphConv(n_hidden, n_hidden, aggr="mean") for edge in edges}, aggr="sum")


def _both_ways(ends: tuple[str, str]) -> list[Edge]:
    name = RELATIONS[ends]
    return [(ends[0], name, ends[1]), (ends[1], f"{name}_", ends[0])]


def fit_graph(
    inputs: GraphInputs,
    *,
    n_hidden: int = 32,
    n_layers: int = 2,
    n_epochs: int = 150,
    learning_rate: float = 3e-3,
    weight_decay: float = 1e-4,
    rng: RNG = None,
) -> GraphResult:
    """Learn the weights of all pairs from the training states.

    Parameters
    ----------
    inputs
        Nodes, edges, pairs and what they are to predict.
    n_hidden, n_layers
        Width of the network and rounds of messages (0 for none).
    n_epochs, learning_rate, weight_decay
        Of Adam on all training states at once.
    rng
        Seed of the first weights.

    Returns
    -------
    Weights and predictions.
    """
    nodes = {kind: torch.as_tensor(values) for kind, values in inputs.nodes.items()}
    edges: dict[Edge, tuple[Tensor, Tensor]] = {}
    for ends, (index, weight) in inputs.edges.items():
        there, back = _both_ways(ends)
        ahead = torch.as_tensor(np.ascontiguousarray(index))
        edges[there], edges[back] = (ahead, torch.as_tensor(weight)), (ahead.flip(0), torch.as_tensor(weight))
    pairs, evidence = torch.as_tensor(np.ascontiguousarray(inputs.pairs)), torch.as_tensor(inputs.evidence)
    chosen = torch.as_tensor(np.flatnonzero(inputs.training))
    shared, paths = torch.as_tensor(inputs.shared), None if inputs.paths is None else torch.as_tensor(inputs.paths)
    seen = shared[:, :, chosen], None if paths is None else paths[:, chosen]
    wanted = torch.as_tensor(inputs.expression.T.copy())[:, chosen]
    n_genes, n_tfs = inputs.expression.shape[1], shared.shape[1]
    share = torch.bincount(pairs[1], minlength=n_genes).clamp(min=1).sqrt()[:, None]

    def predict(weights: Tensor, common: Tensor, own: Tensor | None) -> Tensor:
        told = weights.new_zeros(n_genes, common.shape[2])
        for channel, signal in enumerate(common):  # a product of matrices in place of a sum over pairs
            matrix = weights.new_zeros(n_genes, n_tfs).index_put((pairs[1], pairs[0]), weights[:, channel])
            told = told + matrix @ signal
        if own is not None:
            told = told.index_add(0, pairs[1], weights[:, -1:] * own)
        return told / share

    with torch_seeded(rng):
        network = RegulatoryGraphModule(
            {kind: values.shape[1] for kind, values in nodes.items()},
            inputs.edges,
            n_evidence=evidence.shape[1],
            n_channels=inputs.n_channels,
            n_hidden=n_hidden,
            n_layers=n_layers,
        )
    steps = torch.optim.Adam(network.parameters(), lr=learning_rate, weight_decay=weight_decay)
    losses = []
    for _ in range(n_epochs):
        loss = (predict(network(nodes, edges, pairs, evidence), *seen) - wanted).square().mean()
        steps.zero_grad()
        loss.backward()
        steps.step()
        losses.append(float(loss.detach()))
    with torch.no_grad():
        weights = network(nodes, edges, pairs, evidence)
        predicted = predict(weights, shared, paths)
        weights = weights / share[pairs[1]]
    return GraphResult(weights.numpy(), predicted.T.numpy().copy(), np.array(losses))
