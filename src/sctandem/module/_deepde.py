"""Counts as a state of the cell and effects of its sample on every gene."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from sctandem.module.base import CountVAE, CountVAEConfig
from sctandem.module.base._batches import batch_columns
from sctandem.module.base._take_over import columns_from, whole
from sctandem.nn import nb_linear_log_likelihood

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from scvi.module.base import LossOutput
    from torch import Tensor

    from sctandem.module.base._take_over import FeatureMap, Piece

#: Standard deviation of the prior of the effects of samples on genes, natural logarithm.
EFFECT_PRIOR = 0.5


class DeepDEModule(CountVAE):
    r"""Count VAE whose decoder gives each gene an effect of each sample.

    Shares are :math:`\rho_c = \mathrm{softmax}(f(z_c, s_c) + E s_c)` with the state :math:`z_c \sim N(0, I)` of the cell and its sample
    :math:`s_c`, which is an offset in the first hidden layer of the decoder :math:`f` and has effects
    :math:`E \sim N(0, 0.5^2)`, genes x samples. The encoder does not see the sample: what the decoder takes from it, such as the
    condition, the donor and the batch, costs nothing, so that the state need not carry it. The offset does most of that: without it states
    tell the samples.

    Parameters
    ----------
    n_genes
        Number of genes.
    n_samples
        Number of samples.
    n_cells
        Number of cells, over which the prior of the effects is spread.
    config
        The architecture; the likelihood is negative binomial.
    shares
        Share of each gene in all counts, where the decoder starts.

    Notes
    -----
    Minibatches hold `X` (CSR or dense) and `batch`, the sample.
    """

    def __init__(
        self,
        n_genes: int,
        *,
        n_samples: int,
        n_cells: int = 1,
        config: CountVAEConfig | None = None,
        shares: ArrayLike | None = None,
    ) -> None:
        super().__init__(n_genes, n_batch=n_samples, config=config, shares=shares)
        self.n_samples, self.n_cells = n_samples, n_cells
        self.sample_effect = nn.Parameter(torch.zeros(n_genes, n_samples))

    @torch.no_grad()
    def take_over(self, old: DeepDEModule, features: FeatureMap, *, own_depth: bool = False) -> None:
        """Take over all weights; samples that are new start without an effect. See :meth:`CountVAE.take_over`."""
        super().take_over(old, features, own_depth=own_depth)
        features.move(self.sample_effect, old.sample_effect)

    def parts(self) -> dict[str, list[Piece]]:
        """Name the parts that can be trained, as of any count VAE; `new_batches` are the samples, with their effects."""
        parts = super().parts()
        parts["new_batches"].append(columns_from(self.sample_effect, self.n_reference_batches))
        parts["decoder"].extend(whole(self.sample_effect))
        return parts

    def generative(self, z: Tensor, log_library: Tensor, batch_index: Tensor | None = None) -> dict[str, Tensor]:
        """Decode cells.

        Parameters
        ----------
        z
            Latent state, cells x dimensions.
        log_library
            Log library size, (cells,).
        batch_index
            Sample of each cell, cells x 1; `None` for the average of the samples.

        Returns
        -------
        `hidden`, cells x (units + samples), and `log_library`.
        """
        sample = batch_columns(batch_index, self.n_samples, z)
        return {"hidden": torch.cat([self.decoder(z, batch_index), sample], dim=1), "log_library": log_library}

    def _weight(self) -> Tensor:
        """Lay out the last layer, genes x (units + samples)."""
        return torch.cat([self.decoder.logits.weight, self.sample_effect], dim=1)

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
        return nb_linear_log_likelihood(
            counts,
            generative_outputs["hidden"],
            self.log_theta,
            weight=self._weight(),
            bias=self.decoder.logits.bias,
            log_library=generative_outputs["log_library"],
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
        logits = generative_outputs["hidden"] @ self._weight().T + self.decoder.logits.bias
        return torch.softmax(logits, dim=-1)

    def loss(
        self,
        tensors: dict[str, Tensor],
        inference_outputs: dict[str, Any],
        generative_outputs: dict[str, Tensor],
        *,
        kl_weight: float = 1.0,
    ) -> LossOutput:
        """Return the negative evidence lower bound, and the prior of the effects as a share of each cell.

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
        found = super().loss(tensors, inference_outputs, generative_outputs, kl_weight=kl_weight)
        found.loss = found.loss + 0.5 * (self.sample_effect / EFFECT_PRIOR).square().sum() / self.n_cells
        return found
