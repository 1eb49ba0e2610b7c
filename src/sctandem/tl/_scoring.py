"""Held-out skill of a prediction, gene by gene, beside the mean and the nearest neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from sctandem._keys import VERDICTS, PredictionKeys
from sctandem.kernels import auroc, gain, pearson, rmse

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Genes that are scored at once.
BLOCK = 2000
#: One-sided 5 % point of the normal distribution.
CRITICAL = 1.645


def log_normalise(counts: sparse.csr_matrix, library: NDArray[np.float64]) -> sparse.csr_matrix:
    """Return log1p of counts per 10,000; cells without counts stay empty."""
    scale = np.where(library > 0, 1e4 / np.maximum(library, 1e-12), 0.0)
    out = sparse.csr_matrix(sparse.diags_array(scale) @ counts, dtype=np.float32)
    out.data = np.log1p(out.data)
    return out


def _beats(truth: np.ndarray, prediction: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Whether squared errors are smaller than those of a reference, by a paired one-sided test over cells at 5 %."""
    difference = (truth - reference) ** 2 - (truth - prediction) ** 2
    error = difference.std(0, ddof=1) / np.sqrt(len(truth))
    return difference.mean(0) > CRITICAL * np.maximum(error, 1e-12)


def score_prediction(
    measured: sparse.csr_matrix,
    predicted: np.ndarray,
    *,
    train: sparse.csr_matrix,
    neighbours: sparse.csr_matrix,
    scorable: np.ndarray,
    keys: PredictionKeys,
) -> pd.DataFrame:
    """Score each gene over held-out cells.

    Parameters
    ----------
    measured, predicted
        log1p of counts per 10,000, held-out cells x genes.
    train
        The same of the training cells, training cells x genes.
    neighbours
        Weights that predict held-out cells from training cells, held-out x training cells.
    scorable
        Genes the references may know, (genes,); the others get correlations only.
    keys
        Names of the columns.

    Returns
    -------
    Genes x columns of `PredictionKeys`.
    """
    blocks = []
    for start in range(0, measured.shape[1], BLOCK):
        genes = slice(start, start + BLOCK)
        truth = measured[:, genes].toarray().astype(np.float64)
        ours = predicted[:, genes].astype(np.float64)
        known = train[:, genes]
        mean = np.broadcast_to(np.asarray(known.mean(0)).ravel(), truth.shape)
        knn = np.asarray((neighbours @ known).todense())
        over_mean, over_knn = gain(truth, ours, mean), gain(truth, ours, knn)
        beats_mean, beats_knn = _beats(truth, ours, mean), _beats(truth, ours, knn)
        varies = (truth.std(0) > 0) & scorable[genes]
        verdict = np.select(
            [~varies, beats_mean & beats_knn, beats_mean], [VERDICTS[3], VERDICTS[0], VERDICTS[1]], VERDICTS[2]
        )
        hidden = ~scorable[genes]
        blocks.append(
            pd.DataFrame(
                {
                    keys.pearson: pearson(truth, ours),
                    keys.auroc: auroc(truth, ours),
                    keys.rmse: rmse(truth, ours),
                    keys.gain_mean: np.where(hidden, np.nan, over_mean),
                    keys.gain_knn: np.where(hidden, np.nan, over_knn),
                    keys.gain: np.where(hidden, np.nan, np.minimum(over_mean, over_knn)),
                    keys.verdict: verdict,
                }
            )
        )
    table = pd.concat(blocks, ignore_index=True)
    table[keys.verdict] = pd.Categorical(table[keys.verdict], categories=VERDICTS)
    return table
