"""Held-out skill of a prediction, gene by gene, beside the mean and the nearest neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import false_discovery_control, t

from sctandem._keys import VERDICTS, PredictionKeys
from sctandem.kernels import auroc, gain, pearson, rmse

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Genes that are scored at once.
BLOCK = 2000
#: False discovery rate of the verdicts, over genes.
LEVEL = 0.05
#: Held-out cells with a count below which a gene gets no verdict: errors are too skewed to be tested.
MIN_DETECTED = 20


def log_normalise(counts: sparse.csr_matrix, library: NDArray[np.float64]) -> sparse.csr_matrix:
    """Return log1p of counts per 10,000; cells without counts stay empty."""
    scale = np.where(library > 0, 1e4 / np.maximum(library, 1e-12), 0.0)
    out = sparse.csr_matrix(sparse.diags_array(scale) @ counts, dtype=np.float32)
    out.data = np.log1p(out.data)
    return out


def _superiority(truth: np.ndarray, prediction: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """One-sided p-value of smaller squared errors than those of a reference, paired over cells, (genes,).

    Both are shifted to the mean of the reference first: being lower on average than the reference helps with a gene that
    is rarely seen, and is no knowledge of the cells. Where the errors as they are are not smaller, the p-value is 1.
    """
    shifted = prediction - prediction.mean(0) + reference.mean(0)
    difference = (truth - reference) ** 2 - (truth - shifted) ** 2
    error = difference.std(0, ddof=1) / np.sqrt(len(truth))
    pvalue = t.sf(difference.mean(0) / np.maximum(error, 1e-12), len(truth) - 1)
    return np.where(gain(truth, prediction, reference) > 0, pvalue, 1.0)


def _verdicts(p_mean: np.ndarray, p_knn: np.ndarray, judged: np.ndarray) -> pd.Categorical:
    """Put p-values of all genes in words, at a false discovery rate over the genes that are judged."""
    words = np.where(judged, VERDICTS[2], VERDICTS[3]).astype(object)
    if judged.any():
        rows = np.flatnonzero(judged)
        over_mean = false_discovery_control(p_mean[rows]) < LEVEL
        over_both = false_discovery_control(np.maximum(p_mean, p_knn)[rows]) < LEVEL
        words[rows[over_mean]] = VERDICTS[1]
        words[rows[over_mean & over_both]] = VERDICTS[0]
    return pd.Categorical(words, categories=list(VERDICTS))


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
    blocks, tests = [], []
    for start in range(0, measured.shape[1], BLOCK):
        genes = slice(start, start + BLOCK)
        truth = measured[:, genes].toarray().astype(np.float64)
        ours = predicted[:, genes].astype(np.float64)
        known = train[:, genes]
        mean = np.broadcast_to(np.asarray(known.mean(0)).ravel(), truth.shape)
        knn = np.asarray((neighbours @ known).todense())
        over_mean, over_knn = gain(truth, ours, mean), gain(truth, ours, knn)
        tests.append(
            (_superiority(truth, ours, mean), _superiority(truth, ours, knn), (truth > 0).sum(0) >= MIN_DETECTED)
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
                }
            )
        )
    table = pd.concat(blocks, ignore_index=True)
    p_mean, p_knn, detected = (np.concatenate(parts) for parts in zip(*tests, strict=True))
    table[keys.verdict] = _verdicts(p_mean, p_knn, detected & scorable)
    return table
