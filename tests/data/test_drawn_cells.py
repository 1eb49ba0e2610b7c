from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sctandem.data._drawn_cells import drawn_cells, even_sizes


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12), st.data())
def test_draws_are_even_but_for_groups_taken_whole(sizes, data):
    total = data.draw(st.integers(0, sum(sizes)))
    found, sizes = even_sizes(np.array(sizes), total), np.array(sizes)
    assert found.sum() == total
    assert (found <= sizes).all()
    part = found[found < sizes]
    if len(part):
        assert np.ptp(part) <= 1
        assert (found[found == sizes] <= part.min() + 1).all()


@pytest.mark.parametrize("block", [1, 16])
@pytest.mark.parametrize("grouped", [False, True])
def test_draws_are_without_replacement_ascending_and_those_of_the_seed(block, grouped):
    groups = np.random.default_rng(0).integers(3, size=1000) if grouped else None
    found = [drawn_cells(1000, 200, np.random.default_rng(seed), groups=groups, block=block) for seed in (0, 0, 1)]
    assert (np.diff(found[0]) > 0).all()
    assert len(found[0]) == 200
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
    if grouped:
        assert np.ptp(np.bincount(groups[found[0]])) <= 1


def test_every_cell_is_as_likely():
    times = np.zeros(100)
    for seed in range(2000):
        times[drawn_cells(100, 25, np.random.default_rng(seed))] += 1
    expected, sd = 500, np.sqrt(2000 * 0.25 * 0.75)
    assert np.abs(times - expected).max() < 4.5 * sd
    assert ((times - expected) ** 2).mean() == pytest.approx(sd**2, rel=0.5)


def test_cells_of_few_blocks_are_drawn_where_asked():
    groups = np.arange(10_000) % 4
    assert len(np.unique(drawn_cells(10_000, 500, np.random.default_rng(0), block=100) // 100)) == 5
    found = drawn_cells(10_000, 500, np.random.default_rng(0), groups=groups, block=100)
    assert len(np.unique(found // 100)) == 5


def test_all_cells_where_as_many_are_wanted():
    np.testing.assert_array_equal(drawn_cells(5, 5, np.random.default_rng(0)), np.arange(5))
    np.testing.assert_array_equal(drawn_cells(5, 99, np.random.default_rng(0), block=2), np.arange(5))
