"""Parts of the loss of the count VAE in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scvi import REGISTRY_KEYS
from torch.distributions import Normal

from sctandem.module.base import CountVAE, kl_to_standard_normal
from sctandem.nn._weighted_mean import WEIGHT_KEY, weighted_mean


def test_divergence_of_states_is_from_those_of_the_cells_to_those_of_the_moved_ones(rng):
    module = CountVAE(5)
    mean, other = rng.normal(size=(2, 7, 3))
    sd, wide = rng.uniform(0.2, 0.5, (7, 3)), rng.uniform(1.5, 3.0, (7, 3))
    fixed, moved = ({"qz": Normal(torch.as_tensor(m), torch.as_tensor(s))} for m, s in ((mean, sd), (other, wide)))
    expected = (np.log(wide / sd) + (sd**2 + (mean - other) ** 2) / (2 * wide**2) - 0.5).sum(1).mean()
    np.testing.assert_allclose(float(module.divergence(fixed, moved, torch.ones(()))), expected)
    assert float(module.divergence(moved, fixed, torch.ones(()))) > 2 * expected


def test_weighted_mean_divides_by_the_number_of_cells_and_not_by_the_weights():
    values, weights = torch.tensor([1.0, 2.0, 6.0]), torch.tensor([[4.0], [0.5], [0.0]])
    assert float(weighted_mean(values, {WEIGHT_KEY: weights})) == pytest.approx(5 / 3)
    assert float(weighted_mean(values, {})) == 3


def test_both_parts_of_the_loss_count_by_the_weights_of_the_cells(rng):
    module = CountVAE(12).eval()
    with torch.no_grad():  # states far from the prior, so that their part counts
        module.encoder.mean.bias.normal_(0, 3)
    counts = torch.from_numpy(rng.poisson(1.0, (20, 12))).float()
    weights = torch.from_numpy(rng.uniform(0, 4, (20, 1))).float()
    tensors = {REGISTRY_KEYS.X_KEY: counts, WEIGHT_KEY: weights}
    found = module.inference(**module._get_inference_input(tensors))
    decoded = module.generative(**module._get_generative_input(tensors, found))
    kl = kl_to_standard_normal(found["qz"])
    misfit = -module.log_likelihood(counts, decoded)
    output = module.loss(tensors, found, decoded, kl_weight=0.7)
    expected = (weights[:, 0] * (misfit + 0.7 * kl)).sum() / 20
    torch.testing.assert_close(output.loss, expected)
    assert float(kl.detach().mean()) > 1
