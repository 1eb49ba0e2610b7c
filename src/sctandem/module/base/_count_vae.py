"""A variational autoencoder of counts, on the sparse path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scvi import REGISTRY_KEYS
from scvi.module.base import BaseModuleClass, LossOutput, auto_move_data
from torch import nn
from torch.distributions import Normal, kl_divergence

from sctandem.module.base._count_coders import CountDecoder, CountEncoder, CountVAEConfig
from sctandem.module.base._count_vae_transfer import CountVAETransferMixin
from sctandem.nn import nb_linear_log_likelihood, row_sums, zinb_log_likelihood
from sctandem.nn._weighted_mean import weighted_mean

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from torch import Tensor


class CountVAE(CountVAETransferMixin, BaseModuleClass):
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
        # what is known of the training cells: mean logarithms, and how many batches they were of
        self.register_buffer("mean_logs", torch.zeros(n_genes))
        self.register_buffer("n_known_batches", torch.tensor(n_batch))
        if shares is not None:
            with torch.no_grad():
                self.decoder.logits.bias.copy_(torch.as_tensor(np.log(shares), dtype=torch.float32))

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        """Load; older files know nothing of the training cells."""
        for name in ("mean_logs", "n_known_batches"):
            state_dict.setdefault(f"{prefix}{name}", getattr(self, name))
        super()._load_from_state_dict(state_dict, prefix, *args)

    @torch.no_grad()
    def start_from(self, loadings: ArrayLike, spread: ArrayLike) -> None:
        """Set encoder and decoder to a linear map and its inverse.

        Two hidden units carry each latent dimension, one its positive and one its negative part, so that the ReLU between
        them does not matter. The other units keep their weights.

        Parameters
        ----------
        loadings
            Genes x latent dimensions, columns of unit length.
        spread
            Standard deviation of the scores on them, in natural log units of expression.

        Raises
        ------
        ValueError
            For more than one hidden layer, too few hidden units, or loadings of another shape.
        """
        directions, sizes = (torch.as_tensor(np.asarray(x), dtype=torch.float32) for x in (loadings, spread))
        n_latent, n_hidden = self.config.n_latent, self.config.n_hidden
        if self.config.n_layers != 1 or n_hidden < 2 * n_latent:
            msg = (
                f"a warm start needs one hidden layer of at least {2 * n_latent} units, "
                f"got n_layers={self.config.n_layers} and n_hidden={n_hidden}"
            )
            raise ValueError(msg)
        if directions.shape != (self.n_genes, n_latent) or sizes.shape != (n_latent,):
            msg = f"loadings must have shape {(self.n_genes, n_latent)}, got {tuple(directions.shape)}"
            raise ValueError(msg)
        positive, negative = slice(0, 2 * n_latent, 2), slice(1, 2 * n_latent, 2)
        identity = torch.eye(n_latent)
        mean, first, logits = self.encoder.mean, self.decoder.first, self.decoder.logits
        mean.weight[:] = 0
        mean.bias[:] = 0
        self.encoder.log_variance.bias[:] = -2
        for units, sign in ((positive, 1), (negative, -1)):
            self.encoder.first.weight[:, units] = sign * directions
            mean.weight[:, units] = sign * identity
            first.weight[units] = sign * identity
            first.bias[units] = 0
            logits.weight[:, units] = sign * directions * sizes

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

    def latent_shares(self, latent: Tensor, batch_index: Tensor | None = None) -> Tensor:
        """Return the expected share of each gene at latent states, cells x genes; by default in the average batch."""
        library = latent.new_zeros(len(latent))
        return self.shares(self.generative(z=latent, log_library=library, batch_index=batch_index))

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
        loss = weighted_mean(reconstruction, tensors) + kl_weight * weighted_mean(kl, tensors)
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

    def state_of(self, found: dict[str, Any]) -> Tensor:
        """Pick the state from what `inference` gave.

        Parameters
        ----------
        found
            What `inference` gave.

        Returns
        -------
        Its mean, cells x dimensions.
        """
        return found["qz"].loc

    def domain_groups(self, tensors: dict[str, Tensor]) -> Tensor:
        """Say that no groups of cells are known.

        Parameters
        ----------
        tensors
            The batch.

        Returns
        -------
        -1 for each cell, (cells,).
        """
        counts = tensors[REGISTRY_KEYS.X_KEY]
        return torch.full((counts.shape[0],), -1, dtype=torch.int64, device=counts.device)

    def attack_loss(self, tensors: dict[str, Tensor], found: dict[str, Any], unit: Tensor) -> Tensor:
        """Score how well the counts are given back from the states of moved cells.

        Parameters
        ----------
        tensors
            The batch, with the counts as they are.
        found
            What `inference` gave of moved cells.
        unit
            Not needed here.

        Returns
        -------
        Negative evidence lower bound at the mean of the state, a mean over cells.
        """
        at_mean = {**found, "z": self.state_of(found)}
        return self.loss(tensors, at_mean, self.generative(**self._get_generative_input(tensors, at_mean))).loss

    def divergence(self, found: dict[str, Any], moved: dict[str, Any], unit: Tensor) -> Tensor:
        """Say how far the states of moved cells are from those of the cells.

        Parameters
        ----------
        found, moved
            What `inference` gave of the cells as they are, and moved.
        unit
            Not needed here.

        Returns
        -------
        Kullback-Leibler divergence, a mean over cells.
        """
        return kl_divergence(found["qz"], moved["qz"]).sum(-1).mean()


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
