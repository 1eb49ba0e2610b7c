"""Which genes differ between groups of bulk samples beyond their composition: a moderated test with a null by permutation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from sctandem.kernels._moderation import natural_spline, variance_prior
from sctandem.kernels._sample_correlation import null_spread

if TYPE_CHECKING:
    from sctandem.kernels._driver_model import BulkModel

#: Values of the null that are kept: more would add nothing but memory.
MOST_VALUES = 20_000_000
#: Largest spread of null statistics that is believed: that of `_sample_de`.
LARGEST_SPREAD = 1.23
_SMALLEST = 1e-12


@dataclass(frozen=True, slots=True)
class GeneTest:
    """Test of each gene.

    Attributes
    ----------
    effect
        Change beyond composition, natural logarithm, (genes,).
    statistic
        Moderated t.
    p_value
        Two-sided, of the null by permutation.
    prior_df, prior_variance
        Degrees of freedom of the prior of the variances, and its scale, (genes,).
    null
        Sizes of the statistic under permutation, of all genes together, rising.
    n_permutations
        How many were used.
    exact
        Whether these are all there are.
    spread
        Of the normal scores of genes without an effect, at least 1, by which scores are divided.
    """

    effect: np.ndarray
    statistic: np.ndarray
    p_value: np.ndarray
    prior_df: float
    prior_variance: np.ndarray
    null: np.ndarray
    n_permutations: int
    exact: bool
    spread: float

    def tail(self, statistic: np.ndarray) -> np.ndarray:
        """Return two-sided p-values: the part of the null that is at least as large, one counted on top, its normal score divided by the spread."""
        p_value = _part_above(self.null, statistic)
        return np.where(self.spread > 1, 2 * stats.norm.sf(stats.norm.isf(p_value / 2) / self.spread), p_value)

    @property
    def resolution(self) -> float:
        """The smallest p-value there can be."""
        return float(self.tail(np.array([np.inf]))[0])


def permutations_of(group: np.ndarray, n_permutations: int, rng: np.random.Generator) -> tuple[np.ndarray, bool]:
    """List permutations of samples.

    Parameters
    ----------
    group
        1 or 0, (samples,).
    n_permutations
        How many are wanted.
    rng
        Draws them.

    Returns
    -------
    Permutations x samples: from where each sample gets its residual; and whether they are all. Where there are no more ways to
    divide the samples into groups of these sizes than wanted, there is one for each way but the observed.
    """
    n, inside, outside = len(group), np.flatnonzero(group > 0), np.flatnonzero(group == 0)
    if comb(n, len(inside)) - 1 > n_permutations:
        return np.array([rng.permutation(n) for _ in range(n_permutations)]), False
    found = []
    for chosen in combinations(range(n), len(inside)):
        if list(chosen) == list(inside):
            continue
        order = np.empty(n, dtype=np.int64)
        # the residuals of the chosen go to the group; those that stay on their side keep their sample
        stay = np.isin(inside, chosen)
        order[inside[stay]] = inside[stay]
        order[inside[~stay]] = np.setdiff1d(chosen, inside)
        left = np.setdiff1d(np.arange(n), chosen)
        stay = np.isin(outside, left)
        order[outside[stay]] = outside[stay]
        order[outside[~stay]] = np.setdiff1d(left, outside)
        found.append(order)
    return np.array(found), True


def assess_genes(model: BulkModel, *, n_permutations: int, rng: np.random.Generator) -> GeneTest:
    """Test whether each gene changes between the groups beyond what composition explains.

    Parameters
    ----------
    model
        The samples and what their composition explains.
    n_permutations
        Permutations of the residuals.
    rng
        Draws them.

    Returns
    -------
    The test.

    Notes
    -----
    Ratios are whitened, so that samples are exchangeable given the composition and the covariates. The residuals of the full model
    are permuted over samples, the same way for all genes, and the gene is tested anew (ter Braak 1992; Freedman & Lane 1983 permute
    those of the smaller model, in which genes that change would widen the null of all). Variances are moderated, so that the
    statistics of all genes follow one null, and those of all permutations together are it. What many genes share (cells of the reference that
    are a little of another type, shares that are off in one group) is in the observed statistics and in no permutation: the spread of the
    middle of the scores tells it (Efron 2004).
    """
    n, n_genes = model.ratio.shape
    orders, exact = permutations_of(model.group, n_permutations, rng)
    most = max(1, MOST_VALUES // n_genes)
    if len(orders) > most and not exact:
        orders = orders[:most]
    free = model.free
    effect, unit, squares = np.empty(n_genes), np.empty(n_genes), np.empty(n_genes)
    for genes, white in model.blocks():
        rest, column = white.pair(model.ratio.T[genes], model.group)
        unit[genes] = np.linalg.norm(column, axis=1)
        along = (column * rest).sum(1) / np.maximum(unit[genes], _SMALLEST)
        effect[genes] = along / np.maximum(unit[genes], _SMALLEST)
        squares[genes] = np.maximum((rest**2).sum(1) - along**2, 0)
    level = natural_spline(np.log(model.expected.level.mean(0)))
    prior_df, prior = variance_prior(squares / free, free, level)
    variance = (prior_df * prior + squares) / (prior_df + free)
    statistic = effect * unit / np.sqrt(variance)
    null = np.empty((len(orders), n_genes), dtype=np.float32)
    for genes, white in model.blocks():
        rest, column = white.pair(model.ratio.T[genes], model.group)
        column = column / np.maximum(np.linalg.norm(column, axis=1, keepdims=True), _SMALLEST)
        residual = rest - column * (column * rest).sum(1, keepdims=True)
        residual = residual * np.sqrt((n - 1) / free)
        for i, order in enumerate(orders):
            moved = residual[:, order]
            outside = np.einsum("gnp,gn->gp", white.fixed, moved)
            along = (column * moved).sum(1)
            left = np.maximum((moved**2).sum(1) - (outside**2).sum(1) - along**2, 0)
            null[i, genes] = np.abs(along) / np.sqrt((prior_df * prior[genes] + left) / (prior_df + free))
    sizes = np.sort(null.ravel())
    scores = stats.norm.isf(_part_above(sizes, statistic) / 2)
    spread = float(np.clip(null_spread(scores), 1.0, LARGEST_SPREAD))
    test = GeneTest(effect, statistic, np.empty(0), prior_df, prior, sizes, len(orders), exact, spread)
    return replace(test, p_value=test.tail(statistic))


def _part_above(null: np.ndarray, statistic: np.ndarray) -> np.ndarray:
    """Give the part of rising sizes that are at least as large as each statistic, one counted on top."""
    above = len(null) - np.searchsorted(null, np.abs(statistic) * (1 - 1e-6), side="left")
    return (1 + above) / (1 + len(null))
