"""The network behind `model.RegulatoryGraph`: states of regulators, sites and genes, and weights of the pairs they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from scvi.module.base import BaseModuleClass
from torch import nn

from sctandem._check_arguments import check_number, check_positive

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    import numpy as np
    from torch import Tensor

TF, SITE, GENE = "tf", "site", "gene"
#: Ways that messages go; those back are named with an underscore.
RELATIONS = {(TF, SITE): "binds", (SITE, GENE): "near", (TF, GENE): "regulates"}

Edge = tuple[str, str, str]


@dataclass(frozen=True, kw_only=True)
class RegulatoryGraphConfig:
    """Architecture of the network.

    Attributes
    ----------
    n_hidden
        Width of the states of the nodes.
    n_layers
        Rounds of messages between nodes; 0 leaves the graph out, so that a pair knows only its own evidence.
    """

    n_hidden: int = 32
    n_layers: int = 2

    def __post_init__(self) -> None:
        """Check the values."""
        check_positive(self.n_hidden, "n_hidden", whole=True)
        check_number(self.n_layers, "n_layers", low=0, whole=True)


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


class RegulatoryGraphModule(BaseModuleClass):
    """Graph network over regulators, sites and genes (torch-geometric), and a decoder of pairs.

    Parameters
    ----------
    n_features
        Features of each kind of node.
    relations
        Kinds of node that edges join.
    n_evidence, n_channels
        Features and signals of a pair.
    config
        Settings; `None` for the defaults.

    Raises
    ------
    ImportError
        When torch-geometric is missing and the configuration has layers.
    """

    def __init__(
        self,
        n_features: dict[str, int],
        relations: Iterable[tuple[str, str]],
        *,
        n_evidence: int,
        n_channels: int,
        config: RegulatoryGraphConfig | None = None,
    ) -> None:
        super().__init__()
        self.config = config or RegulatoryGraphConfig()
        n_hidden = self.config.n_hidden
        self.start = nn.ModuleDict({kind: nn.Linear(n, n_hidden) for kind, n in n_features.items()})
        both = [edge for ends in relations for edge in both_ways(ends)]
        self.layers = nn.ModuleList([_messages(both, n_hidden) for _ in range(self.config.n_layers)])
        n_pair = 3 * n_hidden + n_evidence
        self.decoder = nn.Sequential(nn.Linear(n_pair, n_hidden), nn.ELU(), nn.Linear(n_hidden, n_channels))

    def on_load(self, model: Any, **_: Any) -> None:
        """Have the model compare what it was trained on with what it was loaded with."""
        model.check_same_evidence()

    def _get_inference_input(self, tensors: dict[str, Any]) -> dict[str, Any]:
        """Pick what `inference` needs."""
        return {"nodes": tensors["nodes"], "edges": tensors["edges"]}

    def _get_generative_input(self, tensors: dict[str, Any], inference_outputs: dict[str, Any]) -> dict[str, Any]:
        """Pick what `generative` needs."""
        return {"state": inference_outputs["state"], "pairs": tensors["pairs"], "evidence": tensors["evidence"]}

    def inference(
        self, nodes: dict[str, Tensor], edges: dict[Edge, tuple[Tensor, Tensor]]
    ) -> dict[str, dict[str, Tensor]]:
        """Let messages go between the nodes."""
        state = {kind: torch.tanh(self.start[kind](values)) for kind, values in nodes.items()}
        index = {edge: ends for edge, (ends, _) in edges.items()}
        weight = {edge: values for edge, (_, values) in edges.items()}
        for layer in self.layers:
            told = layer(state, index, edge_weight_dict=weight)
            state = {k: v + torch.tanh(told[k]) if k in told else v for k, v in state.items()}
        return {"state": state}

    def generative(self, state: dict[str, Tensor], pairs: Tensor, evidence: Tensor) -> dict[str, Tensor]:
        """Return a weight for each channel of each pair, pairs x channels."""
        tf, gene = state[TF][pairs[0]], state[GENE][pairs[1]]
        return {"weights": self.decoder(torch.cat([tf, gene, tf * gene, evidence], dim=1))}

    def forward(  # type: ignore[override] # a graph is no minibatch
        self,
        nodes: dict[str, Tensor],
        edges: dict[Edge, tuple[Tensor, Tensor]],
        pairs: Tensor,
        evidence: Tensor,
    ) -> Tensor:
        """Return a weight for each channel of each pair, pairs x channels."""
        return self.generative(**self.inference(nodes, edges), pairs=pairs, evidence=evidence)["weights"]

    def loss(self, predicted: Tensor, measured: Tensor, weights: Tensor) -> Tensor:
        """Return the mean squared error of the expression, genes x states, each state by its weight."""
        return ((predicted - measured).square() * weights).mean()


def _messages(edges: list[Edge], n_hidden: int) -> nn.Module:
    """One round of messages along all edges, each kind with weights of its own."""
    try:
        from torch_geometric.nn import GraphConv, HeteroConv
    except ImportError as error:
        msg = "the graph network needs torch-geometric: pip install torch-geometric, or config=RegulatoryGraphConfig(n_layers=0)."
        raise ImportError(msg) from error
    return HeteroConv({edge: GraphConv(n_hidden, n_hidden, aggr="mean") for edge in edges}, aggr="sum")


def both_ways(ends: tuple[str, str]) -> list[Edge]:
    """Name the edges between two kinds of node, there and back."""
    name = RELATIONS[ends]
    return [(ends[0], name, ends[1]), (ends[1], f"{name}_", ends[0])]
