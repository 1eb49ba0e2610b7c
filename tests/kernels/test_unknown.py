from __future__ import annotations

import numpy as np
import pytest
from mixtures import compositions, profiles

from sctandem.kernels._unknown import _course, unknown_share

N_KNOWN, N_COMMON, N_OWN = 200, 300, 40
PLANTED = np.array([0.02, 0.05, 0.05, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.5, 0.6])
GENES = {"telling": np.arange(N_KNOWN), "common": np.arange(N_KNOWN, N_KNOWN + N_COMMON)}


def sample_ratios(unknown: np.ndarray, seed: int, *, noise: float = 0.05, platform: float = 0.5) -> np.ndarray:
    """Log of measured by expected where an unknown type has the common genes, 40 of its own, and few of those that tell the others apart."""
    rng = np.random.default_rng(seed)
    n = len(unknown)
    known = compositions(n, 3, seed=seed) @ profiles(seed, n_genes=N_KNOWN)
    own = rng.lognormal(0, 0.5, N_OWN) / N_OWN
    common = np.tile(rng.dirichlet(np.ones(N_COMMON)), (n, 1))
    expected = np.hstack([known, common, np.full((n, N_OWN), 0.002 / N_OWN)])
    other = np.concatenate([0.02 * known.mean(0), common[0], own])
    measured = (1 - unknown)[:, None] * expected + unknown[:, None] * other
    factors = platform * rng.standard_t(3, expected.shape[1])
    depth = rng.normal(0, 0.5, n)[:, None]
    return np.log(measured) - np.log(expected) + factors + depth + noise * rng.standard_normal(expected.shape)


def share(ratio: np.ndarray, variance: float = 0.0) -> np.ndarray:
    return unknown_share(ratio, np.full_like(ratio, variance), **GENES)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_a_planted_type_is_recovered(seed):
    np.testing.assert_allclose(share(sample_ratios(PLANTED, seed)), PLANTED, atol=0.05)


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_unknown_where_nothing_is(seed):
    np.testing.assert_array_equal(share(sample_ratios(np.zeros(12), seed)), 0)


@pytest.mark.parametrize("seed", range(6))
def test_states_of_donors_are_not_unknown(seed):
    ratio = sample_ratios(np.zeros(12), seed)
    rng = np.random.default_rng(seed)
    # up in some donors and down in others, in a fifth of all genes, by a factor of 1.6
    moved = rng.random(ratio.shape[1]) < 0.2
    ratio[:, moved] += 0.5 * rng.choice([-1, 1], moved.sum()) * rng.standard_normal((12, 1))
    np.testing.assert_array_equal(share(ratio), 0)


@pytest.mark.parametrize("seed", range(6))
def test_genes_on_a_course_are_not_enough(seed):
    # such as a response of the known types: the genes that tell them make no less of the RNA
    ratio = sample_ratios(np.zeros(12), seed)
    ratio[:, -N_OWN:] += 2 * np.random.default_rng(seed).standard_normal((12, 1))
    np.testing.assert_array_equal(share(ratio), 0)


def test_a_course_alone_is_called_unknown_as_rarely_as_the_level_says():
    called = 0
    for seed in range(200):
        ratio = sample_ratios(np.zeros(12), seed)
        ratio[:, -N_OWN:] += 2 * np.random.default_rng(1000 + seed).standard_normal((12, 1))
        called += share(ratio).max() > 0
    assert called <= 6  # 2 expected at a level of 0.01; more than 6 have a chance of 0.5 %


def test_genes_that_vary_each_on_its_own_have_no_course():
    rng = np.random.default_rng(0)
    rest = 0.05 * rng.standard_normal((12, 300))
    rest[:, :40] += rng.standard_normal((12, 40))
    assert _course(rest, np.zeros(300)) is None
    course = rng.standard_normal(12)
    rest[:, :40] += 3 * course[:, None]
    assert np.corrcoef(_course(rest, np.zeros(300)), course)[0, 1] > 0.98
    assert _course(rest[:, 31:], np.zeros(269)) is None  # nine genes


def test_too_few_samples_say_nothing():
    np.testing.assert_array_equal(share(sample_ratios(PLANTED, 0)[:5]), 0)


def test_variation_by_counting_says_nothing():
    ratio = sample_ratios(PLANTED, 0)
    np.testing.assert_array_equal(share(ratio, variance=ratio.var(0).max()), 0)


def test_depth_of_samples_and_factors_of_genes_do_not_matter():
    ratio = sample_ratios(PLANTED, 1)
    rng = np.random.default_rng(5)
    moved = ratio + rng.normal(0, 2, (len(ratio), 1)) + rng.normal(0, 2, ratio.shape[1])
    np.testing.assert_allclose(share(moved), share(ratio), atol=5e-3)  # medians of medians


def test_order_does_not_matter():
    ratio = sample_ratios(PLANTED, 0)
    rng = np.random.default_rng(0)
    genes, samples = rng.permutation(ratio.shape[1]), rng.permutation(len(ratio))
    place = {name: np.flatnonzero(np.isin(genes, value)) for name, value in GENES.items()}
    again = unknown_share(ratio[np.ix_(samples, genes)], np.zeros_like(ratio), **place)
    np.testing.assert_allclose(again, share(ratio)[samples], atol=1e-8)
