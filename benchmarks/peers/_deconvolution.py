"""Peers that take bulk apart by regression on signatures, and what all peers of deconvolution share.

A peer is a function of a `Task` that gives a `Composition`. What it gives are shares of RNA, or, where it takes the RNA of a cell from the
reference, shares of cells under these contents (`assumed`), which can be exchanged for others afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import nnls

if TYPE_CHECKING:
    from scipy import sparse

MILLION = 1e6
N_MARKERS, PRIOR, LEAST, CLEAR = 50, 10.0, 20.0, 3.0
HIGHER, SURE = 0.1, 2.33
NUS = (0.25, 0.5, 0.75)
NEXT_TO_NOTHING = 1e-4
N_SUBSETS, MOST_DAMPENED = 30, 12
ROUNDS, STILL = 200, 1e-4
PSEUDO_DONORS = 5


@dataclass(frozen=True)
class Task:
    """Bulk (samples x genes, counts or TPM), counts of cells (cells x the same genes), the type of each cell, and its donor where known."""

    bulk: np.ndarray
    counts: sparse.csr_matrix
    labels: np.ndarray
    seed: int = 0
    donors: np.ndarray | None = None

    @cached_property
    def types(self) -> np.ndarray:
        """Types in order: the columns of every composition."""
        return np.unique(self.labels)

    @cached_property
    def depth(self) -> np.ndarray:
        """Counts of each cell."""
        return np.asarray(self.counts.sum(axis=1)).ravel().astype(float)

    @cached_property
    def cell_content(self) -> np.ndarray:
        """Mean counts of the cells of each type: what peers take for the RNA of a cell."""
        return np.array([self.depth[self.labels == kind].mean() for kind in self.types])

    @cached_property
    def signature(self) -> np.ndarray:
        """Counts per million of each type, all cells added up, types x genes."""
        total = np.stack([np.asarray(self.counts[self.labels == kind].sum(axis=0)).ravel() for kind in self.types])
        return per_million(total)

    @cached_property
    def mixed(self) -> np.ndarray:
        """Bulk as parts per million of the genes there are, samples x genes."""
        return per_million(self.bulk)

    @cached_property
    def contrast(self) -> tuple[np.ndarray, np.ndarray]:
        """Compare each type with every other: log2 ratio of counts per million to the next type, and least t of log-normalised cells."""
        cells = self.counts.multiply(1e4 / self.depth[:, None]).tocsr().log1p()
        mean, error = [], []
        for kind in self.types:
            block = cells[self.labels == kind]
            mean.append(np.asarray(block.mean(axis=0)).ravel())
            square = np.asarray(block.multiply(block).mean(axis=0)).ravel()
            error.append((square - mean[-1] ** 2) / max(block.shape[0] - 1, 1))
        means, errors, level = np.stack(mean), np.stack(error), np.log2(self.signature + PRIOR)
        ratio, least = np.empty_like(level), np.empty_like(level)
        for k in range(len(self.types)):
            rest = np.delete(np.arange(len(self.types)), k)
            ratio[k] = level[k] - level[rest].max(axis=0)
            least[k] = ((means[k] - means[rest]) / np.sqrt(errors[k] + errors[rest] + 1e-12)).min(axis=0)
        return ratio, least

    @cached_property
    def markers(self) -> np.ndarray:
        """Genes that tell one type from every other, 50 a type.

        Those with the highest ratio to the next type among the genes with 20 per million, a t of 3, and expression in the bulk.
        """
        ratio, t = self.contrast
        seen = (self.bulk > 0).mean(axis=0) >= 0.5
        found: list[int] = []
        for k in range(len(self.types)):
            fit = seen & (self.signature[k] >= LEAST) & (t[k] >= CLEAR) & (ratio[k] > 0)
            if not fit.any():  # nothing tells it apart
                fit = seen & (ratio[k] > 0) if (seen & (ratio[k] > 0)).any() else seen
            candidates = np.flatnonzero(fit)
            found += candidates[np.argsort(-ratio[k, candidates])[:N_MARKERS]].tolist()
        return np.unique(found)

    @cached_property
    def differing(self) -> np.ndarray:
        """All genes that are higher in one type than in every other: by a tenth of log2, with a t of 2.3 (p < 0.01)."""
        ratio, t = self.contrast
        found = np.flatnonzero(((ratio >= HIGHER) & (t >= SURE)).any(axis=0))
        return found if len(found) >= len(self.types) else np.arange(self.bulk.shape[1])


@dataclass(frozen=True)
class Composition:
    """Shares, samples x types, adding up to 1, and the RNA of a cell that they assume (None: they are shares of RNA)."""

    shares: np.ndarray
    assumed: np.ndarray | None = None

    def told(self, contents: np.ndarray) -> np.ndarray:
        """Give shares of cells with other contents in place of those that were assumed."""
        rna = self.shares if self.assumed is None else self.shares * self.assumed
        return to_shares(rna / contents)


def per_million(values: np.ndarray) -> np.ndarray:
    """Scale rows to a million."""
    values = np.asarray(values, dtype=float)
    return values / values.sum(axis=1, keepdims=True) * MILLION


def to_shares(values: np.ndarray) -> np.ndarray:
    """Scale rows to 1; a row of zeros becomes even shares."""
    values = np.maximum(values, 0.0)
    total = values.sum(axis=1, keepdims=True)
    return np.where(total > 0, values / np.where(total > 0, total, 1.0), 1 / values.shape[1])


def least_squares(task: Task) -> Composition:
    """Non-negative least squares on the profiles of all genes."""
    return Composition(to_shares(np.stack([nnls(task.signature.T, sample)[0] for sample in task.mixed])))


def least_squares_markers(task: Task) -> Composition:
    """Non-negative least squares on markers."""
    level = task.signature[:, task.markers].T
    return Composition(to_shares(np.stack([nnls(level, sample)[0] for sample in task.mixed[:, task.markers]])))


def support_vectors(task: Task) -> Composition:
    """Linear nu-SVR on markers as in CIBERSORT (Newman 2015): z-scores, the best of three nu by RMSE, negative weights set to 0."""
    from sklearn.svm import NuSVR

    level = task.signature[:, task.markers].T
    level = (level - level.mean()) / level.std()
    found = []
    for sample in task.mixed[:, task.markers]:
        target = (sample - sample.mean()) / sample.std()
        tried = []
        for nu in NUS:
            weights = NuSVR(kernel="linear", nu=nu, C=1.0).fit(level, target).coef_.ravel()
            weights = to_shares(weights[None])[0]
            tried.append((np.sqrt(np.mean((level @ weights - target) ** 2)), weights))
        found.append(min(tried, key=lambda one: one[0])[1])
    return Composition(np.stack(found))


def _between(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Give mean and variance over donors of the profiles of each type, as percentages of its RNA, types x genes.

    Without donors the variance is that of the cells, over a fifth of their number: the variance between donors of as many cells.
    """
    mean, variance = [], []
    for kind in task.types:
        cells = task.labels == kind
        names = [] if task.donors is None else np.unique(task.donors[cells])
        if len(names) > 1:
            parts = [np.asarray(task.counts[cells & (task.donors == name)].sum(axis=0)).ravel() for name in names]
            profiles = per_million(np.stack([part for part in parts if part.sum() > 0])) / 1e4
            mean.append(profiles.mean(axis=0))
            variance.append(profiles.var(axis=0, ddof=1))
        else:
            block = task.counts[cells].multiply(100 / task.depth[cells][:, None]).tocsr()
            mean.append(np.asarray(block.mean(axis=0)).ravel())
            square = np.asarray(block.multiply(block).mean(axis=0)).ravel()
            variance.append((square - mean[-1] ** 2) * PSEUDO_DONORS / block.shape[0])
    return np.stack(mean), np.stack(variance)


def weighted(task: Task) -> Composition:
    """Weighted non-negative least squares as in MuSiC (Wang 2019): weights from residuals and the variance between donors, iterated.

    The RNA of a cell is taken from the counts of the reference, as there.
    """
    mean, variance = _between(task)
    size = task.cell_content / task.cell_content.mean()
    design = (mean * size[:, None]).T
    found = []
    for sample in task.mixed / 1e4:
        shares, _ = nnls(design, sample)
        for _ in range(ROUNDS):
            residual = sample - design @ shares
            weight = 1 / np.sqrt(NEXT_TO_NOTHING + residual**2 + (shares * size) ** 2 @ variance)
            before = shares / shares.sum()
            shares, _ = nnls(design * weight[:, None], sample * weight)
            if np.abs(shares / shares.sum() - before).max() < STILL:
                break
        found.append(shares)
    return Composition(to_shares(np.stack(found)), size)


def dampened(task: Task) -> Composition:
    """Dampened weighted least squares on markers as in DWLS (Tsoucas 2019): each gene by its relative error.

    Weights are bounded at the power of two at which the answers of random halves of the genes agree best.
    """
    rng = np.random.default_rng(task.seed)
    level = task.signature[:, task.markers].T
    halves = [rng.choice(len(level), max(len(level) // 2, level.shape[1]), replace=False) for _ in range(N_SUBSETS)]
    found = []
    for sample in task.mixed[:, task.markers]:
        shares, _ = nnls(level, sample)
        spread = []
        for bound in range(MOST_DAMPENED):
            weight = _dampened_weight(level @ shares, bound)
            tried = [nnls(level[half] * weight[half, None], sample[half] * weight[half])[0] for half in halves]
            spread.append(to_shares(np.stack(tried)).std(axis=0).mean())
        bound = int(np.argmin(spread))
        for _ in range(ROUNDS):
            weight, before = _dampened_weight(level @ shares, bound), shares
            shares = (shares * 4 + nnls(level * weight[:, None], sample * weight)[0]) / 5
            if np.abs(shares - before).sum() < STILL * shares.sum():
                break
        found.append(shares)
    return Composition(to_shares(np.stack(found)))


def _dampened_weight(predicted: np.ndarray, bound: int) -> np.ndarray:
    """Give the square roots of weights 1 / predicted^2, relative to the least, bounded at a power of two."""
    weight = 1 / np.maximum(predicted, 1e-6) ** 2
    return np.sqrt(np.minimum(weight / weight.min(), 2.0**bound))
