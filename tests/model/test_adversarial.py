"""Adversarial training: one argument for all models, and what it is for on simulated cells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from anndata import AnnData
from models import CASES
from scipy import sparse

import sctandem as td
from sctandem.model import CapsuleNet
from sctandem.model.base import AttackConfig
from sctandem.train import AdversarialConfig, AdversarialTrainingPlan, TrainConfig

READ_COUNTS = ["CountVAEModel", "CapsuleNet", "DeepDE"]
WAYS = [{"adversarial": "fgsm"}, {"adversarial": "pgd"}, {"adversarial": "vat"}]


def trained(name, seed=0, **options):
    case = CASES[name]
    data = case.data()
    case.set_up(data)
    model = case.make(data)
    model.train(3, rng=seed, progress=False, **options)
    return model


@pytest.mark.parametrize("name", READ_COUNTS)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: next(iter(way.values())))
def test_same_seed_same_model_and_another_than_without(name, way):
    first, again = trained(name, **way), trained(name, **way)
    found = CASES[name].output(first)
    assert np.isfinite(found).all()
    assert np.array_equal(found, CASES[name].output(again))
    states = [model.get_latent_representation() for model in (first, trained(name))]
    assert not np.allclose(*states)
    assert "adversarial_train" in first.history


def test_config_and_argument_are_one():
    by_argument = trained("CountVAEModel", adversarial="fgsm")
    by_config = trained("CountVAEModel", config=TrainConfig(adversarial="fgsm"))
    assert np.array_equal(by_argument.get_latent_representation(), by_config.get_latent_representation())


def test_bad_input():
    case = CASES["CountVAEModel"]
    data = case.data()
    case.set_up(data)
    with pytest.raises(ValueError, match="adversarial='pdg' is not known; choose one of 'fgsm', 'pgd', 'vat'"):
        case.make(data).train(1, progress=False, adversarial="pdg")


@pytest.mark.parametrize("field", ["radius", "max_sd", "n_steps"])
def test_settings_out_of_bounds(field):
    with pytest.raises(ValueError, match=field):
        AdversarialConfig(**{field: 0})


def batch_and_plan(**options):
    case = CASES["CountVAEModel"]
    data = case.data()
    case.set_up(data)
    model = case.make(data)
    plan = AdversarialTrainingPlan(model.module, config=TrainConfig(**options))
    plan.begin(10, 50)
    return next(iter(model._make_data_loader(adata=data, batch_size=50))), plan


def test_the_loss_of_the_cells_as_they_are_stays_what_it_is():
    batch, plan = batch_and_plan(adversarial="pgd", adversary=AdversarialConfig(weight=3.0))
    plan.module.train()
    torch.manual_seed(0)
    output = plan.compute_loss(batch)
    torch.manual_seed(0)
    clean = plan.module(batch, loss_kwargs={"kl_weight": plan.kl_weight})[2]
    assert torch.equal(output.reconstruction_loss_sum, clean.reconstruction_loss_sum)
    assert torch.allclose(output.loss, clean.loss + output.extra_metrics["adversarial"])
    assert float(output.extra_metrics["adversarial"]) > 0


def test_moved_cells_leave_running_means_alone_and_validation_is_of_cells_as_they_are():
    batch, plan = batch_and_plan(adversarial="pgd")
    norms = [layer for layer in plan.module.modules() if isinstance(layer, torch.nn.BatchNorm1d)]
    plan.module.train()
    plan.module(batch)
    once = [layer.num_batches_tracked.clone() for layer in norms]
    plan.compute_loss(batch)
    assert all(int(layer.num_batches_tracked - before) == 1 for layer, before in zip(norms, once, strict=True))
    assert plan.module.training
    plan.module.eval()
    assert "adversarial" not in plan.evaluate(batch).extra_metrics


@pytest.mark.parametrize("steps", [("fgsm", 1), ("pgd", 10)])
def test_the_attack_raises_the_loss_more_than_chance(steps):
    batch, plan = batch_and_plan(adversarial=steps[0], adversary=AdversarialConfig(n_steps=steps[1], radius=0.3))
    from sctandem.nn import count_ball

    module = plan.module
    module.train()
    attacked = float(plan._loss_of_moved(batch, torch.tensor(1.0)).detach())
    module.eval()
    ball = count_ball(batch["X"], 0.3)
    losses = []
    with torch.no_grad():
        for _ in range(5):
            place = ball.counts(torch.where(torch.rand_like(ball.low) < 0.5, ball.low, ball.high))
            found = module.inference(**module._get_inference_input({**batch, "X": place}))
            losses.append(float(module.attack_loss(batch, found, torch.tensor(1.0))))
    assert attacked > max(losses)


def labelled(seed):
    """Types that many genes part by a little, and few by much."""
    rng = np.random.default_rng(seed)
    types = rng.integers(3, size=900)
    logs = np.tile(rng.normal(0, 0.7, 300), (3, 1))
    logs[:, :240] += rng.normal(0, 0.25, (3, 240))
    for kind in range(3):
        logs[kind, 240 + 4 * kind : 244 + 4 * kind] += 2.5
    shares = np.exp(logs) / np.exp(logs).sum(1, keepdims=True)
    adata = AnnData(sparse.csr_matrix(rng.poisson(1500 * shares[types]).astype(np.float32)))
    adata.obs["type"] = types.astype(str)
    return adata


@pytest.mark.slow
def test_capsules_keep_more_labels_under_attack():
    data = labelled(0)
    train, test = data[:600].copy(), data[600:].copy()
    CapsuleNet.setup_anndata(train, labels_key="type")
    found = {}
    adversary = AdversarialConfig(radius=0.5, n_steps=3)
    for way in (None, "pgd"):
        model = CapsuleNet(train, rng=0)
        config = replace(model._train_config, adversarial=way, adversary=adversary, max_epochs=20)
        model.train(rng=0, progress=False, config=config)
        attacks = AttackConfig(radii=(0.5,), n_genes=(1,), dropout=(0.3,), depth=(0.5,))
        result = td.tl.robustness(test, model, "type", attacks=attacks, rng=0, copy=True).uns["robustness"]
        table = result["table"].set_index("attack")["accuracy"]
        found[way] = result["clean_accuracy"], table["pgd"]
    assert found["pgd"][0] > found[None][0] - 0.02
    assert found["pgd"][1] > found[None][1] + 0.1
