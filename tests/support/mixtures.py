"""Single cells of known profiles, and bulk samples that are mixtures of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

TYPES = ("A1", "B1", "C1")


def profiles(seed: int = 0, *, n_types: int = 3, n_genes: int = 300, change: float = 1.5) -> np.ndarray:
    """Shares of genes in the molecules of types, types x genes; levels spread over three decades."""
    rng = np.random.default_rng(seed)
    found = np.exp(rng.normal(0, 1.2, n_genes) + change * rng.normal(0, 1, (n_types, n_genes)))
    return found / found.sum(1, keepdims=True)


def names(n_genes: int) -> list[str]:
    return [f"GENE{i}" for i in range(n_genes)]


def reference(shares: np.ndarray, *, n_cells: int = 60, depth: float = 5000, seed: int = 0, types=TYPES) -> AnnData:
    """Cells with Poisson counts, `n_cells` of each type, of two donors in turn."""
    rng = np.random.default_rng(seed)
    kinds = np.repeat(np.arange(len(shares)), n_cells)
    counts = rng.poisson(depth * shares[kinds]).astype(np.float32)
    obs = pd.DataFrame(
        {"cell_type": np.array(types)[kinds], "donor": np.arange(len(kinds)) % 2},
        index=[f"c{i}" for i in range(len(kinds))],
    )
    obs["donor"] = obs["donor"].map({0: "d0", 1: "d1"})
    return AnnData(sparse.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=names(shares.shape[1])))


def bulk(shares: np.ndarray, rna: np.ndarray, *, noise: float = 0.0, platform: float = 0.0, seed: int = 0) -> AnnData:
    """TPM of mixtures; factors of genes are Student-t with 3 degrees of freedom and the scale `platform`, the same for all samples."""
    rng = np.random.default_rng(seed)
    factor = platform * np.clip(rng.standard_t(3, shares.shape[1]), -8, 8)  # beyond, one gene takes all reads
    values = np.exp(np.log(rna @ shares) + factor + noise * rng.standard_normal((len(rna), shares.shape[1])))
    values *= 1e6 / values.sum(1, keepdims=True)
    adata = AnnData(
        values,
        obs=pd.DataFrame(index=[f"s{i}" for i in range(len(rna))]),
        var=pd.DataFrame(index=names(shares.shape[1])),
    )
    adata.var["true"] = factor
    adata.obsm["true"] = rna
    return adata


def compositions(n_samples: int, n_types: int = 3, *, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(n_types, 2.0), n_samples)
