"""Where a new batch lies: what it adds to each feature, beside the types that its cells are of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import nnls
from scipy.stats import norm

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Part of the difference that is taken for the batch: types that the reference does not have differ as well.
BELIEVED = 0.5
#: Cells of a batch below which their misfits are not compared.
_FEWEST = 30
#: Robust standard deviations beyond which a cell does not take part in the regression on the depth.
_FAR = 2.0
#: Part of a normal distribution that lies a standard deviation or more below its middle; cells of new types lie above.
_BELOW = 0.1587


def batch_shift(
    mean: NDArray[np.float64], variance: NDArray[np.float64], n_cells: int, centres: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Estimate what a batch adds to each feature: its mean, against that of the mixture of types that comes nearest to it.

    Parameters
    ----------
    mean, variance
        Of each feature over the cells of the batch, (features,).
    n_cells
        Cells of the batch.
    centres
        Mean of each feature in each type of the reference, features x types.

    Returns
    -------
    The shift, (features,), and the shares of the types, (types,). The shares are those with the least squared differences; no cell is
    given a type, so that a first error is not confirmed. Differences are shrunk by empirical Bayes, with `variance / n_cells` as the
    error of a mean and their spread beyond these errors as the variance of the prior, and half of each is taken for the batch.

    Examples
    --------
    >>> import numpy as np
    >>> from sctandem.kernels._placing import batch_shift
    >>> centres = np.random.default_rng(0).normal(2, 1, (500, 2))
    >>> batch_shift(centres @ [0.3, 0.7], np.ones(500), 10_000, centres)[1].round(2)
    array([0.3, 0.7])
    """
    shares, _ = nnls(centres, mean)
    shares = shares / max(shares.sum(), 1e-12)
    raw = mean - centres @ shares
    error = variance / n_cells
    prior = max(float(np.mean(raw**2 - error)), 0.0)
    return BELIEVED * raw * prior / np.maximum(prior + error, 1e-300), shares


def matched_distances(
    distances: NDArray[np.float64], reference: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Take out of distances by how much all cells of a batch lie further out than those of the reference.

    Parameters
    ----------
    distances
        Distances of the cells of one batch from what they are most like.
    reference
        Those of cells of the reference.

    Returns
    -------
    The distances with quartile and median of the reference, and by how many of its interquartile ranges the median was moved. Distances are
    only ever made smaller. Where fewer than half of the cells are of types of the reference, too much is taken out.
    """
    low, middle, high = np.quantile(reference, [0.25, 0.5, 0.75])
    own_low, own_middle = np.quantile(distances, [0.25, 0.5])
    spread = max(high - low, 1e-12)
    if own_middle <= middle:
        return distances, 0.0
    scale = min(1.0, (middle - low) / max(own_middle - own_low, 1e-12))
    return np.minimum(distances, middle + scale * (distances - own_middle)), float((own_middle - middle) / spread)


def misfit_pvalues(
    losses: NDArray[np.floating], depth: NDArray[np.floating], group: NDArray[np.integer] | None = None
) -> NDArray[np.float64]:
    """Compare how badly the cells of a batch are given back with what is usual among those of their group at their depth.

    Parameters
    ----------
    losses
        Negative log-likelihood of each cell.
    depth
        Counts of each cell.
    group
        Of each cell, that which it is most like; `None` for one. Groups of fewer than 30 cells are taken together.

    Returns
    -------
    In (0, 1], (cells,): upper tails of a normal distribution of the logarithms, around a parabola in the logarithm of the depth, with the
    spread that they have below it. 1 for batches of fewer than 30 cells.

    Notes
    -----
    The cells are held against one another, so that a batch effect, which all have, does not count. More than half of a group should be of
    the type that it is taken for.
    """
    if len(losses) < _FEWEST:
        return np.ones(len(losses))
    x = np.log(np.maximum(depth, 1.0))
    x = (x - x.mean()) / max(float(x.std()), 1e-6)
    group = np.zeros(len(x), dtype=np.int64) if group is None else group
    sizes = np.bincount(group)
    own = np.where(sizes[group] >= _FEWEST, group, -1)
    member = own[:, None] == np.unique(own)
    design = np.column_stack([member, x, x**2]).astype(np.float64)
    target = np.log(np.maximum(losses, 1e-6)).astype(np.float64)
    used = np.ones(len(x), dtype=bool)
    for _ in range(10):
        residual = target - design @ np.linalg.lstsq(design[used], target[used], rcond=None)[0]
        residual = residual - np.array([np.median(residual[one & used]) for one in member.T])[member.argmax(1)]
        spread = max(-float(np.quantile(residual[used], _BELOW)), 1e-9)
        used = residual < _FAR * spread
    return np.maximum(norm.sf(residual / spread), 1e-300)
