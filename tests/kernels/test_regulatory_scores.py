from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sctandem.kernels import _regulatory_scores as scores


@pytest.fixture
def values() -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.gamma(2.0, size=(60, 7))
    x[:, 3] += 2 * x[:, 0]
    x[:, 5] = 1.5  # constant
    x[::2, 6] = 0  # ties
    return x


def test_correlations_are_those_of_scipy(values):
    tfs = np.array([0, 2])
    found = scores.association(scores.standardise(values), scores.standard_ranks(values), tfs)
    for i, tf in enumerate(tfs):
        for gene in (1, 3, 4, 6):
            z = (values[:, gene] - values[:, gene].mean()) / values[:, gene].std()
            assert found.rank[i, gene] == pytest.approx(stats.spearmanr(values[:, tf], values[:, gene])[0], abs=1e-5)
            assert found.extreme[i, gene] == pytest.approx(stats.pearsonr(values[:, tf], z**3)[0], abs=1e-5)
    assert (found.rank[:, 5] == 0).all()
    assert (found.extreme[:, 5] == 0).all()


def test_scores_do_not_change_with_shift_and_scale(values):
    tfs = np.array([0, 2])

    def score(x):
        found = scores.association(scores.standardise(x), scores.standard_ranks(x), tfs)
        return scores.association_score(found, scores.standardise(x), scores.standard_ranks(x), tfs)

    assert score(values * np.arange(1, 8) + 3) == pytest.approx(score(values), abs=1e-3)


def test_background_is_that_of_all_other_genes_that_vary(values):
    z, tfs = scores.standardise(values), np.array([0, 4])
    cubed = scores.cubes(z)
    strength = np.abs(z.T @ cubed / len(z))
    sending, receiving = scores.backgrounds(z, cubed)
    others = [0, 1, 2, 3, 4, 6]
    row = {g: [strength[g, h] for h in others if h != g] for g in others}
    column = {g: [strength[h, g] for h in others if h != g] for g in others}
    found = scores.against_background(strength[tfs], tfs, sending=sending, receiving=receiving)
    for i, tf in enumerate(tfs):
        for g in others:
            expected = (strength[tf, g] - np.mean(row[tf])) / np.std(row[tf])
            expected += (strength[tf, g] - np.mean(column[g])) / np.std(column[g])
            assert found[i, g] == pytest.approx(expected, rel=1e-4)


def test_backgrounds_do_not_depend_on_blocks(values, monkeypatch):
    z = scores.standardise(values)
    whole = scores.backgrounds(z, scores.cubes(z))
    monkeypatch.setattr(scores, "_BLOCK", 3)
    for first, second in zip(whole, scores.backgrounds(z, scores.cubes(z)), strict=True):
        assert first.mean == pytest.approx(second.mean)
        assert first.spread == pytest.approx(second.spread)


def test_a_gene_never_regulates_itself(values):
    tfs = np.array([0, 3])
    z, ranks = scores.standardise(values), scores.standard_ranks(values)
    score = scores.association_score(scores.association(z, ranks, tfs), z, ranks, tfs)
    assert score[0, 0] == score[1, 3] == score.min()
    assert score[0].argmax() == 3


def test_pvalues_count_the_null_at_least_as_large():
    null = np.array([1.0, 2.0, 2.0, 5.0])
    observed = np.array([0.0, 2.0, 2.1, 5.0, 6.0])
    naive = [(1 + sum(n >= o for n in null)) / 5 for o in observed]
    assert scores.pooled_pvalues(observed, null) == pytest.approx(naive)
    assert scores.pooled_pvalues(np.zeros(0), null).size == 0


def test_one_rate_for_all_pairs_whatever_their_null():
    pvalues = np.array([0.001, np.nan, 0.02, 0.5, np.nan, 0.04])
    order = np.sort([0.001, 0.02, 0.5, 0.04])
    naive = [min(order[j] * 4 / (j + 1) for j in range(4) if order[j] >= p) if p == p else np.nan for p in pvalues]
    assert scores.family_fdr(pvalues) == pytest.approx(naive, nan_ok=True)
    assert np.isnan(scores.family_fdr(np.full(3, np.nan))).all()


def test_squared_z_is_one_on_average_where_nothing_goes_together():
    rng = np.random.default_rng(2)
    a, b = (scores.standardise(rng.normal(size=(50, 80))) for _ in range(2))
    assert scores.squared_z(a, b).mean() == pytest.approx(1, abs=0.05)


def test_fdr_holds_on_permuted_cells():
    """In 40 data sets without any relation hardly one has an edge at 5 %."""
    called = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x = rng.poisson(rng.gamma(0.5, 2, 40), size=(80, 40)).astype(float)
        ranks = scores.standard_ranks(x)
        tfs = np.arange(5)
        keep = ~scores.own_pairs(tfs, 40)
        null = [scores.squared_z(ranks[rng.permutation(80)][:, tfs], ranks)[keep] for _ in range(20)]
        pvalues = scores.pooled_pvalues(scores.squared_z(ranks[:, tfs], ranks)[keep], np.concatenate(null))
        called += (scores.family_fdr(pvalues) <= 0.05).any()
    assert called <= 5  # binomial: more than 5 of 40 at 5 % has a chance of 1 %
