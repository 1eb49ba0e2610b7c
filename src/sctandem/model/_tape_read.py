"""What `model.TAPE` reads of the chromatin of cells: their states and their components."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sctandem._checks import check_positive
from sctandem.model._tape_data import Cells, read_atac
from sctandem.model._tape_fit import read_state
from sctandem.model._tape_setup import TAPESetupMixin

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from mudata import MuData
    from scipy import sparse

#: Cells that are predicted at once.
BLOCK = 1024
UNTRAINED = "this TAPE model is not trained; call `model.train()` first."


def _blocks(n_cells: int, batch_size: int | None) -> Iterator[slice]:
    """Cut cells into blocks."""
    if batch_size is not None:
        check_positive(batch_size, "batch_size", whole=True)
    size = BLOCK if batch_size is None else batch_size
    return (slice(start, start + size) for start in range(0, n_cells, size))


class TAPEReadMixin(TAPESetupMixin):
    """Read chromatin, of the data of the model or of others with its peaks."""

    adata: Any
    config: Any
    module: Any
    _check_if_trained: Any

    def _read_chromatin(self, mdata: MuData | None, indices: Cells) -> tuple[pd.Index, sparse.csr_matrix]:
        """Read names and chromatin counts of cells, peaks as in the model."""
        self._check_if_trained(message=UNTRAINED, warn=False)
        source, layer = self.adata if mdata is None else mdata, self.setup_args["atac_layer"]
        return read_atac(source, self.modalities["atac"], layer=layer, peaks=self.peak_names, indices=indices)

    def _read_blocks(
        self, counts: sparse.csr_matrix, batch_size: int | None
    ) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
        """Read state, log library size and context of cells from their chromatin; first, which cells of `counts` these are."""
        state, context = read_state(self.module.get_fitted())
        for rows in _blocks(counts.shape[0], batch_size):
            block = counts[rows]
            states = state.predict(block)
            functions = context(state.components(block)[:, : self.config.n_components], states)
            padded = np.zeros((len(states), self.config.n_factors))
            padded[:, : states.shape[1] - 1] = states[:, :-1]
            yield rows, padded, states[:, -1], functions

    def get_latent_representation(
        self, mdata: MuData | None = None, *, indices: Cells = None, batch_size: int | None = None
    ) -> np.ndarray:
        """Return the state of each cell, as its chromatin tells it.

        Parameters
        ----------
        mdata
            Object with the same peaks; it needs no RNA. `None` for the one the model was made with.
        indices
            Cells, as positions or a mask; `None` for all.
        batch_size
            Cells that are read at once; bounds the memory, does not change the result.

        Returns
        -------
        float32, cells x factors, strongest first, in units of the log rate's factor scores.

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
        _, counts = self._read_chromatin(mdata, indices)
        parts = [np.zeros((0, self.config.n_factors)), *(block[1] for block in self._read_blocks(counts, batch_size))]
        return np.concatenate(parts).astype(np.float32)

    def get_components(
        self,
        mdata: MuData | None = None,
        *,
        n_components: int = 30,
        indices: Cells = None,
        batch_size: int | None = None,
    ) -> np.ndarray:
        """Return the leading singular vectors of the log-normalised chromatin of cells (LSI).

        Parameters
        ----------
        mdata
            Object with the same peaks; `None` for the one the model was made with.
        n_components
            How many at most.
        indices
            Cells, as positions or a mask; `None` for all.
        batch_size
            Cells that are read at once; bounds the memory, does not change the result.

        Returns
        -------
        float64, cells x components, centred on the training cells, in units of the singular values.

        Raises
        ------
        KeyError
            When a layer, a column or a modality that the model reads is missing.
        TypeError
            When the data are not those of a model of this kind, or `indices` no positions and no mask.
        ValueError
            When the data have no cells, are not counts, or lack features or categories of the model; when `indices` or `n_components` is out of range.
        RuntimeError
            When the model is not trained.
        """
        check_positive(n_components, "n_components", whole=True)
        _, counts = self._read_chromatin(mdata, indices)
        state, _ = read_state(self.module.get_fitted())
        out = np.empty((counts.shape[0], min(n_components, state.spread.size)))
        for rows in _blocks(len(out), batch_size):
            out[rows] = (state.components(counts[rows]) * state.spread)[:, :n_components]
        return out
