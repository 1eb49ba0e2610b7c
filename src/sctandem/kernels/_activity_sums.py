"""Sums of the signal of a block of cells for genes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sctandem._compat import cached_njit

if TYPE_CHECKING:
    from sctandem.kernels._gene_activity import Pairs


def effective_number(pairs: Pairs, signal: np.ndarray, n_genes: int) -> np.ndarray:
    """Count from how many sources the signal of a gene comes: the exponential of the entropy of their shares.

    Parameters
    ----------
    pairs
        With their weights.
    signal
        Of each source, summed over the cells.
    n_genes
        How many genes there are.

    Returns
    -------
    Between 1 (one source brings it all) and the number of sources; 0 for genes without signal.
    """
    given = np.abs(pairs.weight * signal[pairs.source])
    total = np.bincount(pairs.gene, given, minlength=n_genes)
    share = given[given > 0] / total[pairs.gene[given > 0]]
    entropy = np.bincount(pairs.gene[given > 0], -share * np.log(share), minlength=n_genes)
    return np.where(total > 0, np.exp(entropy), 0.0)


class GeneSums(NamedTuple):
    """Sums of a block of cells; counts and scores as data, indices and indptr of cells x genes in the CSR format, sorted."""

    counts: tuple[np.ndarray, np.ndarray, np.ndarray]
    """int32."""
    scores: tuple[np.ndarray, np.ndarray, np.ndarray]
    """float32."""
    unassigned: np.ndarray
    """Of each cell the counts that no gene owns, int64."""
    size: np.ndarray
    """Of each cell the sum of the scores, float64."""
    counted: np.ndarray
    """Of each source the counts, int64."""
    capped: np.ndarray
    """Of each source the counts that entered the scores, int64."""
    largest: int
    """The largest count of a gene in a cell: int32 may be too small for it."""


@cached_njit(nogil=True)
def _room(indptr, indices, per_source, n_genes):  # pragma: no cover
    room = 0
    for cell in range(len(indptr) - 1):
        most = 0
        for at in range(indptr[cell], indptr[cell + 1]):
            most += per_source[indices[at]]
        room += min(most, n_genes)  # no cell fills more places than it has pairs, or than there are genes
    return room


@cached_njit(nogil=True)
def _sum_rows(indptr, indices, data, owner, starts, genes, weights, ceiling, n_genes, room):  # pragma: no cover
    n_cells, n_sources = len(indptr) - 1, len(owner)
    count, score = np.zeros(n_genes, np.int64), np.zeros(n_genes, np.float64)
    count_ptr, score_ptr = np.zeros(n_cells + 1, np.int64), np.zeros(n_cells + 1, np.int64)
    # one place more: what comes out as zero is written and then overwritten
    count_gene, count_value = np.empty(room + 1, np.int32), np.empty(room + 1, np.int32)
    score_gene, score_value = np.empty(room + 1, np.int32), np.empty(room + 1, np.float32)
    unassigned, size = np.zeros(n_cells, np.int64), np.zeros(n_cells, np.float64)
    counted, capped = np.zeros(n_sources, np.int64), np.zeros(n_sources, np.int64)
    n_counts, n_scores, largest = 0, 0, 0
    for cell in range(n_cells):
        for at in range(indptr[cell], indptr[cell + 1]):
            source, value = indices[at], data[at]
            signal = min(value, ceiling)
            counted[source] += value
            capped[source] += signal
            gene = owner[source]
            if gene >= 0:
                count[gene] += value
            else:
                unassigned[cell] += value
            for pair in range(starts[source], starts[source + 1]):
                score[genes[pair]] += weights[pair] * signal
        for gene in range(n_genes):
            largest = max(largest, count[gene])
            count_gene[n_counts], count_value[n_counts] = gene, count[gene]
            n_counts += count[gene] != 0
            score_gene[n_scores], score_value[n_scores] = gene, score[gene]
            n_scores += score[gene] != 0
            size[cell] += score[gene]
        count[:], score[:] = 0, 0
        count_ptr[cell + 1], score_ptr[cell + 1] = n_counts, n_scores
    return (
        (count_value[:n_counts].copy(), count_gene[:n_counts].copy(), count_ptr),
        (score_value[:n_scores].copy(), score_gene[:n_scores].copy(), score_ptr),
        unassigned,
        size,
        counted,
        capped,
        largest,
    )


def gene_sums(
    block: tuple[np.ndarray, np.ndarray, np.ndarray], owner: np.ndarray, pairs: Pairs, n_genes: int, ceiling: int | None
) -> GeneSums:
    """Sum the signal of a block of cells for every gene.

    Parameters
    ----------
    block
        Counts of the cells, cells x sources, as data, indices and indptr of the CSR format without duplicates.
    owner
        As `owners` returns it.
    pairs
        With their weights, ordered by source.
    n_genes
        How many genes there are.
    ceiling
        Counts of one source in one cell above this add nothing to the score; they are counted all the same.

    Returns
    -------
    The sums.
    """
    data, indices, indptr = block
    starts = np.searchsorted(pairs.source, np.arange(len(owner) + 1))
    room = _room(indptr, indices, np.maximum(np.diff(starts), owner >= 0), n_genes)
    limit = np.iinfo(np.int64).max if ceiling is None else ceiling
    data = data.astype(np.int64, copy=False)
    return GeneSums(*_sum_rows(indptr, indices, data, owner, starts, pairs.gene, pairs.weight, limit, n_genes, room))
