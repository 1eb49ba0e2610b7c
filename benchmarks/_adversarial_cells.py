"""Made cells against held-out real ones: can a random forest tell them apart?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import _scvi_models
from benchmarks._label_tasks import Cells
from benchmarks._labelled_sets import BATCH, BY_NAME, LABEL, path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from anndata import AnnData

TITLE = "Made cells"
CAPTION = """\
As many cells as are held out (30 %), made from the others; AUC of a random forest (200 trees, four folds) on log1p of counts per 10,000 of 2,000 variable genes that tells them
from the held-out cells: 0.5 is not at all. *Real cells* draws the training cells themselves, which is what can be reached. *Marker correlations* is the correlation, over pairs of the 50
genes that differ most between types, of the correlations among real held-out cells and among made ones. scVI's posterior predictive cells encode real cells and decode them again; those of
`tl.simulate` are drawn around encoded cells, with and without the critic. The epochs of the count model were chosen on symphony.
*Nearest*: the distance of a made cell to the nearest training cell, in 30 principal components of the training cells, divided by that of a held-out real cell to its own nearest; medians and
1 % quantiles. 1 is as far as new cells lie, 0 is a copy."""
SEEDS = (0, 1, 2)
SETS = ("symphony", "mixology")
HELD_OUT, N_MARKERS, ALLOWED = 0.3, 50, 0.65
N_COMPONENTS, LOW, AS_FAR = 30, 0.01, 0.9
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
    """Make cells in every way that is not done, of each set, and judge them; what takes longest comes last."""
    for method in METHODS:
        for name in SETS:
            if (name, method) not in done:
                yield measure(name, seed, method)


def measure(name: str, seed: int, method: str) -> Row:
    """Make cells of one set in one way."""
    cells = Cells.read(name)
    rng = np.random.default_rng(seed)
    held = rng.random(len(cells.labels)) < HELD_OUT
    counts = cells.counts(np.flatnonzero(~held))
    counts.obs[LABEL] = cells.labels
    train, test = counts[~held].copy(), counts[held].copy()
    start = time.process_time()
    made = _made(method, train.copy(), test.n_obs, seed)
    row = {"set": name, "name": method, "seed": seed, "processor_seconds": round(time.process_time() - start, 1)}
    return row | _judged(test, made, seed) | nearest(*(_logs(x) for x in (train.X.toarray(), test.X.toarray(), made)))


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


def nearest(train: np.ndarray, real: np.ndarray, made: np.ndarray) -> Row:
    """Compare how far made cells lie from the nearest training cell with how far new real ones do, at the median and among the nearest."""
    from sklearn.decomposition import PCA
    from sklearn.neighbors import NearestNeighbors

    components = PCA(min(N_COMPONENTS, *train.shape), random_state=0).fit(train)
    search = NearestNeighbors(n_neighbors=1).fit(components.transform(train))
    of_real, of_made = (search.kneighbors(components.transform(cells))[0][:, 0] for cells in (real, made))
    return {
        f"nearest_{name}": round(float(np.quantile(of_made, q) / np.quantile(of_real, q)), 3)
        for name, q in (("median", 0.5), ("low", LOW))
    }


def _logs(counts: np.ndarray) -> np.ndarray:
    return np.log1p(1e4 * counts / np.maximum(counts.sum(1, keepdims=True), 1))


def table(rows: list[Row]) -> list[Row]:
    """Give a row a set and method, a mean over seeds."""
    columns = {
        "AUC": "auc", "marker correlations": "marker_correlations", "nearest, median": "nearest_median", "nearest, 1 %": "nearest_low",
        "CPU s": "processor_seconds",
    }  # fmt: skip
    out = []
    for name, method in sorted({(row["set"], row["name"]) for row in rows}):
        own = [row for row in rows if (row["set"], row["name"]) == (name, method)]
        values = {title: [row[key] for row in own if key in row] for title, key in columns.items()}
        out.append(
            {"set": name, "cells": method, "seeds": len(own)}
            | {title: round(float(np.mean(value)), 3) if value else None for title, value in values.items()}
        )
    return out


def targets(rows: list[Row]) -> list[Row]:
    """Compare with what was asked for, seed by seed."""
    out = []
    for name in SETS:
        own = sorted((row for row in rows if (row["set"], row["name"]) == (name, OWN)), key=lambda row: row["seed"])
        worst = [row["auc"] for row in own]
        out.append(
            {
                "target": f"{name}: AUC of a random forest, made against held-out real cells, at most {ALLOWED}",
                "measured": ", ".join(f"{auc:.3f}" for auc in worst),
                "met": _met(worst, lambda auc: auc <= ALLOWED),
            }
        )
        far = [min(row["nearest_median"], row["nearest_low"]) for row in own if "nearest_low" in row]
        out.append(
            {
                "target": f"{name}: no copies: made cells lie at least {AS_FAR:.0%} as far from the nearest training cell as held-out ones do, at the median and at the 1 % quantile",
                "measured": ", ".join(f"{one:.2f}" for one in far),
                "met": _met(far, lambda one: one >= AS_FAR),
            }
        )
    return out


def _met(values: list[float], holds: Callable[[float], bool]) -> str:
    if not values:
        return "not measured"
    return "yes" if all(map(holds, values)) else "no"


def data() -> list[Path]:
    """Files that are read."""
    return [path(BY_NAME[name]) for name in SETS]
