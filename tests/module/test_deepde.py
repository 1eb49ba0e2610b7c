"""The module of DeepDE against scvi-tools' likelihood and autograd, and what it claims of states and samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scvi import REGISTRY_KEYS
from scvi.distributions import NegativeBinomial

from sctandem.module import DeepDEModule
from sctandem.module._deepde import EFFECT_PRIOR
from sctandem.module.base import CountVAEConfig
from sctandem.nn import dense_to_csr

N_GENES, N_SAMPLES, N_CELLS = 15, 3, 12
X, SAMPLE = REGISTRY_KEYS.X_KEY, REGISTRY_KEYS.BATCH_KEY


@pytest.fixture(name="module")
def fixture_module() -> DeepDEModule:
    torch.manual_seed(0)
    config = CountVAEConfig(n_latent=4, n_hidden=10)
    module = DeepDEModule(N_GENES, n_samples=N_SAMPLES, n_cells=40, config=config)
    with torch.no_grad():
        module.sample_effect.normal_(0, 0.6)
        module.log_theta.normal_(0, 1)
    return module.eval()


@pytest.fixture(name="tensors")
def fixture_tensors() -> dict[str, torch.Tensor]:
    counts = torch.poisson(torch.full((N_CELLS, N_GENES), 2.0), generator=torch.Generator().manual_seed(0))
    counts[2, 1:] = 0  # a cell with next to no counts
    return {X: dense_to_csr(counts), SAMPLE: torch.arange(N_CELLS)[:, None] % N_SAMPLES}


def by_scvi(module: DeepDEModule, tensors: dict[str, torch.Tensor], z: torch.Tensor) -> torch.Tensor:
    """Log-likelihoods from the formula of the docstring and scvi-tools' distribution; differentiable by the module's parameters."""
    samples = tensors[SAMPLE].ravel()
    logits = module.decoder.logits(module.decoder(z, tensors[SAMPLE])) + module.sample_effect.T[samples]
    counts = tensors[X].to_dense()
    mean = torch.softmax(logits, -1) * counts.sum(1, keepdim=True)
    return NegativeBinomial(mu=mean, theta=module.log_theta.exp()).log_prob(counts).sum(1)


def decoded(module: DeepDEModule, tensors: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    z = torch.randn(N_CELLS, 4, generator=torch.Generator().manual_seed(1))
    return z, module.generative(z, tensors[X].to_dense().sum(1).log(), tensors[SAMPLE])


def test_likelihood_and_its_gradients_are_those_of_scvi_tools(module, tensors):
    z, outputs = decoded(module, tensors)
    found, expected = module.log_likelihood(tensors[X], outputs), by_scvi(module, tensors, z)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
    names = ("sample_effect", "log_theta", "decoder.logits.weight", "decoder.logits.bias", "decoder.first.weight")
    leaves = [module.get_parameter(name) for name in names]
    weights = torch.linspace(0.5, 2, N_CELLS)  # cells must not be mixed up
    gradients = [torch.autograd.grad((value * weights).sum(), leaves) for value in (found, expected)]
    for name, one, two in zip(names, *gradients, strict=True):
        assert two.abs().max() > 0.1, name
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-3, msg=lambda text, name=name: f"{name}: {text}")


def test_gradient_of_an_effect_by_finite_differences(module, tensors):
    z, _ = decoded(module, tensors)
    module, z = module.double(), z.double()
    gradient = torch.autograd.grad(by_scvi(module, tensors, z).sum(), module.sample_effect)[0]
    outputs = module.generative(z, tensors[X].to_dense().double().sum(1).log(), tensors[SAMPLE])
    ours = torch.autograd.grad(module.log_likelihood(tensors[X].double(), outputs).sum(), module.sample_effect)[0]
    with torch.no_grad():
        module.sample_effect[4, 1] += 1e-5
        high = by_scvi(module, tensors, z).sum()
        module.sample_effect[4, 1] -= 2e-5
        low = by_scvi(module, tensors, z).sum()
    assert float(ours[4, 1]) == pytest.approx(float((high - low) / 2e-5), rel=1e-5)
    torch.testing.assert_close(ours, gradient, rtol=1e-5, atol=1e-5)


def test_shares_are_those_of_the_formula(module, tensors):
    z, outputs = decoded(module, tensors)
    logits = module.decoder.logits(module.decoder(z, tensors[SAMPLE])) + module.sample_effect.T[tensors[SAMPLE].ravel()]
    torch.testing.assert_close(module.shares(outputs), torch.softmax(logits, -1))


def test_the_state_does_not_see_the_sample(module, tensors):
    """What the decoder can take from the sample, the state need not carry."""
    other = {**tensors, SAMPLE: (tensors[SAMPLE] + 1) % N_SAMPLES}
    found = [module.inference(**module._get_inference_input(one))["qz"] for one in (tensors, other)]
    torch.testing.assert_close(found[0].loc, found[1].loc, rtol=0, atol=0)
    torch.testing.assert_close(found[0].scale, found[1].scale, rtol=0, atol=0)


def test_without_a_sample_the_average_of_their_effects_is_decoded(module):
    z = torch.randn(6, 4, generator=torch.Generator().manual_seed(2))
    hidden = module.decoder(z, None)
    expected = torch.softmax(module.decoder.logits(hidden) + module.sample_effect.mean(1), -1)
    torch.testing.assert_close(module.shares(module.generative(z, torch.zeros(6))), expected)


def test_loss_is_the_bound_and_the_prior_of_the_effects_once_in_all_cells(module, tensors):
    torch.manual_seed(3)
    outputs, generative = module(tensors, compute_loss=False)
    found = module.loss(tensors, outputs, generative, kl_weight=0.3).loss
    normal = torch.distributions.Normal(0.0, EFFECT_PRIOR)
    prior = (normal.log_prob(torch.zeros(())) - normal.log_prob(module.sample_effect)).sum()
    kl = torch.distributions.kl_divergence(outputs["qz"], torch.distributions.Normal(0.0, 1.0)).sum(-1)
    expected = -by_scvi(module, tensors, outputs["z"]).mean() + 0.3 * kl.mean() + prior / 40
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_order_of_genes_does_not_matter(module, tensors):
    order = torch.randperm(N_GENES, generator=torch.Generator().manual_seed(1))
    z, outputs = decoded(module, tensors)
    expected = module.log_likelihood(tensors[X], outputs)
    with torch.no_grad():
        for parameter in (
            module.sample_effect,
            module.log_theta,
            module.decoder.logits.weight,
            module.decoder.logits.bias,
        ):
            parameter.copy_(parameter[order])
    turned = dense_to_csr(tensors[X].to_dense()[:, order].contiguous())
    found = module.log_likelihood(turned, module.generative(z, outputs["log_library"], tensors[SAMPLE]))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_effects_start_at_none():
    module = DeepDEModule(5, n_samples=2, shares=np.full(5, 0.2))
    assert (module.sample_effect == 0).all()


def test_saved_state_is_loaded_into_a_new_module(module, tensors, tmp_path):
    torch.save(module.state_dict(), tmp_path / "module.pt")
    other = DeepDEModule(N_GENES, n_samples=N_SAMPLES, n_cells=40, config=module.config)
    other.load_state_dict(torch.load(tmp_path / "module.pt", weights_only=True))
    losses = []
    for one in (module, other.eval()):
        torch.manual_seed(0)
        losses.append(one(tensors)[2].loss)
    torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=0)
    with pytest.raises(RuntimeError, match="sample_effect"):
        DeepDEModule(N_GENES, n_samples=2, config=module.config).load_state_dict(module.state_dict())
