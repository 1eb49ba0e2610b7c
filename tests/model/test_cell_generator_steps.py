"""How the generator of cells learns from a critic, against one that does not change, and what it starts from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from anndata import AnnData
from scipy import sparse

from sctandem.model import _cell_generator
from sctandem.model._cell_generator import FittedGenerator
from sctandem.module import CellCritic, GeneratorConfig

N_GENES = 30


class Fixed(torch.nn.Module):
    """Takes cells for real the more of the first gene they have, whatever it is shown."""

    features = staticmethod(CellCritic.features)

    def __init__(self, *sizes):
        super().__init__()
        self.idle = torch.nn.Parameter(torch.zeros(()))

    def forward(self, features, types):
        return features[:, 0] + 0 * self.idle

    def loss(self, real, made, types, penalty):
        return self.idle.square()


def cells(n_cells=400):
    """Two types of different depth; genes with even numbers vary more than molecules do by chance."""
    rng = np.random.default_rng(0)
    types = rng.integers(2, size=n_cells)
    rates = rng.gamma(2.0, 1.0, N_GENES) * 5 + 10
    depth = np.where(types == 0, 0.5, 2.0) * rng.lognormal(0, 0.2, n_cells)
    rates = rates * depth[:, None] * np.where(np.arange(N_GENES) % 2, 1.0, rng.gamma(5.0, 1 / 5, (n_cells, N_GENES)))
    return AnnData(sparse.csr_matrix(rng.poisson(rates).astype(np.float32))), types.astype(np.int64)


def fitted(n_steps=0, rng=0, **options):
    adata, types = cells()
    config = GeneratorConfig(
        n_latent=2, max_epochs=8, n_steps=n_steps, critic_start=1, critic_steps=1, batch_size=64, **options
    )
    return FittedGenerator(adata, types, config=config, rng=rng, progress=False)


@pytest.fixture(scope="module")
def start():
    """Without a critic; tests only read it."""
    return fitted()


def first_gene(made):
    """What the fixed critic gives cells that are made of the states of all."""
    torch.manual_seed(0)
    with torch.no_grad():
        found = made.network(*made.states.draw(torch.arange(len(made.types)).repeat(5)))
    return float(CellCritic.features(found)[:, 0].mean())


@pytest.fixture
def judged(monkeypatch):
    """Let the judge say before and after what it is told to; give the cells that it saw."""

    def say(before, after):
        answers, asked = iter([before, after]), []

        def told(self, held):
            asked.append(held.numpy())
            return next(answers)

        monkeypatch.setattr(_cell_generator, "CellCritic", Fixed)
        monkeypatch.setattr(FittedGenerator, "_told", told)
        return asked

    return say


def test_the_score_of_made_cells_rises_against_a_critic_that_stays(start, judged):
    judged(0.9, 0.5)
    assert first_gene(fitted(n_steps=15, learning_rate=0.02)) > first_gene(start) + 0.1


@pytest.mark.parametrize("after", [0.9, 0.95])
def test_what_did_not_help_held_out_cells_is_taken_back(start, judged, after):
    judged(0.9, after)
    found = fitted(n_steps=3, learning_rate=0.02)
    assert found.told == {"before": 0.9, "after": after}
    for key, value in start.network.state_dict().items():
        assert torch.equal(value, found.network.state_dict()[key]), key


def test_the_critic_sees_no_cell_that_it_is_judged_by(judged, monkeypatch):
    asked, taught = judged(0.9, 0.5), []
    teach = FittedGenerator._teach

    def watched(self, critic, optimizer, shown):
        taught.append(shown.numpy())
        teach(self, critic, optimizer, shown)

    monkeypatch.setattr(FittedGenerator, "_teach", watched)
    made = fitted(n_steps=40)
    held, shown = asked[0], np.unique(np.concatenate(taught))
    assert np.array_equal(held, asked[1])
    assert len(held) == len(np.unique(held)) == len(made.types) // 6
    assert not np.isin(held, shown).any()
    assert len(shown) > 0.9 * (len(made.types) - len(held))


def test_dispersions_at_the_start_are_those_of_the_cells(start):
    theta = start.network.log_theta.detach().exp().numpy()
    assert theta.shape == (2, N_GENES)
    varied, poisson = theta[:, ::2], theta[:, 1::2]
    assert 3 < np.median(varied) < 8  # 5 is true
    assert np.median(poisson) > 30


def test_made_cells_have_the_type_that_was_asked_for_and_the_depth_of_the_cell_they_are_near(start):
    asked = np.repeat([1, 0, 1], [50, 200, 50])
    counts, origins = start.draw(asked, rng=0)
    np.testing.assert_array_equal(start.types[origins], asked)
    assert len(np.unique(origins)) > 100
    made, true = (np.asarray(matrix.sum(1)).ravel() for matrix in (counts, start.counts[origins]))
    assert np.corrcoef(np.log(made), np.log(true))[0, 1] > 0.9
    for kind in (0, 1):
        inside = asked == kind
        assert made[inside].mean() == pytest.approx(true[inside].mean(), rel=0.05)
        assert np.log(made[inside]).std() == pytest.approx(np.log(true[inside]).std(), rel=0.5)
