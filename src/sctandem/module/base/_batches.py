"""Batches as columns that a linear last layer reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


def batch_columns(batch_index: Tensor | None, n_batch: int, state: Tensor) -> Tensor:
    """Lay out the batch of each cell.

    Parameters
    ----------
    batch_index
        Batch of each cell, cells x 1; `None` for the average batch.
    n_batch
        Number of batches.
    state
        Cells x anything; gives the number of cells, type and device.

    Returns
    -------
    Cells x batches, rows that add up to 1.
    """
    if batch_index is None:
        return state.new_full((len(state), n_batch), 1 / n_batch)
    return nn.functional.one_hot(batch_index.reshape(-1).long(), n_batch).to(state.dtype)
