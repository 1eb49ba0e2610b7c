"""What a type of cells expresses, from counts of single cells: a mean and how far samples lie from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import sparse

from sctandem.kernels._groups import group_sums

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    #: Positions of cells, and their counts.
    Block = tuple[np.ndarray, sparse.csr_matrix]

#: Molecules of the mean profile that are added to every type, so that no share is 0.
PRIOR_MOLECULES = 300.0
#: Standard deviation between donors, natural log, where one sample gives no information; and molecules that outweigh it.
DONOR_SPREAD = 0.3
_SPREAD_WEIGHT = 4.0
#: Counts to which cells are scaled before the logarithm by which they are compared.
_CELL_COUNTS = 1e4
#: Sums of samples within types that are held at once: 256 MB.
MOST_SUMS = 1 << 25
#: Counts per million that are added before markers are ranked by ratio: below it a ratio is chance.
_RANKED_ABOVE = 10.0


class Signature(NamedTuple):
    """Expression of types of cells.

    Attributes
    ----------
    molecules
        Sum of the counts of a type, types x genes.
    shares
        Expected share of a gene in the molecules of a type, types x genes; rows add up to 1.
    spread
        Standard deviation of the log expression between samples (donors), types x genes.
    clarity
        How clearly a type has more of a gene than every other: the least t of log-normalised cells, types x genes.
    """

    molecules: np.ndarray
    shares: np.ndarray
    spread: np.ndarray
    clarity: np.ndarray

    def at(self, genes: np.ndarray) -> Signature:
        """Keep some genes; shares add up to 1 again."""
        shares = self.shares[:, genes]
        return self._replace(
            molecules=self.molecules[:, genes],
            shares=shares / shares.sum(1, keepdims=True),
            spread=self.spread[:, genes],
            clarity=self.clarity[:, genes],
        )


def signature(
    counts: sparse.csr_matrix,
    types: np.ndarray,
    samples: np.ndarray | None = None,
    *,
    n_types: int | None = None,
    weights: np.ndarray | None = None,
) -> Signature:
    """Summarise counts by type.

    Parameters
    ----------
    counts
        Cells x genes.
    types
        Type of each cell, from 0 without gaps.
    samples
        Sample (donor) of each cell, from 0, negative where it is not known: such a cell has no part in the spread. `None` where there is
        one, or where it is not known of any.
    n_types
        Number of types; `None` for those that are there.
    weights
        What each cell counts, with mean 1 within a type; `None` for the same.

    Returns
    -------
    Molecules, shares, spread and clarity.

    Notes
    -----
    Shares are posterior means under a gamma prior of 300 molecules around the mean of the types. The spread is a method-of-moments
    estimate: the variance of log shares between samples beyond that of counting, drawn towards 0.3 by the weight of four samples.
    """
    n_types, whole = int(types.max()) + 1 if n_types is None else n_types, np.arange(len(types))
    return signature_of_blocks(lambda: [(whole, counts)], counts.shape[1], types, samples, n_types, weights)


def signature_of_blocks(
    blocks: Callable[[], Iterable[Block]],
    n_genes: int,
    types: np.ndarray,
    samples: np.ndarray | None,
    n_types: int,
    weights: np.ndarray | None = None,
) -> Signature:
    """Summarise counts by type as `signature` does, from blocks of cells of which one is held at a time.

    Parameters
    ----------
    blocks
        Gives the positions and counts of all cells, block by block; called anew for each pass.
    n_genes
        Number of genes.
    types, samples, n_types, weights
        As in :func:`signature`.

    Returns
    -------
    The same up to the rounding of sums.

    Notes
    -----
    One pass adds up the types. Where there are several samples, a second adds up these within types; more passes, each for
    some of the types, where types x samples x genes are more than 2^25 sums (256 MB).
    """
    molecules, logs, squares = (np.zeros((n_types, n_genes)) for _ in range(3))
    for cells, counts in _weighted(blocks(), weights):
        kinds = types[cells]
        molecules += group_sums(counts, kinds, n_types)
        scaled = _log_normalised(counts)
        logs += group_sums(scaled, kinds, n_types)
        scaled.data **= 2
        squares += group_sums(scaled, kinds, n_types)
    totals = molecules.sum(1, keepdims=True)
    mean = (molecules / np.maximum(totals, 1)).mean(0)
    least = mean[mean > 0].min() / 10 if mean.any() else 1.0
    mean = np.maximum(mean, least)  # a gene that no type has
    mean /= mean.sum()
    shares = (molecules + PRIOR_MOLECULES * mean) / (totals + PRIOR_MOLECULES)
    spread = np.full((n_types, n_genes), DONOR_SPREAD)
    if samples is not None and samples.max() > 0:
        for kind, each in _sample_sums(blocks, n_genes, types, samples, n_types, weights):
            seen = each.sum(1) >= PRIOR_MOLECULES * 10
            if seen.sum() > 1:
                spread[kind] = _spread(each[seen], shares[kind])
    return Signature(molecules, shares, spread, _clarity(logs, squares, np.bincount(types, minlength=n_types)))


def _weighted(blocks: Iterable[Block], weights: np.ndarray | None) -> Iterator[Block]:
    """Multiply the counts of cells by their weights."""
    for cells, counts in blocks:
        yield cells, counts if weights is None else (sparse.diags(weights[cells]) @ counts).tocsr()


def _sample_sums(
    blocks: Callable[[], Iterable[Block]],
    n_genes: int,
    types: np.ndarray,
    samples: np.ndarray,
    n_types: int,
    weights: np.ndarray | None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Add up the cells of each sample within each type, and give types with samples x genes; as many types in a pass as memory allows."""
    n_samples = int(samples.max()) + 1
    step = max(1, MOST_SUMS // (n_samples * n_genes))
    for first in range(0, n_types, step):
        last = min(first + step, n_types)
        found = np.zeros(((last - first) * n_samples, n_genes))
        for cells, counts in _weighted(blocks(), weights):
            here = np.flatnonzero((types[cells] >= first) & (types[cells] < last) & (samples[cells] >= 0))
            group = (types[cells[here]] - first) * n_samples + samples[cells[here]]
            _add_rows(found, counts if len(here) == len(cells) else counts[here], group)
        yield from enumerate(found.reshape(last - first, n_samples, n_genes), start=first)


def _add_rows(sums: np.ndarray, counts: sparse.csr_matrix, groups: np.ndarray) -> None:
    """Add the rows of each group to its sums, of those groups alone that are there."""
    there, code = np.unique(groups, return_inverse=True)
    if len(there):
        sums[there] += group_sums(counts, code, len(there))


def _log_normalised(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return the logarithm of 1 + counts scaled to 10,000 a cell."""
    depth = np.asarray(counts.sum(1), dtype=np.float64).ravel()
    cells = sparse.csr_matrix(sparse.diags_array(_CELL_COUNTS / np.maximum(depth, 1)) @ counts, dtype=np.float64)
    cells.data = np.log1p(cells.data)
    return cells


def _clarity(logs: np.ndarray, squares: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Compare the log-normalised cells of each type with those of every other, and give the least t; from sums and numbers of cells."""
    numbers = numbers[:, None]
    mean, square = logs / np.maximum(numbers, 1), squares / np.maximum(numbers, 1)
    error = np.maximum(square - mean**2, 0) / np.maximum(numbers - 1, 1)
    found = np.full(mean.shape, np.inf)
    for kind in range(len(mean)):
        t = (mean - mean[kind]) / np.sqrt(error + error[kind] + 1e-12)
        others = np.arange(len(mean)) != kind
        found[others] = np.minimum(found[others], t[others])
    return found


def _spread(molecules: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Estimate the spread between samples of one type, a gene; `molecules` is samples x genes."""
    expected = molecules.sum(1, keepdims=True) * shares
    logs = np.log((molecules + 1) / (expected + 1))
    excess = (logs - logs.mean(0)) ** 2 * len(logs) / (len(logs) - 1) - 1 / (expected + 1)
    weight = (expected / (expected + 5)).sum(0)
    variance = (excess * expected / (expected + 5)).sum(0)
    return np.sqrt(np.maximum(variance + _SPREAD_WEIGHT * DONOR_SPREAD**2, 1e-3) / (weight + _SPREAD_WEIGHT))


def telling_genes(
    signature: Signature,
    *,
    fold: float = 3.0,
    molecules: float = 100.0,
    per_million: float = 30.0,
    least: int = 100,
    most: int = 2000,
    usable: np.ndarray | None = None,
) -> np.ndarray:
    """Choose the genes that tell types apart and are measured well enough.

    Parameters
    ----------
    signature
        Expression of the types.
    fold
        Least ratio between the types with most and least.
    molecules
        Molecules that the type with most must have: a log share is then known to 10 %.
    per_million
        Molecules per million that the type with most must have; scarcer genes say more of what is not in the reference.
    least
        How many genes at least, where as many vary; the demand for molecules is halved until there are.
    most
        How many at most: those with the largest ratio.
    usable
        Mask of the genes to choose from; `None` for all.

    Returns
    -------
    Positions of genes, ascending.

    Notes
    -----
    A gene need not be the marker of one type: those that two related types share tell them from the rest. Without them the sum of
    related types is left to the few genes that tell each from the other.
    """
    logs = np.log(signature.shares)
    top = logs.argmax(0)
    found = signature.molecules[top, np.arange(logs.shape[1])]
    vary = (np.ptp(logs, axis=0) > np.log(fold)) & (signature.shares.max(0) * 1e6 >= per_million)
    if usable is not None:
        vary &= usable
    demand = molecules
    while demand > 5 and (vary & (found >= demand)).sum() < min(least, vary.sum()):
        demand /= 2
    chosen = np.flatnonzero(vary & (found >= demand))
    return np.sort(chosen[np.argsort(-np.ptp(logs[:, chosen], axis=0), kind="stable")[:most]])


def common_genes(
    signature: Signature, among: np.ndarray, n_genes: int, *, molecules: float = 100.0, per_million: float = 30.0
) -> np.ndarray:
    """Choose the genes that differ least between the types, of those well measured.

    Parameters
    ----------
    signature
        Expression of the types.
    among
        Mask of the genes to choose from.
    n_genes
        How many at most.
    molecules, per_million
        As in :func:`telling_genes`, but of all types together.

    Returns
    -------
    Positions of genes, ascending.
    """
    logs = np.log(signature.shares)
    fit = among & (signature.molecules.sum(0) >= molecules) & (signature.shares.max(0) * 1e6 >= per_million)
    candidates = np.flatnonzero(fit)
    return np.sort(candidates[np.argsort(np.ptp(logs[:, candidates], axis=0), kind="stable")[:n_genes]])


def marker_genes(
    signature: Signature,
    *,
    usable: np.ndarray,
    most: int = 50,
    clarity: float = 3.0,
    per_million: float = 20.0,
) -> np.ndarray:
    """Choose the genes that one type has more of than every other.

    Parameters
    ----------
    signature
        Expression of the types.
    usable
        Mask of the genes to choose from.
    most
        How many a type at most: those with the largest ratio to the next type.
    clarity
        Least t against every other type. Where a type has no such gene, those that it has most of stand in.
    per_million
        Molecules per million that the type must have.

    Returns
    -------
    Positions of genes, ascending.
    """
    levels = signature.shares * 1e6
    ranked = np.log(levels + _RANKED_ABOVE)
    two = np.sort(ranked, axis=0)[-2:]
    top, ratio = ranked.argmax(0), two[1] - two[0]
    found = []
    for kind in range(len(levels)):
        own = usable & (top == kind) & (ratio > 0)
        clear = own & (signature.clarity[kind] >= clarity) & (levels[kind] >= per_million)
        candidates = np.flatnonzero(clear if clear.any() else own)
        found.append(candidates[np.argsort(-ratio[candidates], kind="stable")[:most]])
    return np.sort(np.concatenate(found))
