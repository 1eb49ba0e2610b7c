"""What closing a peak does to a gene: the effects of peaks as a mixture of nothing and something, and what follows for groups of cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm

from sctandem.kernels._cell_functions import cell_functions
from sctandem.kernels._gene_function import peak_effects

if TYPE_CHECKING:
    from scipy import sparse

    from sctandem.kernels._gene_function import PeakEffects
    from sctandem.kernels._window_features import Windows

#: Components of the chromatin: more of them add noise to the responses of peaks, and with it false peaks to share the credit with.
N_FUNCTIONS = 10
#: Parts of the genome, at most, each of whole chromosomes.
N_PARTS = 8
#: Classes of pairs by the size of what is expected of them, each with shares of its own.
N_CLASSES = 6
#: Means (in the expected direction) and standard deviations of the normal distributions that effects are mixed from, natural-log units.
#: The first is nothing.
MEANS = np.array([0.0, 0.0, 0.0, 0.0, 0.4, 0.4, 0.8, 0.8, -0.4])
SPREADS = np.array([0.01, 0.05, 0.15, 0.4, 0.15, 0.3, 0.2, 0.4, 0.3])
#: Pairs that speak for nothing in each class before any is seen, and rounds of learning.
PRIOR_PAIRS, ROUNDS = 10.0, 200
#: Counts that are added to those of a group at the peak's overall rate, and the spread of ATAC counts around Poisson: a fragment is two cuts.
PRIOR_COUNTS, CUTS = 5.0, 2.0
#: How far the logarithm of expression may be from linear in openness: standard deviation of the natural logarithm of the factor.
NONLINEAR = 0.5
#: Draws from which intervals are read, and pairs that are drawn at once.
N_DRAWS, BLOCK = 500, 200


@dataclass(frozen=True, slots=True)
class Closing:
    """Loss of a gene's log rate when a peak closes in a cell of average openness: for each pair a mixture of normals.

    Attributes
    ----------
    share, mean, sd
        Of the parts, pairs x parts.
    point
        Best guess, (pairs,); 0 where nothing was tested.
    tested
        Pairs with counts enough, (pairs,).
    """

    share: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    point: np.ndarray
    tested: np.ndarray

    def draw(self, pairs: np.ndarray, n_draws: int, *, rng: np.random.Generator) -> np.ndarray:
        """Draw losses of some pairs, draws x pairs."""
        edge = np.cumsum(self.share[pairs], axis=1)
        part = (rng.random((n_draws, pairs.size, 1)) > edge).sum(2).clip(0, edge.shape[1] - 1)
        at = np.arange(pairs.size)
        return self.mean[pairs][at, part] + self.sd[pairs][at, part] * rng.normal(size=part.shape)


def closing_effects(
    rna: sparse.csr_matrix,
    atac: sparse.csr_matrix,
    windows: Windows,
    *,
    library: np.ndarray,
    chromosome: np.ndarray,
    batch: np.ndarray | None = None,
    told: np.ndarray | None = None,
    n_members: int = 4,
    rng: np.random.Generator,
) -> Closing:
    """Learn what closing each peak does to each gene of its windows.

    Parameters
    ----------
    rna, atac
        Counts, cells x genes and cells x peaks; no cell is empty.
    windows
        The windows.
    library
        Library size of the RNA of each cell, (cells,).
    chromosome
        Name or code of each gene's chromosome, (genes,).
    batch
        Columns that are 1 in the cells of a batch, cells x batches; `None` for one batch.
    told
        As in `peak_effects`.
    n_members
        Members of the ensemble beside the fit to all cells, each fitted without its part of them; 0 or 1 for none.
    rng
        Draws the parts.

    Returns
    -------
    The effects.
    """
    # each part of the genome is told what to expect by the others
    part_of_genome = np.unique(chromosome, return_inverse=True)[1] % N_PARTS

    def fit(cells: np.ndarray) -> tuple[PeakEffects, np.ndarray]:
        kept = atac[cells]
        told_batch = None if batch is None else batch[cells]
        functions = cell_functions(rna[cells], kept, library=library[cells], batch=told_batch, n_functions=N_FUNCTIONS)
        openness = np.asarray((kept > 0).mean(axis=0)).ravel()
        effects = peak_effects(windows, functions, openness, chromosome=part_of_genome, told=told, sharp=True)
        return effects, np.linalg.norm(functions.response, axis=1)[windows.peak]

    def weigh(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        effects, size = fit(cells)
        tested = np.isfinite(effects.effect) & (size > 0)
        unit = np.where(tested, 1 / np.maximum(size, 1e-9), 0.0)
        effect, se = np.nan_to_num(effects.effect) * unit, np.where(tested, np.nan_to_num(effects.se) * unit, 1e3)
        share, mean, sd = _mix(effect, se, effects.expected * unit, tested)
        # shrunken by the mixture and by generalised least squares: the one knows of nothing, the other of all peaks at once
        point = np.where(tested, 0.5 * ((share * mean).sum(axis=1) + effects.score * unit), 0.0)
        return share, mean, sd, point, tested

    whole = weigh(np.arange(library.size))
    part = rng.permutation(library.size) % max(n_members, 1)
    members = [whole, *(weigh(np.flatnonzero(part != number)) for number in range(n_members) if n_members > 1)]
    share, mean, sd = (np.concatenate([member[at] for member in members], axis=1) for at in range(3))
    point = np.mean([member[3] for member in members], axis=0)
    return Closing(share / len(members), mean, sd, point, whole[4])


def _mix(
    effect: np.ndarray, se: np.ndarray, expected: np.ndarray, tested: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Learn the shares of the parts in each class of pairs by expectation maximisation, and return those of each pair with its posteriors."""
    size = np.abs(expected)
    edges = np.quantile(size[tested], np.linspace(0, 1, N_CLASSES + 1)[1:-1]) if tested.any() else np.zeros(1)
    group = np.searchsorted(edges, size)
    prior = np.where(expected < 0, -1.0, 1.0)[:, None] * MEANS
    variance = se[:, None] ** 2 + SPREADS**2
    likelihood = norm.logpdf(effect[:, None], prior, np.sqrt(variance))
    likelihood = np.exp(likelihood - likelihood.max(axis=1, keepdims=True))
    shares = np.full((N_CLASSES, MEANS.size), 1 / MEANS.size)
    first = PRIOR_PAIRS * (np.arange(MEANS.size) == 0)
    members = [np.flatnonzero(tested & (group == number)) for number in range(N_CLASSES)]
    for _ in range(ROUNDS):
        for number, pairs in enumerate(members):
            each = likelihood[pairs] * shares[number]
            each /= each.sum(axis=1, keepdims=True)
            shares[number] = (each.sum(axis=0) + first) / (pairs.size + PRIOR_PAIRS)
    each = likelihood * shares[group]
    each /= each.sum(axis=1, keepdims=True)
    precision = 1 / se[:, None] ** 2 + 1 / SPREADS**2
    mean = (effect[:, None] / se[:, None] ** 2 + prior / SPREADS**2) / precision
    return each, mean, 1 / np.sqrt(precision)


@dataclass(frozen=True, slots=True)
class GroupCounts:
    """Counts of peaks in groups of cells, and those that the overall rate of each peak leads to expect, peaks x groups."""

    counts: np.ndarray
    expected: np.ndarray

    @classmethod
    def of(cls, atac: sparse.csr_matrix, member: sparse.csr_matrix) -> GroupCounts:
        """Add up counts; `member` holds 1 for the cells of each group, groups x cells."""
        counts = np.asarray((member @ atac).todense(), dtype=np.float64).T
        total, depth = counts.sum(axis=1), counts.sum(axis=0)
        return cls(counts, total[:, None] * depth / max(depth.sum(), 1.0))

    def relative(self, peak: np.ndarray) -> np.ndarray:
        """Compare the openness of peaks in each group with that in all cells, peaks x groups."""
        return (self.counts[peak] + PRIOR_COUNTS) / (self.expected[peak] + PRIOR_COUNTS)

    def draw(self, peak: np.ndarray, n_draws: int, *, rng: np.random.Generator) -> np.ndarray:
        """Draw that ratio, draws x peaks x groups."""
        shape = (self.counts[peak] + PRIOR_COUNTS) / CUTS
        return rng.gamma(shape, size=(n_draws, *shape.shape)) / (self.expected[peak] + PRIOR_COUNTS) * CUTS


def predict_changes(
    closing: Closing,
    counts: GroupCounts,
    pairs: np.ndarray,
    peak: np.ndarray,
    *,
    lost: np.ndarray | None = None,
    level: float = 0.9,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predict the log2 fold change of genes in groups of cells when peaks close.

    Parameters
    ----------
    closing
        The effects.
    counts
        Of peaks in groups.
    pairs, peak
        Pairs to predict, and the peak of each.
    lost
        Part of the openness that goes, draws x groups (its mean is the best guess); `None` for all of it.
    level
        Of the intervals.
    rng
        Draws.

    Returns
    -------
    Best guess and both ends of the interval, pairs x groups each.
    """
    unit = -1 / np.log(2)
    part = np.ones(counts.counts.shape[1]) if lost is None else lost.mean(axis=0)
    guess = unit * closing.point[pairs, None] * counts.relative(peak) * part
    low, high = np.empty_like(guess), np.empty_like(guess)
    tails = [(1 - level) / 2, (1 + level) / 2]
    for start in range(0, pairs.size, BLOCK):
        rows = slice(start, start + BLOCK)
        drawn = closing.draw(pairs[rows], N_DRAWS, rng=rng)[:, :, None] * counts.draw(peak[rows], N_DRAWS, rng=rng)
        drawn = drawn * np.exp(NONLINEAR * rng.normal(size=drawn.shape))
        if lost is not None:
            drawn = drawn * lost[rng.integers(0, len(lost), N_DRAWS)][:, None, :]
        low[rows], high[rows] = np.quantile(unit * drawn, tails, axis=0)
    # the best guess, drawn from all peaks at once, may lie outside of what the pair alone says
    return guess, np.minimum(low, guess), np.maximum(high, guess)
