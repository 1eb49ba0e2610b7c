from __future__ import annotations

import pytest
import torch

from sctandem.nn import WindowLSTM

LENGTHS = [5, 1, 3, 0]


@pytest.fixture(name="network")
def fixture_network() -> WindowLSTM:
    torch.manual_seed(0)
    return WindowLSTM(4, 2, n_hidden=8).eval()


@pytest.fixture(name="windows")
def fixture_windows() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    mask = (torch.arange(5) < torch.tensor(LENGTHS)[:, None]).float()
    return torch.randn(4, 5, 4) * mask[..., None], mask


def test_padding_does_not_matter(network, windows):
    features, mask = windows
    expected = network(features, mask)
    longer = torch.cat([features, torch.full((4, 6, 4), 9.0)], dim=1)
    found = network(longer, torch.cat([mask, torch.zeros(4, 6)], dim=1))
    torch.testing.assert_close(found[:, :5], expected)
    assert (found[:, 5:] == 0).all()
    assert (expected[mask == 0] == 0).all()


def test_other_genes_do_not_matter(network, windows):
    features, mask = windows
    expected = network(features, mask)
    for gene, length in enumerate(LENGTHS[:3]):
        alone = network(features[[gene], :length], mask[[gene], :length])
        torch.testing.assert_close(alone[0], expected[gene, :length])
    order = torch.tensor([2, 3, 0, 1])
    torch.testing.assert_close(network(features[order], mask[order]), expected[order])


def test_turned_windows_with_swapped_directions_give_turned_weights(network, windows):
    features, mask = windows
    expected = network(features, mask)
    network.downstream, network.upstream = network.upstream, network.downstream
    first = network.weigh[0]
    with torch.no_grad():
        forth, against, own = first.weight.clone().split(8, dim=1)
        first.weight.copy_(torch.cat([against, forth, own], dim=1))
    turned = features.clone()
    for gene, length in enumerate(LENGTHS):
        turned[gene, :length] = features[gene, :length].flip(0)
    found = network(turned, mask)
    for gene, length in enumerate(LENGTHS):
        torch.testing.assert_close(found[gene, :length].flip(0), expected[gene, :length])


def test_equals_the_bidirectional_lstm_of_torch(network, windows):
    """On windows of full length; the four parameters of each direction are copied over."""
    features = windows[0][:1]
    both = torch.nn.LSTM(8, 8, batch_first=True, bidirectional=True)
    state = dict(network.downstream.state_dict())
    state |= {f"{name}_reverse": value for name, value in network.upstream.state_dict().items()}
    both.load_state_dict(state)
    embedded = network.embed(features)
    expected = network.weigh(torch.cat([both(embedded)[0], embedded], dim=-1))
    torch.testing.assert_close(network(features, torch.ones(1, 5)), expected)


def test_weight_of_a_peak_depends_on_its_neighbours_on_both_sides(network, windows):
    features, mask = windows[0][:1].clone(), windows[1][:1]
    features.requires_grad_()
    network(features, mask)[0, 2, 0].backward()
    assert (features.grad[0].abs().sum(1) > 0).all()


def test_dropout_only_in_training(network, windows):
    torch.testing.assert_close(network(*windows), network(*windows))
    network.train()
    assert not torch.allclose(network(*windows), network(*windows))
