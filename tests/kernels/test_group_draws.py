from __future__ import annotations

import numpy as np
import pytest

from sctandem.kernels._group_draws import draw_within_groups


def test_groups_have_their_shares_and_small_ones_their_least():
    group = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 5], [6000, 3000, 80, 4]))
    drawn = draw_within_groups(group, 900, np.random.default_rng(0), least=50)
    assert np.unique(drawn).size == drawn.size
    np.testing.assert_array_equal(drawn, np.sort(drawn))
    shares = [round(900 * n / len(group)) for n in (6000, 3000)]
    np.testing.assert_array_equal(np.bincount(group[drawn]), [*shares, 50, 0, 0, 4])


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
