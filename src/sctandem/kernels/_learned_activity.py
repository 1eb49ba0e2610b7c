"""Weights of peaks for genes that are learned from paired expression and apply to genes that were not seen."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import sparse
from threadpoolctl import threadpool_limits

from sctandem.kernels._activity_features import (
    FEATURES,
    PeakState,
    WindowPairs,
    activity_features,
    sides,
    window_sums,
)
from sctandem.kernels._activity_fit import N_FOLDS, PENALTIES, chromosome_folds, fit_features, fit_maps, held_out_skill

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sctandem._random import RNG

#: Components of the peaks.
N_COMPONENTS = 50
#: Genes whose expression is standardised at once.
BLOCK = 256
#: Fewest cells, and genes with pairs, that weights are learned from.
MIN_CELLS, MIN_GENES = 20, 10


@dataclass(frozen=True, slots=True)
class LearnedWeights:
    """Weights of peaks for genes.

    The score of gene `g` in a cell is `sum_j u_j (d_j m_gj + sum_k sum_i m_gki Q_kij)`: `u` are the cell's components,
    `m_g` is what the peaks around the gene add up to in the components when they are weighted by their features, `m_gk`
    the same with fixed weights upstream and downstream. All of it is linear in the peaks.

    Attributes
    ----------
    coefficients
        Of each column of `FEATURES`, (features,).
    components
        Weight `d` of each component, not negative, (components,).
    maps
        `Q`: what peaks that open with one component say of another; for the weighted sum, upstream and downstream,
        3 x components x components.
    offset
        Mean of the sums over the genes learned from, which carry no information on one gene, 3 x components.
    shared
        What all genes have in common, not part of the score: a weight a component, and of the standardised log number of
        open peaks, (components + 1,).
    level
        Mean and standard deviation of that number's log, (2,).
    scales
        Mean and standard deviation of the context of the pairs, see `activity_features`.
    state
        In which cells the peaks open.
    penalties
        Penalty of the maps that connect the first components, chosen by held-out chromosomes, one for each of `RANKS`;
        `maps` is their mean.
    skill
        Mean correlation of genes of held-out chromosomes in the training cells with these penalties, (ranks,). The cells
        are those learned from, and settings were chosen by it: somewhat too good.
    """

    coefficients: np.ndarray
    components: np.ndarray
    maps: np.ndarray
    offset: np.ndarray
    shared: np.ndarray
    level: np.ndarray
    scales: np.ndarray
    state: PeakState
    penalties: np.ndarray
    skill: np.ndarray

    def profiles(self, pairs: WindowPairs) -> np.ndarray:
        """Say what each gene follows: genes x components; 0 for genes without pairs.

        Parameters
        ----------
        pairs
            Of any genes, with the peaks of `state`.
        """
        columns, _ = activity_features(pairs, self.state, scales=self.scales)
        weighted = sum(c * values for c, values in zip(self.coefficients, columns, strict=True))
        out = np.zeros((pairs.n_genes, len(self.components)))
        for k, total in enumerate(window_sums(pairs, self.state, [weighted, *sides(pairs)])):
            centred = total - self.offset[k]
            out += centred @ self.maps[k]
            if k == 0:
                out += centred * self.components
        out[np.bincount(pairs.gene, minlength=pairs.n_genes) == 0] = 0.0
        return out

    def weights(self, pairs: WindowPairs) -> np.ndarray:
        """Give one number a pair: the change of the gene's score when the peak opens in an average cell, (pairs,).

        Parameters
        ----------
        pairs
            Of any genes, with the peaks of `state`.

        Returns
        -------
        Negative where the gene is expected to be lower in the cells in which the peak is open.
        """
        profile = self.profiles(pairs) / self.state.spread
        out = np.empty(len(pairs.gene))
        for start in range(0, len(out), 65_536):
            gene, peak = pairs.gene[start : start + 65_536], pairs.peak[start : start + 65_536]
            out[start : start + 65_536] = np.einsum("ij,ij->i", profile[gene], self.state.loadings[peak])
        return out * self.state.weight[pairs.peak]

    def scores(self, counts: sparse.csr_matrix, pairs: WindowPairs, *, shared: bool = False) -> np.ndarray:
        """Score genes in cells, in standard deviations of the log expression that is expected.

        Parameters
        ----------
        counts
            Cells x peaks of `state`.
        pairs
            Of any genes.
        shared
            Whether to add what all genes have in common. It holds what depth does to log-normalised counts, and tells
            no gene from another.

        Returns
        -------
        float32, cells x genes.
        """
        cells = self.state.coordinates(counts)
        out = (cells @ self.profiles(pairs).T).astype(np.float32)
        if shared:
            common = np.column_stack([cells, standard_level(counts, self.level)]) @ self.shared
            out += common[:, None].astype(np.float32)
        return out

    def select_peaks(self, position: np.ndarray) -> LearnedWeights:
        """Take the weights to other peaks of the same genome: see `PeakState.select`."""
        return replace(self, state=self.state.select(position))

    def as_arrays(self) -> dict[str, Any]:
        """Give plain arrays and numbers that can be saved."""
        plain = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "state"}
        state = {field.name: getattr(self.state, field.name) for field in fields(self.state)}
        return {**plain, "features": np.array(FEATURES, dtype=object), "state": state}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> LearnedWeights:
        """Make the weights again from what `as_arrays` gave.

        Raises
        ------
        ValueError
            If they were saved with other features.
        """
        if tuple(map(str, arrays["features"])) != FEATURES:
            msg = f"the weights were learned with other features ({', '.join(map(str, arrays['features']))}): learn them again."
            raise ValueError(msg)
        state: dict[str, Any] = {name: np.asarray(values, dtype=np.float64) for name, values in arrays["state"].items()}
        state["depth"] = float(arrays["state"]["depth"])
        plain = {
            field.name: np.asarray(arrays[field.name], dtype=np.float64)
            for field in fields(cls)
            if field.name != "state"
        }
        return cls(**plain, state=PeakState(**state))


class Material(NamedTuple):
    """What weights are learned from, of chromatin alone: it is the same whatever expression is held against it.

    Attributes
    ----------
    state
        In which cells the peaks open.
    design
        Components of the cells and their standardised log number of open peaks, cells x (components + 1).
    level
        Mean and standard deviation of that number's log, (2,).
    scales
        See `activity_features`.
    sums, outer
        Sums over the windows: genes x components x features, and sides x genes x components.
    near
        Which genes have pairs, (genes,).
    """

    state: PeakState
    design: np.ndarray
    level: np.ndarray
    scales: np.ndarray
    sums: np.ndarray
    outer: np.ndarray
    near: np.ndarray


# the systems are small: more threads only wait for each other where cores are shared
@threadpool_limits.wrap(limits=1, user_api="blas")
def prepare(
    counts: sparse.csr_matrix, pairs: WindowPairs, *, n_components: int = N_COMPONENTS, rng: RNG = 0
) -> Material:
    """Read chromatin: components of cells and peaks, and the sums over the windows of genes.

    Parameters
    ----------
    counts, pairs, n_components, rng
        As for :func:`learn`.

    Returns
    -------
    What :func:`learn_prepared` and :func:`learn_crossed` learn from.

    Raises
    ------
    ValueError
        When there are fewer than 20 cells, or these do not differ in their peaks.
    """
    state = _fit_state(counts, n_components, rng)
    level = np.log(_n_open(counts))
    level = np.array([level.mean(), max(level.std(), 1e-9)])
    design = np.column_stack([state.coordinates(counts), standard_level(counts, level)])
    columns, scales = activity_features(pairs, state)
    return Material(
        state=state,
        design=design,
        level=level,
        scales=scales,
        sums=np.stack(list(window_sums(pairs, state, columns)), axis=2),
        outer=np.stack(list(window_sums(pairs, state, list(sides(pairs))))),
        near=np.bincount(pairs.gene, minlength=pairs.n_genes) > 0,
    )


@threadpool_limits.wrap(limits=1, user_api="blas")
def learn_prepared(
    material: Material, expression: sparse.csr_matrix | np.ndarray, *, chromosome: np.ndarray
) -> LearnedWeights:
    """Learn weights as :func:`learn` does, from chromatin that was read before."""
    target, shared = _targets(expression, material.design)
    usable = material.near & (np.abs(target).sum(1) > 0)
    if usable.sum() < MIN_GENES or len(np.unique(chromosome[usable])) < 2:
        msg = (
            f"only {int(usable.sum())} genes, on {len(np.unique(chromosome[usable]))} chromosomes, vary over the cells and have "
            f"peaks in their windows: weights can be learned from at least {MIN_GENES}, on 2 or more."
        )
        raise ValueError(msg)
    target, sums, outer = target[usable], material.sums[usable], material.outer[:, usable]
    skill = held_out_skill(sums, outer, target, chromosome_folds(chromosome[usable], N_FOLDS))
    best = skill.argmax(1)
    base = fit_features(sums, target)
    found, offset = fit_maps(base, sums, outer, target)
    return LearnedWeights(
        coefficients=base.coefficients,
        components=base.components,
        # a mean over ranks changes less with the genes than the best of them, and is as good
        maps=np.mean([found[rank, choice] for rank, choice in enumerate(best)], axis=0),
        offset=offset,
        shared=shared,
        level=material.level,
        scales=material.scales,
        state=material.state,
        penalties=np.array(PENALTIES)[best],
        skill=skill.max(1),
    )


def learn_crossed(
    material: Material, expression: sparse.csr_matrix, *, chromosome: np.ndarray, n_folds: int = N_FOLDS
) -> list[tuple[list[str], LearnedWeights]]:
    """Learn weights for the genes of some chromosomes from those of all others.

    A score of a gene by weights that have seen its expression holds some of the noise of that expression.

    Parameters
    ----------
    material
        From :func:`prepare`.
    expression, chromosome
        As for :func:`learn`.
    n_folds
        In how many parts the chromosomes fall.

    Returns
    -------
    For each part its chromosomes, and the weights. No genes of other parts have weights there.

    Raises
    ------
    ValueError
        When without one of the parts too little is left to learn from, see :func:`learn`.
    """
    fold = chromosome_folds(chromosome, n_folds)
    found = []
    for held in range(fold.max() + 1):
        # genes that do not vary are not learned from
        seen = sparse.csr_matrix(expression @ sparse.diags((fold != held).astype(float)))
        seen.eliminate_zeros()
        weights = learn_prepared(material, seen, chromosome=chromosome)
        found.append((sorted(set(chromosome[fold == held].tolist())), weights))
    return found


def learn(
    counts: sparse.csr_matrix,
    expression: sparse.csr_matrix | np.ndarray,
    pairs: WindowPairs,
    *,
    chromosome: np.ndarray,
    n_components: int = N_COMPONENTS,
    rng: RNG = 0,
) -> LearnedWeights:
    """Learn the weights of peaks for genes from cells with both.

    Parameters
    ----------
    counts
        Open chromatin, cells x peaks.
    expression
        Log-normalised expression of the same cells, cells x genes.
    pairs
        Peaks in the windows of these genes.
    chromosome
        Of each gene, (genes,): settings are chosen by how well genes of other chromosomes are predicted.
    n_components
        Components of the peaks.
    rng
        Seed of their start vector.

    Returns
    -------
    The weights.

    Raises
    ------
    ValueError
        When there are fewer than 20 cells, these do not differ in their peaks, fewer than 10 genes vary and have pairs, or
        all of these lie on one chromosome.

    Notes
    -----
    Every gene's expression is summed up in its correlations with the components, and ridge regressions in closed form
    predict these from the gene's window: no cell is visited after that. Time is that of the components: seconds for
    thousands of cells; memory is genes x components x features. The components have seen no expression.
    """
    material = prepare(counts, pairs, n_components=n_components, rng=rng)
    return learn_prepared(material, expression, chromosome=chromosome)


def _fit_state(counts: sparse.csr_matrix, n_components: int, rng: RNG) -> PeakState:
    """Find the components of the peaks, if there are any."""
    n_cells, n_peaks = counts.shape
    if n_cells < MIN_CELLS:
        msg = f"only {n_cells} cells: weights can be learned from at least {MIN_CELLS}."
        raise ValueError(msg)
    state = PeakState.fit(counts, n_components, rng=rng) if counts.count_nonzero() else None
    if state is None or not len(state.spread):
        msg = f"the {n_cells} cells do not differ in which of the {n_peaks} peaks are open: nothing can be learned from them."
        raise ValueError(msg)
    return state


def standard_level(counts: sparse.csr_matrix, level: np.ndarray) -> np.ndarray:
    """Standardise the log number of open peaks of cells by mean and standard deviation, (cells,)."""
    return (np.log(_n_open(counts)) - level[0]) / level[1]


def _n_open(counts: sparse.csr_matrix) -> np.ndarray:
    return np.maximum(np.asarray((counts > 0).sum(1), dtype=np.float64).ravel(), 1.0)


def _targets(expression: sparse.csr_matrix | np.ndarray, design: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlate genes with the components, and say what all genes have in common with components and depth.

    Returns
    -------
    Genes x components, zero for genes that do not vary; and weights a component and for depth, the last column of `design`.
    """
    n_cells, n_genes = expression.shape
    # columns of a sparse matrix are cut quickly from CSC only
    values: Any = sparse.csc_matrix(expression) if sparse.issparse(expression) else np.asarray(expression)
    moments = np.zeros((n_genes, design.shape[1]))
    for start in range(0, n_genes, BLOCK):
        part = values[:, start : start + BLOCK]
        part = (part.toarray() if sparse.issparse(part) else part).astype(np.float64)
        part = part - part.mean(0)
        spread = part.std(0)
        spread[spread < 1e-9] = np.inf
        moments[start : start + BLOCK] = (part / spread).T @ design / n_cells
    varies = np.abs(moments).sum(1) > 0
    gram = design.T @ design / n_cells + 1e-6 * np.eye(design.shape[1])
    mean = moments[varies].mean(0) if varies.any() else np.zeros(design.shape[1])
    return moments[:, :-1], np.linalg.solve(gram, mean)
