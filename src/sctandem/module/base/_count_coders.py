"""Encoder and decoder of counts, and their architecture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

from sctandem._checks import check_number, check_option, check_positive
from sctandem.nn import SparseLinear, map_values

if TYPE_CHECKING:
    from torch import Tensor

_MIN_VARIANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class CountVAEConfig:
    """Architecture of a :class:`CountVAE`; the defaults are those of scVI.

    Parameters
    ----------
    n_hidden
        Width of the hidden layers.
    n_latent
        Dimensions of the latent space.
    n_layers
        Hidden layers of encoder and of decoder.
    dropout
        Part of the hidden units of the encoder that is dropped in training.
    likelihood
        `"nb"` or `"zinb"`.

    Raises
    ------
    ValueError
        For a value out of bounds.

    Examples
    --------
    >>> from sctandem.module.base import CountVAEConfig
    >>> CountVAEConfig(n_latent=20).n_hidden
    128
    """

    n_hidden: int = 128
    n_latent: int = 10
    n_layers: int = 1
    dropout: float = 0.1
    likelihood: Literal["nb", "zinb"] = "nb"

    def __post_init__(self) -> None:
        for name in ("n_hidden", "n_latent", "n_layers"):
            check_positive(getattr(self, name), name, whole=True)
        check_number(self.dropout, "dropout", high=1)
        check_option(self.likelihood, ("nb", "zinb"), "likelihood")


def _hidden(n_in: int, n_out: int, dropout: float) -> nn.Sequential:
    """Return linear, batch normalisation, ReLU and dropout."""
    return nn.Sequential(nn.Linear(n_in, n_out), *_activation(n_out, dropout))


def _activation(n_out: int, dropout: float) -> list[nn.Module]:
    """Return what follows a linear layer, as in scVI."""
    layers: list[nn.Module] = [nn.BatchNorm1d(n_out, momentum=0.1, eps=0.001), nn.ReLU()]
    return [*layers, nn.Dropout(dropout)] if dropout else layers


class CountEncoder(nn.Module):
    """From sparse counts to the mean and variance of the latent state.

    Parameters
    ----------
    n_input
        Number of features.
    config
        The architecture.
    """

    def __init__(self, n_input: int, config: CountVAEConfig) -> None:
        super().__init__()
        self.first = SparseLinear(n_input, config.n_hidden)
        rest = _activation(config.n_hidden, config.dropout)
        for _ in range(config.n_layers - 1):
            rest.append(_hidden(config.n_hidden, config.n_hidden, config.dropout))
        self.rest = nn.Sequential(*rest)
        self.mean = nn.Linear(config.n_hidden, config.n_latent)
        self.log_variance = nn.Linear(config.n_hidden, config.n_latent)

    def forward(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Encode.

        Parameters
        ----------
        counts
            Cells x features, CSR or dense; log1p is taken here.

        Returns
        -------
        Mean and variance, cells x latent dimensions each.
        """
        hidden = self.rest(self.first(map_values(counts, torch.log1p)))
        return self.mean(hidden), self.log_variance(hidden).exp() + _MIN_VARIANCE


class CountDecoder(nn.Module):
    """From the latent state to the last hidden layer, and from there to the logits of the share of each gene.

    Parameters
    ----------
    n_output
        Number of genes.
    n_batch
        Number of batches, whose offset enters the first hidden layer.
    config
        The architecture.
    """

    def __init__(self, n_output: int, n_batch: int, config: CountVAEConfig) -> None:
        super().__init__()
        self.first = nn.Linear(config.n_latent, config.n_hidden)
        self.batch = nn.Embedding(n_batch, config.n_hidden) if n_batch > 1 else None
        rest = _activation(config.n_hidden, 0)
        for _ in range(config.n_layers - 1):
            rest.append(_hidden(config.n_hidden, config.n_hidden, 0))
        self.rest = nn.Sequential(*rest)
        self.logits = nn.Linear(config.n_hidden, n_output)
        self.dropout_logits = nn.Linear(config.n_hidden, n_output) if config.likelihood == "zinb" else None

    def forward(self, z: Tensor, batch_index: Tensor | None = None) -> Tensor:
        """Decode up to the last hidden layer, of which `logits` makes the logits.

        Parameters
        ----------
        z
            Latent state, cells x dimensions.
        batch_index
            Batch of each cell, (cells,) or (cells, 1).

        Returns
        -------
        Cells x hidden units.
        """
        hidden = self.first(z)
        if self.batch is not None and batch_index is not None:
            hidden = hidden + self.batch(batch_index.reshape(-1))
        return self.rest(hidden)
