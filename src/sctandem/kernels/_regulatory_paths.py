"""Paths from a regulator over a site to a gene: which there are, and what the accessibility of their sites tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit
from scipy import sparse

from sctandem.kernels._regulatory_scores import standardise

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

#: Exchanges tried per edge: beyond some ten the graph no longer changes in distribution.
SWAPS = 10


class Paths(NamedTuple):
    """Pairs of a regulator and a gene that are joined by a site, ordered by gene and regulator."""

    tf: np.ndarray
    """Position of the regulator, int64."""
    gene: np.ndarray
    """Position of the gene, int64."""
    site: np.ndarray
    """The site that weighs most, int64."""
    prior: np.ndarray
    """Sum over sites of binding times nearness, float64."""
    link: np.ndarray
    """The same, each site weighted by how strongly its accessibility goes with the expression of the gene, float64."""
    signal: np.ndarray
    """Accessibility of the sites, weighted by binding and nearness, states x pairs; standardised, float32."""


def find_paths(accessibility: np.ndarray, expression: np.ndarray, *, binding: csr_matrix, near: csr_matrix) -> Paths:
    """Follow all paths from regulators over sites to genes.

    Parameters
    ----------
    accessibility
        Of `standardise`, states x sites.
    expression
        Of `standardise`, states x genes.
    binding
        How surely each regulator binds each site, sites x regulators.
    near
        How near each site is to each gene, sites x genes.

    Returns
    -------
    The pairs.
    """
    n = max(len(accessibility), 1)
    columns, rows = near.tocsc(), binding.tocsr()
    parts: list[tuple[np.ndarray, ...]] = []
    for gene in range(near.shape[1]):
        span = slice(columns.indptr[gene], columns.indptr[gene + 1])
        sites = columns.indices[span]
        if not len(sites):
            continue
        weights = rows[sites].toarray() * columns.data[span][:, None]
        tfs = np.flatnonzero(weights.any(axis=0))
        if not len(tfs):
            continue
        weights, open_ = weights[:, tfs], accessibility[:, sites]
        linked = weights * np.abs(open_.T @ expression[:, gene] / n)[:, None]
        # where nothing varies the surest site stands for the path
        best = sites[np.where(linked.any(axis=0), linked.argmax(axis=0), weights.argmax(axis=0))]
        parts.append((tfs, np.full(len(tfs), gene), best, weights.sum(0), linked.sum(0), open_ @ weights))
    if not parts:
        none, nowhere = np.zeros(0), np.zeros(0, dtype=np.int64)
        signal = np.zeros((len(accessibility), 0), dtype=np.float32)
        return Paths(nowhere, nowhere, nowhere, none, none, signal)
    joined = [np.concatenate(each) for each in list(zip(*parts, strict=True))[:5]]
    signal = standardise(np.concatenate([part[5] for part in parts], axis=1))
    ends = [each.astype(np.int64) for each in joined[:3]]
    return Paths(ends[0], ends[1], ends[2], joined[3], joined[4], signal)


@njit(cache=True, nogil=True)
def _swap(rows: np.ndarray, columns: np.ndarray, taken: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
    for i in range(first.size):
        a, b = first[i], second[i]
        if taken[rows[a], columns[b]] or taken[rows[b], columns[a]]:
            continue
        taken[rows[a], columns[a]] = False
        taken[rows[b], columns[b]] = False
        taken[rows[a], columns[b]] = True
        taken[rows[b], columns[a]] = True
        rows[a], rows[b] = rows[b], rows[a]


def rewired(graph: csr_matrix, rng: np.random.Generator) -> csr_matrix:
    """Exchange the ends of random pairs of edges, so that all nodes keep their numbers of edges.

    Parameters
    ----------
    graph
        Rows x columns; what is not stored is no edge.
    rng
        Draws the pairs.

    Returns
    -------
    The graph with other edges; a column keeps its weights.
    """
    edges = graph.tocoo()
    rows, columns = edges.row.astype(np.int64), edges.col.astype(np.int64)
    taken = np.zeros(graph.shape, dtype=bool)
    taken[rows, columns] = True
    if rows.size > 1:
        first, second = rng.integers(rows.size, size=(2, SWAPS * rows.size))
        _swap(rows, columns, taken, first, second)
    return sparse.csr_matrix((edges.data, (rows, columns)), shape=graph.shape)
