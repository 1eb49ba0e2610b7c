from __future__ import annotations

import numpy as np
import pytest
import torch
from scvi.module.base import BaseModuleClass, LossOutput
from torch import nn

from sctandem.train import TrainConfig
from sctandem.train._frozen import FrozenTrainingPlan
from sctandem.train._replay import ElasticTrainingPlan, balanced_reservoir, fisher_information


class Normal(BaseModuleClass):
    """Cells are normal around `mean`, with variances that are known: the information of a cell is one over them."""

    def __init__(self, variance):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(len(variance)))
        self.idle = nn.Parameter(torch.ones(3))
        self.register_buffer("variance", torch.as_tensor(variance))

    def forward(self, tensors, loss_kwargs=None, **_):
        return None, None, self.loss(tensors)

    def _get_inference_input(self, tensors):
        return {}

    def _get_generative_input(self, tensors, inference_outputs):
        return {}

    def inference(self):
        return {}

    def generative(self):
        return {}

    def loss(self, tensors, *_, **__):
        each = 0.5 * ((tensors["X"] - self.mean) ** 2 / self.variance).sum(1)
        return LossOutput(loss=each.mean(), reconstruction_loss=each, n_obs_minibatch=len(each))


VARIANCE = np.array([0.5, 1.0, 4.0], dtype=np.float32)


def batches(n: int, *, seed: int = 0, mean: float = 0.0):
    rng = np.random.default_rng(seed)
    for _ in range(n):
        yield {"X": torch.from_numpy((mean + rng.normal(size=(16, 3)) * np.sqrt(VARIANCE)).astype(np.float32))}


def test_information_of_a_normal_is_one_over_its_variance():
    module = Normal(VARIANCE)
    found = fisher_information(ElasticTrainingPlan(module), batches(2000))
    np.testing.assert_allclose(found[id(module.mean)][2], 1 / VARIANCE, rtol=0.1)
    assert not found[id(module.idle)][2].any()


def test_springs_weigh_old_cells_as_their_likelihood_would():
    # old cells around 0, as many new ones around 1: the maximum of both likelihoods is 1/2
    module = Normal(VARIANCE)
    springs = list(fisher_information(ElasticTrainingPlan(module), batches(2000)).values())
    config = TrainConfig(learning_rate=0.02, schedule="constant", adam_eps=1e-8)
    plan = ElasticTrainingPlan(module, config=config, springs=springs)
    plan.begin(2000, 128)
    for batch in batches(2000, seed=1, mean=1.0):
        plan.step(batch)
    np.testing.assert_allclose(module.mean.detach(), 0.5, atol=0.15)


@pytest.mark.parametrize("n", [1, 24, 60, 184, 500])
def test_a_reservoir_is_balanced_and_never_too_large(n):
    group = np.repeat([0, 1, 2], [90, 90, 4])
    kept = balanced_reservoir(group, n, np.random.default_rng(0))
    assert len(kept) == min(n, len(group))
    assert len(np.unique(kept)) == len(kept)
    sizes = np.bincount(group[kept], minlength=3)
    assert sizes[2] == (4 if n >= 12 else sizes[2])
    assert abs(sizes[0] - sizes[1]) <= 1


def test_masked_entries_and_other_parameters_stay_under_momentum_and_decay():
    module = Normal(VARIANCE)
    with torch.no_grad():
        module.mean.fill_(5.0)
    mask = torch.tensor([True, False, True])
    config = TrainConfig(learning_rate=0.1, weight_decay=1.0, adam_eps=1e-8)
    plan = FrozenTrainingPlan(module, config=config, pieces=[(module.mean, mask)])
    plan.begin(20, 128)
    for batch in batches(20):
        plan.step(batch)
    assert module.mean[1] == 5.0
    assert (module.mean[mask] < 4.5).all()
    assert (module.idle == 1).all()


def test_a_plan_without_anything_to_train_is_refused():
    module = Normal(VARIANCE)
    with pytest.raises(ValueError, match="nothing to train"):
        FrozenTrainingPlan(module, pieces=[(module.mean, torch.zeros(3, dtype=torch.bool))])
