"""Made cells against held-out real ones: can a random forest tell them apart?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import _scvi_models
from benchmarks._label_tasks import Cells
from benchmarks._labelled_sets import BATCH, BY_NAME, LABEL, path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from anndata import AnnData

TITLE = "Made cells"
CAPTION = """\
As many cells as are held out (30 %), made from the others; AUC of a random forest (200 trees, four folds) on log1p of counts per 10,000 of 2,000 variable genes that tells them
from the held-out cells: 0.5 is not at all. *Real cells* draws the training cells themselves, which is what can be reached. *Marker correlations* is the correlation, over pairs of the 50
genes that differ most between types, of the correlations among real held-out cells and among made ones. scVI's posterior predictive cells encode real cells and decode them again; those of
`tl.simulate` are drawn around encoded cells, with and without the critic. The epochs of the count model were chosen on symphony."""
SEEDS = (0,)
SETS = ("symphony", "mixology")
HELD_OUT, N_MARKERS, ALLOWED = 0.3, 50, 0.65
OWN, WITHOUT, SCVI, REAL, MEANS = (
    "tl.simulate",
    "tl.simulate without the critic",
    "scVI, posterior predictive",
    "real cells",
    "Poisson around the means of types",
)
#: In the order of what they cost.
METHODS = (REAL, MEANS, WITHOUT, OWN, SCVI)

Row = dict[str, Any]


def measure_rest(seed: int, done: set[tuple[str, str]]) -> Iterator[Row]:
    """Make cells of each set in every way that is not done, and judge them."""
    for name in SETS:
        missing = [method for method in METHODS if (name, method) not in done]
        if missing:
            yield from measure_set(name, seed, missing)


def measure_set(name: str, seed: int, methods: list[str]) -> Iterator[Row]:
    """Make cells of one set."""
    cells = Cells.read(name)
    rng = np.random.default_rng(seed)
    held = rng.random(len(cells.labels)) < HELD_OUT
    counts = cells.counts(np.flatnonzero(~held))
    counts.obs[LABEL] = cells.labels
    train, test = counts[~held].copy(), counts[held].copy()
    for method in methods:
        start = time.process_time()
        made = _made(method, train.copy(), test.n_obs, seed)
        row = {"set": name, "name": method, "seed": seed, "processor_seconds": round(time.process_time() - start, 1)}
        yield row | _judged(test, made, seed)


def _made(method: str, train: AnnData, n: int, seed: int) -> np.ndarray:
    """Make cells by one method, cells x genes."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(train.n_obs, n, replace=False)
    if method == REAL:
        return train.X[chosen].toarray()
    if method == MEANS:
        labels, dense = train.obs[LABEL].to_numpy(), train.X.toarray()
        means = {label: dense[labels == label].sum(0) / dense[labels == label].sum() for label in np.unique(labels)}
        return rng.poisson(np.stack([means[label] for label in labels[chosen]]) * dense[chosen].sum(1, keepdims=True))
    if method == SCVI:
        model = _scvi_models.make(train, seed)
        _scvi_models.train(model)
        drawn = model.posterior_predictive_sample(indices=chosen, n_samples=1)
        return np.asarray(drawn.todense()).reshape(n, -1)
    import sctandem as td
    from sctandem.module import GeneratorConfig

    config = GeneratorConfig(n_steps=0) if method == WITHOUT else None
    batch = BATCH if BATCH in train.obs else None
    return td.tl.simulate(train, n, LABEL, batch_key=batch, config=config, rng=seed, progress=False).X.toarray()


def _judged(test: AnnData, made: np.ndarray, seed: int) -> Row:
    """Score made cells."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    real, fake = _logs(test.X.toarray()), _logs(made)
    truth = np.repeat([0, 1], [len(real), len(fake)])
    forest = RandomForestClassifier(200, min_samples_leaf=2, random_state=seed, n_jobs=1)
    folds = StratifiedKFold(4, shuffle=True, random_state=seed)
    told = cross_val_predict(forest, np.vstack([real, fake]), truth, cv=folds, method="predict_proba")[:, 1]
    labels = test.obs[LABEL].to_numpy()
    means = np.stack([real[labels == label].mean(0) for label in np.unique(labels)])
    markers = np.argsort(-means.var(0))[:N_MARKERS]
    above = np.triu_indices(N_MARKERS, 1)
    pairs = [np.nan_to_num(np.corrcoef(logs[:, markers].T))[above] for logs in (real, fake)]
    return {
        "auc": round(float(roc_auc_score(truth, told)), 4),
        "marker_correlations": round(float(np.corrcoef(*pairs)[0, 1]), 4),
    }


def _logs(counts: np.ndarray) -> np.ndarray:
    return np.log1p(1e4 * counts / np.maximum(counts.sum(1, keepdims=True), 1))


def table(rows: list[Row]) -> list[Row]:
    """Give a row a set and method."""
    return [
        {
            "set": row["set"],
            "cells": row["name"],
            "AUC": row["auc"],
            "marker correlations": row["marker_correlations"],
            "CPU s": row["processor_seconds"],
        }
        for row in rows
    ]


def targets(rows: list[Row]) -> list[Row]:
    """Compare with what was asked for."""
    target = f"{{}}: AUC of a random forest, made against held-out real cells, at most {ALLOWED}"
    own = [row for row in rows if row["name"] == OWN]
    out = [
        {
            "target": target.format(row["set"]),
            "measured": f"{row['auc']:.3f}",
            "met": "yes" if row["auc"] <= ALLOWED else "no",
        }
        for row in own
    ]
    missing = [name for name in SETS if all(row["set"] != name for row in own)]
    return out + [{"target": target.format(name), "measured": "", "met": "not measured"} for name in missing]


def data() -> list[Path]:
    """Files that are read."""
    return [path(BY_NAME[name]) for name in SETS]
