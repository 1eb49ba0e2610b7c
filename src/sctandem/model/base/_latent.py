"""Latent representation and evidence lower bound of count models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from anndata import AnnData

from sctandem._checks import listed
from sctandem.nn._threads import torch_on_one_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from mudata import MuData
    from numpy.typing import ArrayLike
    from torch import Tensor

_BATCH_SIZE = 2048


class LatentMixin:
    """Read a trained model whose module gives `qz` and a loss with reconstruction and KL parts."""

    def _batches(
        self, adata: AnnData | MuData | None, indices: ArrayLike | None, batch_size: int | None
    ) -> Iterator[dict[str, Tensor]]:
        """Yield minibatches of the cells, in order, on the device of the module."""
        if isinstance(adata, AnnData):
            check_same_features(adata, self.adata.var_names)
        adata = self._validate_anndata(adata)
        loader = self._make_data_loader(adata=adata, indices=indices, batch_size=batch_size or _BATCH_SIZE)
        device = self.module.device
        for batch in loader:
            yield batch if device.type == "cpu" else {key: value.to(device) for key, value in batch.items()}

    @torch_on_one_thread()
    @torch.inference_mode()
    def get_latent_representation(
        self,
        adata: AnnData | MuData | None = None,
        *,
        indices: ArrayLike | None = None,
        batch_size: int | None = None,
    ) -> np.ndarray:
        """Return the mean of the latent state of each cell.

        Parameters
        ----------
        adata
            Object with the same features; `None` for the one the model was made with.
        indices
            Cells, as positions or a mask; `None` for all.
        batch_size
            Cells a minibatch; bounds the memory, does not change the result.

        Returns
        -------
        float32, cells x latent dimensions.
        """
        self._check_if_trained(warn=False)
        self.module.eval()
        parts = []
        for batch in self._batches(adata, indices, batch_size):
            outputs = self.module.inference(**self.module._get_inference_input(batch))
            parts.append(outputs["qz"].loc.cpu().numpy())
        return np.concatenate(parts)

    @torch_on_one_thread()
    @torch.inference_mode()
    def get_elbo(
        self,
        adata: AnnData | MuData | None = None,
        *,
        indices: ArrayLike | None = None,
        batch_size: int | None = None,
    ) -> float:
        """Return the evidence lower bound, as a mean over cells (higher is better).

        Parameters
        ----------
        adata
            Object with the same features; `None` for the one the model was made with.
        indices
            Cells, as positions or a mask; `None` for all.
        batch_size
            Cells a minibatch.

        Returns
        -------
        In nats a cell, with one draw of the latent state a cell.
        """
        self._check_if_trained(warn=False)
        self.module.eval()
        total, n_cells = 0.0, 0
        for batch in self._batches(adata, indices, batch_size):
            loss = self.module(batch)[2]
            total -= float(loss.reconstruction_loss_sum + loss.kl_local_sum)
            n_cells += loss.n_obs_minibatch
        return total / n_cells


def check_same_features(adata: AnnData, features: pd.Index) -> None:
    """Check that an object has the features of a model, in its order: scvi-tools compares their number alone.

    Raises
    ------
    ValueError
        Says which are absent, or that the order is another.
    """
    if np.array_equal(adata.var_names, features):
        return
    absent = features.difference(adata.var_names)
    fault = (
        f"lack {len(absent)} of the {len(features)} features of the model: {listed(absent, 3)}"
        if len(absent)
        else "hold the features of the model in another order, or more than these"
    )
    msg = f"adata.var_names {fault}. They must be those of the model, in the same order: `adata[:, model.adata.var_names]`."
    raise ValueError(msg)
