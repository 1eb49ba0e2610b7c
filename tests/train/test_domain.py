"""What states pay for being told apart: against its definition, and what it must leave alone."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scvi.module.base import LossOutput

from sctandem.train import DomainConfig, TrainConfig
from sctandem.train._domain import DOMAIN_KEY, DomainAdversary

N = 240


class Identity(torch.nn.Module):
    """States that are there."""

    device = torch.device("cpu")

    def state_of(self, found):
        return found["state"]

    def domain_groups(self, tensors):
        return tensors["group"]


def adversary(**settings):
    torch.manual_seed(0)
    return DomainAdversary(
        Identity(), TrainConfig(domain_adversarial="batch", domain=DomainConfig(start=0, **settings))
    )


def shown(found, state, domain, group, loss=100.0):
    state = torch.as_tensor(state, dtype=torch.float64).requires_grad_()
    losses = torch.full((len(state),), loss, dtype=torch.float64)
    output = LossOutput(loss=losses.mean(), reconstruction_loss=losses, kl_local=losses * 0, n_obs_minibatch=len(state))
    batch = {DOMAIN_KEY: torch.as_tensor(domain)[:, None], "group": torch.as_tensor(group)}
    return found.add_to(output, batch, {"state": state}, progress=0.5, n_cells=N), output, state


def cells(seed, *, shift=2.0):
    """Two groups in three domains, and a third that only the first domain has."""
    rng = np.random.default_rng(seed)
    domain = rng.integers(3, size=N)
    group = np.where((domain == 0) & (rng.random(N) < 0.3), 2, rng.integers(2, size=N))
    state = rng.normal(size=(N, 5))
    state[:, 0] += 12 * group
    state[:, 1] += shift * domain * (group < 2)
    return state, domain, group


def unknown(seed):
    state, domain, group = cells(seed)
    return state, domain, np.full_like(group, -1)


def test_it_is_the_mean_of_the_discriminator():
    found = adversary(strength=1.0)
    state, domain, group = cells(0)
    shown(found, state, domain, group)
    new, of, kind = (values[:40] for values in cells(1))
    output, clean, _ = shown(found, new, of, kind)
    within = [state[(domain == d) & (group == g)] for d in range(3) for g in range(3)]
    spread = 2 * sum(((part - part.mean(0)) ** 2).sum() for part in within if len(part)) / N
    total = 0.0
    for point, own, type_ in zip(new, of, kind, strict=True):
        similar = 1 / (1 + ((state - point) ** 2).sum(1) / spread)
        peers = group == type_
        if len(np.unique(domain[peers])) > 1:
            total += similar[peers & (domain == own)].mean() - similar[peers].mean()
    assert float(output.extra_metrics["domain_adversarial"]) == pytest.approx(100 * total / len(new), rel=1e-6)
    assert float(output.loss.detach()) == pytest.approx(float(clean.loss + output.extra_metrics["domain_adversarial"]))
    assert float(clean.loss) == 100  # that of the cells as they are stays what it was


def test_what_one_domain_alone_has_is_left_where_it_is():
    found = adversary()
    shown(found, *cells(0))
    output, _, state = shown(found, *cells(1))
    output.loss.backward()
    moved = state.grad.norm(dim=1).numpy() > 0
    group = cells(1)[2]
    assert not moved[group == 2].any()
    assert moved[group < 2].all()


def test_without_groups_clusters_do():
    found = adversary()
    state, domain, group = cells(0)
    shown(found, state, domain, np.full(N, -1))
    output, _, moved = shown(found, state, domain, np.full(N, -1))
    output.loss.backward()
    size = moved.grad.norm(dim=1).numpy()
    assert (size[group == 2] == 0).mean() > 0.9
    assert (size[group < 2] > 0).mean() > 0.9


def test_nothing_is_told_where_there_is_nothing_to_tell():
    # the discriminator is fitted to other cells, so that it is wrong as often as right
    def values(shift):
        out = []
        for seed in range(30):
            found = adversary(strength=1.0)
            shown(found, *cells(2 * seed, shift=shift))
            out.append(float(shown(found, *cells(2 * seed + 1, shift=shift))[0].extra_metrics["domain_adversarial"]))
        return np.array(out)

    same, apart = values(0.0), values(2.0)
    assert abs(same.mean()) < 3 * same.std() / np.sqrt(len(same))
    assert apart.min() > same.max()


def test_descent_hides_the_domain_and_keeps_the_groups():
    state, domain, group = cells(0)
    found = adversary(strength=1.0, n_memory=N)
    shown(found, state, domain, group)
    at = torch.tensor(state)
    for _ in range(500):
        output, _, moving = shown(found, at, domain, group, loss=1.0)
        output.loss.backward()
        at = (at - 100 * moving.grad).detach()
    after = at.numpy()
    for kind in range(2):
        means = [np.stack([x[(group == kind) & (domain == d)].mean(0) for d in range(3)]) for x in (state, after)]
        assert np.ptp(means[1][:, 1]) < 0.25 * np.ptp(means[0][:, 1])
    assert np.array_equal(after[group == 2], state[group == 2])


def test_what_is_remembered_can_be_taken_up():
    first, again = adversary(refresh=1), adversary(refresh=1)
    assert again.run_state()["memory"] == {}
    for seed in range(2):
        shown(first, *unknown(seed))
    again.take_up(first.run_state())
    for seed in range(2, 5):
        losses = [float(shown(found, *unknown(seed))[0].loss.detach()) for found in (first, again)]
        assert losses[0] == losses[1] > 100


def test_a_domain_with_too_few_cells_is_not_compared():
    state, domain, group = cells(0)
    found = adversary(min_cells=N)
    shown(found, state, domain, group)
    assert float(shown(found, state, domain, group)[0].extra_metrics["domain_adversarial"]) == 0


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"strength": -1}, "strength=-1"),
        ({"width": 0}, "width=0"),
        ({"n_memory": 0}, "n_memory=0"),
        ({"min_cells": 0}, "min_cells=0"),
        ({"refresh": 1.5}, r"refresh=1\.5"),
        ({"start": 2}, "start=2"),
    ],
)
def test_settings_out_of_bounds(settings, fault):
    with pytest.raises(ValueError, match=fault):
        DomainConfig(**settings)


def test_settings_of_another_kind():
    with pytest.raises(TypeError, match="within"):
        DomainConfig(within=3)
    with pytest.raises(TypeError, match="domain_adversarial"):
        TrainConfig(domain_adversarial=True)


def test_a_module_without_states_is_refused():
    with pytest.raises(ValueError, match=r"domain_adversarial='batch' needs a model that gives each cell a state"):
        DomainAdversary(SimpleNamespace(), TrainConfig(domain_adversarial="batch"))
