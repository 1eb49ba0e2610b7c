"""What a trained CapsuleNet says of cells: pose, presence of its capsules, labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scvi import REGISTRY_KEYS

from sctandem.nn._threads import torch_on_one_thread

if TYPE_CHECKING:
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
    def _read(self, what: str, adata: AnnData | None, indices: ArrayLike | None, batch_size: int | None) -> np.ndarray:
        """Return one of the results of `inference` for all cells."""
        self._check_if_trained(warn=False, message="this CapsuleNet is not trained; call `model.train()` first.")
        self.module.eval()
        parts = [
            self.module.inference(**self.module._get_inference_input(batch))[what].cpu().numpy()
            for batch in self._batches(adata, indices, batch_size)
        ]
        return np.concatenate(parts)

    def _names(self, adata: AnnData | None, indices: ArrayLike | None) -> pd.Index:
        """Return the names of the cells that are read."""
        names = (self.adata if adata is None else adata).obs_names
        return names if indices is None else names[np.asarray(indices)]

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
        """
        presence = self._read("presence", adata, indices, batch_size)
        names = [str(number) for number in range(presence.shape[1])]
        return pd.DataFrame(presence, index=self._names(adata, indices), columns=names)
