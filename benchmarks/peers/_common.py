"""What every peer is given, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from scipy import sparse


@dataclass(frozen=True)
class TrainData:
    """The training cells, and what is known of genes and peaks.

    `counts` and `atac` are raw counts (cells x genes, cells x peaks); `library_size` holds the total RNA counts of every cell, over
    all genes and not only those of `counts`; `pairs` lists the peaks near every gene, as `pp.gene_windows` does.
    """

    counts: sparse.csr_matrix
    atac: sparse.csr_matrix
    library_size: np.ndarray
    genes: pd.Index
    peaks: pd.Index
    pairs: pd.DataFrame | None = None

    @property
    def rna(self) -> np.ndarray:
        """Expression as log1p of counts per 10,000, float32, cells x genes."""
        return log1p_cp10k(self.counts, self.library_size)


@dataclass(frozen=True)
class Prediction:
    """Expected log1p CP10k of the test cells x genes, and the settings that were chosen."""

    values: np.ndarray
    settings: dict[str, Any] = field(default_factory=dict)


class Peer(Protocol):
    """A method that predicts expression from chromatin."""

    title: str

    def fit_predict(self, train: TrainData, atac_test: sparse.csr_matrix, *, seed: int) -> Prediction:
        """Fit on the training cells, and predict the test cells."""
        ...


def log1p_cp10k(counts: sparse.csr_matrix, library_size: np.ndarray) -> np.ndarray:
    """Give log1p of counts per 10,000 of the library, dense float32."""
    scaled = counts.astype(np.float32).multiply(1e4 / np.maximum(library_size, 1.0)[:, None]).tocsr()
    scaled.data = np.log1p(scaled.data)
    return np.asarray(scaled.todense(), dtype=np.float32)
