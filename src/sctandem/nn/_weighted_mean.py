"""Means over the cells of a minibatch, in which some may count more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

#: Key of the minibatches with the weight of each cell in the loss, cells x 1; there where some count more.
WEIGHT_KEY: Final = "sample_weight"


def weighted_mean(values: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    """Average a part of the loss over the cells of a minibatch.

    Parameters
    ----------
    values
        One a cell.
    batch
        The minibatch; the weights under `WEIGHT_KEY` have mean 1 over an epoch.

    Returns
    -------
    The sum of weights times values by the number of cells: a mean whose expectation does not hang on which cells come together.
    """
    weight = batch.get(WEIGHT_KEY)
    return values.mean() if weight is None else (values * weight.reshape(-1).to(values.dtype)).mean()
