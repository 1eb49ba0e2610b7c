"""Cells described by their chromatin: TF-IDF, LSI and the kernel of all peaks.

The embeddings are fitted on the ATAC of the training and the test cells together, as the winner of the NeurIPS 2021
task did: no expression enters, and every peer may use the chromatin of the test cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils.extmath import randomized_svd

if TYPE_CHECKING:
    from scipy import sparse

N_COMPONENTS = 400
POWER_ITERATIONS = 5


def tf_idf(atac: sparse.csr_matrix) -> sparse.csr_matrix:
    """Signac's first variant: log1p(1e4 * share of the cell's open peaks * inverse document frequency), on binary peaks."""
    binary = _open_peaks(atac)
    document_frequency = np.asarray(binary.sum(axis=0)).ravel()
    weighted = _rows_to_sum(binary, 1.0).multiply(binary.shape[0] / np.maximum(document_frequency, 1.0)).tocsr()
    weighted.data = np.log1p(1e4 * weighted.data)
    return weighted


def log_counts(atac: sparse.csr_matrix) -> sparse.csr_matrix:
    """Give log1p of counts per 10,000, what the winner of the NeurIPS 2021 task was given."""
    scaled = _rows_to_sum(atac.astype(np.float32), 1e4)
    scaled.data = np.log1p(scaled.data)
    return scaled


def unit_tf_idf(atac: sparse.csr_matrix) -> sparse.csr_matrix:
    """Binary peaks weighted by log inverse document frequency, every cell of length one: the cosine of all peaks."""
    binary = _open_peaks(atac)
    document_frequency = np.asarray(binary.sum(axis=0)).ravel()
    weighted = binary.multiply(np.log1p(binary.shape[0] / np.maximum(document_frequency, 1.0))).tocsr()
    length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    return weighted.multiply(1.0 / np.maximum(length, 1e-12)[:, None]).tocsr()


WEIGHTINGS = {"TF-IDF": tf_idf, "log counts": log_counts}


def lsi(atac: sparse.csr_matrix, weighting: str, *, seed: int, n_components: int = N_COMPONENTS) -> np.ndarray:
    """Give the leading left singular vectors times singular values, cells x components."""
    features = WEIGHTINGS[weighting](atac)
    features = features[:, np.flatnonzero(features.getnnz(axis=0))]
    n_components = min(n_components, min(features.shape) - 1)
    left, values, _ = randomized_svd(features, n_components, n_iter=POWER_ITERATIONS, random_state=seed)
    return (left * values).astype(np.float64)


def unit_rows(embedding: np.ndarray) -> np.ndarray:
    """Scale every cell to length one: what is left is the direction, without the depth."""
    return embedding / np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), 1e-12)


def _open_peaks(atac: sparse.csr_matrix) -> sparse.csr_matrix:
    """Give 1 where a peak has a count."""
    binary = atac.tocsr().astype(np.float32)
    binary.eliminate_zeros()
    binary.data = np.ones_like(binary.data)
    return binary


def _rows_to_sum(matrix: sparse.csr_matrix, total: float) -> sparse.csr_matrix:
    """Scale every row to a sum; empty rows stay empty."""
    sums = np.asarray(matrix.sum(axis=1)).ravel()
    return matrix.multiply(total / np.maximum(sums, 1e-12)[:, None]).tocsr()
