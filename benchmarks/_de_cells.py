"""A peer that is not pseudobulk: scVI, whose unit is the cell and which gives probabilities."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING, Any

from benchmarks._de_data import DONOR, GROUP, TYPE, control_cells, grouped, splits, thinned
from benchmarks._de_runs import discoveries

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

SCVI = "scVI"
EPOCHS = 40


def by_scvi(adata: AnnData, seed: int) -> dict[str, pd.Series]:
    """Train scVI with the donor as its batch, and give by type which genes it reports at a false discovery rate of 5 % (mode "change")."""
    import scvi

    scvi.settings.seed = seed
    scvi.model.SCVI.setup_anndata(adata, batch_key=DONOR)
    model = scvi.model.SCVI(adata)
    model.train(EPOCHS, enable_progress_bar=False, logger=False, batch_size=512)
    found = {}
    for name in sorted(adata.obs[TYPE].unique()):
        of_type = (adata.obs[TYPE] == name).to_numpy()
        high = (adata.obs[GROUP] == "B").to_numpy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = model.differential_expression(
                idx1=of_type & high, idx2=of_type & ~high, mode="change", batch_correction=False, silent=True
            )
        found[name] = table["is_de_fdr_0.05"].reindex(adata.var_names)
    return found


METHODS = {SCVI: by_scvi}


def null(method: str, number: int) -> list[dict[str, Any]]:
    """Say how many genes are reported in a split 4 v 4 of the control cells."""
    start = time.process_time()
    found = METHODS[method](grouped(control_cells(), splits(4)[number]), number)
    seconds = (time.process_time() - start) / len(found)
    return [{"type": name, "method": method, "reported": int(one.sum()), "s": seconds} for name, one in found.items()]


def power(method: str, seed: int) -> list[dict[str, Any]]:
    """Thin genes, 4 v 4 to half, and look for them, among all genes."""
    adata, truth = thinned(control_cells(), 4, 0.5, seed)
    start = time.process_time()
    found = METHODS[method](adata, seed)
    seconds = (time.process_time() - start) / len(found)
    return [
        {"type": name, "method": method, **discoveries(one.to_numpy(), truth[name].to_numpy()), "s": seconds}
        for name, one in found.items()
    ]
