"""Expression from chromatin: the negative binomial that joins the cell's state with the gene's window."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from scvi import REGISTRY_KEYS
from scvi.module.base import BaseModuleClass, LossOutput, auto_move_data
from torch import nn

from sctandem._checks import check_number, check_positive
from sctandem.module.base._batches import batch_columns
from sctandem.nn import WindowConfig, nb_linear_log_likelihood
from sctandem.nn._weighted_mean import weighted_mean

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

#: Keys of the minibatches beside those of scvi-tools.
STATE_KEY, CONTEXT_KEY, LIBRARY_KEY = "state", "context", "log_library"
_FITTED = "fitted_"


@dataclass(frozen=True, kw_only=True)
class TAPEConfig:
    """Architecture of :class:`~sctandem.model.TAPE`.

    Parameters
    ----------
    n_factors
        Factors of expression that the state of a cell is made of.
    n_components
        Components of chromatin that the weights of peaks act on.
    n_context
        Factors that modulate the weights of the peaks (trans context); 0 for weights that are the same in all cells.
    n_landmarks
        Cells with which the kernels of the state compare; the regression is exact up to that many training cells.
    prior
        Weight of the closed-form start against the counts in the last step, in units of the counts' information.
    windows
        Settings of the ensemble of window networks.

    Raises
    ------
    ValueError
        For a value out of bounds.

    Examples
    --------
    >>> from sctandem.module import TAPEConfig
    >>> TAPEConfig(n_factors=10).n_components
    20
    """

    n_factors: int = 20
    n_components: int = 20
    n_context: int = 2
    n_landmarks: int = 2500
    prior: float = 1.0
    windows: WindowConfig = field(default_factory=WindowConfig)

    def __post_init__(self) -> None:
        for name in ("n_factors", "n_components", "n_landmarks"):
            check_positive(getattr(self, name), name, whole=True)
        check_number(self.n_context, "n_context", low=0, high=self.n_factors, whole=True)
        check_number(self.prior, "prior", low=0)


class TAPEModule(BaseModuleClass):
    r"""Negative binomial expression on the state of the cell and on the open peaks of the gene's window.

    With the state :math:`s_c` and the context :math:`h_c` of a cell, both read from its chromatin, and the profile
    :math:`C_g` that the window network gives a gene,

    .. math::

        k_{cg} \sim NB(\ell_c \exp(b_g + V_g s_c + \gamma_g C_g h_c), \theta_g),

    where :math:`\ell_c` is the library size. :math:`V_g` starts at the gene's loadings on the factors of expression and is
    held there by a Gaussian prior; :math:`\gamma_g`, the part that the window adds to the state, starts at 0. A gene
    without training counts has no :math:`V_g`: it is predicted from its window alone, :math:`\gamma_g = 1`.

    Parameters
    ----------
    n_genes
        Genes to predict.
    n_batch
        Batches; each has an offset a gene, which predictions average over.
    config
        The architecture.

    Notes
    -----
    State, context and profiles are fitted before the minibatches (`TAPE.train`) and kept in buffers that take their size
    from what is fitted or loaded.
    """

    def __init__(self, n_genes: int, *, n_batch: int = 1, config: TAPEConfig | None = None) -> None:
        super().__init__()
        self.config = config or TAPEConfig()
        self.n_genes, self.n_batch = n_genes, n_batch
        self.log_mean = nn.Parameter(torch.zeros(n_genes))
        self.loadings = nn.Parameter(torch.zeros(n_genes, self.config.n_factors))
        self.gate = nn.Parameter(torch.zeros(n_genes))
        self.log_theta = nn.Parameter(torch.zeros(n_genes))
        self.batch_effect = nn.Parameter(torch.zeros(n_genes, n_batch if n_batch > 1 else 0))
        for name in ("profile", "anchor", "state_variance", "information", "learned"):
            self.register_buffer(name, torch.zeros(0))
        self.n_train_ = 1

    def set_fitted(self, arrays: dict[str, np.ndarray]) -> None:
        """Keep arrays that were fitted in closed form, so that they are saved with the module.

        Parameters
        ----------
        arrays
            By name.
        """
        for name, values in arrays.items():
            tensor = torch.as_tensor(values)
            kind = torch.float32 if tensor.is_floating_point() else tensor.dtype
            self.register_buffer(_FITTED + name, tensor.to(kind).contiguous())

    def get_fitted(self) -> dict[str, np.ndarray]:
        """Return the arrays of `set_fitted`."""
        names = [name for name in self._buffers if name.startswith(_FITTED)]
        return {name.removeprefix(_FITTED): self._buffers[name].cpu().numpy() for name in names}

    def start(self, arrays: dict[str, np.ndarray], n_train: int) -> None:
        """Start the parameters at what was fitted in closed form.

        Parameters
        ----------
        arrays
            log_mean, theta (genes,), loadings (genes x factors), profile (genes x functions), information (genes,),
            state_variance (factors,), batch_effect (genes x batches), learned (genes,; 1 for genes with training counts). A gene that is not learned
            from keeps what it starts with: its window alone.
        n_train
            Training cells.
        """
        device = self.log_mean.device
        tensors = {name: torch.as_tensor(value, dtype=torch.float32, device=device) for name, value in arrays.items()}
        with torch.no_grad():
            self.log_mean.copy_(tensors["log_mean"])
            self.log_theta.copy_(tensors["theta"].log())
            self.loadings.copy_(tensors["loadings"])
            self.gate.copy_(1 - tensors["learned"])
            if self.batch_effect.shape[1]:
                self.batch_effect.copy_(tensors["batch_effect"])
        self.anchor = tensors["loadings"].clone()
        for name in ("profile", "information", "state_variance", "learned"):
            setattr(self, name, tensors[name])
        self.n_train_ = n_train

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Give the buffers the sizes of what is loaded."""
        for key, value in state_dict.items():
            name = key.removeprefix(prefix)
            if key.startswith(prefix) and (name in self._buffers or name.startswith(_FITTED)):
                self.register_buffer(name, torch.empty_like(value, device=self.log_mean.device))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _get_inference_input(self, tensors: dict[str, Tensor], **_: Any) -> dict[str, Tensor | None]:
        """Pick what `inference` needs from a batch."""
        return {
            "state": tensors[STATE_KEY],
            "context": tensors[CONTEXT_KEY],
            "batch_index": tensors.get(REGISTRY_KEYS.BATCH_KEY),
        }

    def _get_generative_input(
        self, tensors: dict[str, Tensor], inference_outputs: dict[str, Tensor], **_: Any
    ) -> dict[str, Tensor]:
        """Pick what `generative` needs."""
        return {"hidden": inference_outputs["hidden"], "log_library": tensors[LIBRARY_KEY]}

    @auto_move_data
    def inference(self, state: Tensor, context: Tensor, batch_index: Tensor | None = None) -> dict[str, Tensor]:
        """Lay out what the cell brings: state, context and batch.

        Parameters
        ----------
        state
            Cells x factors.
        context
            Cells x functions.
        batch_index
            (cells, 1); `None` for the average batch.

        Returns
        -------
        `hidden`, cells x (factors + functions + batches).
        """
        parts = [state, context]
        if self.n_batch > 1:
            parts.append(batch_columns(batch_index, self.n_batch, state))
        return {"hidden": torch.cat(parts, dim=1)}

    def weights(self) -> tuple[Tensor, Tensor]:
        """Return what the gene brings: weights, genes x (factors + functions + batches), and log rate at zero, (genes,)."""
        return torch.cat([self.loadings, self.gate[:, None] * self.profile, self.batch_effect], dim=1), self.log_mean

    @auto_move_data
    def generative(self, hidden: Tensor, log_library: Tensor) -> dict[str, Tensor]:
        """Compute the log of the expected counts of all genes, cells x genes."""
        weight, bias = self.weights()
        return {"log_mean": hidden @ weight.t() + bias + log_library}

    def forward(
        self,
        tensors: dict[str, Tensor],
        loss_kwargs: dict[str, Any] | None = None,
        *,
        compute_loss: bool = True,
        **_: Any,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]] | tuple[dict[str, Tensor], dict[str, Tensor], LossOutput]:
        """Run inference and the loss; the expected counts of all genes are not laid out for the loss."""
        outputs = self.inference(**self._get_inference_input(tensors))
        if not compute_loss:
            return outputs, self.generative(**self._get_generative_input(tensors, outputs))
        return outputs, {}, self.loss(tensors, outputs, {}, **(loss_kwargs or {}))

    def loss(
        self,
        tensors: dict[str, Tensor],
        inference_outputs: dict[str, Tensor],
        generative_outputs: dict[str, Tensor],
    ) -> LossOutput:
        """Negative log-likelihood of the counts of the genes that are learned from, plus the prior, a cell.

        Parameters
        ----------
        tensors
            `X` holds the counts of the learned genes only.
        inference_outputs
            From `inference`.
        generative_outputs
            Not used.

        Returns
        -------
        The loss.
        """
        counts = tensors[REGISTRY_KEYS.X_KEY]
        library = tensors[LIBRARY_KEY].reshape(-1, 1)
        weight, bias = self.weights()
        rows = slice(None) if counts.shape[1] == self.n_genes else self.learned > 0
        likelihood = nb_linear_log_likelihood(
            counts,
            torch.cat([inference_outputs["hidden"], library], dim=1),
            self.log_theta[rows],
            weight=torch.cat([weight, torch.ones_like(bias)[:, None]], dim=1)[rows],
            bias=bias[rows],
        )
        reconstruction = -likelihood
        loss = weighted_mean(reconstruction, tensors) + self.prior()
        return LossOutput(loss=loss, reconstruction_loss=reconstruction, kl_local=torch.zeros_like(reconstruction))

    def prior(self) -> Tensor:
        """Negative log prior of loadings, gates and batch effects, a training cell."""
        change = ((self.loadings - self.anchor) ** 2 * self.state_variance).sum(1)
        change = change + self.gate**2 * (self.profile**2).sum(1)
        # a batch may shift a gene by as much as the counts say: the start does not hold it
        shift = (self.batch_effect**2).sum()
        return 0.5 * self.config.prior * ((self.information * change).sum() + shift) / self.n_train_
