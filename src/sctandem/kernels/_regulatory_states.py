"""Groups of alike cells, what they express, and the null distributions of regulatory pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from sctandem.kernels._regulatory_paths import find_paths, rewired
from sctandem.kernels._regulatory_scores import squared_z, standardise

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

#: Components in which alike cells are looked for.
_COMPONENTS = 20
#: Cells that a state holds at the least, on average, and states that there are at the least.
_CELLS, _STATES = 5, 10
#: Permutations of cells, and rewired graphs: their statistics are pooled over all pairs.
PERMUTATIONS, REWIRINGS = 20, 3


def cell_states(values: np.ndarray, n_states: int, seed: int) -> np.ndarray:
    """Group alike cells (k-means in principal components).

    Parameters
    ----------
    values
        Of `standardise`, cells x genes.
    n_states
        How many groups, at most.
    seed
        Of the components and of k-means.

    Returns
    -------
    The group of each cell, int64, without gaps.
    """
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.decomposition import TruncatedSVD

    n_states = min(n_states, max(len(values) // _CELLS, _STATES), len(values))
    n_components = max(1, min(_COMPONENTS, *(n - 1 for n in values.shape)))
    places = TruncatedSVD(n_components, random_state=seed).fit_transform(values)
    groups = MiniBatchKMeans(n_states, random_state=seed, n_init=3).fit_predict(places)
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


def state_means(values: ArrayLike, states: np.ndarray) -> np.ndarray:
    """Average over the cells of each state.

    Parameters
    ----------
    values
        Cells x features, dense or sparse.
    states
        The state of each cell.

    Returns
    -------
    States x features, float64.
    """
    n = np.bincount(states)
    share = sparse.csr_matrix((1 / n[states], (states, np.arange(len(states)))))
    means = share @ values
    return means.toarray() if sparse.issparse(means) else np.asarray(means)


class PairStatistics:
    """How strongly regulators go with genes: sums of squared correlations over what is known of a pair.

    Each part is scaled so that it is 1 on average where cells are permuted; parts of pairs that have none are left out.

    Parameters
    ----------
    ranks
        Of `standard_ranks`, cells x genes.
    values
        Of `standardise`, cells x genes.
    regulators
        Positions of the regulators among the genes.
    activity
        Accessibility of the sites of each regulator, cells x regulators, standardised; `None` without sites.
    """

    def __init__(
        self, ranks: np.ndarray, values: np.ndarray, regulators: np.ndarray, activity: np.ndarray | None = None
    ) -> None:
        self._ranks, self._values, self._regulators, self._activity = ranks, values, regulators, activity

    def common(self, order: np.ndarray | None = None, activity: np.ndarray | None = None) -> np.ndarray:
        """Return the statistics of all pairs, regulators x genes, with the cells of the genes in another order."""
        first = self._ranks[:, self._regulators]
        sites = self._activity if activity is None else activity
        if order is not None:  # the few regulators the other way round: the same sums, and not all genes to move
            back = np.argsort(order)
            first, sites = first[back], None if sites is None else sites[back]
        total = squared_z(first, self._ranks)
        if sites is not None:
            total += squared_z(sites, self._values)
        return total


def path_statistics(
    cells: sparse.csc_matrix,
    values: np.ndarray,
    orders: np.ndarray,
    *,
    binding: sparse.csr_matrix,
    near: sparse.csr_matrix,
) -> np.ndarray:
    """Return the squared correlation of each path with its gene over cells, times cells less 1.

    Cells and not states are compared: states were found by expression, so that their means are no longer exchangeable.

    Parameters
    ----------
    cells
        Accessibility, cells x sites.
    values
        Of `standardise`, cells x genes.
    orders
        In which orders the cells of the genes are taken, orders x cells.
    binding, near
        Sites x regulators and sites x genes.

    Returns
    -------
    Orders x paths, the paths in the order of `find_paths`.
    """
    columns, rows, open_ = near.tocsc(), binding.tocsr(), cells.tocsc()
    n, parts = len(values), [np.zeros((len(orders), 0))]
    for gene in range(near.shape[1]):
        span = slice(columns.indptr[gene], columns.indptr[gene + 1])
        sites = columns.indices[span]
        if not len(sites):
            continue
        weights = rows[sites].toarray() * columns.data[span][:, None]
        weights = weights[:, weights.any(axis=0)]
        if weights.shape[1]:
            signal = standardise(open_[:, sites] @ weights)
            parts.append((values[:, gene][orders] @ signal / n) ** 2 * (n - 1))
    return np.concatenate(parts, axis=1)


def rewired_statistics(
    found: PairStatistics,
    accessibility: np.ndarray,
    expression: np.ndarray,
    *,
    binding: sparse.csr_matrix,
    near: sparse.csr_matrix,
    cells: sparse.csr_matrix,
    values: np.ndarray,
    allowed: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the statistics of pairs whose regulators bind other sites, as many each; pairs that exist are left out.

    Parameters
    ----------
    found
        Of the data.
    accessibility, expression
        Of `standardise`, states x sites and states x genes.
    binding, near
        Sites x regulators and sites x genes.
    cells, values
        Accessibility, cells x sites, and expression, of `standardise`, cells x genes.
    allowed
        Which pairs may be edges, regulators x genes: a gene with itself would be the strongest of all.
    rng
        Draws the other sites.

    Returns
    -------
    The statistics of all pairs of all rewired graphs.
    """
    new = ((binding.T @ near).toarray() == 0) & allowed
    parts = []
    for _ in range(REWIRINGS):
        other = rewired(binding, rng)
        paths = find_paths(accessibility, expression, binding=other, near=near)
        activity = standardise((cells @ other).toarray())
        statistics = found.common(activity=activity)[paths.tf, paths.gene]
        as_is = np.arange(len(values))[None]
        statistics = statistics + path_statistics(cells, values, as_is, binding=other, near=near)[0]
        parts.append(statistics[new[paths.tf, paths.gene]])
    return np.concatenate(parts)
