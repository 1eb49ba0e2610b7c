"""Bias-corrected deviations of accessibility: how much more open the peaks with a motif are than others like them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.stats import chi2, false_discovery_control

from sctandem.kernels._match_sums import add_bins, add_matches, pack_matches

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sctandem.kernels._background import PeakBackground

#: Cells that are worked on at once, and bytes of packed matches: what bounds the memory.
_CELLS, _BYTES = 256, 1 << 28
#: Variances below this part of the squared mean are rounding.
_ROUNDING = 1e-12

EXCHANGES = ("counts", "matches")


@dataclass(frozen=True, slots=True)
class Deviations:
    """Deviations of each cell and feature.

    Attributes
    ----------
    deviations
        Accessibility over what is expected, less what background peaks have, float32 (cells, features); NaN where it is not
        defined.
    z
        The same in standard deviations of the background, float32 (cells, features); 0 where it is not defined.
    """

    deviations: NDArray[np.float32]
    z: NDArray[np.float32]


class _Side(NamedTuple):
    """What the features bring to the moments: by bin for mean and variance, and of the expectation."""

    mean: NDArray[np.float32]
    variance: NDArray[np.float32]
    expected: NDArray[np.float64]
    spread: NDArray[np.float64]
    observed: NDArray[np.float64]


def expected_deviations(
    counts: Any,
    matches: Any,
    background: PeakBackground,
    *,
    exchange: str = "counts",
    min_expected: float = 1.0,
    tick: Callable[[int], None] | None = None,
) -> Deviations:
    r"""Give chromVAR's deviations and Z scores for infinitely many draws of background peaks.

    Parameters
    ----------
    counts
        Cells x peaks, CSR, whole numbers, canonical (sorted, no duplicates).
    matches
        Peaks x features, CSR; above 0 is a match.
    background
        What background peaks are drawn from.
    exchange
        What a draw exchanges: ``"counts"``, the peaks of the feature for their background peaks (chromVAR), or
        ``"matches"``, the matches of all peaks for those of their background peaks (pychromVAR).
    min_expected
        Where a cell is expected to have fewer counts in the peaks of a feature, nothing is said.
    tick
        Called after each block with how many deviations of cells were computed; all are cells x features.

    Returns
    -------
    The deviations. They do not depend on the number of threads.

    Notes
    -----
    With counts :math:`x_{cp}`, matches :math:`m_{pk} \in \{0, 1\}`, the depth :math:`n_c` of a cell and the share
    :math:`e_p` of a peak in all counts, the raw deviation is

    .. math:: y_{ck} = \frac{\sum_p m_{pk} x_{cp}}{n_c \sum_p m_{pk} e_p} - 1 .

    A draw puts a background peak :math:`b(p)` in the place of each peak :math:`p`, with ``exchange="counts"``

    .. math:: Y_{ck} = \sum_p m_{pk} x_{c b(p)}, \qquad E_k = \sum_p m_{pk} e_{b(p)}, \qquad y'_{ck} = Y_{ck} / (n_c E_k) - 1 ,

    and chromVAR subtracts from :math:`y_{ck}` the mean of :math:`y'_{ck}` over some 50 draws and divides by their standard
    deviation. The draws are independent between peaks, and the distribution of :math:`b(p)` is the same for all peaks of a
    bin :math:`u`: peak :math:`q` of bin :math:`v` with probability :math:`w_{uv} / n_v`. So with the number :math:`N_{uk}` of
    the bin's peaks that hold the feature, and mean, variance and covariance under the distribution of the bin,

    .. math::

        \langle Y_{ck} \rangle = \sum_u \mu_{cu} N_{uk}, \qquad \mu_{cu} = \sum_v w_{uv} \frac{1}{n_v} \sum_{q \in v} x_{cq},

        \mathrm{Var}(Y_{ck}) = \sum_u \mathrm{Var}_u(x_{cq}) N_{uk}, \qquad
        \mathrm{Cov}(Y_{ck}, E_k) = \sum_u \mathrm{Cov}_u(x_{cq}, e_q) N_{uk}, \qquad
        \mathrm{Var}(E_k) = \sum_u \mathrm{Var}_u(e_q) N_{uk} ,

    each a product of cells x bins by bins x features. With ``exchange="matches"``, :math:`Y_{ck} = \sum_p x_{cp} m_{b(p) k}`,
    and a match is a coin of probability :math:`\bar m_{uk} = \sum_v w_{uv} N_{vk} / n_v`:

    .. math::

        \langle Y_{ck} \rangle = \sum_u \Big(\sum_{p \in u} x_{cp}\Big) \bar m_{uk}, \qquad
        \mathrm{Var}(Y_{ck}) = \sum_u \Big(\sum_{p \in u} x_{cp}^2\Big) \bar m_{uk} (1 - \bar m_{uk}) ,

    and alike for the others, with :math:`x_{cp} e_p` and :math:`e_p^2`. The ratio is expanded around its means (delta method; with
    :math:`\rho = \langle Y \rangle / (n \langle E \rangle)`):

    .. math::

        \langle y' \rangle + 1 \approx \rho + \rho \frac{\mathrm{Var}(E)}{\langle E \rangle^2}
        - \frac{\mathrm{Cov}(Y, E)}{n \langle E \rangle^2}, \qquad
        \mathrm{Var}(y') \approx \frac{\mathrm{Var}(Y) / n^2 - 2 \rho\, \mathrm{Cov}(Y, E) / n + \rho^2\, \mathrm{Var}(E)}
        {\langle E \rangle^2} .

    Nothing but the ratio is approximate. With ``exchange="counts"`` background peaks are as accessible as the peaks themselves, so
    that :math:`E` hardly varies, and a feature of five peaks is as exact as one of thousands. With ``"matches"`` a draw changes how many
    peaks hold the feature: below about 20 peaks Z comes out some 10 % away from that of many draws.
    """
    depth, rates = _margins(counts, background)
    table = np.empty((2, counts.shape[0], matches.shape[1]), dtype=np.float32)
    per_peak = 8 * max(1, _BYTES // (8 * max(1, matches.shape[0])))
    blocks = [(i, min(i + _CELLS, counts.shape[0])) for i in range(0, counts.shape[0], _CELLS)]
    for start in range(0, matches.shape[1], per_peak):
        stop = min(start + per_peak, matches.shape[1])
        side = _feature_side(matches, start, stop, background, rates, exchange)
        packed = pack_matches(matches, background.bins >= 0, start, stop)
        fill = partial(
            _fill,
            counts=(counts.indptr, counts.indices, counts.data), packed=packed, depth=depth, rates=rates, side=side,
            background=background, exchange=exchange, min_expected=min_expected, out=table[:, :, start:stop],
        )  # fmt: skip
        _in_threads(fill, blocks, None if tick is None else partial(_report, tick, stop - start))
    return Deviations(*table)


def sampled_deviations(
    counts: Any,
    matches: Any,
    background: NDArray[np.integer],
    *,
    exchange: str = "counts",
    min_expected: float = 1.0,
) -> Deviations:
    """Give deviations and Z scores for background peaks that were drawn.

    Parameters
    ----------
    counts, matches, exchange, min_expected
        As in `expected_deviations`.
    background
        Position of the background peak of each peak in each draw, peaks x draws, at least two.

    Returns
    -------
    The deviations, with the mean and the standard deviation over the draws.
    """
    everything = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    totals = np.asarray(counts.sum(axis=0), dtype=np.float64).ravel()
    rates = totals / totals.sum()
    held = sparse.csr_matrix((matches.data > 0, matches.indices, matches.indptr), shape=matches.shape).astype(
        np.float64
    )
    held.eliminate_zeros()
    table = np.empty((2, counts.shape[0], matches.shape[1]), dtype=np.float32)
    cells = max(1, _BYTES // (32 * max(1, matches.shape[1])))
    drawn = [_exchanged(held, column, exchange) for column in background.T] if counts.shape[0] > cells else None
    for start in range(0, counts.shape[0], cells):
        block = counts[start : start + cells].astype(np.float64)
        depth = everything[start : start + cells, None]
        raw = _ratio(block, held, depth, rates)
        mean, squares = np.zeros_like(raw), np.zeros_like(raw)
        for i in range(background.shape[1]):
            each = _exchanged(held, background[:, i], exchange) if drawn is None else drawn[i]
            value = _ratio(block, each, depth, rates)
            step = value - mean
            mean += step / (i + 1)
            squares += step * (value - mean)
        known = _known(held, totals, rates @ held, depth, min_expected)
        variance = squares / (background.shape[1] - 1)
        table[:, start : start + cells] = _standardise(raw, mean, variance, known)
    return Deviations(*table)


def variability(z: NDArray[np.floating], known: NDArray[np.bool_]) -> tuple[NDArray, NDArray, NDArray]:
    """Say how much each feature varies between cells: standard deviation of Z, p-value and FDR.

    Parameters
    ----------
    z
        Z scores, cells x features.
    known
        Where they are defined, cells x features.

    Returns
    -------
    Standard deviation of Z, 1 where nothing but chance is at work; its p-value by the chi-squared distribution of the sum of
    squares; and the false discovery rate (Benjamini and Hochberg). NaN with fewer than two cells.
    """
    n = known.sum(axis=0)
    enough = n > 1
    spread, pvalue, fdr = (np.full(z.shape[1], np.nan) for _ in range(3))
    for f in np.flatnonzero(enough):
        spread[f] = z[known[:, f], f].astype(np.float64).std(ddof=1)
    pvalue[enough] = chi2.sf((n[enough] - 1) * spread[enough] ** 2, n[enough] - 1)
    fdr[enough] = false_discovery_control(pvalue[enough])
    return spread, pvalue, fdr


def _margins(counts: Any, background: PeakBackground) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the depth of each cell and the share of each peak, over peaks that take part."""
    used = background.bins >= 0
    totals = np.where(used, np.asarray(counts.sum(axis=0), dtype=np.float64).ravel(), 0.0)
    depth = np.asarray(counts @ used.astype(np.float64)).ravel()
    return depth, totals / totals.sum()


def _feature_side(
    matches: Any, start: int, stop: int, background: PeakBackground, rates: NDArray, exchange: str
) -> _Side:
    """Sum matches by bin, and take the moments of the expectation."""
    used = np.flatnonzero(background.bins >= 0)
    bins, size, e = background.bins[used], background.size, rates[used]
    membership = sparse.csr_matrix((np.ones(len(used)), (bins, used)), shape=(len(size), matches.shape[0]))
    part = matches[:, start:stop]
    held = sparse.csr_matrix(((part.data > 0).astype(np.float64), part.indices, part.indptr), shape=part.shape)
    number = (membership @ held).toarray()
    observed = rates @ held
    if exchange == "counts":
        mean = background.weights @ (np.bincount(bins, e) / size)
        variance = background.weights @ (np.bincount(bins, e**2) / size) - mean**2
        by_bin = number.astype(np.float32)
        return _Side(by_bin, by_bin, mean @ number, np.maximum(variance, 0) @ number, observed)
    share = background.weights @ (number / size[:, None])
    coin = share * (1 - share)
    expected, spread = np.bincount(bins, e) @ share, np.bincount(bins, e**2) @ coin
    return _Side(share.astype(np.float32), coin.astype(np.float32), expected, spread, observed)


def _cell_side(sums: NDArray, background: PeakBackground, rates: NDArray, exchange: str) -> NDArray[np.float32]:
    """Turn sums by bin into what the cells bring: for the mean, the variance and the covariance with the expectation."""
    if exchange == "matches":
        return sums.astype(np.float32)
    used = background.bins >= 0
    x, squares, cross = (each / background.size @ background.weights.T for each in sums)
    e = background.weights @ (np.bincount(background.bins[used], rates[used]) / background.size)
    return np.stack([x, np.maximum(squares - x**2, 0), cross - x * e]).astype(np.float32)


def _fill(
    start: int,
    stop: int,
    *,
    counts: tuple[NDArray, NDArray, NDArray],
    packed: NDArray[np.uint64],
    depth: NDArray[np.float64],
    rates: NDArray[np.float64],
    side: _Side,
    background: PeakBackground,
    exchange: str,
    min_expected: float,
    out: NDArray[np.float32],
) -> None:
    """Fill the deviations and Z scores of some cells."""
    sums = add_bins(counts, start, stop, background.bins, rates, len(background.size))
    cells = _cell_side(sums, background, rates, exchange)
    observed = add_matches(counts, start, stop, packed, out.shape[2])
    n = np.maximum(depth[start:stop, None], 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        rho = cells[0] @ side.mean / (n * side.expected)
        covariance = cells[2] @ side.variance / (n * side.expected**2)
        spread = side.spread / side.expected**2
        variance = cells[1] @ side.variance / (n * side.expected) ** 2
        variance += rho * (rho * spread - 2 * covariance)
        mean = rho * (1 + spread) - covariance - 1
        raw = observed / (n * side.observed) - 1
    known = n * side.observed >= max(min_expected, 1e-12)
    known &= side.observed < 1 - 1e-9
    known &= depth[start:stop, None] > 0
    out[:, start:stop] = _standardise(raw, mean, variance, known)


def _standardise(raw: NDArray, mean: NDArray, variance: NDArray, known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return bias-corrected deviations and Z scores."""
    known = known & np.isfinite(mean) & (variance > _ROUNDING)
    deviation = np.where(known, raw - mean, np.nan)
    z = np.divide(deviation, np.sqrt(variance, where=known, out=np.ones_like(raw)), where=known, out=np.zeros_like(raw))
    return np.stack([deviation, z]).astype(np.float32)


def _known(held: Any, totals: NDArray, share: NDArray, depth: NDArray, min_expected: float) -> NDArray[np.bool_]:
    """Say where something is defined: the cell has counts enough, and the feature is in some but not all peaks."""
    inside = np.asarray((totals > 0) @ held).ravel()
    some = (inside > 0) & (inside < (totals > 0).sum())
    return some & (depth > 0) & (depth * share >= min_expected)


def _ratio(block: Any, held: Any, depth: NDArray, rates: NDArray) -> NDArray[np.float64]:
    """Return the counts in the peaks of each feature over what is expected, less 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return (block @ held).toarray() / (depth * (rates @ held)) - 1


def _exchanged(held: Any, drawn: NDArray[np.integer], exchange: str) -> Any:
    """Put background peaks in the place of peaks, for one draw."""
    n = held.shape[0]
    moved = sparse.csr_matrix((np.ones(n), drawn, np.arange(n + 1)), shape=(n, n))
    return (moved.T @ held).tocsr() if exchange == "counts" else moved @ held


def _report(tick: Callable[[int], None], n_features: int, block: tuple[int, int]) -> None:
    """Say how many deviations a block of cells has."""
    tick((block[1] - block[0]) * n_features)


def _in_threads(
    fill: Any, blocks: list[tuple[int, int]], done: Callable[[tuple[int, int]], None] | None = None
) -> None:
    """Fill blocks of cells on as many threads as numba may use, each with a thread of BLAS for itself."""
    import numba
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(numba.get_num_threads()) as pool:
        for block, _ in zip(blocks, pool.map(lambda block: fill(*block), blocks), strict=True):
            if done is not None:
                done(block)
