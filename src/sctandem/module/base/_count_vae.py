"""A variational autoencoder of counts, on the sparse path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from scvi import REGISTRY_KEYS
from scvi.module.base import BaseModuleClass, LossOutput, auto_move_data
from torch import nn
from torch.distributions import Normal

from sctandem._checks import check_number, check_option, check_positive
from sctandem.nn import SparseLinear, map_values, nb_linear_log_likelihood, row_sums, zinb_log_likelihood

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
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


class CountVAE(BaseModuleClass):
    r"""Variational autoencoder of counts with a negative binomial likelihood.

    The generative model is that of scVI [Lopez18]_: :math:`z \sim N(0, I)`, shares :math:`\rho = \mathrm{softmax}(f(z, s))`
    with the batch :math:`s`, and counts :math:`x_g \sim NB(\ell \rho_g, \theta_g)` with the observed library size
    :math:`\ell`.

    Parameters
    ----------
    n_genes
        Number of genes.
    n_batch
        Number of batches.
    config
        The architecture.
    shares
        Share of each gene in all counts, where the logits of the decoder start; `None` for a random start.

    Notes
    -----
    The counts stay sparse from the loader to the likelihood. Minibatches hold `X` (CSR or dense) and, optionally,
    `batch` and `size_factor` (cells x 1; replaces the total counts as the library size).

    References
    ----------
    .. [Lopez18] Lopez et al., Deep generative modeling for single-cell transcriptomics, Nature Methods 15 (2018).
    """

    def __init__(
        self, n_genes: int, *, n_batch: int = 1, config: CountVAEConfig | None = None, shares: ArrayLike | None = None
    ) -> None:
        super().__init__()
        self.config = config or CountVAEConfig()
        self.n_genes, self.n_batch = n_genes, n_batch
        self.encoder = CountEncoder(n_genes, self.config)
        self.decoder = CountDecoder(n_genes, n_batch, self.config)
        self.log_theta = nn.Parameter(torch.zeros(n_genes))
        if shares is not None:
            with torch.no_grad():
                self.decoder.logits.bias.copy_(torch.as_tensor(np.log(shares), dtype=torch.float32))

    def _get_inference_input(self, tensors: dict[str, Tensor], **_: Any) -> dict[str, Tensor | None]:
        """Pick what `inference` needs from a batch."""
        return {"x": tensors[REGISTRY_KEYS.X_KEY], "size_factor": tensors.get(REGISTRY_KEYS.SIZE_FACTOR_KEY)}

    def _get_generative_input(
        self, tensors: dict[str, Tensor], inference_outputs: dict[str, Any], **_: Any
    ) -> dict[str, Tensor | None]:
        """Pick what `generative` needs from a batch and from the encoder."""
        return {
            "z": inference_outputs["z"],
            "log_library": inference_outputs["library"],
            "batch_index": tensors.get(REGISTRY_KEYS.BATCH_KEY),
        }

    @auto_move_data
    def inference(self, x: Tensor, size_factor: Tensor | None = None, n_samples: int = 1) -> dict[str, Any]:
        """Encode cells.

        Parameters
        ----------
        x
            Counts, cells x genes, CSR or dense.
        size_factor
            Library sizes, cells x 1; `None` for the total counts.
        n_samples
            Draws of the latent state; more than one adds a first dimension to `z`.

        Returns
        -------
        `qz` (normal distribution of the latent state), `z` (a draw) and `library` (log library size, cells).
        """
        mean, variance = self.encoder(x)
        qz = Normal(mean, variance.sqrt(), validate_args=False)
        total = row_sums(x) if size_factor is None else size_factor.reshape(-1)
        z = qz.rsample() if n_samples == 1 else qz.rsample((n_samples,))
        return {"qz": qz, "z": z, "library": total.log()}

    @auto_move_data
    def generative(self, z: Tensor, log_library: Tensor, batch_index: Tensor | None = None) -> dict[str, Tensor]:
        """Decode cells.

        Parameters
        ----------
        z
            Latent state, cells x dimensions.
        log_library
            Log library size, (cells,).
        batch_index
            Batch of each cell, cells x 1.

        Returns
        -------
        `hidden` (last hidden layer, cells x units) and `log_library`.
        """
        return {"hidden": self.decoder(z, batch_index), "log_library": log_library}

    def log_likelihood(self, counts: Tensor, generative_outputs: dict[str, Tensor]) -> Tensor:
        """Return the log-likelihood of each cell.

        Parameters
        ----------
        counts
            Cells x genes, CSR or dense.
        generative_outputs
            What `generative` gave.

        Returns
        -------
        In nats, (cells,).
        """
        hidden, library = generative_outputs["hidden"], generative_outputs["log_library"]
        layer = self.decoder.logits
        if self.decoder.dropout_logits is None:
            return nb_linear_log_likelihood(
                counts, hidden, self.log_theta, weight=layer.weight, bias=layer.bias, log_library=library
            )
        return zinb_log_likelihood(
            counts,
            layer(hidden),
            self.log_theta,
            dropout_logits=self.decoder.dropout_logits(hidden),
            log_library=library,
        )

    def shares(self, generative_outputs: dict[str, Tensor]) -> Tensor:
        """Return the expected share of each gene in the cell's counts.

        Parameters
        ----------
        generative_outputs
            What `generative` gave.

        Returns
        -------
        Cells x genes; every row adds up to 1.
        """
        return torch.softmax(self.decoder.logits(generative_outputs["hidden"]), dim=-1)

    def loss(
        self,
        tensors: dict[str, Tensor],
        inference_outputs: dict[str, Any],
        generative_outputs: dict[str, Tensor],
        *,
        kl_weight: float = 1.0,
    ) -> LossOutput:
        """Return the negative evidence lower bound.

        Parameters
        ----------
        tensors
            The batch.
        inference_outputs
            What `inference` gave.
        generative_outputs
            What `generative` gave.
        kl_weight
            Weight of the Kullback-Leibler term.

        Returns
        -------
        The loss, and its parts a cell.
        """
        reconstruction = -self.log_likelihood(tensors[REGISTRY_KEYS.X_KEY], generative_outputs)
        kl = kl_to_standard_normal(inference_outputs["qz"])
        loss = reconstruction.mean() + kl_weight * kl.mean()
        return LossOutput(
            loss=loss, reconstruction_loss=reconstruction, kl_local=kl, n_obs_minibatch=len(reconstruction)
        )

    @torch.inference_mode()
    def sample(self, tensors: dict[str, Tensor], *, n_samples: int = 1) -> Tensor:
        """Draw counts from the posterior predictive distribution.

        Parameters
        ----------
        tensors
            A batch.
        n_samples
            Draws a cell.

        Returns
        -------
        Counts, draws x cells x genes.
        """
        draws = []
        for _ in range(n_samples):
            _, outputs = self.forward(tensors, compute_loss=False)
            mean = self.shares(outputs) * outputs["log_library"].exp()[:, None]
            theta = self.log_theta.exp().expand_as(mean)
            counts = torch.poisson(torch.distributions.Gamma(theta, theta / mean).sample())
            if self.decoder.dropout_logits is not None:
                dropped = torch.sigmoid(self.decoder.dropout_logits(outputs["hidden"]))
                counts = counts * (torch.rand_like(mean) > dropped)
            draws.append(counts)
        return torch.stack(draws)


def kl_to_standard_normal(qz: Normal) -> Tensor:
    """Return the Kullback-Leibler divergence of a diagonal normal distribution from the standard one.

    Parameters
    ----------
    qz
        Cells x dimensions.

    Returns
    -------
    In nats, (cells,).
    """
    variance = qz.scale.square()
    return 0.5 * (qz.loc.square() + variance - 1 - variance.log()).sum(-1)
