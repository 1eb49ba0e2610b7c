from __future__ import annotations

import numpy as np
import pytest
import torch

from sctandem.nn import dense_to_csr
from sctandem.nn._profiles import profile_cosines


def problem(n_rows=30, n_columns=50, n_centres=4, n_groups=3):
    rng = np.random.default_rng(0)
    x = rng.poisson(0.7, (n_rows, n_columns)) * rng.gamma(2, 1, (n_rows, n_columns))
    arrays = (
        x,
        rng.normal(1, 1, (n_columns, n_centres)),
        rng.gamma(2, 1, n_columns),
        rng.normal(0, 0.3, (n_columns, n_groups)),
    )
    return *arrays, rng.integers(n_groups, size=n_rows)


def tensors(x, centres, variance, shift, group):
    return *(torch.from_numpy(part.astype(np.float32)) for part in (x, centres, variance, shift)), torch.from_numpy(
        group
    )


@pytest.mark.parametrize("layout", ["dense", "sparse"])
def test_they_are_cosines_of_what_is_beyond_the_middle_in_standard_deviations(layout):
    x, centres, variance, shift, group = problem()
    rows = (x - shift[:, group].T - centres.mean(1)) / np.sqrt(variance)
    profiles = (centres - centres.mean(1, keepdims=True)) / np.sqrt(variance)[:, None]
    expected = rows @ profiles / np.outer(np.linalg.norm(rows, axis=1), np.linalg.norm(profiles, axis=0))
    given = tensors(x, centres, variance, shift, group)
    if layout == "sparse":
        given = dense_to_csr(given[0]), *given[1:]
    np.testing.assert_allclose(profile_cosines(*given), expected, atol=2e-5)


def test_neither_a_shift_of_a_group_nor_a_factor_on_what_is_beyond_changes_them():
    x, centres, variance, shift, group = problem()
    found = profile_cosines(*tensors(x, centres, variance, shift, group))
    moved = x + np.arange(x.shape[1]) * (group == 1)[:, None]
    more = shift + np.arange(x.shape[1])[:, None] * (np.arange(3) == 1)
    np.testing.assert_allclose(profile_cosines(*tensors(moved, centres, variance, more, group)), found, atol=2e-3)
    base = centres.mean(1) + shift[:, group].T
    stretched = base + 0.3 * (x - base)
    np.testing.assert_allclose(profile_cosines(*tensors(stretched, centres, variance, shift, group)), found, atol=2e-5)


def test_a_row_at_the_middle_and_centres_that_are_one_are_like_nothing():
    x, centres, variance, shift, group = problem(n_rows=2)
    same = np.repeat(centres[:, :1], 4, axis=1)
    assert not profile_cosines(*tensors(x, same, variance, shift, group)).any()
    at_middle = centres.mean(1) + shift[:, group].T
    assert profile_cosines(*tensors(at_middle, centres, variance, shift, group)).abs().max() < 0.2


def test_gradients_reach_dense_rows():
    given = tensors(*problem(n_rows=3, n_columns=6))
    given = tuple(part.double() if part.is_floating_point() else part for part in given)
    assert torch.autograd.gradcheck(lambda x: profile_cosines(x, *given[1:]), given[0].requires_grad_())
