"""Made cells: moments and correlations of the real ones, types as asked, seeds, and bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from anndata import AnnData
from scipy import sparse

import sctandem as td
from sctandem.module import CellCritic, GeneratorConfig

QUICK = GeneratorConfig(n_latent=5, max_epochs=5, n_steps=3, critic_start=3, batch_size=32)


@pytest.fixture(scope="module")
def adata():
    rng = np.random.default_rng(0)
    types = rng.choice(3, 400, p=[0.6, 0.3, 0.1])
    rates = rng.gamma(0.7, 2.0, (3, 40))
    counts = rng.poisson(rng.gamma(3, 1 / 3, (400, 40)) * rates[types] * rng.lognormal(0, 0.3, (400, 1)))
    adata = AnnData(sparse.csr_matrix(counts.astype(np.float32)))
    adata.obs["type"] = np.array(["a", "b", "c"])[types]
    adata.obs["batch"] = rng.choice(["x", "y"], 400)
    return adata


def test_cells_are_whole_counts_of_the_types_asked_for_and_the_object_stays(adata):
    before = list(adata.obs), list(adata.uns), adata.X.sum()
    new = td.tl.simulate(adata, {"c": 30, "a": 5}, "type", batch_key="batch", config=QUICK, rng=0)
    assert new.obs["type"].value_counts().to_dict() == {"c": 30, "a": 5, "b": 0}
    assert set(new.obs["batch"]) <= {"x", "y"}
    assert (new.X.data == np.round(new.X.data)).all()
    assert (new.X.data > 0).all()
    assert (list(adata.obs), list(adata.uns), adata.X.sum()) == before
    assert list(new.var_names) == list(adata.var_names)


def test_same_seed_same_cells(adata):
    first, again, other = (td.tl.simulate(adata, 20, "type", config=QUICK, rng=rng).X for rng in (0, 0, 1))
    assert (first != again).nnz == 0
    assert (first != other).nnz > 0


def test_layer_is_read(adata):
    work = adata.copy()
    work.layers["counts"] = work.X.copy()
    work.X = work.X.copy()
    work.X.data[:] = 0.5
    with pytest.raises(ValueError, match=r"adata\.X"):
        td.tl.simulate(work, 5, config=QUICK)
    first = td.tl.simulate(work, 20, layer="counts", config=QUICK, rng=0)
    assert (first.X != td.tl.simulate(adata, 20, config=QUICK, rng=0).X).nnz == 0


def test_bad_input(adata):
    for n, cell_type, error, message in (
        (0, None, ValueError, "n=0 is not an integer above 0"),
        ({"d": 3}, "type", KeyError, "n names 'd'"),
        ({"a": 3}, None, ValueError, "cell_type is None"),
        ({}, "type", ValueError, r"n={} names no type, .* some of 'a', .* in adata\.obs\['type'\]"),
        (5, "kind", KeyError, "no column 'kind'"),
        (True, "type", ValueError, "n=True is not"),
    ):
        with pytest.raises(error, match=message):
            td.tl.simulate(adata, n, cell_type, config=QUICK)
    with pytest.raises(ValueError, match="20"):
        td.tl.simulate(adata[:10].copy(), 5)
    with pytest.raises(ValueError, match="critic_steps"):
        GeneratorConfig(critic_steps=0)


def test_loss_of_the_critic_is_that_of_a_linear_one_by_hand():
    critic = CellCritic(3, 1, 4)
    weight = torch.tensor([0.6, 0.8, 0.0, 0.0])

    critic.forward = lambda features, types: features @ weight
    real, made = torch.ones(5, 4), torch.zeros(5, 4)
    loss = critic.loss(real, made, torch.zeros(5, dtype=torch.int64), 10.0)
    assert float(loss) == pytest.approx(-1.4)  # a slope of length one costs nothing
    weight.mul_(2)
    assert float(critic.loss(real, made, torch.zeros(5, dtype=torch.int64), 10.0)) == pytest.approx(-2.8 + 10)


@pytest.mark.slow
def test_moments_by_type_and_correlations_are_those_of_the_cells(adata):
    new = td.tl.simulate(adata, 2000, "type", config=GeneratorConfig(n_latent=8, n_steps=30), rng=0)
    for kind in ("a", "b"):
        real, made = (np.log1p(x[(x.obs["type"] == kind).to_numpy()].X.toarray().astype(float)) for x in (adata, new))
        error = np.abs(real.mean(0) - made.mean(0)) / (real.std(0) / np.sqrt(len(real)) + 0.02)
        assert np.median(error) < 2.5
        assert np.median(np.abs(np.log((made.std(0) + 0.1) / (real.std(0) + 0.1)))) < 0.15
    pairs = [np.corrcoef(np.log1p(x.X.toarray()).T)[np.triu_indices(40, 1)] for x in (adata, new)]
    assert np.corrcoef(*pairs)[0, 1] > 0.9
