"""Counts of every cell in the peaks that hold a feature: the product of sparse counts with a table of zeros and ones.

A word of six letters is in about one of five peaks, too many for a sparse product to gain. The zeros and ones are kept a byte
each, eight of them are added up by one 64-bit addition, and before a byte can overflow the sums go to wider ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sctandem._compat import cached_njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Counts above this are multiplied out instead of being added again and again.
_MANY = 16
#: Room in a byte.
_FULL = 255


def pack_matches(matches: Any, used: NDArray[np.bool_], start: int, stop: int) -> NDArray[np.uint64]:
    """Lay out whether each peak holds each of some features, a byte each, eight to a word.

    Parameters
    ----------
    matches
        Peaks x features, CSR; what is above 0 is a match.
    used
        Which peaks take part; the others are laid out as without matches.
    start, stop
        The first feature and one past the last.

    Returns
    -------
    Peaks x words, uint64; bytes past the last feature are 0.
    """
    packed = np.zeros((matches.shape[0], -(-(stop - start) // 8)), dtype=np.uint64)
    _pack(matches.indptr, matches.indices, matches.data, used, start, stop, packed.view(np.uint8))
    return packed


def add_matches(
    counts: tuple[NDArray, NDArray, NDArray], start: int, stop: int, packed: NDArray[np.uint64], n_features: int
) -> NDArray[np.int64]:
    """Add up the counts of each cell in the peaks that hold each feature.

    Parameters
    ----------
    counts
        `indptr`, `indices` and `data` of cells x peaks, CSR; whole numbers.
    start, stop
        The first cell and one past the last.
    packed
        What `pack_matches` gave.
    n_features
        Features in it.

    Returns
    -------
    Cells x features, exact.
    """
    sums = np.zeros((stop - start, 8 * packed.shape[1]), dtype=np.int64)
    small = np.zeros(packed.shape[1], dtype=np.uint64)
    _add(*counts, start, stop, packed, packed.view(np.uint8), small, small.view(np.uint8), sums)
    return sums[:, :n_features]


def add_bins(
    counts: tuple[NDArray, NDArray, NDArray], start: int, stop: int, bins: NDArray, rates: NDArray, n_bins: int
) -> NDArray[np.float64]:
    """Add up x, x^2 and x e of each cell over the peaks of each bin, for counts x and rates e.

    Parameters
    ----------
    counts
        As in `add_matches`.
    start, stop
        The first cell and one past the last.
    bins
        Bin of each peak; peaks with -1 are left out.
    rates
        Rate e of each peak.
    n_bins
        How many bins.

    Returns
    -------
    3 x cells x bins.
    """
    sums = np.zeros((3, stop - start, n_bins))
    _add_bins(*counts, start, stop, bins, rates, sums)
    return sums


@cached_njit(nogil=True)
def _pack(indptr, indices, data, used, start, stop, table):
    for p in range(table.shape[0]):
        if not used[p]:
            continue
        for i in range(indptr[p], indptr[p + 1]):
            f = indices[i]
            if start <= f < stop and data[i] > 0:
                table[p, f - start] = 1


@cached_njit(nogil=True)
def _add(indptr, indices, data, start, stop, packed, single, small, small_bytes, sums):
    for c in range(start, stop):
        total = sums[c - start]
        room = np.int64(_FULL)
        for i in range(indptr[c], indptr[c + 1]):
            p = indices[i]
            x = np.int64(data[i])
            if x > _MANY:
                for f in range(single.shape[1]):
                    total[f] += x * single[p, f]
                continue
            if x > room:
                for f in range(total.shape[0]):
                    total[f] += small_bytes[f]
                small[:] = 0
                room = np.int64(_FULL)
            room -= x
            for _ in range(x):
                for w in range(packed.shape[1]):
                    small[w] += packed[p, w]
        for f in range(total.shape[0]):
            total[f] += small_bytes[f]
        small[:] = 0


@cached_njit(nogil=True)
def _add_bins(indptr, indices, data, start, stop, bins, rates, sums):
    for c in range(start, stop):
        for i in range(indptr[c], indptr[c + 1]):
            p = indices[i]
            u = bins[p]
            if u >= 0:
                x = np.float64(data[i])
                sums[0, c - start, u] += x
                sums[1, c - start, u] += x * x
                sums[2, c - start, u] += x * rates[p]
