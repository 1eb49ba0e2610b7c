"""CapsuleNet at its defaults: types without labels, labels, and novelty."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._label_tasks import KNOWN, UNKNOWN, Answer, Cells, Task
from benchmarks._labelled_sets import BATCH

if TYPE_CHECKING:
    from anndata import AnnData


def make(
    counts: AnnData, seed: int, *, depth: str | None = None, batch: str | None = None, labels: bool = False
) -> Any:
    """Set up CapsuleNet, with the labels in `obs["known"]` where it is to be shown labels."""
    from sctandem.model import CapsuleNet

    options: dict[str, Any] = {"batch_key": batch}
    if depth is not None:
        options["size_factor_key"] = depth
    if labels:
        options |= {"labels_key": KNOWN, "unlabeled_category": UNKNOWN}
    CapsuleNet.setup_anndata(counts, **options)
    return CapsuleNet(counts, rng=seed)


def train(model: Any, seed: int) -> dict[str, float]:
    """Train on the CPU with the defaults, and give what it took."""
    start = time.perf_counter(), time.process_time()
    model.train(rng=seed, progress=False, accelerator="cpu")
    seconds, processor = time.perf_counter() - start[0], time.process_time() - start[1]
    return {"seconds": round(seconds, 2), "processor_seconds": round(processor, 2)}


def without_labels(cells: Cells, seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Give the capsule of each cell, the poses, and what the training took."""
    counts = cells.counts()
    model = make(counts, seed, depth=cells.depth, batch=BATCH if BATCH in counts.obs else None)
    times = train(model, seed)
    return model.predict().to_numpy().astype(str), model.get_latent_representation(), times


def transductive(task: Task) -> Answer:
    """Train with the counts of all cells and genes, the cells that are asked for without a label."""
    counts = task.cells.all_counts()
    counts.obs[KNOWN] = np.where(task.known, task.cells.labels, UNKNOWN)
    model = make(counts, task.seed, depth=task.cells.depth, batch=BATCH if BATCH in counts.obs else None, labels=True)
    times = train(model, task.seed)
    return _answer(model, None, task.test, times)


def inductive(task: Task) -> Answer:
    """Train on the labelled cells alone, with the genes that five of them have; the model sees the others when it has been trained.

    A batch that was not in the training has no place in the model: where one is held out, no batches are registered.
    """
    counts = task.cells.all_counts(task.known)
    counts.obs[KNOWN] = np.where(task.known, task.cells.labels, UNKNOWN)
    batch = BATCH if BATCH in counts.obs and not task.new_batch else None
    model = make(counts[task.known].copy(), task.seed, depth=task.cells.depth, batch=batch, labels=True)
    times = train(model, task.seed)
    asked = counts[task.test].copy()
    return _answer(model, asked, np.arange(asked.n_obs), times)


def _answer(model: Any, adata: AnnData | None, where: np.ndarray, times: dict[str, float]) -> Answer:
    """Ask for labels, probabilities and typicality."""
    soft = model.predict(adata, soft=True)
    soft = soft[[name for name in soft.columns if name != UNKNOWN]]
    novelty = {"1 - typicality": 1.0 - model.get_typicality(adata).to_numpy()[where]}
    return Answer(
        model.predict(adata).to_numpy().astype(str)[where], soft.to_numpy()[where], novelty, {"training": times}
    )
