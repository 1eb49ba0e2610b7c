"""Principal components against scikit-learn, and the linear map in the module."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sctandem.model.base import CountVAEModel
from sctandem.model.base._warm_start import principal_loadings
from sctandem.module.base import CountVAE, CountVAEConfig


def test_loadings_span_the_difference_between_the_types(adata):
    loadings, spread = principal_loadings(adata.X, 3, rng=0)
    np.testing.assert_allclose(np.linalg.norm(loadings, axis=0), 1, rtol=1e-5)
    assert (np.diff(spread) < 0).all()
    counts = adata.X.toarray()
    logs = np.log1p(counts / counts.sum(1, keepdims=True) * np.median(counts.sum(1)))
    means = np.stack([logs[adata.obs["type"] == kind].mean(0) for kind in "0123"])
    between = means - means.mean(0)
    outside = between - between @ loadings @ loadings.T
    assert np.linalg.norm(outside) < 0.25 * np.linalg.norm(between)


def test_module_computes_the_linear_map():
    rng = np.random.default_rng(0)
    module = CountVAE(30, config=CountVAEConfig(n_latent=3, n_hidden=8, dropout=0))
    loadings = np.linalg.qr(rng.normal(size=(30, 3)))[0]
    module.start_from(loadings, np.ones(3))
    x = torch.tensor(rng.poisson(2.0, (500, 30)), dtype=torch.float32)
    mean, variance = module.encoder(x)  # in training mode: batch normalisation uses these cells
    scores = x.log1p().numpy() @ loadings
    scores = (scores - scores.mean(0)) / scores.std(0)
    np.testing.assert_allclose(mean.detach().numpy(), scores, atol=0.01)
    assert float(variance.detach().mean()) < 0.5


def test_same_seed_same_start(adata):
    starts = []
    for _ in range(2):
        model = CountVAEModel(adata, rng=0)
        model.warm_start(rng=1)
        starts.append(model.module.encoder.first.weight.detach().clone())
    assert torch.equal(*starts)


def test_bad_shapes(adata):
    deep = CountVAE(20, config=CountVAEConfig(n_layers=2))
    with pytest.raises(ValueError, match="one hidden layer of at least 20 units, got n_layers=2"):
        deep.start_from(np.zeros((20, 10)), np.zeros(10))
    with pytest.raises(ValueError, match=r"loadings must have shape \(20, 10\), got \(10, 20\)"):
        CountVAE(20).start_from(np.zeros((10, 20)), np.zeros(10))
    with pytest.raises(ValueError, match="200 components need at least 202 cells and genes"):
        principal_loadings(adata.X, 200)
