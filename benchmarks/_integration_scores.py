"""Batches mixed and labels kept in an embedding: scib-metrics, and classifiers that were not there when it was made."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

BIO = ("isolated_labels", "kmeans_nmi", "kmeans_ari", "silhouette_label", "clisi")
MIXING = ("bras", "ilisi", "kbet", "graph_connectivity", "pcr")
#: Shares of both in the total, as scib weighs them.
SHARES = (0.6, 0.4)
N_NEIGHBOURS = (15, 50, 90)
N_FOLDS, FEWEST = 5, 10


def integration_scores(
    points: np.ndarray, before: np.ndarray, batch: np.ndarray, labels: np.ndarray
) -> dict[str, float]:
    """Score an embedding by scib-metrics at its defaults, and by classifiers of the batch.

    `before` are principal components without any integration, and `batch` and `labels` text. Neighbours are exact.
    """
    scib = _scib_metrics()
    near = _neighbours(scib, points)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clusters = scib.nmi_ari_cluster_labels_kmeans(points, labels)
        found = {
            "isolated_labels": scib.isolated_labels(points, labels, batch),
            "kmeans_nmi": clusters["nmi"],
            "kmeans_ari": clusters["ari"],
            "silhouette_label": scib.silhouette_label(points, labels),
            "clisi": scib.clisi_knn(near(90), labels),
            "bras": scib.bras(points, labels, batch),
            "ilisi": scib.ilisi_knn(near(90), batch),
            "kbet": scib.kbet_per_label(near(50), batch, labels),
            "graph_connectivity": scib.graph_connectivity(near(15), labels),
            "pcr": scib.pcr_comparison(before, points, batch, categorical=True),
        }
    found = {name: float(value) for name, value in found.items()}
    found["bio"] = float(np.mean([found[name] for name in BIO]))
    found["mixing"] = float(np.mean([found[name] for name in MIXING]))
    found["total"] = SHARES[0] * found["bio"] + SHARES[1] * found["mixing"]
    found["batch_told"] = told(points, batch, labels)
    found["rarest_recall"] = rarest_recall(points, labels)
    return {name: round(value, 4) for name, value in found.items()}


def told(
    points: np.ndarray, batch: np.ndarray, labels: np.ndarray, classifier: Callable[[], Any] | None = None
) -> float:
    """Give how well a fresh classifier tells the batch of cells that it has not seen, within types: 0 is by chance, 1 always.

    Balanced accuracy over batches among cells of one type, scaled between chance and 1, a mean over types by their cells; batches
    with fewer than 10 cells of a type are left out there.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    make = classifier or (
        lambda: RandomForestClassifier(100, min_samples_leaf=3, class_weight="balanced", random_state=0, n_jobs=1)
    )
    total = weight = 0.0
    for label in np.unique(labels):
        inside = labels == label
        names, sizes = np.unique(batch[inside], return_counts=True)
        names = names[sizes >= FEWEST]
        if len(names) < 2:
            continue
        cells = np.flatnonzero(inside & np.isin(batch, names))
        folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=0)
        guessed = cross_val_predict(make(), points[cells], batch[cells], cv=folds)
        accuracy = balanced_accuracy_score(batch[cells], guessed)
        total += len(cells) * (accuracy - 1 / len(names)) / (1 - 1 / len(names))
        weight += len(cells)
    return total / weight if weight else float("nan")


def rarest_recall(points: np.ndarray, labels: np.ndarray, n_neighbors: int = 5) -> float:
    """Give the share of the cells of the rarest type of at least 10 cells that their nearest neighbours put there."""
    from sklearn.neighbors import KNeighborsClassifier

    names, sizes = np.unique(labels, return_counts=True)
    names, sizes = names[sizes >= FEWEST], sizes[sizes >= FEWEST]
    rarest = names[sizes.argmin()]
    cells = np.flatnonzero(labels == rarest)
    near = (
        KNeighborsClassifier(n_neighbors + 1)
        .fit(points, labels)
        .kneighbors(points[cells], return_distance=False)[:, 1:]
    )
    return float(((labels[near] == rarest).mean(1) >= 0.5).mean())


def _neighbours(scib: Any, points: np.ndarray) -> Callable[[int], Any]:
    """Find the neighbours of all cells once; give those of as many as are asked for."""
    from sklearn.neighbors import NearestNeighbors

    most = min(max(N_NEIGHBOURS), len(points) - 1)
    distances, indices = NearestNeighbors(n_neighbors=most).fit(points).kneighbors(points)
    results = scib.nearest_neighbors.NeighborsResults(indices=indices, distances=distances)
    return lambda n: results.subset_neighbors(n=min(n, most))


def _scib_metrics() -> Any:
    """Import scib-metrics, which is an extra."""
    try:
        import scib_metrics
    except ImportError as error:
        error.add_note("Please install sctandem[bench] to score integration.")
        raise
    return scib_metrics
