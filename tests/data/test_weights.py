"""Weighted draws: how often, in which order, and what they leave of expectations."""

from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse

from sctandem.data import CountLoader
from sctandem.data._weights import systematic_draw
from sctandem.model.base import CountVAEModel
from sctandem.nn._weighted_mean import WEIGHT_KEY

N = 400


@pytest.fixture(name="manager", scope="module")
def fixture_manager():
    rng = np.random.default_rng(0)
    rates = 0.5 + rng.gamma(1, 1, (2, 25))[(np.arange(N) < 8).astype(int)]  # eight cells are of a type of their own
    adata = AnnData(sparse.csr_matrix(rng.poisson(rates).astype(np.float32)))
    CountVAEModel.setup_anndata(adata)
    return CountVAEModel(adata).adata_manager


WEIGHTS = np.where(np.arange(N) < 8, 20.0, 0.7)


def test_systematic_draw_has_its_expectation():
    rng = np.random.default_rng(0)
    weights = rng.gamma(0.5, 1, 50)
    weights[::7] = 0
    expected = 50 * weights / weights.sum()
    drawn = np.array([np.bincount(systematic_draw(weights, rng.random()), minlength=50) for _ in range(4000)])
    assert (np.abs(drawn - expected) < 1).all()
    np.testing.assert_allclose(drawn.mean(0), expected, atol=0.04)
    assert systematic_draw(np.ones(9), 0.3).tolist() == list(range(9))
    assert systematic_draw(np.array([1.0, 1.0, 0.0]), 1 - 1e-16).max() == 1


def rows(loader) -> np.ndarray:
    return np.concatenate([batch["X"].to_dense().numpy() for batch in loader])


def test_equal_weights_keep_the_order(manager):
    plain, weighed = (CountLoader(manager, batch_size=64, shuffle=True, rng=3) for _ in range(2))
    weighed.weigh(np.full(N, 2.0))
    for _ in range(2):
        np.testing.assert_array_equal(rows(plain), rows(weighed))


@pytest.mark.parametrize("use", ["sampler", "loss", "unbiased"])
def test_means_of_genes(manager, use):
    """Uncorrected draws are far from the means of all cells, corrected ones within one percent."""
    loader = CountLoader(manager, batch_size=64, shuffle=True, rng=0)
    loader.weigh(WEIGHTS, use)
    counts = np.asarray(manager.adata.X.todense())
    truth, shifted = counts.mean(0), WEIGHTS @ counts / WEIGHTS.sum()
    assert np.abs(shifted / truth - 1).max() > 0.5
    sums, total = np.zeros(counts.shape[1]), 0.0
    for _ in range(300):
        for batch in loader:
            weight = batch[WEIGHT_KEY].double().numpy() if WEIGHT_KEY in batch else np.ones((len(batch["X"]), 1))
            sums += (batch["X"].to_dense().numpy() * weight).sum(0)
            total += len(weight)
    np.testing.assert_allclose(sums / total, truth if use == "unbiased" else shifted, rtol=0.01)


def test_only_the_cells_to_visit(manager):
    loader = CountLoader(manager, indices=np.arange(4, 100), batch_size=32, shuffle=True, rng=0)
    loader.weigh(WEIGHTS, "loss")
    weights = np.concatenate([batch[WEIGHT_KEY].numpy() for batch in loader])
    assert weights.mean() == pytest.approx(1, abs=1e-6)
    assert len(np.unique(weights)) == 2


def test_bad_weights(manager):
    loader = CountLoader(manager, indices=[1, 2])
    with pytest.raises(ValueError, match="weights has 3 values, 3 above 0; the object has 400 cells"):
        loader.weigh([1, 2, 3])
    with pytest.raises(ValueError, match="400 values, 1 above 0"):
        loader.weigh(np.eye(N)[0])
