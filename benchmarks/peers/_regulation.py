"""Regulators by expression alone, as others do it: scores of regulators x genes, larger is stronger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

if TYPE_CHECKING:
    from collections.abc import Callable


def _standard(values: np.ndarray) -> np.ndarray:
    spread = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1)


def pearson(values: np.ndarray, tfs: np.ndarray) -> np.ndarray:
    """Absolute correlations."""
    z = _standard(values)
    return np.abs(z[:, tfs].T @ z) / len(z)


def spearman(values: np.ndarray, tfs: np.ndarray) -> np.ndarray:
    """Absolute correlations of ranks."""
    return pearson(rankdata(values, axis=0), tfs)


def partial(values: np.ndarray, tfs: np.ndarray) -> np.ndarray:
    """Absolute partial correlations from a shrunken covariance (Ledoit and Wolf)."""
    from sklearn.covariance import LedoitWolf

    precision = LedoitWolf().fit(_standard(values)).precision_
    scale = np.sqrt(np.diag(precision))
    return np.abs(precision / np.outer(scale, scale))[tfs]


def clr(values: np.ndarray, tfs: np.ndarray) -> np.ndarray:
    """Correlations against the backgrounds of both genes, over all genes (CLR, with correlation in place of mutual information)."""
    strength = pearson(values, np.arange(values.shape[1]))
    np.fill_diagonal(strength, np.nan)
    z = (strength - np.nanmean(strength, axis=1, keepdims=True)) / np.nanstd(strength, axis=1, keepdims=True)
    z = np.maximum(np.nan_to_num(z), 0)
    return np.sqrt(z**2 + z.T**2)[tfs]


def genie3(values: np.ndarray, tfs: np.ndarray, *, n_trees: int, seed: int) -> np.ndarray:
    """GENIE3: importance in a random forest of each gene on the regulators, with the settings of arboreto but for the number of trees."""
    from sklearn.ensemble import RandomForestRegressor

    def forest(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        trees = RandomForestRegressor(n_trees, max_features="sqrt", random_state=seed).fit(x, y)
        return trees.feature_importances_

    return _by_gene(values, tfs, forest)


def stops(improvement: np.ndarray, window: int = 25) -> bool:
    """Whether the last rounds have not helped on average, as `EarlyStopMonitor` of arboreto: from the first full window on."""
    return len(improvement) >= window and float(np.mean(improvement[-window:])) < 0


def grnboost2(values: np.ndarray, tfs: np.ndarray, *, seed: int) -> np.ndarray:
    """GRNBoost2: importance in boosted trees that stop when rounds no longer help out of the bag, with the settings of arboreto."""
    from sklearn.ensemble import GradientBoostingRegressor

    def stop(i: int, model: GradientBoostingRegressor, _: dict) -> bool:
        return stops(model.oob_improvement_[: i + 1])

    def boosted(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        model = GradientBoostingRegressor(
            learning_rate=0.01, n_estimators=5000, max_features=0.1, subsample=0.9, random_state=seed
        )
        model.fit(x, y, monitor=stop)
        return model.feature_importances_ * len(model.estimators_)

    return _by_gene(values, tfs, boosted)


def _by_gene(
    values: np.ndarray, tfs: np.ndarray, importance: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    z = _standard(values).astype(np.float32)
    scores = np.zeros((len(tfs), values.shape[1]))
    for gene in range(values.shape[1]):
        others = tfs != gene
        scores[others, gene] = importance(z[:, tfs[others]], z[:, gene])
    return scores
