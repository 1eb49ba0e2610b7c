"""Latent representation and evidence lower bound of count models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sctandem._checks import (
    check_adata,
    check_counts,
    check_layer,
    check_n_cells,
    check_positive,
    layer_slot,
    listed,
    select_cells,
)
from sctandem._compat import ModelLayout
from sctandem.data import Collection
from sctandem.model.base._depths import read_depths
from sctandem.nn._threads import torch_on_one_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from anndata import AnnData
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
        if batch_size is not None:
            check_positive(batch_size, "batch_size", whole=True)
        if not (adata is None or isinstance(adata, Collection)):
            self._check_readable(adata)
        if indices is not None:
            read = self.adata if adata is None else adata.adata if isinstance(adata, Collection) else adata
            indices = select_cells(indices, read.n_obs)
            check_n_cells(len(indices), 1, "Reading cells", "indices")
        adata = self._validate_anndata(adata)
        loader = self._make_data_loader(adata=adata, indices=indices, batch_size=batch_size or _BATCH_SIZE)
        device = self.module.device
        for batch in loader:
            yield batch if device.type == "cpu" else {key: value.to(device) for key, value in batch.items()}

    def _check_readable(self, adata: Any) -> None:
        """Check data that the model was not made with, before they are set up for it."""
        check_adata(adata)
        check_same_features(adata, self.adata.var_names)
        check_n_cells(adata.n_obs, 1, "Reading cells", "adata")
        given = self.registry_[ModelLayout().setup_args]
        check_counts(check_layer(adata, given["layer"], "adata"), layer_slot("adata", given["layer"]))
        if (size := given.get("size_factor_key")) is not None:
            read_depths(adata, size)

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

        Raises
        ------
        KeyError
            When a layer, a column or a modality that the model reads is missing.
        TypeError
            When the data are not those of a model of this kind, or `indices` no positions and no mask.
        ValueError
            When the data have no cells, are not counts, or lack features or categories of the model; when `indices` or `batch_size` is out of range.
        RuntimeError
            When the model is not trained.
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

        Raises
        ------
        KeyError
            When a layer, a column or a modality that the model reads is missing.
        TypeError
            When the data are not those of a model of this kind, or `indices` no positions and no mask.
        ValueError
            When the data have no cells, are not counts, or lack features or categories of the model; when `indices` or `batch_size` is out of range.
        RuntimeError
            When the model is not trained.
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
