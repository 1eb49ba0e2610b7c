from __future__ import annotations

import numpy as np
import pytest
import torch

from sctandem._random import as_generator, draw_seed, spawn, torch_generator, torch_seeded


def test_seed_is_numpys_own_stream():
    np.testing.assert_array_equal(as_generator(5).random(4), np.random.default_rng(5).random(4))
    np.testing.assert_array_equal(as_generator(np.int64(5)).random(4), np.random.default_rng(5).random(4))


def test_generator_is_passed_through_and_none_is_fresh():
    generator = np.random.default_rng(1)
    assert as_generator(generator) is generator
    assert as_generator(None).random() != as_generator(None).random()


@pytest.mark.parametrize("bad", ["0", 1.0, True, np.random.RandomState(0)])
def test_wrong_type_names_what_came(bad):
    with pytest.raises(TypeError, match=rf"rng must be a seed .* got {type(bad).__name__}"):
        as_generator(bad)


def test_negative_seed():
    with pytest.raises(ValueError, match="non-negative seed, got -1"):
        as_generator(-1)


def test_children_do_not_depend_on_their_number_or_order():
    few, many = spawn(3, 2), spawn(3, 5)
    expected = [child.random(3) for child in many]
    np.testing.assert_array_equal(few[1].random(3), expected[1])
    np.testing.assert_array_equal(few[0].random(3), expected[0])
    assert len({tuple(draws) for draws in expected}) == 5


def test_children_of_one_generator_differ_between_calls():
    generator = np.random.default_rng(0)
    assert spawn(generator, 1)[0].random() != spawn(generator, 1)[0].random()


def test_draw_seed():
    assert draw_seed(11) == 11
    assert draw_seed(np.random.default_rng(2)) == draw_seed(np.random.default_rng(2))
    assert 0 <= draw_seed(2**40) < 2**31
    assert draw_seed(2**40) == draw_seed(2**40)


def test_torch_generator_equals_torchs_own():
    ours = torch.rand(4, generator=torch_generator(9))
    theirs = torch.rand(4, generator=torch.Generator().manual_seed(9))
    assert torch.equal(ours, theirs)


def test_torch_seeded_leaves_the_global_state_alone():
    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    with torch_seeded(4) as seed:
        inside = torch.rand(3)
    assert seed == 4
    assert torch.equal(torch.rand(3), expected)
    with torch_seeded(4):
        assert torch.equal(torch.rand(3), inside)
    with torch_seeded(5):
        assert not torch.equal(torch.rand(3), inside)


def test_numpys_global_state_is_not_read_nor_set():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    spawn(draw_seed(as_generator(None)), 2)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
