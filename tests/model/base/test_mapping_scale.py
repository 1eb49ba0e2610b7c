"""Scores and confidences of mapped cells: held against the truth that simulated cells have."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

import sctandem as td
from sctandem.kernels._label_regions import typicality
from sctandem.kernels._placing import batch_shift
from sctandem.model.base import CountVAEModel
from sctandem.model.base._mapping import MappingMixin
from sctandem.module.base import CountVAEConfig

N_GENES, N_TYPES = 60, 3


class Held(MappingMixin):
    """A model of states that are there."""

    def __init__(self, states, labels):
        self.states, self.adata = states, SimpleNamespace(obs=pd.DataFrame({"type": labels}))

    def _check_cells_held(self):
        pass

    def get_latent_representation(self):
        return self.states


def test_the_scale_of_the_scores_is_set_by_cells_that_the_regions_were_not_fitted_to():
    """In many dimensions the cells that regions were fitted to lie far less far out than others do."""
    far = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        model = Held(rng.normal(size=(300, 60)), np.repeat(["a", "b"], 150))
        fresh = rng.normal(size=(1000, 60))
        regions = model._read_mapped(None, fresh, "type", rng)[1]
        far.append((typicality(fresh, regions) < 0.1).mean())
    assert np.mean(far) == pytest.approx(0.1, abs=0.04)


def cells(n_cells, *, batch="first", effect=0.0, seed=0):
    """Types that overlap, of the same rates for every seed; a batch may shift every gene."""
    types = np.random.default_rng(seed).integers(N_TYPES, size=n_cells)
    fixed, rng = np.random.default_rng(0), np.random.default_rng(seed + 1)
    logs = fixed.normal(0, 0.5, N_GENES) + fixed.normal(0, 0.25, (N_TYPES, N_GENES))
    logs = logs + effect * fixed.normal(size=N_GENES)
    shares = np.exp(logs) / np.exp(logs).sum(1, keepdims=True)
    adata = AnnData(sparse.csr_matrix(rng.poisson(300 * shares[types]).astype(np.float32)))
    adata.obs["type"], adata.obs["batch"] = np.array(["a", "b", "c"])[types], batch
    adata.obs_names = [f"{batch}{i}" for i in range(n_cells)]
    return adata


@pytest.fixture(scope="module")
def model():
    reference = cells(600)
    reference.obs["batch"] = np.where(np.arange(600) % 2, "first", "second")
    CountVAEModel.setup_anndata(reference, batch_key="batch")
    model = CountVAEModel(reference, config=CountVAEConfig(n_hidden=32, n_latent=5), rng=0)
    model.train(30, rng=0, progress=False)
    return model


def test_confidence_is_about_as_large_as_the_share_that_is_right(model):
    query = cells(1500, seed=5)
    td.tl.map_query(query, model, "type", min_score=0, rng=0)
    right = query.obs["mapped"].astype(str).to_numpy() == query.obs["type"].to_numpy()
    confidence = query.obs["mapped_confidence"].to_numpy()
    assert 0.55 < right.mean() < 0.9
    assert confidence.mean() == pytest.approx(right.mean(), abs=0.1)
    unsure = confidence < np.median(confidence)
    assert right[unsure].mean() < right[~unsure].mean() - 0.1
    found = model.map_cells(query, "type", rng=0)
    np.testing.assert_allclose(confidence, found.probabilities.to_numpy().max(1))


def test_what_a_new_batch_has_in_common_is_taken_off_its_scores(model):
    query = cells(600, batch="new", effect=0.8, seed=5)
    found = model.map_cells(query, "type", rng=0)
    assert found.moved["new"] > 1
    assert (found.score < 0.05).mean() < 0.1
    known = model.map_cells(cells(600, seed=5), "type", rng=0)
    assert known.moved == {}


def test_half_of_a_difference_is_taken_for_the_batch():
    rng = np.random.default_rng(0)
    centres, truth = rng.gamma(1.0, 1.0, (3000, 3)), rng.normal(0, 0.2, 3000)
    shift, _ = batch_shift(centres @ [0.2, 0.5, 0.3] + truth, np.full(3000, 1e-3), 50_000, centres)
    assert shift @ truth / (truth @ truth) == pytest.approx(0.5, abs=0.01)
