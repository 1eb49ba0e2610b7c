"""Peers that predict a cell as a weighted sum of the training cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve

from benchmarks.peers._common import Peer, Prediction, TrainData
from benchmarks.peers._embedding import lsi, unit_rows, unit_tf_idf
from benchmarks.peers._tuning import Cells, Settings, tune_and_predict

if TYPE_CHECKING:
    from collections.abc import Iterator

COMPONENTS = (20, 50, 100, 200, 400)


@dataclass(frozen=True)
class MeanPerGene:
    """The mean of every gene over the training cells."""

    title: str = "mean per gene"

    def fit_predict(self, train: TrainData, atac_test: sparse.csr_matrix, *, seed: int) -> Prediction:
        """Repeat the mean."""
        del seed
        mean = train.rna.mean(axis=0, dtype=np.float64).astype(np.float32)
        return Prediction(np.tile(mean, (atac_test.shape[0], 1)))


@dataclass(frozen=True)
class NearestNeighbours:
    """Mean of the nearest training cells by the cosine of LSI components."""

    title: str = "kNN on LSI"
    weightings: tuple[str, ...] = ("TF-IDF", "log counts")
    components: tuple[int, ...] = COMPONENTS
    neighbours: tuple[int, ...] = (10, 20, 50, 100, 200, 400, 800)

    def fit_predict(self, train: TrainData, atac_test: sparse.csr_matrix, *, seed: int) -> Prediction:
        """Choose the number of neighbours and of components, and predict."""
        features = _lsi_features(train, atac_test, self.weightings, self.components, seed=seed)
        return tune_and_predict(self._solve, features, train.rna, n_test=atac_test.shape[0], seed=seed)

    def _solve(
        self, features: np.ndarray, cells: Cells, targets: np.ndarray, *, seed: int, chosen: Settings | None = None
    ) -> Iterator[tuple[Settings, np.ndarray]]:
        del seed
        similarity = features[cells.query] @ features[cells.fit].T
        options = [chosen["neighbours"]] if chosen else [k for k in self.neighbours if k <= len(cells.fit)]
        for k in options:
            nearest = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
            rows = np.repeat(np.arange(len(cells.query)), k)
            weights = sparse.csr_matrix((np.full(rows.size, 1.0 / k), (rows, nearest.ravel())), similarity.shape)
            yield {"neighbours": k}, weights @ targets


@dataclass(frozen=True)
class RidgeOnLSI:
    """Ridge regression on LSI components."""

    title: str = "ridge on LSI"
    weightings: tuple[str, ...] = ("TF-IDF", "log counts")
    components: tuple[int, ...] = COMPONENTS
    alphas: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0, 1000.0)

    def fit_predict(self, train: TrainData, atac_test: sparse.csr_matrix, *, seed: int) -> Prediction:
        """Choose the penalty and the number of components, and predict."""
        features = _lsi_features(train, atac_test, self.weightings, self.components, seed=seed)
        return tune_and_predict(self._solve, features, train.rna, n_test=atac_test.shape[0], seed=seed)

    def _solve(
        self, features: np.ndarray, cells: Cells, targets: np.ndarray, *, seed: int, chosen: Settings | None = None
    ) -> Iterator[tuple[Settings, np.ndarray]]:
        del seed
        mean = features[cells.fit].mean(axis=0)
        design, query = features[cells.fit] - mean, features[cells.query] - mean
        values, vectors = np.linalg.eigh(design.T @ design)
        rotated, query = vectors.T @ (design.T @ targets), query @ vectors
        for alpha in [chosen["alpha"]] if chosen else self.alphas:
            yield {"alpha": alpha}, query @ (rotated / (np.maximum(values, 0.0) + alpha)[:, None])


@dataclass(frozen=True)
class KernelRidge:
    """Kernel ridge on LSI components, averaged over halves of the training cells: the NeurIPS 2021 winner's idea.

    The winner (Guan lab; openproblems' component `guanlab_dengkw_pm`) regresses the leading components of the expression on those
    of the chromatin with a radial kernel, and averages the fits to halves of the batches.
    """

    title: str = "kernel ridge on LSI"
    weightings: tuple[str, ...] = ("TF-IDF", "log counts")
    components: tuple[int, ...] = COMPONENTS
    lengths: tuple[float, ...] = (0.5, 1.0, 3.0)
    alphas: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0, 10.0)
    n_repeats: int = 5
    n_repeats_tuning: int = 1

    def fit_predict(self, train: TrainData, atac_test: sparse.csr_matrix, *, seed: int) -> Prediction:
        """Choose components, length scale and penalty, and predict."""
        features = _lsi_features(train, atac_test, self.weightings, self.components, seed=seed)
        return tune_and_predict(self._solve, features, train.rna, n_test=atac_test.shape[0], seed=seed)

    def _solve(
        self, features: np.ndarray, cells: Cells, targets: np.ndarray, *, seed: int, chosen: Settings | None = None
    ) -> Iterator[tuple[Settings, np.ndarray]]:
        n_repeats = self.n_repeats if chosen else self.n_repeats_tuning
        for length in [chosen["length"]] if chosen else self.lengths:
            kernel = _radial(features[np.concatenate([cells.fit, cells.query])], features[cells.fit], length)
            alphas = [chosen["alpha"]] if chosen else self.alphas
            for alpha, predicted in _averaged_halves(kernel, targets, alphas, n_repeats, seed):
                yield {"length": length, "alpha": alpha}, predicted


@dataclass(frozen=True)
class LinearKernelAllPeaks:
    """Ridge regression on all peaks by way of their linear kernel, averaged over halves as `KernelRidge`."""

    title: str = "linear kernel, all peaks"
    alphas: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    n_repeats: int = 5
    n_repeats_tuning: int = 1

    def fit_predict(self, train: TrainData, atac_test: sparse.csr_matrix, *, seed: int) -> Prediction:
        """Choose the weighting of the peaks and the penalty, and predict."""
        atac = sparse.vstack([train.atac, atac_test]).tocsr()
        features = {"unit TF-IDF": _gram(unit_tf_idf(atac))}
        return tune_and_predict(self._solve, features, train.rna, n_test=atac_test.shape[0], seed=seed)

    def _solve(
        self, features: np.ndarray, cells: Cells, targets: np.ndarray, *, seed: int, chosen: Settings | None = None
    ) -> Iterator[tuple[Settings, np.ndarray]]:
        kernel = features[np.ix_(np.concatenate([cells.fit, cells.query]), cells.fit)]
        alphas = [chosen["alpha"]] if chosen else self.alphas
        n_repeats = self.n_repeats if chosen else self.n_repeats_tuning
        for alpha, predicted in _averaged_halves(kernel, targets, alphas, n_repeats, seed):
            yield {"alpha": alpha}, predicted


@dataclass(frozen=True)
class AverageOfRegressions:
    """The plain mean of ridge, kernel ridge and linear kernel, each tuned by itself."""

    title: str = "average of the three regressions"
    members: tuple[Peer, ...] = (RidgeOnLSI(), KernelRidge(), LinearKernelAllPeaks())

    def fit_predict(self, train: TrainData, atac_test: sparse.csr_matrix, *, seed: int) -> Prediction:
        """Average the predictions."""
        predictions = [member.fit_predict(train, atac_test, seed=seed).values for member in self.members]
        return Prediction(np.mean(predictions, axis=0, dtype=np.float64).astype(np.float32))


def _lsi_features(
    train: TrainData,
    atac_test: sparse.csr_matrix,
    weightings: tuple[str, ...],
    components: tuple[int, ...],
    *,
    seed: int,
) -> dict[str, np.ndarray]:
    """Unit LSI vectors of the training cells followed by the test cells, for every weighting and number of components."""
    atac = sparse.vstack([train.atac, atac_test]).tocsr()
    features = {}
    for weighting in weightings:
        embedding = lsi(atac, weighting, seed=seed, n_components=max(components))
        usable = sorted({min(k, embedding.shape[1]) for k in components})
        features |= {f"{weighting}, {k} components": unit_rows(embedding[:, :k]) for k in usable}
    return features


def _gram(features: sparse.csr_matrix) -> np.ndarray:
    """Products of all pairs of cells, centred, with a mean diagonal of one."""
    kernel = np.asarray((features @ features.T).todense(), dtype=np.float64)
    mean = kernel.mean(axis=0)
    kernel = kernel - mean - mean[:, None] + mean.mean()
    return kernel / kernel.diagonal().mean()


def _radial(query: np.ndarray, cells: np.ndarray, length: float) -> np.ndarray:
    """Radial kernel of unit vectors; their squared distance is 2 - 2 cosine."""
    return np.exp((query @ cells.T - 1.0) / length**2)


def _averaged_halves(
    kernel: np.ndarray, targets: np.ndarray, alphas: list[float] | tuple[float, ...], n_repeats: int, seed: int
) -> Iterator[tuple[float, np.ndarray]]:
    """Kernel ridge of the query cells, averaged over fits to random halves of the fitted cells.

    `kernel` has a row for every fitted cell and then for every query cell, and a column for every fitted cell.
    """
    n_fit = len(targets)
    rng = np.random.default_rng(seed)
    halves = []
    for _ in range(n_repeats):
        order = rng.permutation(n_fit)
        halves += [order[: n_fit // 2], order[n_fit // 2 :]]
    for alpha in alphas:
        weights = np.zeros((n_fit, targets.shape[1]))
        for half in halves:
            system = kernel[np.ix_(half, half)]
            system[np.diag_indices_from(system)] += alpha
            weights[half] += cho_solve(cho_factor(system, overwrite_a=True, check_finite=False), targets[half])
        yield alpha, kernel[n_fit:] @ weights / len(halves)
