"""What the count of a gene in a cell says beyond the depth of the cell and the mean of its stratum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Range of the overdispersion of a gene.
DISPERSION = (0.01, 10.0)
#: Rounds of depths and dispersions, which follow from each other.
ROUNDS = 3
#: A count is cut where it is more than this many standard deviations and one molecule above its mean.
CAP = 6.0


@dataclass(frozen=True, slots=True)
class CountModel:
    """Negative binomial counts whose mean is the depth of the cell times the share of the gene in the stratum.

    Attributes
    ----------
    strata
        Stratum of each cell, -1 for none, (cells,).
    depth
        Of each cell, (cells,).
    share
        Of each gene in the counts of each stratum, strata x genes.
    dispersion
        Of each gene, over all strata, (genes,): variance = mean + dispersion x mean^2.
    information
        On the log-depth of each cell, from all genes, (cells,).
    """

    strata: np.ndarray
    depth: np.ndarray
    share: np.ndarray
    dispersion: np.ndarray
    information: np.ndarray


def fit_count_model(counts: sparse.csr_matrix, strata: np.ndarray) -> CountModel:
    """Fit the depths, shares and dispersions.

    Parameters
    ----------
    counts
        Cells x genes, all genes that were measured.
    strata
        Stratum of each cell, -1 for none.

    Returns
    -------
    The model.

    Notes
    -----
    The depth of a cell is not its total, which a few abundant and variable genes decide: what one of them gains, all others seem to
    lose. Each gene is weighed by what it tells of the depth, 1 / (1 + dispersion x mean).
    """
    n_strata = int(strata.max()) + 1
    inside = np.flatnonzero(strata >= 0)
    groups = sparse.csr_matrix((np.ones(len(inside)), (inside, strata[inside])), shape=(len(strata), n_strata))
    sums = np.asarray((groups.T @ counts).todense(), dtype=np.float64)
    sizes = np.bincount(strata[inside], minlength=n_strata)
    depth = np.where(strata >= 0, np.asarray(counts.sum(1), dtype=np.float64).ravel(), 0)
    share = _shares(sums, strata, depth)
    for _ in range(ROUNDS):
        dispersion = _dispersion(counts, strata, share, depth, sizes)
        weight = 1 / (1 + dispersion * sums / np.maximum(sizes, 1)[:, None])
        reach = (share * weight).sum(1)
        for stratum in np.flatnonzero(reach > 0):
            cells = np.flatnonzero(strata == stratum)
            depth[cells] = counts[cells] @ weight[stratum] / reach[stratum]
        share = _shares(sums, strata, depth)
    reach = np.where(strata >= 0, (share * weight).sum(1)[strata], 0)
    return CountModel(strata, depth, share, dispersion, depth * reach)


def _shares(sums: np.ndarray, strata: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Return the share of each gene in the depth of each stratum."""
    inside = strata >= 0
    return sums / np.maximum(np.bincount(strata[inside], depth[inside], len(sums)), 1e-300)[:, None]


def _dispersion(
    counts: sparse.csr_matrix, strata: np.ndarray, share: np.ndarray, depth: np.ndarray, sizes: np.ndarray
) -> np.ndarray:
    """Estimate the dispersion of each gene by moments around the means of the strata."""
    excess, squared = np.zeros(counts.shape[1]), np.zeros(counts.shape[1])
    for stratum in np.flatnonzero(sizes > 1):
        cells = np.flatnonzero(strata == stratum)
        block, own = counts[cells].astype(np.float64), depth[cells]
        mean = share[stratum]
        squares = np.asarray(block.multiply(block).sum(0)).ravel()
        around = squares - 2 * mean * (block.T @ own) + mean**2 * (own**2).sum()
        # the mean was fitted to the same cells
        excess += around * len(cells) / (len(cells) - 1) - mean * own.sum()
        squared += mean**2 * (own**2).sum()
    return np.clip(np.divide(excess, squared, out=np.zeros_like(excess), where=squared > 0), *DISPERSION)


class CountScores:
    """Scores of some genes: the derivative of the log-likelihood by the log-rate, without what follows depth and stratum.

    Parameters
    ----------
    counts
        Cells x all genes of the model.
    model
        What `fit_count_model` gave.
    genes
        Positions of the genes.
    min_cells
        Strata with fewer cells are left out.

    Notes
    -----
    The score is (count - mean) / (1 + dispersion x mean), with variance mean / (1 + dispersion x mean): cells and strata that
    say more of a gene weigh more. A slope on the log-depth, common to all strata, is taken off for counts that are not
    proportional to the depth. Single counts far above their mean (of doublets, for example) are cut.
    """

    def __init__(self, counts: sparse.csr_matrix, model: CountModel, genes: np.ndarray, *, min_cells: int = 5) -> None:
        self._counts, self._model, self._genes = counts[:, genes], model, genes
        usable = np.where(model.depth > 0, model.strata, -1)
        sizes = np.bincount(usable[usable >= 0], minlength=len(model.share))
        order = np.argsort(usable, kind="stable")
        ends = np.cumsum(sizes) + (usable < 0).sum()
        cells = [order[end - size : end] for end, size in zip(ends, sizes, strict=True)]
        #: Cells of each stratum, (cells,) each; none for those that are left out.
        self.cells = [found if len(found) >= min_cells else found[:0] for found in cells]
        self.min_cells = min_cells
        self._slope = np.zeros(len(genes))
        along, squared = np.zeros(len(genes)), 0.0
        for stratum, score, _ in self:
            depth = self._log_depth(stratum)
            along += depth @ score
            squared += depth @ depth
        if squared > 0:
            self._slope = along / squared

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return len(self._genes)

    def __iter__(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield each stratum, the centred scores of its cells, and their variances by the model, cells x genes."""
        for stratum, cells in enumerate(self.cells):
            if not len(cells):
                continue
            mean = self._model.depth[cells, None] * self._model.share[stratum, self._genes]
            width = 1 + self._model.dispersion[self._genes] * mean
            highest = mean + 1 + CAP * np.sqrt(mean * width)
            score = (np.minimum(self._counts[cells].toarray(), highest) - mean) / width
            score -= score.mean(0)
            if self._slope.any():
                score -= np.outer(self._log_depth(stratum), self._slope)
            yield stratum, score, mean / width

    def information(self, stratum: int) -> np.ndarray:
        """Return the information on the log-depth of the cells of a stratum."""
        return self._model.information[self.cells[stratum]]

    def third(self, variance: np.ndarray) -> np.ndarray:
        """Return the third central moments of scores by the model, from their variances."""
        return variance * (1 + self._model.dispersion[self._genes] * variance)

    def _log_depth(self, stratum: int) -> np.ndarray:
        depth = np.log(self._model.depth[self.cells[stratum]])
        return depth - depth.mean()
