"""Scores of gene sets, many sets at a time, and random sets to compare them with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from scipy.stats import rankdata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

_BLOCK_VALUES = 2**24
"""Values that are worked on at a time."""


def expression_bins(means: ArrayLike, n_bins: int = 25) -> NDArray[np.int64]:
    """Put genes into bins of about equal size by their mean expression, as :func:`scanpy.tl.score_genes` does.

    Parameters
    ----------
    means
        Mean expression of each gene.
    n_bins
        Number of bins, at least 2.

    Returns
    -------
    The bin of each gene, lowest expression first. Genes of equal expression share a bin.

    Examples
    --------
    >>> from sctandem.kernels._gene_sets import expression_bins
    >>> expression_bins([0.1, 0.5, 0.2, 0.9], n_bins=3).tolist()
    [0, 1, 1, 2]
    """
    means = np.asarray(means)
    n_items = max(1, int(np.round(len(means) / (n_bins - 1))))
    return (rankdata(means, method="min") // n_items).astype(np.int64)


def membership(sets: Sequence[NDArray[np.int64]], n_genes: int) -> sparse.csr_array:
    """Write sets of genes as a matrix.

    Parameters
    ----------
    sets
        Positions of the genes of each set, without repeats.
    n_genes
        Number of all genes.

    Returns
    -------
    Sets x genes, 1.0 for a gene in the set.
    """
    rows = np.repeat(np.arange(len(sets)), [len(genes) for genes in sets])
    columns = np.concatenate(sets) if len(sets) else rows
    return sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(sets), n_genes))


def gene_set_scores(values: Any, bins: NDArray[np.int64], members: sparse.csr_array) -> NDArray[np.float64]:
    """Score sets of genes in cells: their mean expression minus that of all other genes of the same bins.

    Parameters
    ----------
    values
        Log-normalised expression, cells x genes; sparse or dense.
    bins
        The bin of each gene, of :func:`expression_bins`.
    members
        Sets x genes, of :func:`membership`; no set is empty.

    Returns
    -------
    Cells x sets.

    Notes
    -----
    The score is that of :func:`scanpy.tl.score_genes` with `ctrl_as_ref=False` and a `ctrl_size` above the size of the
    bins: where scanpy by default draws 50 reference genes a bin, all of them are used, so nothing is random. The set is
    left without a reference when it holds every gene of its bins.
    """
    n_cells, n_genes = values.shape
    binned = membership([np.flatnonzero(bins == code) for code in np.unique(bins)], n_genes)
    used = (((binned @ members.T).toarray()) > 0).astype(np.float64)
    size = members.sum(axis=1)
    rest = binned.sum(axis=1) @ used - size
    scores = np.empty((n_cells, members.shape[0]))
    step = max(1, _BLOCK_VALUES // n_genes)
    for start in range(0, n_cells, step):
        block = values[start : start + step]
        sums, totals = _sums(block, members), _sums(block, binned)
        reference = np.divide(totals @ used - sums, rest, out=np.zeros_like(sums), where=rest > 0)
        scores[start : start + step] = sums / size - reference
    return scores


def matched_sets(
    bins: NDArray[np.int64], genes: ArrayLike, n_sets: int, *, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Draw random sets that have as many genes of each bin as a given set has.

    Parameters
    ----------
    bins
        The bin of each gene.
    genes
        Positions of the genes of the set.
    n_sets
        How many to draw.
    rng
        Where they are drawn from.

    Returns
    -------
    Positions of the genes of each set, without repeats. Genes of the given set may be drawn: it is one of those that
    can come out.
    """
    codes, numbers = np.unique(bins[np.asarray(genes)], return_counts=True)
    parts = []
    for code, number in zip(codes, numbers, strict=True):
        pool = np.flatnonzero(bins == code)
        order = rng.random((n_sets, len(pool))).argpartition(number - 1, axis=1)[:, :number]
        parts.append(pool[order])
    return list(np.concatenate(parts, axis=1))


def _sums(block: Any, members: sparse.csr_array) -> NDArray[np.float64]:
    """Sum of the genes of each set, cells x sets."""
    if sparse.issparse(block):
        return (block @ members.T).toarray().astype(np.float64)
    return (members @ np.ascontiguousarray(block.T, dtype=np.float64)).T
