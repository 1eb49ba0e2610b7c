from __future__ import annotations

import numpy as np
import pytest

from sctandem.kernels._group_draws import draw_within_groups


def test_groups_have_their_shares_and_small_ones_their_least():
    group = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 5], [6000, 3000, 80, 4]))
    drawn = draw_within_groups(group, 900, np.random.default_rng(0), least=50)
    assert np.unique(drawn).size == drawn.size
    np.testing.assert_array_equal(drawn, np.sort(drawn))
    n_drawn = np.bincount(group[drawn])
    np.testing.assert_array_equal(n_drawn[2:], [50, 0, 0, 4])
    assert 898 <= n_drawn.sum() <= 900
    assert n_drawn[0] / n_drawn[1] == pytest.approx(2, rel=0.01)


def test_each_row_of_a_group_is_as_likely():
    group = np.repeat([0, 1], [40, 20])
    found = np.zeros(60)
    for seed in range(2000):
        found[draw_within_groups(group, 30, np.random.default_rng(seed), least=1)] += 1
    assert found.sum() == 2000 * 30
    assert np.abs(found / 2000 - 0.5).max() < 4 * np.sqrt(0.25 / 2000)


@pytest.mark.parametrize("n", [10, 11])
def test_where_there_are_no_more_all_are_given_and_nothing_is_drawn(n):
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    np.testing.assert_array_equal(draw_within_groups(np.arange(10) % 3, n, rng), np.arange(10))
    assert rng.bit_generator.state == before


def test_many_groups_are_not_drawn_beyond_the_number():
    group = np.repeat(np.arange(500), 20)
    assert len(draw_within_groups(group, 1000, np.random.default_rng(0))) == 1000


@pytest.mark.parametrize(("n_groups", "n"), [(1000, 100_000), (500, 50_000), (7, 900), (2, 101)])
def test_no_more_are_drawn_than_asked_for_however_many_groups_are_small(n_groups, n):
    sizes = np.r_[np.full(n_groups - 1, 100), 4 * n]
    group = np.repeat(np.arange(n_groups), sizes)
    drawn = np.bincount(group[draw_within_groups(group, n, np.random.default_rng(0))], minlength=n_groups)
    assert 0.9 * n <= drawn.sum() <= n
    assert drawn.min() >= min(100, n // n_groups)
