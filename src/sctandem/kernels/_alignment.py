"""Batches laid over each other: soft clusters in which every batch has its share, and the batches' shifts within them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import softmax

from sctandem._checks import check_number, check_positive
from sctandem._random import as_generator
from sctandem.kernels._group_draws import draw_within_groups
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
#: Points by which clusters and shifts are found at most; others are moved as these are.
_MOST_POINTS = 100_000
_BLOCK = 16_384


class _Round(NamedTuple):
    """How points were moved in a round."""

    centres: np.ndarray
    """Clusters x dimensions, by which points were shared out."""
    temperature: float
    penalty: np.ndarray
    """What a cluster costs points of a batch, clusters x batches."""
    added: np.ndarray
    """What a batch adds to points of a cluster, clusters x batches x dimensions."""


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
    be moved onto. Cost: points x clusters x dimensions a pass, of which there are three a round. Of more than 100,000 points, clusters and
    shifts are found by that many, drawn from each batch by its share (at least 100 of each), and the others are moved, block by block, as these were.

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
    points = np.asarray(points)
    points = points if points.dtype == np.float32 else points.astype(np.float64)
    batch = np.asarray(batch)
    _check(points, batch, balance, ridge, n_rounds)
    n_batch = int(batch.max()) + 1
    if n_batch == 1:
        return points.astype(np.float32)
    rng = as_generator(rng)
    seen = draw_within_groups(batch, _MOST_POINTS, rng)
    found, rounds = _align(points[seen].astype(np.float64), np.eye(n_batch)[batch[seen]], balance, ridge, n_rounds, rng)
    if len(seen) == len(points):
        return found.astype(np.float32)
    moved = np.empty(points.shape, dtype=np.float32)
    for start in range(0, len(points), _BLOCK):
        here = slice(start, start + _BLOCK)
        moved[here] = _move(points[here].astype(np.float64), batch[here], rounds)
    moved[seen] = found
    return moved


def _align(
    points: np.ndarray, of_batch: np.ndarray, balance: float, ridge: float, n_rounds: int, rng: np.random.Generator
) -> tuple[np.ndarray, list[_Round]]:
    """Move points, and tell how."""
    n_clusters = int(np.clip(len(points) // _POINTS_A_CLUSTER, 2, _MOST_CLUSTERS))
    centres = kmeans(points, n_clusters, n_steps=25, rng=rng)[0]
    moved, before, rounds = points, np.inf, []
    for _ in range(n_rounds):
        near, temperature, penalty, shares = _balanced_shares(moved, centres, of_batch, balance, rng)
        centres = _means(moved, shares)
        added = _added(points, shares, of_batch, ridge)
        rounds.append(_Round(near, temperature, penalty, added))
        moved = points - _shifts(shares, of_batch, added)
        change = float(np.sqrt(((moved - points) ** 2).sum()))
        if abs(change - before) < _TOLERANCE * max(change, 1e-12):
            break
        before = change
    return moved, rounds


def _move(points: np.ndarray, batch: np.ndarray, rounds: list[_Round]) -> np.ndarray:
    """Move other points through the same rounds."""
    moved = points
    for centres, temperature, penalty, added in rounds:
        shares = softmax(-_square_distances(moved, centres) / temperature - penalty.T[batch], axis=1)
        moved = points - sum(share[:, None] * by_batch[batch] for share, by_batch in zip(shares.T, added, strict=True))
    return moved


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
) -> tuple[np.ndarray, float, np.ndarray, np.ndarray]:
    """Share the points among clusters in which no batch has much more than its part; give the centres, temperature and penalty that did, and the shares."""
    squares = _square_distances(points, centres)
    temperature = max(_TEMPERATURE * 2 * squares.min(1).mean() / points.shape[1], 1e-12)
    part_of_batch = of_batch.mean(0)
    shares = softmax(-squares / temperature, axis=1)
    for number in range(_PASSES):
        if number:
            centres = _means(points, shares)
        squares = _square_distances(points, centres)
        total = shares.T @ of_batch
        for part in np.array_split(rng.permutation(len(points)), _N_PARTS):
            total -= shares[part].T @ of_batch[part]
            penalty = _penalty(total, part_of_batch, balance)
            shares[part] = softmax(-squares[part] / temperature - of_batch[part] @ penalty.T, axis=1)
            total += shares[part].T @ of_batch[part]
    return centres, temperature, _penalty(total, part_of_batch, balance), shares


def _penalty(total: np.ndarray, part_of_batch: np.ndarray, balance: float) -> np.ndarray:
    """Give what clusters cost points of the batches of which they hold more than an even share."""
    expected = total.sum(1, keepdims=True) * part_of_batch
    return balance * np.log((total + 1) / (expected + 1))


def _means(points: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Give the mean of each cluster."""
    return (shares.T @ points) / np.maximum(shares.sum(0), 1e-9)[:, None]


def _added(points: np.ndarray, shares: np.ndarray, of_batch: np.ndarray, ridge: float) -> np.ndarray:
    """Give what batches add to points, clusters x batches x dimensions: in every cluster a ridge regression on a mean and the batches."""
    added = np.empty((shares.shape[1], of_batch.shape[1], points.shape[1]))
    for number, share in enumerate(shares.T):
        size = share @ of_batch
        sums = (of_batch * share[:, None]).T @ points
        # the mean that is left when the shifts are at their best, and then these
        weight = ridge * size / (size + ridge)
        mean = (weight / np.maximum(size, 1e-12)) @ sums / max(weight.sum(), 1e-12)
        added[number] = (sums - size[:, None] * mean) / (size + ridge)[:, None]
    return added


def _shifts(shares: np.ndarray, of_batch: np.ndarray, added: np.ndarray) -> np.ndarray:
    """Give what the batch of each point adds to it."""
    shift = np.zeros((len(shares), added.shape[2]))
    for share, by_batch in zip(shares.T, added, strict=True):
        shift += share[:, None] * (of_batch @ by_batch)
    return shift


def _square_distances(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Give the squared distance of every point to every centre."""
    squares = (points**2).sum(1)[:, None] - 2 * points @ centres.T + (centres**2).sum(1)
    return np.maximum(squares, 0)
