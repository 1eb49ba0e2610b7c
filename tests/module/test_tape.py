from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from scvi import REGISTRY_KEYS

from sctandem.module import TAPEConfig, TAPEModule
from sctandem.module._tape import CONTEXT_KEY, LIBRARY_KEY, STATE_KEY
from sctandem.nn import WindowConfig, dense_to_csr

N_CELLS, N_GENES, N_FACTORS, N_FUNCTIONS, N_BATCH = 30, 9, 3, 4, 2
N_TRAIN = 25


def start(rng, **changes):
    return {
        "log_mean": rng.uniform(-7, -5, N_GENES),
        "theta": rng.uniform(0.3, 10, N_GENES),
        "loadings": rng.normal(size=(N_GENES, N_FACTORS)),
        "profile": rng.normal(size=(N_GENES, N_FUNCTIONS)),
        "information": rng.uniform(1, 50, N_GENES),
        "state_variance": rng.uniform(0.1, 1, N_FACTORS),
        "batch_effect": np.zeros((N_GENES, N_BATCH)),
        "learned": np.ones(N_GENES, dtype=np.float32),
        **changes,
    }


def started(arrays, n_batch=N_BATCH, prior=1.7) -> TAPEModule:
    module = TAPEModule(N_GENES, n_batch=n_batch, config=TAPEConfig(n_factors=N_FACTORS, n_context=2, prior=prior))
    module.start(arrays, N_TRAIN)
    return module


@pytest.fixture(name="arrays")
def fixture_arrays(rng):
    return start(rng)


@pytest.fixture(name="batch")
def fixture_batch(rng):
    return {
        REGISTRY_KEYS.X_KEY: dense_to_csr(torch.tensor(rng.poisson(2.0, (N_CELLS, N_GENES)), dtype=torch.float32)),
        STATE_KEY: torch.tensor(rng.normal(size=(N_CELLS, N_FACTORS)), dtype=torch.float32),
        CONTEXT_KEY: torch.tensor(rng.normal(size=(N_CELLS, N_FUNCTIONS)), dtype=torch.float32),
        LIBRARY_KEY: torch.tensor(np.log(rng.uniform(500, 3000, (N_CELLS, 1))), dtype=torch.float32),
        REGISTRY_KEYS.BATCH_KEY: torch.tensor(rng.integers(0, N_BATCH, (N_CELLS, 1))),
    }


def negative_likelihood(loss) -> torch.Tensor:
    """Of each cell."""
    return loss.reconstruction_loss["reconstruction_loss"].detach()


def moved(module, rng):
    """Parameters anywhere but where they started."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.tensor(0.3 * rng.normal(size=parameter.shape), dtype=torch.float32))
    return {name: parameter.detach().double().numpy() for name, parameter in module.named_parameters()}


def test_loss_equals_scipy_and_the_prior(arrays, batch, rng):
    module = started(arrays)
    now = moved(module, rng)
    loss = module(batch)[2]
    state, context, library = (batch[key].double().numpy() for key in (STATE_KEY, CONTEXT_KEY, LIBRARY_KEY))
    labels = batch[REGISTRY_KEYS.BATCH_KEY].ravel().numpy()
    log_mean = (
        library
        + now["log_mean"]
        + state @ now["loadings"].T
        + now["gate"] * (context @ arrays["profile"].T)
        + now["batch_effect"].T[labels]
    )
    theta = np.exp(now["log_theta"])
    counts = batch[REGISTRY_KEYS.X_KEY].to_dense().numpy()
    likelihood = stats.nbinom.logpmf(counts, theta, theta / (theta + np.exp(log_mean))).sum(1)
    change = (now["loadings"] - arrays["loadings"]) ** 2 @ arrays["state_variance"]
    change += now["gate"] ** 2 * (arrays["profile"] ** 2).sum(1)
    prior = 0.5 * 1.7 * ((arrays["information"] * change).sum() + (now["batch_effect"] ** 2).sum()) / N_TRAIN
    np.testing.assert_allclose(negative_likelihood(loss).numpy(), -likelihood, rtol=1e-4)
    assert module.prior().item() == pytest.approx(prior, rel=1e-4)
    assert loss.loss.item() == pytest.approx(prior - likelihood.mean(), rel=1e-4)


def test_prior_is_nothing_at_the_start(arrays):
    assert started(arrays).prior().item() == 0


def test_expected_counts_enter_the_loss(arrays, batch, rng):
    """`generative`, which predicts, and the fused loss say the same."""
    module = started(arrays)
    moved(module, rng)
    outputs, generative = module(batch, compute_loss=False)
    theta = module.log_theta.detach().exp()
    mean = generative["log_mean"].detach().exp()
    counts = batch[REGISTRY_KEYS.X_KEY].to_dense()
    distribution = torch.distributions.NegativeBinomial(theta, logits=(mean / theta).log())
    expected = -distribution.log_prob(counts).sum(1)
    torch.testing.assert_close(negative_likelihood(module(batch)[2]), expected, rtol=1e-4, atol=1e-3)
    assert outputs["hidden"].shape == (N_CELLS, N_FACTORS + N_FUNCTIONS + N_BATCH)


def test_every_parameter_learns(arrays, batch):
    module = started(arrays)
    module(batch)[2].loss.backward()
    for name, parameter in module.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert (parameter.grad != 0).any(), name


def test_genes_that_are_held_out_stay_where_they_start(rng, batch):
    learned = (np.arange(N_GENES) % 3 > 0).astype(np.float32)
    information = np.where(learned > 0, 10.0, 0.0)
    module = started(
        start(rng, learned=learned, information=information, loadings=rng.normal(size=(N_GENES, 3)) * learned[:, None])
    )
    held = torch.from_numpy(learned == 0)
    assert module.gate.tolist() == (1 - learned).tolist()
    some = {**batch, REGISTRY_KEYS.X_KEY: dense_to_csr(batch[REGISTRY_KEYS.X_KEY].to_dense()[:, ~held])}
    loss = module(some)[2]
    loss.loss.backward()
    for name, parameter in module.named_parameters():
        assert (parameter.grad[held] == 0).all(), name
    whole = module(batch, compute_loss=False)[1]["log_mean"][:, ~held]
    theta = module.log_theta.exp()[~held]
    counts = batch[REGISTRY_KEYS.X_KEY].to_dense()[:, ~held]
    expected = -torch.distributions.NegativeBinomial(theta, logits=whole - theta.log()).log_prob(counts).sum(1)
    torch.testing.assert_close(negative_likelihood(loss), expected.detach(), rtol=1e-4, atol=1e-3)


def test_average_batch_lies_between_the_batches(arrays, batch, rng):
    module = started(arrays)
    moved(module, rng)
    state, context = batch[STATE_KEY][:1], batch[CONTEXT_KEY][:1]
    zero = torch.zeros(1, 1)
    each = [module.generative(module.inference(state, context, torch.tensor([[k]]))["hidden"], zero) for k in (0, 1)]
    average = module.generative(module.inference(state, context)["hidden"], zero)["log_mean"]
    torch.testing.assert_close(average, (each[0]["log_mean"] + each[1]["log_mean"]) / 2)
    difference = each[0]["log_mean"] - each[1]["log_mean"]
    torch.testing.assert_close(difference[0], module.batch_effect[:, 0] - module.batch_effect[:, 1])


def test_one_batch_has_no_effects(arrays, batch):
    module = started(arrays, n_batch=1)
    assert module.batch_effect.shape == (N_GENES, 0)
    outputs, _ = module(
        {key: value for key, value in batch.items() if key != REGISTRY_KEYS.BATCH_KEY}, compute_loss=False
    )
    assert outputs["hidden"].shape == (N_CELLS, N_FACTORS + N_FUNCTIONS)


def test_fitted_arrays_come_back_from_a_state_dict(arrays, rng):
    module = started(arrays)
    kept = {"matrix": rng.normal(size=(3, 2)), "positions": np.array([1, 5, 2**40])}
    module.set_fitted(kept)
    other = TAPEModule(N_GENES, n_batch=N_BATCH, config=module.config)
    other.load_state_dict(module.state_dict())
    found = other.get_fitted()
    np.testing.assert_allclose(found["matrix"], kept["matrix"], rtol=1e-6)
    np.testing.assert_array_equal(found["positions"], kept["positions"])
    torch.testing.assert_close(other.profile, module.profile)
    assert other.prior().item() == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [("n_factors", 0), ("n_components", 2.5), ("n_landmarks", -1), ("n_context", 21), ("prior", -1.0)],
)
def test_settings_out_of_bounds_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field}={value}"):
        TAPEConfig(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_members", 0),
        ("n_hidden", 1),
        ("n_steps", 0),
        ("dropout", 1.5),
        ("learning_rate", 0),
        ("validation_size", 1.0),
    ],
)
def test_settings_of_windows_out_of_bounds_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field}={value}"):
        WindowConfig(**{field: value})
