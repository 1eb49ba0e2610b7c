"""Simulated counts for the speed benchmark: cells in clusters on a low-dimensional surface, negative binomial noise."""

from __future__ import annotations

import numpy as np
from anndata import AnnData
from scipy import sparse


def simulate_counts(
    n_cells: int, n_genes: int, *, density: float = 0.08, n_clusters: int = 12, seed: int = 0
) -> AnnData:
    """Return counts in CSR with about `density` of the entries above zero, and the truth in `obs` and `uns`.

    Cells lie around the centres of their clusters in ten dimensions; shares of genes are the softmax of a linear map of
    them; depths are log-normal; counts are negative binomial with one theta a gene.
    """
    rng = np.random.default_rng(seed)
    n_latent = 10
    centres = rng.normal(0, 1.0, (n_clusters, n_latent))
    sizes = rng.dirichlet(np.full(n_clusters, 3.0))
    cluster = rng.choice(n_clusters, n_cells, p=sizes)
    z = centres[cluster] + rng.normal(0, 0.4, (n_cells, n_latent))
    loadings = rng.normal(0, 0.35, (n_latent, n_genes)) * rng.binomial(1, 0.5, (n_latent, n_genes))
    logits = z @ loadings + rng.normal(0, 1.3, n_genes)
    shares = np.exp(logits)
    shares /= shares.sum(axis=1, keepdims=True)
    theta = rng.lognormal(0.5, 0.7, n_genes)
    relative_depth = rng.lognormal(0, 0.4, n_cells)
    few = rng.choice(n_cells, min(n_cells, 500), replace=False)

    def expected_density(depth: float) -> float:
        mean = shares[few] * relative_depth[few, None] * depth
        return float(1 - np.mean((theta / (theta + mean)) ** theta))

    low, high = 1.0, 1e5
    for _ in range(50):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if expected_density(middle) < density else (low, middle)
    blocks = []
    for start in range(0, n_cells, 1000):
        rows = slice(start, start + 1000)
        mean = shares[rows] * relative_depth[rows, None] * low
        counts = rng.poisson(rng.gamma(theta, mean / theta)).astype(np.float32)
        counts[counts.sum(axis=1) == 0, 0] = 1  # no empty cells
        blocks.append(sparse.csr_matrix(counts))
    adata = AnnData(sparse.vstack(blocks, format="csr"))
    adata.obs["cluster"] = np.char.add("c", cluster.astype(str))
    return adata
