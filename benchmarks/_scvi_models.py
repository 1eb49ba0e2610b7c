"""scVI at its defaults, trained once a set and seed, and scANVI on top of it."""

from __future__ import annotations

import json
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._label_scores import uncertainty
from benchmarks._label_tasks import KNOWN, UNKNOWN, Answer, Cells, Task
from benchmarks._labelled_sets import BATCH

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

TIMES = "times.json"


@dataclass(frozen=True)
class Trained:
    """A trained model, the counts it was trained on, and what the training took."""

    model: Any
    counts: AnnData
    times: dict[str, Any]


def make(counts: AnnData, seed: int) -> Any:
    """Set up scVI with its defaults, which knows the batches and takes the depth from the counts that it is given."""
    import scvi

    scvi.settings.verbosity = 40
    scvi.settings.seed = seed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scvi.model.SCVI.setup_anndata(counts, batch_key=BATCH if BATCH in counts.obs else None)
        return scvi.model.SCVI(counts)


def train(model: Any, max_epochs: int | None = None, **options: Any) -> dict[str, Any]:
    """Train on the CPU with the defaults of `train`, and give what it took."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter(), time.process_time()
        model.train(max_epochs, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False, **options)
        seconds, processor = time.perf_counter() - start[0], time.process_time() - start[1]
    return {"seconds": round(seconds, 2), "processor_seconds": round(processor, 2)}


def default_epochs(n_cells: int) -> int:
    """Give the number of epochs that scvi-tools chooses."""
    from scvi.model._utils import get_max_epochs_heuristic

    return get_max_epochs_heuristic(n_cells)


def trained(cells: Cells, seed: int, folder: Path | None = None) -> Trained:
    """Train scVI on the variable genes, or take it from a folder that an earlier run left it in."""
    import scvi

    counts = cells.counts()
    place = None if folder is None else folder / f"scvi-{cells.name}-{seed}"
    if place is not None and (place / TIMES).exists():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = scvi.model.SCVI.load(place, adata=counts, accelerator="cpu")
        return Trained(model, counts, json.loads((place / TIMES).read_text()))
    model = make(counts, seed)
    times = train(model) | {"epochs": default_epochs(counts.n_obs), "genes": counts.n_vars}
    if place is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.save(place, overwrite=True)
        (place / TIMES).write_text(json.dumps(times))
    return Trained(model, counts, times)


def scanvi(task: Task) -> Answer:
    """Label by scANVI with its defaults, from a scVI that saw the counts of all cells and no labels.

    Where its last batch of labelled cells has a single cell, which its normalisation refuses, that batch is left out.
    """
    import scvi

    base = trained(task.cells, task.seed, task.models)
    counts = base.counts.copy()
    counts.obs[KNOWN] = np.where(task.known, task.cells.labels, UNKNOWN)
    scvi.settings.verbosity = 40

    def attempt(**options: Any) -> tuple[Any, dict[str, Any]]:
        scvi.settings.seed = task.seed
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = scvi.model.SCANVI.from_scvi_model(base.model, UNKNOWN, labels_key=KNOWN, adata=counts)
        return model, train(model, **options) | options

    try:
        model, times = attempt()
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        model, times = attempt(datasplitter_kwargs={"drop_last": True})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        soft = model.predict(indices=task.test, soft=True)
    probabilities = soft.to_numpy()
    predicted = soft.columns.to_numpy().astype(str)[probabilities.argmax(axis=1)]
    settings = {"scvi": base.times, "scanvi": times | {"epochs": len(model.history["elbo_train"])}}
    return Answer(predicted, probabilities, uncertainty(probabilities), settings)
