"""A network that reads shares of RNA off the profile of a bulk sample, learned on mixtures that are simulated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from scvi.module.base import BaseModuleClass
from torch import nn

from sctandem._check_arguments import check_positive
from sctandem.module._mixtures import MixtureConfig, simulate_mixtures

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import ArrayLike
    from torch import Tensor


@dataclass(frozen=True)
class RSDConfig:
    """Architecture of the network and the mixtures it learns from.

    Attributes
    ----------
    n_hidden
        Units of the first hidden layer; the second has half as many.
    dropout
        Part of the hidden units that are left out in training.
    mixtures
        What is simulated.
    """

    n_hidden: int = 256
    dropout: float = 0.1
    mixtures: MixtureConfig = MixtureConfig()

    def __post_init__(self) -> None:
        """Check the values."""
        check_positive(self.n_hidden, "n_hidden", whole=True)


class RSDModule(BaseModuleClass):
    """Profiles of types, and a network from logs of shares to shares of RNA.

    Parameters
    ----------
    shares
        Expected share of each gene in the molecules of a type, types x genes.
    molecules
        Molecules that the shares rest on, types x genes.
    spread
        Standard deviation of log expression between donors, types x genes.
    clarity
        How clearly a type has more of a gene than every other, types x genes.
    genes
        Positions of the genes that the network reads.
    config
        Settings.
    """

    shares: Tensor
    molecules: Tensor
    spread: Tensor
    clarity: Tensor
    genes: Tensor

    def __init__(
        self,
        shares: ArrayLike,
        molecules: ArrayLike,
        spread: ArrayLike,
        clarity: ArrayLike,
        *,
        genes: ArrayLike,
        config: RSDConfig | None = None,
    ) -> None:
        super().__init__()
        self.config = config or RSDConfig()
        for name, values in (("shares", shares), ("molecules", molecules), ("spread", spread), ("clarity", clarity)):
            self.register_buffer(name, torch.as_tensor(values, dtype=torch.float64).clone())
        self.register_buffer("genes", torch.as_tensor(genes, dtype=torch.int64).clone())
        self.network = self._new_network()

    def _new_network(self) -> nn.Sequential:
        n_types, units = len(self.shares), self.config.n_hidden
        return nn.Sequential(
            nn.Linear(2 * len(self.genes), units),
            nn.LayerNorm(units),
            nn.ReLU(),
            nn.Dropout(self.config.dropout),
            nn.Linear(units, units // 2),
            nn.ReLU(),
            nn.Linear(units // 2, n_types + 1),
        )

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:  # noqa: FBT001, FBT002 - torch's
        """Take over a saved state: the genes are those of its reference, which need not be the one at hand."""
        if len(state_dict["genes"]) != len(self.genes):
            self.genes = torch.zeros_like(state_dict["genes"], device=self.genes.device)
            with torch.random.fork_rng(devices=[]):  # weights that are replaced at once
                self.network = self._new_network().train(self.training)
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    @torch.no_grad()
    def set_profiles(self, molecules: ArrayLike, shares: ArrayLike, spread: ArrayLike, clarity: ArrayLike) -> None:
        """Replace the profiles of the types; the genes that the network reads stay.

        Parameters
        ----------
        molecules, shares, spread, clarity
            As when the module is made.
        """
        given = {"molecules": molecules, "shares": shares, "spread": spread, "clarity": clarity}
        for name, values in given.items():
            buffer = getattr(self, name)
            buffer.copy_(torch.as_tensor(values, dtype=buffer.dtype))

    def read(self, logs: Tensor, measured: Tensor) -> Tensor:
        """Read shares of RNA off profiles.

        Parameters
        ----------
        logs
            Natural log of shares, samples x genes of the network.
        measured
            Whether a gene is measured, 1 or 0; (genes,) or samples x genes.

        Returns
        -------
        Log of the shares of RNA, samples x (types + 1); the last is unknown.
        """
        level = self.shares[:, self.genes].mean(0).log().to(logs.dtype)
        measured = torch.as_tensor(measured, dtype=logs.dtype, device=logs.device).expand_as(logs)
        ratio = torch.where(measured > 0, logs - level, torch.zeros_like(logs))
        middle = ratio.sum(1, keepdim=True) / measured.sum(1, keepdim=True).clamp(min=1)
        centred = (ratio - middle).clamp(-6, 6) * measured
        return torch.log_softmax(self.network(torch.cat([centred, measured], dim=1)), dim=1)

    def _get_inference_input(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Pick what `inference` needs."""
        return {"n_mixtures": tensors["n_mixtures"]}

    def _get_generative_input(
        self, tensors: dict[str, Tensor], inference_outputs: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Pick what `generative` needs."""
        return {"logs": inference_outputs["logs"], "measured": inference_outputs["measured"]}

    def inference(self, n_mixtures: int) -> dict[str, Tensor]:
        """Simulate mixtures; see :class:`~sctandem.module.MixtureConfig`."""
        return simulate_mixtures(
            self.shares[:, self.genes], self.spread[:, self.genes], n_mixtures, self.config.mixtures
        )

    def generative(self, logs: Tensor, measured: Tensor) -> dict[str, Tensor]:
        """Read their shares."""
        return {"log_rna": self.read(logs, measured)}

    def loss(self, n_mixtures: int) -> Tensor:
        """Return the cross-entropy of true shares and those read, on mixtures that are simulated anew."""
        mixtures = self.inference(n_mixtures)
        return -(mixtures["rna"] * self.read(mixtures["logs"], mixtures["measured"])).sum(1).mean()
