"""What a trained CapsuleNet says of cells: pose, presence of its capsules, labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy.special import logsumexp
from scvi import REGISTRY_KEYS

from sctandem._checks import check_adata, check_n_cells, select_cells
from sctandem.data import Collection
from sctandem.kernels._groups import group_means
from sctandem.nn._threads import torch_on_one_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from numpy.typing import ArrayLike


class CapsulesReadMixin:
    """Read a trained CapsuleNet; nothing is written."""

    @property
    def label_names(self) -> list[str]:
        """Labels that were given, without that of cells that have none; empty where none were."""
        if REGISTRY_KEYS.LABELS_KEY not in self.adata_manager.data_registry:
            return []
        state = self.adata_manager.get_state_registry(REGISTRY_KEYS.LABELS_KEY)
        return [str(name) for name in state["categorical_mapping"][:-1]]

    @torch_on_one_thread()
    @torch.inference_mode()
    def _read_all(
        self, names: Sequence[str], adata: AnnData | None, indices: ArrayLike | None, batch_size: int | None
    ) -> list[np.ndarray]:
        """Return some of the results of `inference` for all cells, in one pass."""
        self._check_if_trained(warn=False, message="this CapsuleNet is not trained; call `model.train()` first.")
        self.module.eval()
        cells = self._cells(adata, indices)
        check_n_cells(len(cells), 1, "Reading cells", "adata" if indices is None else "indices")
        whole: dict[str, np.ndarray] = {}
        start = 0
        for batch in self._batches(adata, None if indices is None else cells, batch_size):
            found = self.module.inference(**self.module._get_inference_input(batch))
            for name in names:
                part = found[name].cpu().numpy()
                if not start:  # not parts that are put together, which are there twice
                    whole[name] = np.empty((len(cells), *part.shape[1:]), dtype=part.dtype)
                whole[name][start : start + len(part)] = part
            start += len(part)
        return [whole[name] for name in names]

    def _read(self, what: str, adata: AnnData | None, indices: ArrayLike | None, batch_size: int | None) -> np.ndarray:
        """Return one of the results of `inference` for all cells."""
        return self._read_all([what], adata, indices, batch_size)[0]

    def _names(self, adata: AnnData | None, indices: ArrayLike | None) -> pd.Index:
        """Return the names of the cells that are read."""
        return (self.adata if adata is None else adata).obs_names[self._cells(adata, indices)]

    def _cells(self, adata: AnnData | None, indices: ArrayLike | None) -> np.ndarray:
        """Return the cells that are read, as positions."""
        if not (adata is None or isinstance(adata, Collection)):
            check_adata(adata)
        return select_cells(indices, (self.adata if adata is None else adata).n_obs)

    def get_latent_representation(
        self, adata: AnnData | None = None, *, indices: ArrayLike | None = None, batch_size: int | None = None
    ) -> np.ndarray:
        """Return the pose of each cell, the embedding.

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
        float32, cells x dimensions of the pose, in units of a standard normal prior.

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
        return self._read("pose", adata, indices, batch_size)

    def get_capsules(
        self, adata: AnnData | None = None, *, indices: ArrayLike | None = None, batch_size: int | None = None
    ) -> pd.DataFrame:
        """Return the presence of the type capsules in each cell.

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
        Lengths of the capsules, float32, cells x types, in [0, 1), which do not add up to 1; named by number from the type
        with most training cells.

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
        presence = self._read("presence", adata, indices, batch_size)
        names = [str(number) for number in range(presence.shape[1])]
        return pd.DataFrame(presence, index=self._names(adata, indices), columns=names)

    @torch.inference_mode()
    def get_gene_weights(self) -> pd.DataFrame:
        """Return how strongly each gene belongs to each type capsule.

        Returns
        -------
        float32, genes x types: the natural logarithm of the share of the gene at the mean pose of the type's cells, against
        the mean of this logarithm over the types.

        Raises
        ------
        RuntimeError
            When the model is not trained.
        """
        poses, presence = self._read_all(["pose", "presence"], None, None, None)
        n_types = presence.shape[1]
        means = group_means(poses, presence.argmax(1), n_types)
        loadings, base = self.module.loadings.cpu().numpy(), self.module.log_share.cpu().numpy()
        logits = base[:, None] + loadings @ means.T
        logs = logits - logsumexp(logits, axis=0)
        weights = (logs - logs.mean(1, keepdims=True)).astype(np.float32)
        return pd.DataFrame(weights, index=self.adata.var_names, columns=[str(i) for i in range(n_types)])

    def get_coupling(self, *, batch_size: int | None = None) -> pd.DataFrame:
        """Return how much of each gene programme goes to each type capsule, on average over the cells of that type.

        Parameters
        ----------
        batch_size
            Cells a minibatch; bounds the memory, does not change the result.

        Returns
        -------
        float32, programmes (primary capsules) x types, in [0, 1]; NaN for types without cells.

        Raises
        ------
        RuntimeError
            When the model is not trained.
        """
        coupling, presence = self._read_all(["coupling", "presence"], None, None, batch_size)
        found, n_types = presence.argmax(1), presence.shape[1]
        columns = [
            coupling[found == number, :, number].mean(0)
            if (found == number).any()
            else np.full(coupling.shape[1], np.nan)
            for number in range(n_types)
        ]
        names = [f"programme{i}" for i in range(coupling.shape[1])]
        values = np.stack(columns, axis=1).astype(np.float32)
        return pd.DataFrame(values, index=names, columns=[str(i) for i in range(n_types)])
