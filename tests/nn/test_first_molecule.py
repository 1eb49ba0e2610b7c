"""What first molecules add, against closed forms and by layout."""

from __future__ import annotations

import numpy as np
import torch

from sctandem.nn import dense_to_csr
from sctandem.nn._first_molecule import FirstMolecule, first_molecule


def test_nothing_without_a_count_all_of_the_logarithm_of_one_and_hardly_more_of_many() -> None:
    factor = torch.tensor([[0.3], [2.0], [50.0]])
    found = first_molecule(torch.tensor([[0.0, 1.0, 7.0, 1e4]]), factor) / torch.log1p(factor)
    assert torch.allclose(found[:, :2], torch.tensor([0.0, 1.0]))
    assert bool((found[:, 2:] > 1).all() and (found <= 1.05).all())


def test_plausible_changes_of_a_count_move_it_far_less_than_the_logarithm() -> None:
    factor, counts = torch.tensor(1.0), torch.arange(1.0, 20.0)
    for change in (np.exp(-0.25), np.exp(0.25)):
        first = (first_molecule(counts * change, factor) - first_molecule(counts, factor)).abs()
        logs = (torch.log1p(counts * change) - torch.log1p(counts)).abs()
        assert bool((first < 0.12 * logs).all())


def test_layouts_agree_and_the_gradient_is_that_of_the_formula(rng: np.random.Generator) -> None:
    layer = FirstMolecule(12, 3)
    layer.layer.weight.copy_(torch.from_numpy(rng.normal(size=(12, 3)).astype(np.float32)))
    counts, factor = torch.from_numpy(rng.poisson(1.0, (5, 12)).astype(np.float32)), torch.rand(5) + 0.1
    assert torch.allclose(layer(counts, factor), layer(dense_to_csr(counts), factor), atol=1e-5)
    moved = counts.clone().requires_grad_()
    layer(moved, factor).sum().backward()
    slope = torch.log1p(factor)[:, None] * 1.05 * 0.05 / (counts + 0.05).square() * layer.layer.weight.sum(1)
    assert torch.allclose(moved.grad, slope, rtol=1e-4, atol=1e-5)


def test_means_are_read_by_the_share_of_first_molecules(rng: np.random.Generator) -> None:
    layer = FirstMolecule(6, 2)
    weight = torch.from_numpy(rng.normal(size=(6, 2)).astype(np.float32))
    layer.layer.weight.copy_(weight)
    counts, factor = torch.from_numpy(rng.poisson(2.0, (400, 6)).astype(np.float32)), torch.full((400,), 0.7)
    means = torch.log1p(counts * 0.7).mean(0)
    layer.share.copy_(first_molecule(counts, factor[:, None]).mean(0) / means)
    assert torch.allclose(layer.of_means(means), layer(counts, factor).mean(0), atol=1e-4)
