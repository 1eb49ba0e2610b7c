"""Accessibility near a gene, weighted by distance, as ArchR and Signac score genes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from sklearn.model_selection import KFold

from benchmarks.peers._common import Prediction, TrainData
from sctandem.kernels import pearson

if TYPE_CHECKING:
    import pandas as pd

N_FOLDS = 3
ARCHR_OFFSET = np.exp(-1.0)


@dataclass(frozen=True)
class GeneScore:
    """Distance-weighted sum of the peaks around a gene.

    `tss`: weight `exp(-d / length)` of the distance to the transcription start. `body`: full weight in the gene body and
    upstream of it up to `promoter`, beyond that ArchR's `exp(-d / length) + exp(-1)`, scaled to the heaviest weight; needs the
    column `gene_length` of the pairs. The scores are normalised by the cell's ATAC counts and logged, and turned into expression
    by a line a gene, or by one slope for all genes on standardised scores. Model, length and line are chosen on the training
    cells.
    """

    title: str = "distance-weighted gene score"
    lengths: tuple[float, ...] = (1e3, 2e3, 5e3, 2e4, 5e4)
    promoter: float = 5e3

    def fit_predict(self, train: TrainData, atac_test: sparse.csr_matrix, *, seed: int) -> Prediction:
        """Choose the weights, and predict."""
        if train.pairs is None:
            msg = "the gene score needs the pairs of peaks and genes: TrainData(pairs=...)"
            raise ValueError(msg)
        expression = train.rna
        atac = sparse.vstack([train.atac, atac_test]).tocsr()
        n_train = len(expression)
        best, chosen = -np.inf, {}
        for model in ("tss", "body") if "gene_length" in train.pairs else ("tss",):
            for length in self.lengths:
                scores = self.scores(atac, train, model=model, length=length)
                for line in ("per gene", "common"):
                    skill = _cross_validated(scores[:n_train], expression, line, seed=seed)
                    if skill > best:
                        best, chosen = skill, {"model": model, "length": length, "line": line}
                        predicted = _predict(scores[:n_train], expression, scores[n_train:], line)
        return Prediction(predicted.astype(np.float32), chosen)

    def scores(self, atac: sparse.csr_matrix, data: TrainData, *, model: str, length: float) -> np.ndarray:
        """Give the score of every gene in every cell, log1p of a share of 10,000."""
        weights = self.weights(data.pairs, model=model, length=length)
        rows = data.peaks.get_indexer(data.pairs["peak"])
        columns = data.genes.get_indexer(data.pairs["gene"])
        matrix = sparse.csr_matrix((weights, (rows, columns)), shape=(len(data.peaks), len(data.genes)))
        depth = np.asarray(atac.sum(axis=1)).ravel()
        return np.log1p((atac @ matrix).toarray() * (1e4 / np.maximum(depth, 1.0))[:, None])

    def weights(self, pairs: pd.DataFrame, *, model: str, length: float) -> np.ndarray:
        """Give the weight of every pair."""
        distance = pairs["distance"].to_numpy(dtype=np.float64)
        if model == "tss":
            return np.exp(-np.abs(distance) / length)
        beyond = np.maximum(distance - pairs["gene_length"].to_numpy(dtype=np.float64), 0.0)
        gap = np.where(distance < 0, np.maximum(-distance - self.promoter, 0.0), beyond)
        return (np.exp(-gap / length) + ARCHR_OFFSET) / (1.0 + ARCHR_OFFSET)


def _cross_validated(scores: np.ndarray, expression: np.ndarray, line: str, *, seed: int) -> float:
    """Mean per-gene Pearson on held-out training cells."""
    skills = []
    for fit, query in KFold(N_FOLDS, shuffle=True, random_state=seed).split(expression):
        predicted = _predict(scores[fit], expression[fit], scores[query], line)
        skills.append(np.nan_to_num(pearson(expression[query], predicted)).mean())
    return float(np.mean(skills))


def _predict(scores: np.ndarray, expression: np.ndarray, query: np.ndarray, line: str) -> np.ndarray:
    """Least-squares line from the score to the expression."""
    mean, spread = scores.mean(axis=0), scores.std(axis=0)
    spread[spread < 1e-9] = np.inf
    standard = (scores - mean) / spread
    deviations = expression - expression.mean(axis=0, dtype=np.float64)
    slope = (standard * deviations).mean(axis=0)
    if line == "common":
        sizes = expression.std(axis=0, dtype=np.float64)
        slope = sizes * (slope @ sizes / max(sizes @ sizes, 1e-12))
    return expression.mean(axis=0, dtype=np.float64) + (query - mean) / spread * slope
