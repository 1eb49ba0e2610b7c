"""Counts of a source on the genes of a collection: columns moved and added up, checked, and hashed, in one go."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from sctandem._compat import cached_njit

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Sets of genes that are compared with one another; cells of further sets are not looked at for duplicates.
MOST_SETS = 16
#: Fewest genes that two sets must share, and fewest of the shared genes above zero in a cell: in two sets, and in one.
SHARED_GENES, ABOVE_ZERO, ABOVE_ZERO_IN_ONE = 200, 25, 10
_FAULTS = {1: "contains NaN or infinite values", 2: "contains negative values", 3: "does not hold counts"}
_DE_BRUIJN = 0x03F79D71B4CB0A89
_BARCODE = re.compile(r"[ACGTN]{6,}")


class Harmonised(NamedTuple):
    """Counts on the axis, and what tells cells apart.

    Attributes
    ----------
    counts
        Cells x genes of the axis, whole numbers; columns sorted, each once.
    hashes
        uint64, cells x sets: of the counts of the genes that each set has; 0 where too few of them are above zero.
    totals
        float64, (cells,): counts on the axis.
    outside
        float64, (cells,): counts of genes that are not on it.
    """

    counts: sparse.csr_matrix
    hashes: np.ndarray
    totals: np.ndarray
    outside: np.ndarray


class GeneSets(NamedTuple):
    """Which genes sources have, for hashes that are the same for one cell in two sources with different genes.

    Attributes
    ----------
    bits
        uint64, (genes of the axis,): bit i says that set i has the gene.
    least
        int64, sets x sets: fewest shared genes above zero that tell a cell; a huge number where two sets share too few.
    of_source
        Set of each source; -1 for none of those that are compared.
    """

    bits: np.ndarray
    least: np.ndarray
    of_source: list[int]


def gene_sets(positions: Sequence[np.ndarray], n_genes: int) -> GeneSets:
    """Find the different sets of genes of sources.

    Parameters
    ----------
    positions
        Of each source: the places of its genes on the axis; -1 for none.
    n_genes
        Genes of the axis.

    Returns
    -------
    The first 16 sets, in the order in which they are met.
    """
    found: dict[bytes, int] = {}
    of_source, members = [], []
    for places in positions:
        has = np.zeros(n_genes, dtype=bool)
        has[places[places >= 0]] = True
        key = np.packbits(has).tobytes()
        if key not in found:
            found[key] = len(found)
            members.append(has)
        of_source.append(found[key] if found[key] < MOST_SETS else -1)
    stacked = np.array(members[:MOST_SETS])
    bits = np.zeros(n_genes, dtype=np.uint64)
    for i, has in enumerate(stacked):
        bits[has] |= np.uint64(1) << np.uint64(i)
    shared = stacked.astype(np.int64) @ stacked.T.astype(np.int64)
    least = np.where(shared >= SHARED_GENES, ABOVE_ZERO, np.iinfo(np.int64).max)
    np.fill_diagonal(least, ABOVE_ZERO_IN_ONE)
    return GeneSets(bits, least.astype(np.int64), of_source)


def harmonise(counts: sparse.csr_matrix, positions: np.ndarray, bits: np.ndarray, least: np.ndarray) -> Harmonised:
    """Move counts onto the axis.

    Parameters
    ----------
    counts
        Cells x genes of the source.
    positions
        int32: the place of each of its genes on the axis; -1 for none.
    bits, least
        Those of `gene_sets`, of `least` the row of the set of the source.

    Returns
    -------
    Counts and hashes.

    Raises
    ------
    ValueError
        When a value is not finite, below 0, or not whole; names it.
    """
    n_cells, n_genes = counts.shape[0], len(bits)
    indptr = counts.indptr.astype(np.int64)
    out_ptr = np.zeros(n_cells + 1, dtype=np.int64)
    places, values = np.empty(counts.nnz, dtype=np.int32), np.empty(counts.nnz, dtype=np.int64)
    hashes, sums = np.zeros((n_cells, len(least)), dtype=np.uint64), np.zeros((n_cells, 2))
    fault, where = _harmonise_rows(
        indptr,
        counts.indices.astype(np.int32, copy=False),
        counts.data.astype(np.float64, copy=False),
        positions,
        bits,
        least,
        out_ptr,
        places,
        values,
        hashes,
        sums,
        _bit_places(),
    )
    if fault:
        msg = f"{_FAULTS[fault]} (for example {counts.data[where]})"
        raise ValueError(msg)
    places, values = places[: out_ptr[-1]], values[: out_ptr[-1]]
    kind = np.min_scalar_type(int(values.max(initial=0)))
    matrix = sparse.csr_matrix((values.astype(kind), places, out_ptr), shape=(n_cells, n_genes))
    return Harmonised(matrix, hashes, sums[:, 0], sums[:, 1])


def barcode_hashes(names: Sequence[str]) -> np.ndarray:
    """Hash the barcodes within names of cells: their letters of DNA, or the whole name where there are none.

    Parameters
    ----------
    names
        Names of cells.

    Returns
    -------
    uint64, (cells,). Prefixes and suffixes that name samples do not matter.

    Examples
    --------
    >>> from sctandem.kernels._harmonise import barcode_hashes
    >>> first, second = barcode_hashes(["AAACCTGAGAAACCAT-1", "liver_AAACCTGAGAAACCAT"])
    >>> bool(first == second)
    True
    """
    found = ["".join(_BARCODE.findall(name)) or name for name in names]
    return pd.util.hash_array(np.array(found, dtype=object), categorize=False)


def cell_keys(hashes: np.ndarray, barcodes: np.ndarray) -> np.ndarray:
    """Join hashes of counts and of barcodes, uint64, (cells,); 0 stays 0: cells without counts are not told apart."""
    with np.errstate(over="ignore"):
        mixed = (hashes ^ (barcodes * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(29)
    return np.where(hashes == 0, np.uint64(0), np.maximum(mixed, np.uint64(1)))


def later_duplicates(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find cells whose key an earlier cell has.

    Parameters
    ----------
    keys
        uint64, in the order of the cells; 0 is never a duplicate.

    Returns
    -------
    Their positions, ascending, and those of the first cell with the same key.
    """
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    same = np.r_[False, (ranked[1:] == ranked[:-1]) & (ranked[1:] != 0)]
    starts = np.maximum.accumulate(np.where(same, 0, np.arange(len(keys))))
    later, first = order[same], order[starts[same]]
    back = np.argsort(later)
    return later[back], first[back]


def _bit_places() -> np.ndarray:
    """Give the place of the one bit of a word by the top six bits of its product with a de Bruijn number."""
    places = np.zeros(64, dtype=np.int32)
    for bit in range(64):
        places[((_DE_BRUIJN << bit) & 0xFFFFFFFFFFFFFFFF) >> 58] = bit
    return places


@cached_njit(nogil=True)
def _harmonise_rows(
    indptr, indices, data, positions, bits, least, out_ptr, out_indices, out_values, hashes, sums, places
):  # type: ignore[no-untyped-def]
    """Write the entries of each row in the order of the axis; return a fault and its entry.

    A row is added up in `row_sums`; `touched` has a bit for each gene, so that reading it gives the genes in order without a sort.
    """
    row_sums = np.zeros(len(bits), dtype=np.int64)
    touched = np.zeros(len(bits) // 64 + 1, dtype=np.uint64)
    one, golden, bruijn = np.uint64(1), np.uint64(0x9E3779B97F4A7C15), np.uint64(_DE_BRUIJN)
    above, mixes = np.zeros(len(least), dtype=np.uint64), np.zeros(len(least), dtype=np.uint64)
    n_out = 0
    for row in range(len(indptr) - 1):
        for i in range(indptr[row], indptr[row + 1]):
            value = data[i]
            if not np.isfinite(value):
                return 1, i
            if value < 0:
                return 2, i
            whole = np.int64(value)
            if whole != value or whole >= 2147483648:
                return 3, i
            place = positions[indices[i]]
            if place < 0:
                sums[row, 1] += value
            elif whole:
                row_sums[place] += whole
                touched[place >> 6] |= one << np.uint64(place & 63)
        above[:], mixes[:] = 0, 0
        for block in range(len(touched)):
            word = touched[block]
            touched[block] = 0
            while word:
                lowest = word & (~word + one)
                word ^= lowest
                place = (block << 6) + places[(lowest * bruijn) >> np.uint64(58)]
                count = row_sums[place]
                row_sums[place] = 0
                out_indices[n_out], out_values[n_out] = place, count
                n_out += 1
                sums[row, 0] += count
                mixed = ((np.uint64(place) << np.uint64(32)) | np.uint64(count)) + golden
                mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
                mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
                mixed ^= mixed >> np.uint64(31)
                here = bits[place]
                for i in range(len(least)):
                    bit = (here >> np.uint64(i)) & one
                    mixes[i] += mixed * bit
                    above[i] += bit
        for i in range(len(least)):
            hashes[row, i] = max(mixes[i], one) if np.int64(above[i]) >= least[i] else np.uint64(0)
        out_ptr[row + 1] = n_out
    return 0, 0
