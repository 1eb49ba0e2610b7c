"""Networks of an adversarially trained generator of cells: what it adds to a count model, and the critic it learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from sctandem._check_arguments import check_number, check_positive

if TYPE_CHECKING:
    from torch import Tensor

    from sctandem.module.base import CountVAE

#: Counts of a cell at which the critic reads its expression.
_TARGET = 1e4


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """Settings of :func:`sctandem.tl.simulate`.

    Parameters
    ----------
    n_latent, max_epochs
        Dimensions of the state of the count model, and its epochs; `None` for as many as fit the number of cells.
    n_noise
        Directions in which cells of one state vary beyond what the count model says.
    n_steps
        Steps of the generator against the critic; 0 leaves the count model as it is.
    critic_start, critic_steps
        Steps of the critic before the first of them, and before each other.
    critic_hidden
        Units of its hidden layers.
    learning_rate, critic_learning_rate
        Of the two.
    penalty
        Weight of the gradient penalty of the critic.
    batch_size
        Cells a step.

    Raises
    ------
    ValueError
        For a value out of bounds.

    Examples
    --------
    >>> from sctandem.module import GeneratorConfig
    >>> GeneratorConfig(n_steps=100).critic_steps
    2
    """

    n_latent: int = 20
    max_epochs: int | None = None
    n_noise: int = 8
    n_steps: int = 60
    critic_start: int = 50
    critic_steps: int = 2
    critic_hidden: int = 128
    learning_rate: float = 2e-4
    critic_learning_rate: float = 5e-4
    penalty: float = 10.0
    batch_size: int = 128

    def __post_init__(self) -> None:
        for name in ("n_latent", "critic_start", "critic_steps", "critic_hidden", "batch_size", "n_noise"):
            check_positive(getattr(self, name), name, whole=True)
        check_number(self.n_steps, "n_steps", whole=True)
        if self.max_epochs is not None:
            check_positive(self.max_epochs, "max_epochs", whole=True)
        for name in ("learning_rate", "critic_learning_rate", "penalty"):
            check_positive(getattr(self, name), name)


class CellGenerator(nn.Module):
    r"""Cells from states: the decoder of a count model, and what parts its cells from real ones.

    Counts are :math:`NB(\ell \rho, \theta_{g t})` with
    :math:`\rho = \mathrm{softmax}(f(z) + b_t + L e)`, where :math:`f` is the decoder, :math:`t` the type and
    :math:`e \sim N(0, I)`. At the start :math:`b` is 0, :math:`L` next to 0, and :math:`\theta` that of the model.

    Parameters
    ----------
    vae
        Trained.
    n_types
        Number of types.
    config
        Settings.
    """

    def __init__(self, vae: CountVAE, n_types: int, config: GeneratorConfig) -> None:
        super().__init__()
        self.vae = vae
        self.offset = nn.Parameter(torch.zeros(n_types, vae.n_genes))
        self.loadings = nn.Parameter(0.01 * torch.randn(config.n_noise, vae.n_genes))
        self.log_theta = nn.Parameter(vae.log_theta.detach().repeat(n_types, 1))

    def expected(self, z: Tensor, depth: Tensor, types: Tensor, batch_index: Tensor | None) -> Tensor:
        """Give the expected counts, with noise, cells x genes."""
        hidden = self.vae.generative(z, depth.log(), batch_index)["hidden"]
        logits = self.vae.decoder.logits(hidden) + self.offset[types]
        logits = logits + torch.randn(len(z), len(self.loadings), device=z.device) @ self.loadings
        return torch.softmax(logits, dim=-1) * depth[:, None]

    def forward(self, z: Tensor, depth: Tensor, types: Tensor, batch_index: Tensor | None = None) -> Tensor:
        """Draw cells.

        Parameters
        ----------
        z
            States, cells x dimensions.
        depth
            Expected counts of each cell, (cells,).
        types
            Type of each cell, (cells,).
        batch_index
            Batch of each cell, cells x 1.

        Returns
        -------
        Whole counts, cells x genes. Gradients flow through the gamma and, as if the draw of molecules did not part counts from
        their rate, through the Poisson variable.
        """
        mean = self.expected(z, depth, types, batch_index).clamp_min(1e-8)
        theta = self.log_theta[types].exp().clamp(1e-3, 1e4)
        rate = torch.distributions.Gamma(theta, theta / mean, validate_args=False).rsample()
        return rate + (torch.poisson(rate.detach()) - rate).detach()


class CellCritic(nn.Module):
    """Tells real cells of a type from others.

    Parameters
    ----------
    n_genes, n_types, n_hidden
        Sizes.
    """

    def __init__(self, n_genes: int, n_types: int, n_hidden: int) -> None:
        super().__init__()
        self.types = nn.Embedding(n_types, n_hidden)
        self.genes = nn.Linear(n_genes + 1, n_hidden)
        self.rest = nn.Sequential(
            nn.LeakyReLU(0.2), nn.Linear(n_hidden, n_hidden), nn.LeakyReLU(0.2), nn.Linear(n_hidden, 1)
        )

    @staticmethod
    def features(counts: Tensor) -> Tensor:
        """Lay out what the critic reads: log1p of counts per 10,000, and the log of the depth."""
        total = counts.sum(1, keepdim=True).clamp_min(1)
        return torch.cat([torch.log1p(counts * (_TARGET / total)), total.log()], dim=1)

    def forward(self, features: Tensor, types: Tensor) -> Tensor:
        """Score cells, (cells,): the higher, the more real."""
        return self.rest(self.genes(features) + self.types(types))[:, 0]

    def loss(self, real: Tensor, made: Tensor, types: Tensor, penalty: float) -> Tensor:
        """Wasserstein loss with gradient penalty, of features of real and of made cells of the same types.

        Parameters
        ----------
        real, made
            Cells x features.
        types
            (cells,).
        penalty
            Weight of the penalty.

        Returns
        -------
        The loss.

        References
        ----------
        Gulrajani et al., Improved training of Wasserstein GANs, NeurIPS (2017).
        """
        part = torch.rand(len(real), 1, device=real.device)
        between = (part * real + (1 - part) * made).requires_grad_()
        slope = torch.autograd.grad(self(between, types).sum(), between, create_graph=True)[0]
        steep = (slope.norm(dim=1) - 1).square().mean()
        return self(made, types).mean() - self(real, types).mean() + penalty * steep
