from __future__ import annotations

import numpy as np
import pytest
import torch
from mixtures import profiles

from sctandem.module import MixtureConfig, RSDConfig, RSDModule, simulate_mixtures

N_GENES = 120
EXACT = MixtureConfig(absent=0.0, unknown=0.0, platform=0.0, noise=0.0, unmeasured=0.0)


def module(config: RSDConfig | None = None, n_read: int = 80) -> RSDModule:
    shares = profiles(n_genes=N_GENES)
    torch.manual_seed(0)
    return RSDModule(
        shares, shares * 1e5, np.full(shares.shape, 0.3), np.zeros(shares.shape), genes=np.arange(n_read), config=config
    ).eval()


def tensors(n_types: int = 3, spread: float = 0.0):
    shares = torch.from_numpy(profiles(n_types=n_types, n_genes=N_GENES))
    return shares, torch.full_like(shares, spread)


# --- mixtures ---------------------------------------------------------------------------------------------------------


def test_plain_mixtures_are_products():
    shares, spread = tensors()
    found = simulate_mixtures(shares, spread, 50, EXACT)
    expected = torch.log(found["rna"][:, :3].double() @ shares + 1e-9)
    np.testing.assert_allclose(found["logs"], expected, atol=1e-4)
    assert (found["measured"] == 1).all()
    assert (found["rna"][:, 3] == 0).all()
    assert {value.dtype for value in found.values()} == {torch.float32}


def test_shares_are_compositions_with_types_missing_and_unknown():
    shares, spread = tensors()
    found = simulate_mixtures(shares, spread, 20_000, MixtureConfig(absent=0.25, unknown=0.4))["rna"].numpy()
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    assert found.min() >= 0
    # one type, drawn evenly, is there whatever is drawn for it
    assert (found[:, :3] == 0).mean() == pytest.approx(0.25 * 2 / 3, abs=0.01)
    assert (found[:, 3] > 0).mean() == pytest.approx(0.4, abs=0.015)
    assert found[:, 3].max() < 0.6
    everything_absent = simulate_mixtures(shares, spread, 500, MixtureConfig(absent=1.0, unknown=0.0))["rna"]
    np.testing.assert_array_equal(np.sort(everything_absent)[:, -2:], np.tile([0, 1], (500, 1)))


def test_spread_noise_platform_and_missing_genes_are_as_asked():
    shares, _ = tensors(1)
    given = torch.linspace(0.1, 0.8, N_GENES, dtype=torch.float64)[None]
    torch.manual_seed(0)
    logs = simulate_mixtures(shares, given, 4000, EXACT)["logs"] - torch.log(shares)
    np.testing.assert_allclose(logs.std(0), given[0], rtol=0.08)
    flat = torch.zeros_like(given)
    noisy = simulate_mixtures(shares, flat, 4000, MixtureConfig(0.0, 0.0, 0.0, 0.5, 0.0))
    scale = (noisy["logs"] - torch.log(shares)).std(1)  # of each mixture its own, even up to the largest
    assert scale.mean() == pytest.approx(0.25, rel=0.05)
    assert scale.max() < 0.7
    shifted = simulate_mixtures(shares, flat, 4000, MixtureConfig(0.0, 0.0, 1.0, 0.0, 0.5))
    half = (shifted["logs"] - torch.log(shares)).abs().median(1).values
    assert half.mean() == pytest.approx(0.5 * 0.765 / 1.7, rel=0.08)  # the quartile of a Student distribution
    assert shifted["measured"].mean() == pytest.approx(0.75, abs=0.01)
    assert ((shifted["measured"] == 0) | (shifted["measured"] == 1)).all()


def test_same_seed_same_mixtures():
    shares, spread = tensors(spread=0.3)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(simulate_mixtures(shares, spread, 5, MixtureConfig()))
    assert all(torch.equal(drawn[0][key], drawn[1][key]) for key in drawn[0])
    assert not torch.equal(drawn[0]["logs"], drawn[2]["logs"])


def test_all_is_drawn_where_the_profiles_are(monkeypatch):
    """On the device of the profiles: what is drawn elsewhere does not mix with them."""
    shares, spread = tensors(spread=0.3)
    asked = []

    def watch(name):
        original = getattr(torch, name)
        monkeypatch.setattr(
            torch, name, lambda *given, **options: asked.append(options.get("device")) or original(*given, **options)
        )

    for name in ("rand", "randn", "randint", "arange", "zeros", "ones", "empty"):
        watch(name)
    simulate_mixtures(shares, spread, 5, MixtureConfig())
    assert len(asked) >= 8
    assert set(asked) == {shares.device}


# --- reading ----------------------------------------------------------------------------------------------------------


def test_depth_does_not_matter():
    network, rng = module(), np.random.default_rng(0)
    logs = torch.from_numpy(rng.normal(-6, 1, (7, 80)).astype(np.float32))
    found = network.read(logs, torch.ones(80))
    np.testing.assert_allclose(found.exp().sum(1).detach(), 1, rtol=1e-5)
    deeper = network.read(logs + torch.from_numpy(rng.normal(0, 3, (7, 1)).astype(np.float32)), torch.ones(80))
    np.testing.assert_allclose(deeper.detach(), found.detach(), atol=1e-5)
    assert np.abs((network.read(logs.flip(1), torch.ones(80)) - found).detach().numpy()).max() > 1e-3


def test_genes_that_are_not_measured_do_not_matter():
    network, rng = module(), np.random.default_rng(0)
    logs = torch.from_numpy(rng.normal(-6, 1, (7, 80)).astype(np.float32))
    measured = torch.from_numpy((rng.random(80) > 0.3).astype(np.float32))
    found = network.read(logs, measured)
    other = torch.where(measured > 0, logs, torch.full_like(logs, float("nan")))
    torch.testing.assert_close(network.read(other, measured), found)
    torch.testing.assert_close(network.read(logs, measured.expand(7, 80)), found)
    assert torch.isfinite(network.read(logs, torch.zeros(80))).all()


def test_samples_are_read_one_by_one():
    network = module()
    logs = torch.randn(7, 80)
    torch.testing.assert_close(network.read(logs, torch.ones(80))[3:4], network.read(logs[3:4], torch.ones(80)))


def test_loss_is_the_cross_entropy():
    network = module()
    torch.manual_seed(3)
    value = network.loss(64)
    torch.manual_seed(3)
    drawn = network.inference(64)
    read = network.generative(drawn["logs"], drawn["measured"])["log_rna"].detach().numpy()
    expected = -np.mean([np.dot(true, one) for true, one in zip(drawn["rna"].numpy(), read, strict=True)])
    assert float(value.detach()) == pytest.approx(expected, rel=1e-5)


def test_a_state_of_other_genes_is_taken_over():
    saved, other = module(n_read=80), module(n_read=1)
    other.load_state_dict(saved.state_dict())
    logs = torch.randn(4, 80)
    assert torch.equal(other.read(logs, torch.ones(80)), saved.read(logs, torch.ones(80)))


def test_bad_settings():
    with pytest.raises(ValueError, match="n_hidden=0 is not an integer above 0"):
        RSDConfig(n_hidden=0)
