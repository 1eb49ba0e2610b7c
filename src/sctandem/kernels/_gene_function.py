"""What each peak of a window does to its gene: partial effects with their errors, tests, and tests of equivalence to nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm

from sctandem.kernels._cell_functions import positive_part
from sctandem.kernels._links import adjust
from sctandem.kernels._window_kernel import DIRECTION, LANDMARKS, kernel_weights, pair_places

if TYPE_CHECKING:
    from sctandem.kernels._cell_functions import CellFunctions
    from sctandem.kernels._window_features import Windows

#: Genes from which variances are learned, at most; rounds of learning, and the relative change that ends them.
MAX_LEARNED, MAX_ROUNDS, SETTLED = 4000, 60, 1e-3
#: Peaks of other chromosomes that each gene is held against, at most and of all genes together, and the share of the peaks
#: among which they are matched.
N_STRANGERS, MAX_STRANGERS, MATCHED_SHARE = 100, 400_000, 0.1
#: With fewer of them the null distribution is taken to be normal.
FEW_STRANGERS = 1000
#: Genes or peaks that are treated at once.
BLOCK = 500
#: Weight of what another model expects beside what is expected here.
TOLD = 0.5
#: Length scale of directions and number of landmarks of the finer expectation.
SHARP = (0.5, 700)


@dataclass(frozen=True, slots=True)
class PeakEffects:
    """Effect of each peak on its gene, in natural-log units of expression per standard deviation of the log accessibility.

    Attributes
    ----------
    effect, se
        Estimate given the other peaks of the window, and its standard error, (pairs,); NaN where nothing was tested.
    score
        The same, shrunken towards what like peaks do to genes of other chromosomes, (pairs,); 0 where nothing was tested.
    pvalue
        Of an effect in the direction in which like peaks work, (pairs,); two-sided where nothing is expected. By rank among
        the statistics of peaks of other chromosomes.
    fdr
        Benjamini-Hochberg, weighted by the square of the effect that is expected, (pairs,).
    spread
        Standard deviation of the statistics of peaks of other chromosomes; 1 where the errors are right. Errors are
        multiplied by it where it is larger.
    expected
        What like peaks do to genes of other chromosomes, (pairs,); 0 where nothing was tested.
    """

    effect: np.ndarray
    se: np.ndarray
    score: np.ndarray
    pvalue: np.ndarray
    fdr: np.ndarray
    spread: float
    expected: np.ndarray


def peak_effects(
    windows: Windows,
    cells: CellFunctions,
    openness: np.ndarray,
    *,
    chromosome: np.ndarray,
    told: np.ndarray | None = None,
    sharp: bool = False,
) -> PeakEffects:
    r"""Estimate and test the partial effect of every peak of every window.

    The profile of gene :math:`g` is :math:`\sum_p w_{pg} r_p + t_g + e_g`: effects times responses of the peaks of its
    window, what it does for other reasons (of covariance :math:`T`, learned from all genes), and noise of known size. Effects are
    :math:`N(m_{pg}, \tau^2)`, where :math:`m_{pg}` is what peaks of like response in like places do to genes of *other
    chromosomes*. The effect of one peak is estimated by generalised least squares with the others left random, so that
    peaks that open together share the credit, and its error says so.

    Parameters
    ----------
    windows
        The windows.
    cells
        From `cell_functions`.
    openness
        Share of cells in which each peak is open, (peaks,).
    chromosome
        Name or code of each gene's chromosome, (genes,).
    told
        What another model, which has not seen the genes, expects of the pairs, in any unit, (pairs,); counts half as much as what
        is expected here, and nothing where nothing is.
    sharp
        Tell kinds of peaks apart more finely, with more landmarks: for guesses that are better than those of the roles, at several times
        the cost.

    Returns
    -------
    Effects and tests.
    """
    rng = np.random.default_rng(0)  # draws landmarks and what is compared, never data
    response, (gene, peak) = cells.response, (windows.gene, windows.peak)
    size = np.linalg.norm(response, axis=1)
    usable = cells.tested & (np.bincount(gene, minlength=windows.n_genes) > 0)
    keep = usable[gene] & (size[peak] > 0)
    score, nothing = np.zeros(gene.size), np.full(gene.size, np.nan)
    if not keep.any():
        return PeakEffects(nothing, nothing, score, nothing, nothing, 1.0, score)
    chromosome = np.unique(chromosome, return_inverse=True)[1]
    fold = np.where(usable, chromosome, -1)
    noise = 1 / np.maximum(cells.information, 1e-9)
    expected = _expected(windows, cells, openness, fold=fold, sharp=sharp, rng=rng)
    if told is not None and told.std() > 0 and expected.std() > 0:
        both = expected / expected.std() + TOLD * told / told.std()
        expected = both * expected.std() / both.std()
    learner = _Windows(windows, response, cells.profile, noise, expected)
    learned = np.flatnonzero(usable)
    if learned.size > MAX_LEARNED:
        learned = np.sort(rng.choice(learned, MAX_LEARNED, replace=False))
    other, variance = learner.learn(learned)
    inverse, pull = learner.solve(np.flatnonzero(usable), other, variance)
    place = np.cumsum(usable) - 1
    a, b = np.full(gene.size, np.nan), np.full(gene.size, np.nan)
    for start in range(0, gene.size, BLOCK):
        rows = np.flatnonzero(keep[start : start + BLOCK]) + start
        at, direction = place[gene[rows]], response[peak[rows]]
        a[rows] = np.einsum("pi,pij,pj->p", direction, inverse[at], direction, optimize=True)
        b[rows] = np.einsum("pi,pi->p", direction, pull[at])
    strangers = np.abs(
        _strangers(
            np.flatnonzero(usable), inverse, pull, response, openness, windows=windows, chromosome=chromosome, rng=rng
        )
    )
    spread = float(np.sqrt(np.mean(strangers**2))) if strangers.size else 1.0
    change = size[peak]
    effect = (expected + b / a) * change
    se = np.sqrt(np.maximum(1 / a - variance, 1e-12)) * change * max(spread, 1.0)
    score[keep] = ((expected + variance * b) * change)[keep]
    # the raw statistic, as those of the strangers are
    statistic = effect / se * max(spread, 1.0)
    two_sided = _ranked(np.abs(statistic), strangers)
    side = np.sign(expected * statistic)
    pvalue = np.where(side == 0, two_sided, np.where(side > 0, two_sided / 2, 1 - two_sided / 2))
    effect, se, pvalue = (np.where(keep, values, np.nan) for values in (effect, se, pvalue))
    return PeakEffects(
        effect, se, score, pvalue, adjust(pvalue, (expected * change) ** 2), spread, expected * change * keep
    )


def equivalence(effect: np.ndarray, se: np.ndarray, least: float, *, candidate: np.ndarray) -> np.ndarray:
    """Test that effects are smaller than a meaningful one, by two one-sided tests [Schuirmann87]_.

    Parameters
    ----------
    effect, se
        Estimates and standard errors; NaN where there is none.
    least
        Size of the smallest effect that means something.
    candidate
        Which to test.

    Returns
    -------
    Benjamini-Hochberg adjusted p-values, 1 for what was not tested.

    References
    ----------
    .. [Schuirmann87] Schuirmann, A comparison of the two one-sided tests procedure and the power approach for assessing the
       equivalence of average bioavailability, Journal of Pharmacokinetics and Biopharmaceutics 15 (1987).
    """
    pvalue = norm.sf((least - np.abs(effect)) / se)
    adjusted = adjust(np.where(candidate, pvalue, np.nan))
    return np.where(np.isnan(adjusted), 1.0, adjusted)


@dataclass(frozen=True, slots=True)
class _Windows:
    """The windows of all genes as sums over their peaks: products of responses, and profiles without what is expected."""

    windows: Windows
    response: np.ndarray
    profile: np.ndarray
    noise: np.ndarray
    expected: np.ndarray

    def _blocks(self, genes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the sum of outer products of the responses of each gene's peaks, and its profile without the expected part."""
        start = np.searchsorted(self.windows.gene, genes)
        stop = np.searchsorted(self.windows.gene, genes, side="right")
        rows = np.concatenate([np.arange(i, j) for i, j in zip(start, stop, strict=True)])
        direction = self.response[self.windows.peak[rows]]
        first = np.cumsum(stop - start) - (stop - start)
        products = np.add.reduceat(direction[:, :, None] * direction[:, None, :], first, axis=0)
        told = np.add.reduceat(direction * self.expected[rows, None], first, axis=0)
        return products, self.profile[genes] - told

    def solve(self, genes: np.ndarray, other: np.ndarray, variance: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the inverse covariance of each gene's profile, and its product with the profile without the expected part."""
        width = self.profile.shape[1]
        inverse, pull = np.empty((genes.size, width, width)), np.empty((genes.size, width))
        for start in range(0, genes.size, BLOCK):
            part = genes[start : start + BLOCK]
            products, left = self._blocks(part)
            inverse[start : start + BLOCK], pull[start : start + BLOCK] = self._inverse(
                part, products, left, other, variance
            )
        return inverse, pull

    def _inverse(
        self, genes: np.ndarray, products: np.ndarray, left: np.ndarray, other: np.ndarray, variance: float
    ) -> tuple[np.ndarray, np.ndarray]:
        whole = other + self.noise[genes, None, None] * np.eye(len(other)) + variance * products
        inverse = np.linalg.inv(whole)
        return inverse, np.einsum("gij,gj->gi", inverse, left)

    def learn(self, genes: np.ndarray) -> tuple[np.ndarray, float]:
        """Learn the covariance of what genes do for other reasons and the variance of effects by expectation maximisation."""
        parts = [genes[start : start + BLOCK] for start in range(0, genes.size, BLOCK)]
        kept = [self._blocks(part) for part in parts]
        n_pairs = int(np.isin(self.windows.gene, genes).sum())
        left = np.concatenate([block[1] for block in kept])
        other = positive_part(left.T @ left / genes.size - self.noise[genes].mean() * np.eye(left.shape[1]))
        trace = sum(float(np.einsum("gii->", block[0])) for block in kept)
        variance = 0.25 * float((left**2).sum()) / max(trace, 1e-12)
        for _ in range(MAX_ROUNDS):
            total, gained = np.zeros_like(other), 0.0
            for part, (products, rest) in zip(parts, kept, strict=True):
                inverse, pull = self._inverse(part, products, rest, other, variance)
                mean = pull @ other
                total += mean.T @ mean + part.size * other - other @ inverse.sum(0) @ other
                gained += np.einsum("gi,gij,gj->", pull, products, pull, optimize=True)
                gained -= np.einsum("gij,gji->", inverse, products)
            new = max(variance + variance**2 * gained / n_pairs, 1e-12)
            step = abs(new - variance) / variance
            other, variance = total / genes.size, new
            if step < SETTLED:
                break
        return other, variance


def _expected(
    windows: Windows,
    cells: CellFunctions,
    openness: np.ndarray,
    *,
    fold: np.ndarray,
    sharp: bool = False,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the effect of each pair that genes of other chromosomes lead to expect, per unit of its response."""
    known = fold >= 0
    profile = cells.profile[known]
    # what a gene does for other reasons is noise to the question what peaks do
    noise = 1 / np.maximum(cells.information, 1e-9)
    extra = max(float((profile**2).mean() - noise[known].mean()), 0.0)
    scale, n_landmarks = SHARP if sharp else (DIRECTION, LANDMARKS)
    places = pair_places(windows, cells.response, openness, direction_scale=scale)
    return kernel_weights(
        windows,
        places,
        response=cells.response,
        target=cells.profile,
        information=1 / (noise + extra),
        fold=fold,
        n_landmarks=n_landmarks,
        rng=rng,
    )[1]


def _strangers(
    genes: np.ndarray,
    inverse: np.ndarray,
    pull: np.ndarray,
    response: np.ndarray,
    openness: np.ndarray,
    *,
    windows: Windows,
    chromosome: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the statistics of peaks of other chromosomes, as open as those of the window.

    The chromosome of a peak is that of the genes whose windows it is in; other peaks are not drawn.
    """
    where = np.full(len(response), -1)
    where[windows.peak] = chromosome[windows.gene]
    order = np.flatnonzero((where >= 0) & (np.linalg.norm(response, axis=1) > 0))
    order = order[np.argsort(openness[order], kind="stable")]
    rank = np.zeros(len(response), dtype=np.int64)
    rank[order] = np.arange(order.size)
    first = np.searchsorted(windows.gene, genes)
    count = np.searchsorted(windows.gene, genes, side="right") - first
    n_drawn = max(min(N_STRANGERS, MAX_STRANGERS // genes.size), 1)
    model = windows.peak[first[:, None] + rng.integers(0, count[:, None], (genes.size, n_drawn))]
    reach = max(int(MATCHED_SHARE * order.size / 2), 1)
    drawn = np.clip(rank[model] + rng.integers(-reach, reach + 1, model.shape), 0, order.size - 1)
    stranger = order[drawn]
    at, column = np.nonzero(where[stranger] != chromosome[genes][:, None])
    out = np.empty(at.size)
    for start in range(0, at.size, BLOCK):
        rows = slice(start, start + BLOCK)
        d, g = response[stranger[at[rows], column[rows]]], at[rows]
        size = np.einsum("pi,pij,pj->p", d, inverse[g], d, optimize=True)
        out[rows] = np.einsum("pi,pi->p", d, pull[g]) / np.sqrt(size)
    return out


def _ranked(statistic: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Return two-sided p-values of absolute statistics: ranks among those of the null, or of a normal where these are few."""
    if null.size < FEW_STRANGERS:
        return 2 * norm.sf(statistic)
    null = np.sort(null)
    above = null.size - np.searchsorted(null, np.nan_to_num(statistic), side="left")
    return np.where(np.isnan(statistic), np.nan, (1 + above) / (1 + null.size))
