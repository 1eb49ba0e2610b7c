"""The simple expert's ways to label cells: logistic regression, neighbours on principal components, CellTypist."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._label_scores import uncertainty
from benchmarks._label_tasks import PCA, Answer, Task, rotate

if TYPE_CHECKING:
    from collections.abc import Iterator

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
NEIGHBOURS = (5, 10, 15, 30, 50)
N_INNER = 3
N_NEAREST = 15
N_AROUND = 30


def logistic_regression(task: Task) -> Answer:
    """Multinomial regression on log1p CP10k of all genes; the penalty has the least log loss in threefold CV on the known cells."""
    return _regressed(task, task.cells.rotated)


def logistic_regression_at_median(task: Task) -> Answer:
    """Give the same on counts scaled to the median depth of all cells, as `scanpy.pp.normalize_total` does, in place of 10,000."""
    return _regressed(task, task.cells.rotated_at_median)


def _regressed(task: Task, features: np.ndarray) -> Answer:
    labels = task.shown
    known = np.flatnonzero(task.known)
    losses, hits = np.zeros(len(PENALTIES)), np.zeros(len(PENALTIES))
    for fit, check in _inner(labels, task.seed):
        model = _regression()
        for number, penalty in enumerate(PENALTIES):  # each starts from the one before
            model.set_params(C=penalty).fit(features[known[fit]], labels[fit])
            probabilities = model.predict_proba(features[known[check]])
            losses[number] += _log_loss(model.classes_, probabilities, labels[check])
            hits[number] += np.sum(model.classes_[probabilities.argmax(axis=1)] == labels[check])
    best = int(losses.argmin())
    model = _regression().set_params(C=PENALTIES[best]).fit(features[known], labels)
    probabilities = model.predict_proba(features[task.test])
    settings = {
        "C": PENALTIES[best],
        "inner_log_loss": dict(zip(map(str, PENALTIES), np.round(losses / len(labels), 4), strict=True)),
        "inner_accuracy": dict(zip(map(str, PENALTIES), np.round(hits / len(labels), 4), strict=True)),
        "iterations": int(model.n_iter_.max()),
    }
    return Answer(
        model.classes_[probabilities.argmax(axis=1)], probabilities, uncertainty(probabilities), settings=settings
    )


class _Quiet(warnings.catch_warnings):
    """Leave out what the libraries say of themselves, of too few iterations and of types with few cells."""

    def __enter__(self) -> Any:
        entered = super().__enter__()
        warnings.simplefilter("ignore")
        return entered


def _regression() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=500, warm_start=True)


def _inner(labels: np.ndarray, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Split known cells for the choice of a setting."""
    from sklearn.model_selection import StratifiedKFold

    with _Quiet():
        yield from StratifiedKFold(N_INNER, shuffle=True, random_state=seed).split(labels, labels)


def _log_loss(classes: np.ndarray, probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Sum the log loss over cells; a type that was not there to be learned has a probability of next to nothing."""
    where = np.searchsorted(classes, truth).clip(max=len(classes) - 1)
    given = np.where(classes[where] == truth, probabilities[np.arange(len(truth)), where], 0.0)
    return float(-np.log(np.maximum(given, 1e-6)).sum())


def neighbours(task: Task) -> Answer:
    """Vote of the nearest known cells on 30 principal components of all cells; their number is chosen by threefold CV.

    The score of novelty is the mean distance to the nearest known cells.
    """
    from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

    points, labels = task.cells.adata.obsm[PCA], task.shown
    known = points[task.known]
    hits = np.zeros(len(NEIGHBOURS))
    for fit, check in _inner(labels, task.seed):
        for number, n in enumerate(NEIGHBOURS):
            model = KNeighborsClassifier(min(n, len(fit))).fit(known[fit], labels[fit])
            hits[number] += np.sum(model.predict(known[check]) == labels[check])
    best = NEIGHBOURS[int(hits.argmax())]
    model = KNeighborsClassifier(best).fit(known, labels)
    probabilities = model.predict_proba(points[task.test])
    distance = NearestNeighbors(n_neighbors=N_NEAREST).fit(known).kneighbors(points[task.test])[0].mean(axis=1)
    novelty = {"distance": distance, **uncertainty(probabilities)}
    return Answer(model.classes_[probabilities.argmax(axis=1)], probabilities, novelty, {"neighbours": best})


def neighbours_without_label(task: Task) -> Answer:
    """Answer as `neighbours`, with another score of novelty: how many of the cells nearest to a cell, among all, have no label.

    It knows what CapsuleNet's typicality knows of cells of its training: which of them were given no label.
    """
    from sklearn.neighbors import NearestNeighbors

    points = task.cells.adata.obsm[PCA]
    near = NearestNeighbors(n_neighbors=N_AROUND + 1).fit(points).kneighbors(points[task.test], return_distance=False)
    others = near != task.test[:, None]
    unlabelled = (~task.known[near] & others).sum(axis=1) / others.sum(axis=1)
    answer = neighbours(task)
    return Answer(answer.predicted, answer.probabilities, {"neighbours without a label": unlabelled}, answer.settings)


class OneAgainstRest:
    """One regression a type against all others, as `LogisticRegression(multi_class="ovr")` was until scikit-learn 1.8.

    CellTypist asks for it by that name. The minimum is found in the coordinates of the cells (`rotate`), where it is the same.
    """

    def __init__(self, C: float, solver: str, max_iter: int, multi_class: str, n_jobs: int | None) -> None:
        del multi_class, n_jobs
        self.options = {"C": C, "solver": solver, "max_iter": max_iter}

    def fit(self, features: Any, labels: Any) -> OneAgainstRest:
        from sklearn.linear_model import LogisticRegression

        features, labels = np.asarray(features, dtype=np.float64), np.asarray(labels)
        self.classes_ = np.unique(labels)
        turned, back = rotate(features)
        fits = [LogisticRegression(**self.options).fit(turned, labels == name) for name in self.classes_]
        self.coef_ = np.stack([features.T @ (back @ fit.coef_[0]) for fit in fits])
        self.intercept_ = np.array([fit.intercept_[0] for fit in fits])
        return self

    def decision_function(self, features: np.ndarray) -> np.ndarray:
        return np.asarray(features) @ self.coef_.T + self.intercept_


def celltypist(task: Task) -> Answer:
    """CellTypist's own training and annotation at their defaults, with its probability matrix, whose rows do not add up to 1."""
    import pandas as pd
    from anndata import AnnData

    with _Quiet():
        import celltypist as tool

        training = sys.modules["celltypist.train"]
        genes = pd.DataFrame(index=task.cells.adata.var_names)
        shown, asked = (
            AnnData(task.cells.logged[cells].astype(np.float32), var=genes) for cells in (task.known, task.test)
        )
        tool.logger.set_level(40)
        before, training.LogisticRegression = training.LogisticRegression, OneAgainstRest
        try:
            # where the genes are a selection they do not add up to 10,000, which it would refuse
            model = tool.train(shown, labels=task.shown, check_expression=False)
            answer = tool.annotate(asked, model=model)
        finally:
            training.LogisticRegression = before
    probabilities = answer.probability_matrix.to_numpy()
    predicted = answer.predicted_labels["predicted_labels"].to_numpy().astype(str)
    return Answer(predicted, probabilities, uncertainty(probabilities))
