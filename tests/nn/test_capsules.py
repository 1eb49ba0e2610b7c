from __future__ import annotations

import numpy as np
import pytest
import torch

from sctandem.nn import TypeCapsules, margin_loss, route, squash


@pytest.fixture(name="votes")
def fixture_votes() -> torch.Tensor:
    return torch.randn(5, 6, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def squashed(x):
    square = float((x**2).sum())
    return x * np.sqrt(square) / (1 + square)


def routed_by_loops(votes, n_iterations):
    """The algorithm as printed, a cell at a time, with plain exponentials."""
    n_cells, n_lower, n_upper, n_dims = votes.shape
    sums, couplings = np.zeros((n_cells, n_upper, n_dims)), np.zeros((n_cells, n_lower, n_upper))
    for cell in range(n_cells):
        logits = np.zeros((n_lower, n_upper))
        for iteration in range(n_iterations):
            for i in range(n_lower):
                couplings[cell, i] = np.exp(logits[i]) / np.exp(logits[i]).sum()
            for j in range(n_upper):
                sums[cell, j] = n_upper * sum(couplings[cell, i, j] * votes[cell, i, j] for i in range(n_lower))
            if iteration < n_iterations - 1:
                for i in range(n_lower):
                    for j in range(n_upper):
                        logits[i, j] += votes[cell, i, j] @ squashed(sums[cell, j])
    return sums, couplings


@pytest.mark.parametrize("n_iterations", [1, 2, 3, 5])
def test_routing_equals_the_dense_loop(votes, n_iterations):
    found = route(votes, n_iterations=n_iterations)
    sums, couplings = routed_by_loops(votes.numpy(), n_iterations)
    np.testing.assert_allclose(found.sums.numpy(), sums, rtol=1e-10)
    np.testing.assert_allclose(found.coupling.numpy(), couplings, rtol=1e-10)
    lengths = [[np.linalg.norm(squashed(sums[cell, j])) for j in range(4)] for cell in range(5)]
    np.testing.assert_allclose(found.presence.numpy(), lengths, rtol=1e-10)


def test_routing_does_not_depend_on_the_order_of_capsules(votes):
    lower, upper = torch.tensor([3, 0, 5, 1, 4, 2]), torch.tensor([2, 0, 3, 1])
    expected, found = route(votes), route(votes[:, lower][:, :, upper])
    torch.testing.assert_close(found.sums, expected.sums[:, upper])
    torch.testing.assert_close(found.coupling, expected.coupling[:, lower][:, :, upper])


def test_routing_turns_with_the_poses(votes):
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64))[0]
    expected, found = route(votes), route(votes @ rotation)
    torch.testing.assert_close(found.sums, expected.sums @ rotation)
    torch.testing.assert_close(found.presence, expected.presence)


def test_cells_do_not_mix(votes):
    torch.testing.assert_close(route(votes[2:3]).sums, route(votes).sums[2:3])


def test_even_votes_do_not_depend_on_the_number_of_upper_capsules():
    vote = torch.randn(2, 5, 1, 3, generator=torch.Generator().manual_seed(0))
    for n_upper in (1, 2, 7):
        found = route(vote.expand(-1, -1, n_upper, -1))
        torch.testing.assert_close(found.sums, vote.sum(1).expand(-1, n_upper, -1))


def test_agreement_is_preferred():
    votes = torch.zeros(1, 4, 2, 2)
    votes[0, :, 0] = torch.tensor([1.0, 0.0])  # all agree on the first, and contradict each other on the second
    votes[0, :, 1] = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    found = route(votes)
    assert (found.coupling[0, :, 0] > 0.8).all()
    assert found.presence[0, 0] > 0.9 > 0.1 > found.presence[0, 1]


def test_strong_votes_stay_finite():
    found = route(torch.full((1, 2, 2, 2), 1e4, requires_grad=True), n_iterations=5)
    found.presence.sum().backward()
    assert torch.isfinite(found.sums).all()
    assert torch.isfinite(found.coupling).all()


def test_gradient_of_the_sums_is_that_at_a_fixed_coupling(votes):
    votes.requires_grad_()
    found = route(votes)
    (gradient,) = torch.autograd.grad(found.sums[:, 1, 2].sum(), votes)
    expected = torch.zeros_like(votes)
    expected[:, :, 1, 2] = 4 * found.coupling[:, :, 1]
    torch.testing.assert_close(gradient, expected)


def test_squash_keeps_direction_and_bounds_length():
    x = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 10
    found = squash(x)
    torch.testing.assert_close(torch.nn.functional.cosine_similarity(found, x), torch.ones(7, dtype=torch.float64))
    length = x.norm(dim=-1)
    torch.testing.assert_close(found.norm(dim=-1), length**2 / (1 + length**2))
    zero = torch.zeros(3, requires_grad=True)
    squash(zero).sum().backward()
    torch.testing.assert_close(zero.grad, torch.zeros(3), atol=1e-5, rtol=0)


def test_layer_votes_by_its_weights():
    torch.manual_seed(0)
    layer, lower = TypeCapsules(3, 2, n_upper=4, d_upper=5), torch.randn(6, 3, 2)
    votes = layer.votes(lower)
    torch.testing.assert_close(votes[4, 1, 2], lower[4, 1] @ layer.weight[1, :, 2] + layer.bias[1, 2])
    torch.testing.assert_close(layer(lower).sums, route(votes).sums)


def test_split_capsules_say_what_the_one_said():
    torch.manual_seed(0)
    layer, lower = TypeCapsules(3, 2, n_upper=2, d_upper=5), torch.randn(6, 3, 2)
    torch.testing.assert_close(layer.split(6).votes(lower), layer.votes(lower).repeat_interleave(3, 2))
    single = TypeCapsules(3, 2, n_upper=1, d_upper=5)
    torch.testing.assert_close(single.split(4)(lower).sums, single(lower).sums.expand(-1, 4, -1))
    assert not torch.equal(single.split(4, noise=0.1).bias[:, 0], single.split(4, noise=0.1).bias[:, 1])


def test_margin_loss_by_hand():
    presence = torch.tensor([[0.5, 0.3, 0.05], [0.5, 0.3, 0.05]])
    found = margin_loss(presence, torch.tensor([0, -1]))
    torch.testing.assert_close(found, torch.tensor([0.4**2 + 0.5 * 0.2**2, 0.0]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: route(torch.zeros(2, 3, 4)), "votes must be cells x lower x upper x dimensions"),
        (lambda: route(torch.zeros(2, 3, 4, 5), n_iterations=0), "n_iterations must be at least 1, got 0"),
        (lambda: TypeCapsules(2, 3, n_upper=0, d_upper=1), "n_upper must be at least 1, got 0"),
        (lambda: TypeCapsules(2, 3, n_upper=2, d_upper=1).split(3), "n_upper must be a multiple of 2, got 3"),
    ],
)
def test_bad_values(call, message):
    with pytest.raises(ValueError, match=message):
        call()
