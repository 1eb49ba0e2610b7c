"""Labelled sets whose training cells are thinned to a long tail."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks._labelled_sets import BY_NAME, LABEL, N_COMPONENTS, N_TOP_GENES, path, read

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

SETS = ("zheng", "mixology", "symphony")
#: Largest by smallest type in training; part of the cells to train on before thinning; cells that a type needs to be asked for.
IMBALANCE, KNOWN, FEWEST = 100.0, 0.6, 20
#: The type at the head has to have so many of the cells that the largest has, so that the tail is not one cell.
HEAD = 0.8


@dataclass(frozen=True)
class Tailed:
    """Training cells with a long tail and test cells as they were; `log` in `layers`, `label`, `depth` in `obs`, and `X_pca` of the training."""

    train: AnnData
    test: AnnData
    types: list[str]
    """Types, the head first."""


def files() -> list[Path]:
    """List the files that are read."""
    return [path(BY_NAME[name]) for name in SETS]


def tail_sizes(available: np.ndarray) -> np.ndarray:
    """Give the largest sizes that fall exponentially by `IMBALANCE` and are available, one a type, head first."""
    falling = IMBALANCE ** (-np.arange(len(available)) / (len(available) - 1))
    return np.maximum(1, np.round(np.min(available / falling) * falling + 1e-9)).astype(int)


def draw(name: str, seed: int) -> Tailed:
    """Draw training and test cells; which types are rare hangs on the seed."""
    import scanpy as sc

    rng = np.random.default_rng(seed)
    adata = read(name)
    label = adata.obs[LABEL].astype(str)
    counts = label.value_counts()
    adata = adata[label.isin(counts.index[counts >= FEWEST])].copy()
    label = adata.obs[LABEL].to_numpy().astype(str)
    types = np.unique(label)
    known = {kind: _some(np.flatnonzero(label == kind), rng) for kind in types}
    available = np.array([len(known[kind]) for kind in types])
    while True:  # an order in which the head is large
        order = rng.permutation(len(types))
        sizes = tail_sizes(available[order])
        if sizes[0] >= HEAD * available.max():
            break
    train = np.sort(np.concatenate([known[types[i]][:n] for i, n in zip(order, sizes, strict=True)]))
    test = np.setdiff1d(np.arange(adata.n_obs), np.concatenate(list(known.values())))
    depth = BY_NAME[name].depth
    total = np.asarray(adata.X.sum(1)).ravel() if depth is None else adata.obs[depth].to_numpy(dtype=float)
    adata.obs["depth"] = total
    adata.X = adata.X.astype(np.float32).tocsr()
    adata.layers["log"] = adata.X.multiply((1e4 / total)[:, None]).tocsr().log1p().astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seen = adata[train].copy()
        if seen.n_vars > N_TOP_GENES:
            chosen = sc.pp.highly_variable_genes(seen, layer="log", n_top_genes=N_TOP_GENES, inplace=False)
            adata = adata[:, chosen["highly_variable"].to_numpy()].copy()
        seen = adata[train].copy()
        seen.obsm["X_pca"] = sc.pp.pca(seen.layers["log"], n_comps=min(N_COMPONENTS, seen.n_obs - 1), random_state=seed)
    return Tailed(seen, adata[test].copy(), [str(types[i]) for i in order])


def _some(cells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw the cells to train on, in random order."""
    return rng.permutation(cells)[: round(KNOWN * len(cells))]
