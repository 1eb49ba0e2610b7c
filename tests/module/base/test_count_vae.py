"""The module of the count VAE."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scvi import REGISTRY_KEYS

from sctandem.module.base import CountVAE, CountVAEConfig, kl_to_standard_normal
from sctandem.nn import dense_to_csr


@pytest.fixture
def batch(rng):
    counts = torch.tensor(rng.poisson(1.0, (50, 12)), dtype=torch.float32)
    return {REGISTRY_KEYS.X_KEY: dense_to_csr(counts), REGISTRY_KEYS.BATCH_KEY: torch.arange(50)[:, None] % 2}


@pytest.mark.parametrize("likelihood", ["nb", "zinb"])
@pytest.mark.parametrize("n_layers", [1, 2])
def test_sparse_and_dense_batches_give_the_same_loss(batch, likelihood, n_layers):
    module = CountVAE(12, n_batch=2, config=CountVAEConfig(likelihood=likelihood, n_layers=n_layers)).eval()
    dense = {**batch, REGISTRY_KEYS.X_KEY: batch[REGISTRY_KEYS.X_KEY].to_dense()}
    losses = []
    for tensors in (batch, dense):
        torch.manual_seed(0)
        losses.append(module(tensors)[2])
    torch.testing.assert_close(losses[0].loss, losses[1].loss, rtol=1e-5, atol=1e-5)
    parts = losses[0].reconstruction_loss_sum + losses[0].kl_local_sum
    torch.testing.assert_close(losses[0].loss * 50, parts, rtol=1e-5, atol=1e-3)


def test_every_parameter_learns(batch):
    for likelihood in ("nb", "zinb"):
        module = CountVAE(12, n_batch=2, config=CountVAEConfig(likelihood=likelihood))
        module(batch)[2].loss.backward()
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


def test_batch_moves_the_expectation(batch):
    module = CountVAE(12, n_batch=2).eval()
    z, library = torch.zeros(2, 10), torch.zeros(2)
    shares = module.shares(module.generative(z, library, torch.tensor([[0], [1]])))
    torch.testing.assert_close(shares.sum(1), torch.ones(2))
    assert not torch.allclose(shares[0], shares[1])


def test_kl_weight_weighs_the_kl_term_only(batch):
    module = CountVAE(12).eval()
    losses = []
    for weight in (0.0, 1.0):
        torch.manual_seed(0)
        losses.append(module(batch, loss_kwargs={"kl_weight": weight})[2])
    kl = losses[0].kl_local_sum / 50
    torch.testing.assert_close(losses[1].loss - losses[0].loss, kl, rtol=1e-4, atol=1e-4)


def test_kl_equals_that_of_torch():
    qz = torch.distributions.Normal(torch.randn(5, 3), torch.rand(5, 3) + 0.1)
    expected = torch.distributions.kl_divergence(qz, torch.distributions.Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(kl_to_standard_normal(qz), expected)


def test_starts_at_the_shares_of_the_genes():
    shares = np.arange(1, 13) / 78
    module = CountVAE(12, shares=shares)
    torch.testing.assert_close(torch.softmax(module.decoder.logits.bias, 0), torch.tensor(shares, dtype=torch.float32))


@pytest.mark.parametrize("likelihood", ["nb", "zinb"])
def test_samples_have_the_expected_depth(batch, likelihood):
    module = CountVAE(12, config=CountVAEConfig(likelihood=likelihood), shares=np.full(12, 1 / 12)).eval()
    with torch.no_grad():
        module.log_theta[:] = 3
        if likelihood == "zinb":
            module.decoder.dropout_logits.bias[:] = -50
    counts = module.sample(batch, n_samples=200)
    assert counts.shape == (200, 50, 12)
    depth = batch[REGISTRY_KEYS.X_KEY].to_dense().sum(1)
    np.testing.assert_allclose(counts.sum(2).mean(0).numpy(), depth.numpy(), rtol=0.2)


def test_several_draws(batch):
    outputs = CountVAE(12).inference(batch[REGISTRY_KEYS.X_KEY], n_samples=3)
    assert outputs["z"].shape == (3, 50, 10)
