"""`train(sample_weight=...)`: one test over all models that train on cells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from anndata import AnnData
from models import CASES

from sctandem.model.base import CountVAEModel, TrainMixin
from sctandem.module.base import CountVAEConfig
from sctandem.train import TrainConfig

USES = ("sampler", "loss", "unbiased")


def options(model, use: str) -> dict:
    """Give what says how weights are used; models that simulate what they learn from have one way."""
    if isinstance(model, TrainMixin):
        return {"config": replace(model._train_config, weight_use=use)}
    return {}


def trained(case, weights=None, use: str = "sampler", **given):
    data = case.data()
    if weights is not None:
        data.obs["weight"] = weights(data)
        given["sample_weight"] = "weight"
    case.set_up(data)
    model = case.make(data)
    model.train(2, rng=0, progress=False, **options(model, use), **given)
    return model


def parameters(model) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy().astype(float) for name, value in model.module.state_dict().items()}


@pytest.fixture(name="plain", scope="module", params=CASES)
def fixture_plain(request):
    return CASES[request.param], parameters(trained(CASES[request.param]))


@pytest.mark.parametrize("use", USES)
def test_equal_weights_change_nothing(plain, use):
    case, expected = plain
    found = parameters(trained(case, lambda data: np.full(data.n_obs, 3.7), use))
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("use", USES)
def test_weights_count(plain, use):
    case, expected = plain
    weights = lambda data: np.where(np.arange(data.n_obs) % 5 == 0, 8.0, 1.0)  # noqa: E731
    found, again = (parameters(trained(case, weights, use)) for _ in range(2))
    assert any(not np.allclose(found[name], value, rtol=1e-5) for name, value in expected.items())
    for name, value in found.items():
        np.testing.assert_array_equal(again[name], value, err_msg=name)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if issubclass(case.cls, TrainMixin)])
def test_cells_of_weight_zero_are_not_there(name):
    model = trained(CASES[name], lambda data: (np.arange(data.n_obs) % 3 > 0).astype(float))
    assert (np.asarray(model.train_indices) % 3 > 0).all()
    assert (np.asarray(model.validation_indices) % 3 > 0).all()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    ("weights", "match"),
    [
        (
            lambda n: np.arange(n) - 1.0,
            r"adata\.obs\['weight'\] is -1\.0 in '\w+' and no finite number of at least 0 in 1 cells",
        ),
        (lambda n: np.full(n, np.nan), "is nan in"),
        (np.zeros, "is 0 in all cells"),
        (lambda n: np.full(n, "a"), "weights are numbers"),
    ],
)
def test_bad_weights(name, weights, match):
    case = CASES[name]
    data = case.data()
    data.obs["weight"] = weights(data.n_obs)
    case.set_up(data)
    model = case.make(data)
    with pytest.raises(ValueError, match=match):
        model.train(2, sample_weight="weight", rng=0)
    with pytest.raises(KeyError, match="no column 'other'"):
        model.train(2, sample_weight="other", rng=0)
    assert not model.is_trained


def test_unknown_use():
    with pytest.raises(ValueError, match="weight_use='both' is not known; choose one of 'sampler', 'loss', 'unbiased'"):
        TrainConfig(weight_use="both")


@pytest.mark.parametrize("use", ["sampler", "loss"])
def test_weights_teach_the_rare(use):
    """A programme that five cells of 600 have is learned when these weigh as much as the others."""
    rng = np.random.default_rng(0)
    rare = np.arange(600) < 5
    rates = np.where(rare[:, None] & (np.arange(40) < 8), 12.0, 1.0)
    adata = AnnData(rng.poisson(rates).astype(np.float32))
    adata.obs["weight"] = np.where(rare, 119.0, 1.0)
    fresh = AnnData(rng.poisson(rates[rare.argsort()[-5:]]).astype(np.float32))
    gains = {}
    for weight in (None, "weight"):
        CountVAEModel.setup_anndata(adata)
        model = CountVAEModel(adata, config=CountVAEConfig(n_hidden=16, n_latent=3), rng=0)
        model.train(
            12,
            train_size=1.0,
            rng=0,
            progress=False,
            sample_weight=weight,
            config=TrainConfig(weight_use=use, batch_size=64),
        )
        gains[weight] = model.get_elbo(fresh)
    assert gains["weight"] > gains[None] + 3
