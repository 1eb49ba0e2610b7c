"""Batches laid over each other: soft clusters in which every batch has its share, and the batches' shifts within them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import softmax

from sctandem._checks import check_number, check_positive
from sctandem._random import as_generator
from sctandem.kernels._kmeans import kmeans

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sctandem._random import RNG

_POINTS_A_CLUSTER = 30
_MOST_CLUSTERS = 20
#: Parts of the points after each of which the balance of the batches is taken anew.
_N_PARTS = 20
_PASSES = 3
#: Temperature, in those at which normal clusters have the spread that points have around their nearest centre.
_TEMPERATURE = 4.0
_TOLERANCE = 1e-3


def align_batches(
    points: ArrayLike,
    batch: ArrayLike,
    *,
    balance: float = 2.0,
    ridge: float = 1.0,
    n_rounds: int = 10,
    rng: RNG = None,
) -> np.ndarray:
    """Take out of points what parts the batches within groups of like points.

    Points belong softly to clusters, the less to those in which their batch has more than its share. Within each cluster the batches'
    means are then moved onto the common one, and clusters and shifts are found anew.

    Parameters
    ----------
    points
        Points x dimensions, finite.
    batch
        Batch of each point, (points,), integers from 0.
    balance
        How strongly an even share of the batches is asked for; 0 for not at all.
    ridge
        Points of a batch in a cluster at which its shift is half believed.
    n_rounds
        Most rounds.
    rng
        Seed of the first centres and of the order of the points.

    Returns
    -------
    The moved points, float32; those given where there is one batch.

    Raises
    ------
    ValueError
        For points that are no matrix or not finite, a batch for each of them that is missing, or settings out of bounds.

    Notes
    -----
    A type that only one batch has keeps its place as long as it is far from all others: a cluster of its own has nothing to
    be moved onto. Cost: points x clusters x dimensions a pass, of which there are three a round.

    References
    ----------
    Korsunsky et al., Fast, sensitive and accurate integration of single-cell data with Harmony, Nature Methods 16 (2019).

    Examples
    --------
    >>> import numpy as np
    >>> from sctandem.kernels import align_batches
    >>> rng = np.random.default_rng(0)
    >>> kind, batch = rng.integers(2, size=400), rng.integers(2, size=400)
    >>> points = rng.normal(size=(400, 2)) + 10 * kind[:, None] * [1, 0] + 3 * batch[:, None] * [0, 1]
    >>> moved = align_batches(points, batch, rng=0)
    >>> bool(abs(moved[batch == 0].mean(0) - moved[batch == 1].mean(0)).max() < 0.6)
    True
    """
    points = np.asarray(points, dtype=np.float64)
    batch = np.asarray(batch)
    _check(points, batch, balance, ridge, n_rounds)
    n_batch = int(batch.max()) + 1
    if n_batch == 1:
        return points.astype(np.float32)
    rng = as_generator(rng)
    n_clusters = int(np.clip(len(points) // _POINTS_A_CLUSTER, 2, _MOST_CLUSTERS))
    of_batch = np.zeros((len(points), n_batch))
    of_batch[np.arange(len(points)), batch] = 1
    centres = kmeans(points, n_clusters, n_steps=25, rng=rng)[0]
    moved, before = points, np.inf
    for _ in range(n_rounds):
        shares, centres = _balanced_shares(moved, centres, of_batch, balance, rng)
        moved = points - _shifts(points, shares, of_batch, ridge)
        change = float(np.sqrt(((moved - points) ** 2).sum()))
        if abs(change - before) < _TOLERANCE * max(change, 1e-12):
            break
        before = change
    return moved.astype(np.float32)


def _check(points: np.ndarray, batch: np.ndarray, balance: float, ridge: float, n_rounds: int) -> None:
    """Check what `align_batches` was given."""
    if points.ndim != 2 or len(points) < 2 or points.shape[1] < 1:
        msg = f"points must be a matrix of at least 2 points, got shape {points.shape}"
        raise ValueError(msg)
    if not np.isfinite(points).all():
        msg = f"points hold {int((~np.isfinite(points)).sum())} values that are not finite; take these cells out"
        raise ValueError(msg)
    if batch.shape != (len(points),) or batch.dtype.kind not in "iu" or batch.min() < 0:
        msg = f"batch must hold an integer of at least 0 for each of {len(points)} points, got {batch.dtype} {batch.shape}"
        raise ValueError(msg)
    check_number(balance, "balance")
    check_positive(ridge, "ridge")
    check_positive(n_rounds, "n_rounds", whole=True)


def _balanced_shares(
    points: np.ndarray, centres: np.ndarray, of_batch: np.ndarray, balance: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Share the points among clusters in which no batch has much more than its part; give shares and new centres."""
    squares = _square_distances(points, centres)
    temperature = max(_TEMPERATURE * 2 * squares.min(1).mean() / points.shape[1], 1e-12)
    part_of_batch = of_batch.mean(0)
    shares = softmax(-squares / temperature, axis=1)
    for _ in range(_PASSES):
        squares = _square_distances(points, centres)
        total = shares.T @ of_batch
        for part in np.array_split(rng.permutation(len(points)), _N_PARTS):
            total -= shares[part].T @ of_batch[part]
            expected = total.sum(1, keepdims=True) * part_of_batch
            penalty = balance * np.log((total + 1) / (expected + 1))
            shares[part] = softmax(-squares[part] / temperature - of_batch[part] @ penalty.T, axis=1)
            total += shares[part].T @ of_batch[part]
        centres = (shares.T @ points) / np.maximum(shares.sum(0), 1e-9)[:, None]
    return shares, centres


def _shifts(points: np.ndarray, shares: np.ndarray, of_batch: np.ndarray, ridge: float) -> np.ndarray:
    """Give what the batch of each point adds to it: in every cluster a ridge regression on a mean and the batches."""
    shift = np.zeros_like(points)
    for share in shares.T:
        size = share @ of_batch
        sums = (of_batch * share[:, None]).T @ points
        # the mean that is left when the shifts are at their best, and then these
        weight = ridge * size / (size + ridge)
        mean = (weight / np.maximum(size, 1e-12)) @ sums / max(weight.sum(), 1e-12)
        by_batch = (sums - size[:, None] * mean) / (size + ridge)[:, None]
        shift += share[:, None] * (of_batch @ by_batch)
    return shift


def _square_distances(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Give the squared distance of every point to every centre."""
    squares = (points**2).sum(1)[:, None] - 2 * points @ centres.T + (centres**2).sum(1)
    return np.maximum(squares, 0)
