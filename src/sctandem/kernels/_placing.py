"""Where a new batch lies: what it adds to each feature, beside the types that its cells are of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def type_shift(
    mean: NDArray[np.float64],
    variance: NDArray[np.float64],
    n_cells: int,
    centres: NDArray[np.float64],
    shares: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Estimate what a batch adds to each feature: its mean, against that expected of its mixture of types.

    Parameters
    ----------
    mean, variance
        Of each feature over the cells of the batch, (features,).
    n_cells
        Cells of the batch.
    centres
        Mean of each feature in each type of the reference, features x types.
    shares
        Share of each type among the cells of the batch, (types,), adding up to 1.

    Returns
    -------
    (features,). Shrunk to 0 by empirical Bayes: with `variance / n_cells` as the error of the mean, and the spread of the shifts over the
    features that remains beyond these errors as the variance of their prior.
    """
    raw = mean - centres @ shares
    error = variance / n_cells
    prior = max(float(np.mean(raw**2 - error)), 0.0)
    return raw * prior / np.maximum(prior + error, 1e-300)
