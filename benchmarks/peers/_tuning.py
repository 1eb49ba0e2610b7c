"""Choice of a linear smoother's settings by cross-validation on the training cells.

A smoother predicts a cell as a weighted sum of the expression of the training cells, the weights made of chromatin alone. It is
given targets of reduced rank besides: the leading directions of the training expression, as the winner of the NeurIPS 2021
task did. The settings with the best mean per-gene Pearson are chosen, and one factor, fitted on the same held-out cells,
scales the deviations from the mean, so that the squared error is as good as the correlation allows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy.linalg import eigh
from sklearn.model_selection import KFold

from benchmarks.peers._common import Prediction

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

N_FOLDS = 3
RANKS = (3, 5, 10, 20, 50, 100)
Settings = dict[str, Any]


class Solver(Protocol):
    """Predicts targets of query cells from those of fitted cells, for every setting or for the one that is given."""

    def __call__(
        self, features: np.ndarray, cells: Cells, targets: np.ndarray, *, seed: int, chosen: Settings | None = None
    ) -> Iterator[tuple[Settings, np.ndarray]]:
        """Yield settings and predicted targets of the query cells."""
        ...


@dataclass(frozen=True)
class Cells:
    """Positions of the cells to fit on and of those to predict."""

    fit: np.ndarray
    query: np.ndarray


def tune_and_predict(
    solver: Solver, features: Mapping[str, np.ndarray], expression: np.ndarray, *, n_test: int, seed: int
) -> Prediction:
    """Choose the settings on the training cells, and predict the test cells with them.

    `features` are descriptions of the training cells followed by the test cells, by name; `expression` is that of the training
    cells.
    """
    chosen, scale = _choose(solver, features, expression, seed=seed)
    inner = {key: value for key, value in chosen.items() if key not in {"features", "rank"}}
    n_train = len(expression)
    cells = Cells(np.arange(n_train), np.arange(n_train, n_train + n_test))
    basis = _Basis.of(expression)
    ((_, targets),) = solver(features[chosen["features"]], cells, basis.targets, seed=seed, chosen=inner)
    values = basis.mean + scale * basis.expression(targets, chosen["rank"])
    return Prediction(values.astype(np.float32), {**chosen, "scale": round(scale, 4)})


def _choose(
    solver: Solver, features: Mapping[str, np.ndarray], expression: np.ndarray, *, seed: int
) -> tuple[Settings, float]:
    """Give the best settings and the factor of the deviations from the mean."""
    records: dict[tuple, np.ndarray] = {}
    for fit, query in KFold(N_FOLDS, shuffle=True, random_state=seed).split(expression):
        basis, truth = _Basis.of(expression[fit]), expression[query].astype(np.float64)
        for name, values in features.items():
            for settings, targets in solver(values, Cells(fit, query), basis.targets, seed=seed):
                for rank, record in basis.score(targets, truth).items():
                    key = (("features", name), *settings.items(), ("rank", rank))
                    records[key] = records.get(key, 0.0) + record
    best = max(records, key=lambda key: records[key][0])
    _, covariance, variance = records[best]
    return dict(best), float(max(covariance, 0.0) / variance) if variance > 0 else 0.0


@dataclass(frozen=True)
class _Basis:
    """Principal directions of the expression of some cells, and the coordinates of these cells."""

    mean: np.ndarray
    directions: np.ndarray
    targets: np.ndarray

    @classmethod
    def of(cls, expression: np.ndarray) -> _Basis:
        """Find the leading directions, the strongest first."""
        mean = expression.mean(axis=0, dtype=np.float64)
        centred = expression - mean
        n_genes = expression.shape[1]
        kept = (max(0, n_genes - max(RANKS)), n_genes - 1)
        _, vectors = eigh(centred.T @ centred, subset_by_index=kept, check_finite=False)
        directions = np.ascontiguousarray(vectors[:, ::-1])
        return cls(mean, directions, centred @ directions)

    def expression(self, targets: np.ndarray, rank: int) -> np.ndarray:
        """Give deviations from the mean, from targets cut to a rank."""
        return targets[:, :rank] @ self.directions[:, :rank].T

    def score(self, targets: np.ndarray, truth: np.ndarray) -> dict[int, np.ndarray]:
        """Give, for every rank, mean per-gene Pearson and the sums of products and squares of predicted deviations.

        Everything comes from moments of the targets, so that no prediction of cells x genes is made.
        """
        centred = targets - targets.mean(axis=0)
        spread = np.sqrt(np.sum((truth - truth.mean(axis=0)) ** 2, axis=0))
        covariances = np.cumsum((truth.T @ centred) * self.directions, axis=1)
        products = np.cumsum(np.sum(((truth - self.mean).T @ targets) * self.directions, axis=0))
        squares = np.cumsum(np.sum(targets**2, axis=0))
        scatter = centred.T @ centred
        found = {}
        for rank in sorted({min(rank, targets.shape[1]) for rank in RANKS}):
            leading = self.directions[:, :rank]
            variances = np.sum((leading @ scatter[:rank, :rank]) * leading, axis=1)
            scale = spread * np.sqrt(np.maximum(variances, 0.0))
            correlations = np.zeros_like(scale)
            np.divide(covariances[:, rank - 1], scale, out=correlations, where=scale > 1e-9)
            found[rank] = np.array([correlations.mean(), products[rank - 1], squares[rank - 1]])
        return found
