"""Labelled cells and what is asked of a method that labels them: which labels it is shown, and which cells it is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._labelled_sets import BATCH, BY_NAME, LABEL, add_principal_components, read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from anndata import AnnData
    from scipy import sparse

KNOWN, UNKNOWN = "known", "unknown"
N_FOLDS = 5
FEWEST_CELLS = 5
PCA = "X_pca"


@dataclass(frozen=True)
class Cells:
    """A labelled set: counts of all genes with `obs["label"]`, `obs["batch"]` where there are batches, and `obsm["X_pca"]`.

    `depth` names the column with the depth of the cells where the genes are a selection.
    """

    name: str
    adata: AnnData
    depth: str | None = None

    @classmethod
    def read(cls, name: str) -> Cells:
        """Read one of the sets, and compute its principal components."""
        adata = read(name)
        add_principal_components(adata, depth=BY_NAME[name].depth)
        return cls(name, adata, BY_NAME[name].depth)

    @property
    def labels(self) -> np.ndarray:
        """Types of the cells, as text."""
        return self.adata.obs[LABEL].to_numpy().astype(str)

    @property
    def batches(self) -> np.ndarray | None:
        """Batches of the cells, as text."""
        return self.adata.obs[BATCH].to_numpy().astype(str) if BATCH in self.adata.obs else None

    def counts(self, cells: np.ndarray | None = None) -> AnnData:
        """Give the counts of the variable genes, which are chosen on some cells or on all."""
        from benchmarks._anneal_runs import variable_genes

        genes = variable_genes(self.adata if cells is None else self.adata[cells], self.depth)
        counts = self.adata[:, genes].copy()
        counts.X = counts.X.astype(np.float32)
        return counts

    def all_counts(self, cells: np.ndarray | None = None) -> AnnData:
        """Give the counts of all genes that five cells have, of some cells or of all."""
        seen = self.adata.X if cells is None else self.adata.X[cells]
        counts = self.adata[:, np.asarray((seen > 0).sum(axis=0)).ravel() >= FEWEST_CELLS].copy()
        counts.X = counts.X.astype(np.float32)
        return counts

    def logs(self, target: float | None) -> sparse.csr_matrix:
        """Give log1p of the counts at a depth, or at the median depth, cells x genes, all genes."""
        counts = self.adata.X.tocsr().astype(np.float64)
        depth = np.asarray(counts.sum(axis=1)).ravel() if self.depth is None else self.adata.obs[self.depth].to_numpy()
        depth = np.asarray(depth, dtype=float)
        return counts.multiply((np.median(depth) if target is None else target) / depth[:, None]).tocsr().log1p()

    @cached_property
    def logged(self) -> sparse.csr_matrix:
        """Expression as log1p of counts per 10,000, cells x genes, all genes."""
        return self.logs(1e4)

    @cached_property
    def rotated(self) -> np.ndarray:
        """Give all genes in as many coordinates as there are cells; see `rotate`."""
        return rotate(self.logged)[0]

    @cached_property
    def rotated_at_median(self) -> np.ndarray:
        """Give the same at the median depth in place of 10,000."""
        return rotate(self.logs(None))[0]


def rotate(features: Any) -> tuple[np.ndarray, np.ndarray]:
    """Turn cells x genes into cells x cells with the same products of cells, and give what leads back.

    A regression with an L2 penalty sees features by their products alone: its predictions are the same, in a fraction of the
    time where there are more genes than cells. `features.T @ (back @ weights)` are the weights of the genes.
    """
    products = np.asarray((features @ features.T).todense() if hasattr(features, "todense") else features @ features.T)
    values, vectors = np.linalg.eigh(products.astype(np.float64))
    keep = values > values[-1] * 1e-10
    scale = np.sqrt(values[keep])
    return np.ascontiguousarray(vectors[:, keep] * scale), vectors[:, keep] / scale


@dataclass(frozen=True)
class Task:
    """Label the cells `test`, given the counts of all cells and the labels of those that are `known`.

    `new_batch` says that the test cells are of a batch of their own, `models` is where trained models are kept and found again.
    """

    cells: Cells
    known: np.ndarray
    test: np.ndarray
    seed: int
    new_batch: bool = False
    models: Path | None = None

    @property
    def shown(self) -> np.ndarray:
        """The labels of the known cells."""
        return self.cells.labels[self.known]


@dataclass(frozen=True)
class Answer:
    """Labels of the test cells, the probabilities of the classes (test cells x classes), and scores that are large where a cell is new."""

    predicted: np.ndarray
    probabilities: np.ndarray
    novelty: dict[str, np.ndarray] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


def label_tasks(cells: Cells, seed: int, models: Path | None = None) -> Iterator[tuple[str, Task]]:
    """Hold out every batch, or one of five stratified parts where there are no batches; give the name of what is held out."""
    batches = cells.batches
    if batches is None:
        parts = {f"fold {number}": test for number, test in enumerate(stratified(cells.labels, seed))}
    else:
        parts = {str(batch): np.flatnonzero(batches == batch) for batch in np.unique(batches)}
    for name, test in parts.items():
        known = np.ones(len(cells.labels), dtype=bool)
        known[test] = False
        yield name, Task(cells, known, test, seed, new_batch=batches is not None, models=models)


def novelty_task(cells: Cells, hidden: str, seed: int, models: Path | None = None) -> Task:
    """Hide the labels of a type: to be told are its cells from a held-out fifth of the others."""
    labels = cells.labels
    test = np.zeros(len(labels), dtype=bool)
    test[stratified(labels, seed)[0]] = True
    test |= labels == hidden
    return Task(cells, ~test, np.flatnonzero(test), seed, models=models)


def stratified(labels: np.ndarray, seed: int) -> list[np.ndarray]:
    """Cut cells into five parts with even shares of each type."""
    import warnings

    from sklearn.model_selection import StratifiedKFold

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of types with fewer cells than parts
        split = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed).split(labels, labels)
        return [test for _, test in split]
