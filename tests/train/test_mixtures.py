from __future__ import annotations

import numpy as np
import pytest
import torch
from mixtures import profiles

from sctandem.module import MixtureConfig, RSDConfig, RSDModule
from sctandem.train import _mixtures
from sctandem.train._mixtures import N_BATCHES, train_on_mixtures

CONFIG = RSDConfig(n_hidden=32, mixtures=MixtureConfig(platform=0.3))


def network() -> RSDModule:
    shares = profiles(n_genes=100)
    torch.manual_seed(0)
    return RSDModule(
        shares, shares * 1e5, np.full(shares.shape, 0.3), np.zeros(shares.shape), genes=np.arange(100), config=CONFIG
    )


def train(module: RSDModule, n_epochs: int = 3, seed: int = 0) -> list[float]:
    return train_on_mixtures(module, n_epochs, batch_size=64, rng=np.random.default_rng(seed), progress=False)


def always_the_mean(module: RSDModule) -> float:
    """Cross-entropy of naming the mean composition of 20,000 mixtures, whatever is seen."""
    torch.manual_seed(1)
    rna = module.inference(20_000)["rna"].numpy()
    return float(-(rna * np.log(rna.mean(0))).sum(1).mean())


def test_learns_more_than_the_mean():
    module = network()
    losses = train(module, 6)
    assert len(losses) == 6
    floor = always_the_mean(module)
    assert losses[-1] < floor - 0.1
    assert losses[-1] < losses[0]
    assert not module.training
    torch.manual_seed(2)
    with torch.no_grad():
        assert float(module.loss(4000)) < floor - 0.1


def test_same_seed_same_network():
    first, second, other = network(), network(), network()
    assert train(first) == train(second)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert train(other, seed=1) != train(network())


def test_random_state_is_left_alone():
    module = network()
    before = torch.random.get_rng_state()
    train(module, 1)
    assert torch.equal(before, torch.random.get_rng_state())


class Interrupted:
    """A progress bar that is interrupted in an epoch."""

    def __init__(self, epochs, *, after: int, **_options):
        self.epochs, self.after = epochs, after

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        return False

    def __iter__(self):
        for epoch in self.epochs:
            if epoch == self.after:
                msg = "stop"
                raise KeyboardInterrupt(msg)
            yield epoch

    def set_postfix(self, **_values):
        pass


def test_interruption_keeps_what_was_learned(monkeypatch):
    monkeypatch.setattr(_mixtures, "tqdm", lambda epochs, **options: Interrupted(epochs, after=2, **options))
    module = network()
    start = [value.clone() for value in module.parameters()]
    losses = train(module, 5)
    assert len(losses) == 2
    assert not module.training
    assert all(torch.isfinite(value).all() for value in module.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(start, module.parameters(), strict=True))


def test_interruption_before_anything_was_learned_is_passed_on(monkeypatch):
    monkeypatch.setattr(_mixtures, "tqdm", lambda epochs, **options: Interrupted(epochs, after=0, **options))
    module = network()
    with pytest.raises(KeyboardInterrupt, match="stop"):
        train(module)
    assert not module.training


def test_batches_an_epoch():
    module, calls = network(), []
    original = module.loss
    module.loss = lambda n: calls.append(n) or original(n)
    train(module, 2)
    assert calls == [64] * 2 * N_BATCHES
