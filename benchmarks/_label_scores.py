"""How well labels and their probabilities agree with the truth."""

from __future__ import annotations

import numpy as np

N_BINS = 15


def calibration_error(confidence: np.ndarray, correct: np.ndarray, n_bins: int = N_BINS) -> float:
    """Give the expected calibration error: over bins of equal width, the gap of mean confidence and share correct, by cells."""
    where = np.minimum((np.asarray(confidence, dtype=float) * n_bins).astype(int), n_bins - 1)
    counts = np.bincount(where, minlength=n_bins)
    gaps = np.bincount(where, weights=confidence, minlength=n_bins) - np.bincount(
        where, weights=np.asarray(correct, dtype=float), minlength=n_bins
    )
    return float(np.abs(gaps).sum() / counts.sum())


def label_scores(truth: np.ndarray, predicted: np.ndarray, confidence: np.ndarray) -> dict[str, float]:
    """Give accuracy, macro F1 over the types that are there, and the calibration error of the top probability."""
    from sklearn.metrics import f1_score

    correct = truth == predicted
    return {
        "accuracy": float(correct.mean()),
        "macro_f1": float(f1_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0)),
        "ece": calibration_error(confidence, correct),
    }


def cluster_scores(truth: np.ndarray, found: np.ndarray) -> dict[str, float | int]:
    """Give the number of clusters and their agreement with the types."""
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    return {
        "clusters": len(np.unique(found)),
        "ari": float(adjusted_rand_score(truth, found)),
        "nmi": float(normalized_mutual_info_score(truth, found)),
    }


def uncertainty(probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """Give three scores of novelty that any probabilities of labels allow, each large where no label stands out."""
    ordered = np.sort(probabilities, axis=1)
    shares = probabilities / np.maximum(probabilities.sum(axis=1, keepdims=True), 1e-12)
    return {
        "1 - max probability": 1.0 - ordered[:, -1],
        "margin": -(ordered[:, -1] - ordered[:, -2]),
        "entropy": -(shares * np.log(np.maximum(shares, 1e-12))).sum(axis=1),
    }
