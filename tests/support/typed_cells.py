"""Cells of known types, for the tests of CapsuleNet."""

from __future__ import annotations

import numpy as np
from anndata import AnnData
from scipy import sparse

SIZES = [500, 300, 120, 80]


def simulate(*, batch_effect: float = 0.0, seed: int = 0) -> AnnData:
    """Types of uneven size with programmes of their own, and a batch that shifts every gene."""
    rng = np.random.default_rng(seed)
    types = np.repeat(np.arange(len(SIZES)), SIZES)
    rates = rng.normal(0, 1, 150) + rng.normal(0, 1.2, (len(SIZES), 150)) * (rng.random((len(SIZES), 150)) < 0.2)
    batch = rng.integers(2, size=len(types))
    logs = rates[types] + batch_effect * batch[:, None] * rng.normal(0, 1, 150)
    shares = np.exp(logs) / np.exp(logs).sum(1, keepdims=True)
    depth = rng.lognormal(np.log(600), 0.4, len(types))[:, None]
    counts = rng.poisson(depth * shares * rng.gamma(4, 1 / 4, shares.shape)).astype(np.float32)
    adata = AnnData(sparse.csr_matrix(counts))
    adata.obs_names = [f"cell{i}" for i in range(len(types))]
    adata.obs["type"], adata.obs["batch"] = types.astype(str), np.where(batch, "a", "b")
    return adata
