"""What the settings of the hidden covariate say, each by itself."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scvi.module.base import LossOutput

from sctandem.train import DomainConfig, TrainConfig, _domain
from sctandem.train._domain import DOMAIN_KEY, DomainAdversary

N = 60


class Identity(torch.nn.Module):
    """States that are there, all of one group."""

    device = torch.device("cpu")

    def state_of(self, found):
        return found["state"]

    def domain_groups(self, tensors):
        return torch.zeros(len(tensors[DOMAIN_KEY]), dtype=torch.int64)


def adversary(*, seed=0, **settings):
    torch.manual_seed(seed)
    domain = DomainConfig(**{"start": 0.0, "strength": 1.0, "min_cells": 1, **settings})
    return DomainAdversary(Identity(), TrainConfig(domain_adversarial="batch", domain=domain))


def states(seed):
    """Two domains, one of them moved to the side."""
    rng = np.random.default_rng(seed)
    domain = np.arange(N) % 2
    return rng.normal(size=(N, 3)) + 2 * domain[:, None], domain


def shown(found, state, domain, *, progress=0.5, loss=100.0):
    """Show a minibatch; give what its states have to pay."""
    state, losses = torch.as_tensor(state), torch.full((len(state),), loss, dtype=torch.float64)
    output = LossOutput(loss=losses.mean(), reconstruction_loss=losses, kl_local=losses * 0, n_obs_minibatch=len(state))
    batch = {DOMAIN_KEY: torch.as_tensor(domain)[:, None]}
    new = found.add_to(output, batch, {"state": state}, progress=progress, n_cells=N)
    return float(new.extra_metrics["domain_adversarial"])


@pytest.mark.parametrize("width", [0.5, 3.0])
def test_width_is_where_the_kernel_has_fallen_to_a_half(width):
    (seen, of), (new, own) = states(0), states(1)
    found = adversary(width=width)
    shown(found, seen, of)
    spread = 2 * np.mean([((part - part.mean(0)) ** 2).sum(1).mean() for part in (seen[::2], seen[1::2])])
    kernel = 1 / (1 + ((new[:, None] - seen) ** 2).sum(2) / (width**2 * spread))
    told = np.mean([row[of == mine].mean() - row.mean() for row, mine in zip(kernel, own, strict=True)])
    assert shown(found, new, own) == pytest.approx(100 * told, rel=1e-6)


def test_strength_multiplies_what_is_told():
    paid = []
    for strength in (1.0, 0.03):
        found = adversary(strength=strength)
        shown(found, *states(0))
        paid.append(shown(found, *states(1)))
    assert paid[0] > 1
    assert paid[1] == pytest.approx(0.03 * paid[0])


def test_nothing_is_compared_before_the_start():
    found = adversary(start=0.4)
    for progress in (0.0, 0.2, 0.39):
        assert shown(found, *states(0), progress=progress) == 0
        assert found.run_state()["searches"] == 0
    assert shown(found, *states(1), progress=0.4) == 0  # the first search is after what it is to tell
    assert found.run_state()["searches"] == 1
    assert shown(found, *states(2), progress=0.41) > 1


def test_each_search_draws_anew_and_each_run_otherwise(monkeypatch):
    drawn = []

    def match(state, domain, *, rng):
        drawn.append(rng.random())
        n = len(state)
        return SimpleNamespace(
            cluster=domain.astype(np.int64),
            centres=np.stack([state[domain == d].mean(0) for d in (0, 1)]),
            domain=np.arange(2),
            matched=np.ones((2, 2), dtype=bool),
            n=n,
        )

    monkeypatch.setattr(_domain, "match_clusters", match)
    for seed in (0, 1, 0):
        found = adversary(seed=seed, refresh=1)
        for number in range(3):
            shown(found, *states(number))
    first, other, again = drawn[:3], drawn[3:6], drawn[6:]
    assert first == again
    assert len({*first, *other}) == 6
