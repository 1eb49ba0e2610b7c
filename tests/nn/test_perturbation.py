"""The box of counts, and steps in it, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sctandem.nn import change_genes, count_ball, dense_to_csr, perturb


@pytest.fixture
def counts(rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.poisson(2.0, (20, 30)).astype(np.float32))


@pytest.mark.parametrize("radius", [0.1, 5.0])
def test_bounds_are_those_of_logs_and_of_poisson_counts(counts: torch.Tensor, radius: float) -> None:
    ball = count_ball(counts, radius, max_sd=1.5)
    assert bool((ball.low <= ball.logs).all() and (ball.logs <= ball.high).all())
    assert float((ball.high - ball.logs).max()) <= radius + 1e-5
    moved = torch.expm1(ball.high) / ball.scale
    sd = counts.clamp_min(1).sqrt()
    assert float(((moved - counts) / sd).max()) <= 1.5 + 1e-3
    assert float(((counts - torch.expm1(ball.low) / ball.scale) / sd).max()) <= 1.5 + 1e-3
    if radius == 5.0:  # there the counts bind: each gene with counts can reach its bound exactly
        assert torch.allclose(moved[counts > 0], (counts + 1.5 * sd)[counts > 0], rtol=1e-3)


def test_zeros_stay_unless_told_otherwise(counts: torch.Tensor) -> None:
    objective = torch.sum
    for unexpressed in (False, True):
        ball = count_ball(counts, 0.5, unexpressed=unexpressed)
        moved = perturb(ball, lambda x: objective(x * torch.arange(30)), n_steps=3)
        gained = (moved > 1e-6) & (counts == 0)
        assert bool(gained.any()) == unexpressed


def test_depth_is_kept_and_layout_does_not_matter(counts: torch.Tensor) -> None:
    weights = torch.linspace(-1, 1, 30)
    moved = [
        perturb(count_ball(matrix, 0.3), lambda x: (x @ weights).sum(), n_steps=4, restart=False)
        for matrix in (counts, dense_to_csr(counts))
    ]
    assert torch.allclose(*moved)
    assert torch.allclose(moved[0].sum(1), counts.sum(1), rtol=1e-4)


def test_steps_reach_the_corner_that_is_best_for_a_linear_objective(counts: torch.Tensor) -> None:
    weights = torch.where(torch.arange(30) % 2 == 0, 1.0, -1.0)
    ball = count_ball(counts, 0.3)

    def objective(x: torch.Tensor) -> torch.Tensor:
        return (x @ weights).sum()

    best = ball.counts(torch.where(weights > 0, ball.high, ball.low))
    for n_steps, restart in ((1, False), (1, True), (10, True)):
        moved = perturb(ball, objective, n_steps=n_steps, restart=restart)
        part = (objective(moved) - objective(counts)) / (objective(best) - objective(counts))
        assert float(part) > (0.999 if (n_steps, restart) != (1, True) else 0.8)


def test_genes_are_those_of_an_exhaustive_search(counts: torch.Tensor) -> None:
    weights = torch.linspace(-1, 1, 30)
    much = torch.full((30,), 0.2)

    def objective(x: torch.Tensor) -> torch.Tensor:
        return x @ weights

    found = next(iter(change_genes(counts, much, objective, 1)))
    best = objective(counts)
    for gene in range(30):
        for value in (torch.zeros(20), torch.maximum(much[gene] * counts.sum(1), counts[:, gene])):
            other = counts.clone()
            other[:, gene] = value
            best = torch.maximum(best, objective(other))
    assert torch.allclose(objective(found), best)
    assert bool(((found != counts).sum(1) <= 1).all())


def test_each_gene_is_changed_once(counts: torch.Tensor) -> None:
    steps = list(change_genes(counts, torch.full((30,), 0.2), lambda x: x[:, 0] - x[:, 1], 4))
    assert bool(((steps[-1] != counts).sum(1) <= 2).all())  # no other gene raises this objective
