"""How cells are moved in adversarial training, on a network whose answer to any move is known."""

from __future__ import annotations

import pytest
import torch
from scvi import REGISTRY_KEYS
from scvi.module.base import BaseModuleClass, LossOutput

from sctandem.nn import count_ball
from sctandem.train import AdversarialConfig, AdversarialTrainingPlan, TrainConfig
from sctandem.train._adversarial import ball_of

#: As much weight up as down: where the depth is kept, a gene with weight 1 still pulls up and one with -1 down.
WEIGHTS = torch.tensor([1.0, -1.0] * 5)


class Linear(BaseModuleClass):
    """Says of a cell its counts times `WEIGHTS`; what was asked of it with a gradient is counted."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.ones(()))
        self.n_asked = 0

    def forward(self, tensors, loss_kwargs=None):
        each = tensors[REGISTRY_KEYS.X_KEY] @ WEIGHTS * self.factor
        return {}, {}, LossOutput(loss=each.mean(), reconstruction_loss=each, n_obs_minibatch=len(each))

    def _get_inference_input(self, tensors):
        return {"counts": tensors[REGISTRY_KEYS.X_KEY]}

    def _get_generative_input(self, tensors, inference_outputs):
        return {}

    def inference(self, counts):
        self.n_asked += counts.requires_grad
        return {"read": counts @ WEIGHTS}

    def generative(self):
        return {}

    def loss(self):
        return None

    def attack_loss(self, tensors, found, unit):
        return found["read"].mean() * self.factor

    def divergence(self, found, moved, unit):
        return (moved["read"] - found["read"]).mean()


@pytest.fixture
def batch(rng):
    counts = torch.from_numpy(rng.poisson(20.0, (30, 10))).float() + 1
    return {REGISTRY_KEYS.X_KEY: counts}


def plan_of(way, **settings):
    plan = AdversarialTrainingPlan(
        Linear(), config=TrainConfig(adversarial=way, adversary=AdversarialConfig(**settings))
    )
    plan.module.train()
    return plan


def test_weight_multiplies_the_loss_of_moved_cells(batch):
    terms = []
    for weight in (1.0, 3.0):
        plan = plan_of("fgsm", weight=weight)
        torch.manual_seed(0)
        terms.append(float(plan.compute_loss(batch).extra_metrics["adversarial"].detach()))
    assert terms[0] > 0
    assert terms[1] == pytest.approx(3 * terms[0])


def test_virtual_moves_go_where_the_divergence_rises(batch):
    plan = plan_of("vat", radius=0.3)
    ball = count_ball(batch[REGISTRY_KEYS.X_KEY], 0.3)
    highest = ball.counts(torch.where(WEIGHTS > 0, ball.high, ball.low)) @ WEIGHTS
    expected = (highest - batch[REGISTRY_KEYS.X_KEY] @ WEIGHTS).mean()
    assert float(expected) > 10
    torch.testing.assert_close(plan._loss_of_moved(batch, torch.ones(())), expected)


@pytest.mark.parametrize(("way", "n_steps"), [("pgd", 7), ("pgd", 2), ("fgsm", 1)])
def test_steps_are_as_many_as_said(batch, way, n_steps):
    plan = plan_of(way, n_steps=7 if way == "fgsm" else n_steps)
    plan.compute_loss(batch)
    assert plan.module.n_asked == n_steps


@pytest.mark.parametrize(
    ("settings", "with_depth"),
    [({"radius": 0.4, "max_sd": 0.5}, False), ({"unexpressed": True}, False), ({}, True)],
)
def test_cells_are_moved_within_the_box_that_the_settings_name(batch, settings, with_depth):
    counts = batch[REGISTRY_KEYS.X_KEY].clone()
    counts[:, ::3] = 0
    depth = counts.sum(1, keepdim=True) * 7
    given = {"depth": depth} if with_depth else {}
    ball = ball_of(
        {REGISTRY_KEYS.X_KEY: counts} | ({REGISTRY_KEYS.SIZE_FACTOR_KEY: depth} if with_depth else {}),
        AdversarialConfig(**settings),
    )
    expected = count_ball(counts, **{"radius": AdversarialConfig().radius, **settings, **given})
    default = count_ball(counts, AdversarialConfig().radius)
    for name in ("low", "high", "scale"):
        assert torch.equal(getattr(ball, name), getattr(expected, name)), name
    assert not torch.equal(ball.high, default.high)  # the settings say something
