"""MultiVI, which imputes the expression of cells that have chromatin alone."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from benchmarks.peers._common import Prediction, TrainData

if TYPE_CHECKING:
    from mudata import MuData

MODALITIES = {"rna_layer": "rna", "atac_layer": "atac"}


@dataclass(frozen=True)
class MultiVI:
    """scvi-tools' MultiVI with its defaults: the test cells are in the training without expression, and are imputed.

    The imputed frequencies, as log1p CP10k, are centred on the mean of the training cells; one factor for all deviations from the
    mean is fitted on the paired cells of MultiVI's own validation set, their expression hidden.
    `max_epochs=None` is MultiVI's default, up to 500 epochs with early stopping.
    """

    title: str = "MultiVI"
    max_epochs: int | None = None
    progress: bool = False

    def fit_predict(self, train: TrainData, atac_test: sparse.csr_matrix, *, seed: int) -> Prediction:
        """Train on all cells, and impute the test cells."""
        import scvi

        n_train, n_all = train.counts.shape[0], train.counts.shape[0] + atac_test.shape[0]
        scvi.settings.seed = seed
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mdata = _multiome(train.counts, sparse.vstack([train.atac, atac_test]).tocsr())
            scvi.model.MULTIVI.setup_mudata(mdata, modalities=MODALITIES)
            model = scvi.model.MULTIVI(mdata, n_genes=train.counts.shape[1], n_regions=atac_test.shape[1])
            start = time.perf_counter(), time.process_time()
            limit = {} if self.max_epochs is None else {"max_epochs": self.max_epochs}
            model.train(**limit, enable_progress_bar=self.progress)
            seconds, processor = time.perf_counter() - start[0], time.process_time() - start[1]
            hidden = _multiome(sparse.csr_matrix((0, train.counts.shape[1])), mdata["atac"].X)
            for column in mdata.obs.columns.difference(hidden.obs.columns):  # what the set-up registered
                hidden.obs[column] = mdata.obs[column].to_numpy()
            frequencies = model.get_normalized_expression(hidden, return_numpy=True)
        share = np.mean(np.asarray(train.counts.sum(axis=1)).ravel() / np.maximum(train.library_size, 1.0))
        logged = np.log1p(1e4 * share * frequencies.astype(np.float64))
        deviations = logged - logged[:n_train].mean(axis=0)
        expression = train.rna
        mean = expression.mean(axis=0, dtype=np.float64)
        paired = np.array([cell for cell in model.validation_indices if cell < n_train])
        scale = _slope(deviations[paired], expression[paired] - mean)
        epochs = len(model.history["elbo_train"])
        return Prediction(
            (mean + scale * deviations[n_train:n_all]).astype(np.float32),
            {
                "epochs": epochs,
                "epochs_limit": self.max_epochs or "default",
                "seconds_training": round(seconds, 1),
                "seconds_per_epoch": round(seconds / epochs, 2),
                "processor_seconds_per_epoch": round(processor / epochs, 2),
                "scale": round(scale, 4),
            },
        )


def _multiome(counts: sparse.csr_matrix, atac: sparse.csr_matrix) -> MuData:
    """Give a MuData in which the cells after those of `counts` have no expression."""
    from anndata import AnnData
    from mudata import MuData

    missing = sparse.csr_matrix((atac.shape[0] - counts.shape[0], counts.shape[1]))
    rna = sparse.vstack([counts, missing]).tocsr().astype(np.float32)
    cells = pd.DataFrame(index=[f"cell {number}" for number in range(atac.shape[0])])
    genes = pd.DataFrame(index=[f"gene {number}" for number in range(rna.shape[1])])
    peaks = pd.DataFrame(index=[f"peak {number}" for number in range(atac.shape[1])])
    modalities = {
        "rna": AnnData(rna, cells.copy(), genes),
        "atac": AnnData(atac.astype(np.float32), cells.copy(), peaks),
    }
    return MuData(modalities)


def _slope(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Least-squares factor of all predicted deviations, not negative."""
    variance = float(np.vdot(predicted, predicted))
    return max(float(np.vdot(predicted, truth)), 0.0) / variance if variance > 0 else 0.0
