"""What `benchmarks/capsules.py` runs: each function measures one row, or the rows of one training."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import _capsules_own, _label_methods, _scvi_models
from benchmarks._label_scores import cluster_scores, label_scores
from benchmarks._label_tasks import PCA, UNKNOWN, Answer, Cells, Task, label_tasks, novelty_task
from benchmarks._labelled_sets import BATCH

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Row = dict[str, Any]

LATENT = "X_latent"
EPOCHS = 5


@dataclass(frozen=True)
class Entry:
    """A method and the title of its row; `own` marks those of this package."""

    title: str
    run: Callable[[Task], Answer]
    own: bool = False


#: Methods that label cells.
LABELLERS = {
    "capsules": Entry("CapsuleNet", _capsules_own.transductive, own=True),
    "capsules_inductive": Entry("CapsuleNet, held-out cells not seen in training", _capsules_own.inductive, own=True),
    "lr": Entry("logistic regression", _label_methods.logistic_regression),
    "lr_median": Entry("logistic regression, median depth", _label_methods.logistic_regression_at_median),
    "knn": Entry("kNN on PCA", _label_methods.neighbours),
    "knn_unlabelled": Entry("kNN on PCA, told which cells have no label", _label_methods.neighbours_without_label),
    "celltypist": Entry("CellTypist", _label_methods.celltypist),
    "scanvi": Entry("scANVI", _scvi_models.scanvi),
}
#: Titles of the rows of clusters; one training gives the rows that begin with its name.
CLUSTERERS = {
    "capsules": "CapsuleNet, capsule of each cell",
    "capsules_anneal": "CapsuleNet, tl.anneal on the poses",
    "pca_leiden": "PCA + Leiden(1.0)",
    "scvi_leiden": "scVI + Leiden(1.0)",
    "scvi_anneal": "scVI + tl.anneal",
}
TRAININGS = ("capsules", "pca", "scvi")
COSTS = {"capsules": "CapsuleNet", "scvi": "scVI, from a few epochs", "scvi_complete": "scVI, complete training"}
#: What each part can measure, by the name that chooses it.
METHODS = {
    "clusters": TRAININGS,
    "labels": tuple(name for name in LABELLERS if name != "knn_unlabelled"),  # its labels are those of "knn"
    "novelty": tuple(name for name in LABELLERS if name != "celltypist"),
    "cost": ("capsules", "scvi_complete"),
}


def clusters(cells: Cells, training: str, seed: int, models: Path | None) -> list[Row]:
    """Cluster without labels: all rows that one training gives."""
    from benchmarks._anneal_runs import annealed, leiden

    found: dict[str, np.ndarray] = {}
    times: dict[str, Any] = {}
    if training == "capsules":
        found["capsules"], latent, times = _capsules_own.without_labels(cells, seed)
    elif training == "scvi":
        base = _scvi_models.trained(cells, seed, models)
        latent, times = base.model.get_latent_representation(), base.times
    else:
        latent = cells.adata.obsm[PCA]
    work = cells.adata[:, :0].copy()
    work.obsm = {LATENT: np.ascontiguousarray(latent, dtype=np.float32)}
    if training != "capsules":
        found[f"{training}_leiden"] = leiden(work, LATENT, seed)
    if training != "pca":  # annealing on principal components is a benchmark of its own
        found[f"{training}_anneal"] = annealed(work, LATENT, seed)
    types = len(np.unique(cells.labels))
    return [
        {"set": cells.name, "method": name, "seed": seed, "types": types}
        | cluster_scores(cells.labels, labels)
        | {"training": times}
        for name, labels in found.items()
    ]


def labels(cells: Cells, method: str, seed: int, models: Path | None) -> Row:
    """Label every cell once, held out with its part or batch; scores of all cells together and of each part."""
    parts, answers, truths = {}, [], []
    start = time.perf_counter(), time.process_time()
    for name, task in label_tasks(cells, seed, models):
        answer = LABELLERS[method].run(task)
        truth = cells.labels[task.test]
        parts[name] = _scored(truth, answer) | {"settings": answer.settings}
        answers.append(answer)
        truths.append(truth)
    seconds, processor = time.perf_counter() - start[0], time.process_time() - start[1]
    top = np.concatenate([answer.probabilities.max(axis=1) for answer in answers])
    predicted = np.concatenate([answer.predicted for answer in answers])
    return {
        "set": cells.name,
        "method": method,
        "seed": seed,
        **label_scores(np.concatenate(truths), predicted, top),
        "unknown": float(np.mean(predicted == UNKNOWN)),
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor, 1),
        "parts": parts,
    }


def _scored(truth: np.ndarray, answer: Answer) -> dict[str, Any]:
    return {"cells": len(truth)} | label_scores(truth, answer.predicted, answer.probabilities.max(axis=1))


def novelty(cells: Cells, method: str, seed: int, hidden: str, models: Path | None) -> Row:
    """Hide a type; AUROC of its cells against the held-out cells of the other types, for each score of the method."""
    from sklearn.metrics import roc_auc_score

    start = time.perf_counter(), time.process_time()
    task = novelty_task(cells, hidden, seed, models)
    answer = LABELLERS[method].run(task)
    new = cells.labels[task.test] == hidden
    return {
        "set": cells.name,
        "method": method,
        "seed": seed,
        "hidden": hidden,
        "cells": int(new.sum()),
        "others": int((~new).sum()),
        "auroc": {name: float(roc_auc_score(new, score)) for name, score in answer.novelty.items()},
        "accuracy_others": float(np.mean(answer.predicted[~new] == cells.labels[task.test][~new])),
        "seconds": round(time.perf_counter() - start[0], 1),
        "processor_seconds": round(time.process_time() - start[1], 1),
        "settings": answer.settings,
    }


def cost(cells: Cells, method: str, seed: int) -> list[Row]:
    """Train scVI and CapsuleNet one after the other in one process, or scVI for all its epochs.

    Both have run before on the same data, so that neither pays for its first call.
    """
    counts = cells.counts()
    shared = {"set": cells.name, "seed": seed, "cells": counts.n_obs, "genes": counts.n_vars}
    epochs = _scvi_models.default_epochs(counts.n_obs)
    peer = _scvi_models.make(counts.copy(), seed)
    theirs = shared | {"method": "scvi", "parameters": n_parameters(peer), "epochs": epochs}
    _scvi_models.train(peer, 1)
    if method == "scvi_complete":
        return [theirs | {"method": method} | _scvi_models.train(_scvi_models.make(counts.copy(), seed))]
    own = _capsules_own.make(counts.copy(), seed, depth=cells.depth, batch=BATCH if BATCH in counts.obs else None)
    own.train(2, rng=seed, progress=False, accelerator="cpu")
    before = [_scvi_models.train(peer, n) for n in (1, 1 + EPOCHS)]
    own_times = _capsules_own.train(own, seed)
    after = [_scvi_models.train(peer, n) for n in (1, 1 + EPOCHS)]
    times = {key: round(whole(before, after, key, epochs), 1) for key in own_times}
    return [
        theirs | {"measured": [before, after]} | times,
        shared | {"method": "capsules", "parameters": n_parameters(own)} | own_times,
    ]


def whole(before: list[Row], after: list[Row], key: str, epochs: int) -> float:
    """Give the time of all epochs from those of trainings of one epoch and of some more."""
    first = mean([before[0][key], after[0][key]])
    slope = (mean([before[1][key], after[1][key]]) - first) / EPOCHS
    return first + slope * (epochs - 1)


def n_parameters(model: Any) -> int:
    """Count what is trained; scVI's encoder of the library size is there but not used at its defaults."""
    return sum(
        part.numel()
        for name, part in model.module.named_parameters()
        if part.requires_grad and not name.startswith("l_encoder.")
    )
