"""Cells in clusters with a known number of types."""

from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse

from sctandem.model.base import CountVAEModel


def simulate(n_cells=600, n_genes=120, n_types=4, seed=0):
    rng = np.random.default_rng(seed)
    types = rng.integers(n_types, size=n_cells)
    shares = rng.gamma(0.5, 1, (n_types, n_genes))
    shares /= shares.sum(1, keepdims=True)
    depth = rng.lognormal(np.log(150), 0.4, n_cells)
    counts = rng.poisson(rng.gamma(3, 1 / 3, (n_cells, n_genes)) * shares[types] * depth[:, None])
    adata = AnnData(sparse.csr_matrix(counts.astype(np.float32)))
    adata.obs_names = [f"cell{i}" for i in range(n_cells)]
    adata.obs["type"] = types.astype(str)
    adata.obs["batch"] = rng.choice(["a", "b"], n_cells)
    return adata


@pytest.fixture
def adata():
    adata = simulate()
    CountVAEModel.setup_anndata(adata, batch_key="batch")
    return adata


@pytest.fixture(scope="module")
def trained():
    """A trained model; tests only read it."""
    adata = simulate()
    CountVAEModel.setup_anndata(adata, batch_key="batch")
    model = CountVAEModel(adata, rng=0)
    model.train(30, rng=0, progress=False)
    return model
