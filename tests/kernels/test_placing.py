from __future__ import annotations

import numpy as np
import pytest

from sctandem.kernels._placing import BELIEVED, batch_shift, matched_distances, misfit_pvalues


def test_shares_are_found_beside_a_shift_and_half_of_the_shift_is_taken():
    rng = np.random.default_rng(0)
    centres = rng.gamma(1.0, 1.0, (3000, 4))
    truth, shares = rng.normal(0, 0.2, 3000), np.array([0.1, 0.6, 0.0, 0.3])
    shift, found = batch_shift(centres @ shares + truth, np.full(3000, 0.5), 50_000, centres)
    np.testing.assert_allclose(found, shares, atol=0.03)
    slope = shift @ truth / (truth @ truth)
    assert abs(slope - BELIEVED) < 0.02


def test_noise_of_few_cells_is_not_taken_for_a_shift():
    rng = np.random.default_rng(0)
    centres = rng.gamma(1.0, 1.0, (3000, 2))
    mean = centres @ [0.5, 0.5] + rng.normal(0, np.sqrt(1 / 10), 3000)
    shift, _ = batch_shift(mean, np.ones(3000), 10, centres)
    assert np.abs(shift).max() < 0.1


@pytest.mark.parametrize("new", [0.0, 0.3])
def test_what_a_batch_has_in_common_is_taken_off_its_distances(new):
    rng = np.random.default_rng(0)
    reference, cells = rng.chisquare(10, 5000), rng.chisquare(10, 5000)
    cells = 3 * cells + 20
    n_new = int(new * 5000)
    cells[:n_new] += 300
    found, moved = matched_distances(cells, reference)
    assert moved > 3
    limit = np.quantile(reference, 0.99)
    assert (found[n_new:] > limit).mean() < 0.03
    assert (found[:n_new] > limit).all()


def test_distances_are_never_made_larger():
    rng = np.random.default_rng(0)
    reference = rng.chisquare(10, 500)
    for cells in (rng.chisquare(5, 500), rng.chisquare(20, 500), np.full(500, 12.0)):
        assert (matched_distances(cells, reference)[0] <= cells).all()
    assert matched_distances(reference - 1, reference)[1] == 0


def test_misfits_are_held_against_cells_of_the_same_depth():
    rng = np.random.default_rng(0)
    depth = rng.lognormal(7, 0.5, 4000)
    losses = 0.4 * depth**0.9 * rng.lognormal(0, 0.05, 4000)
    found = misfit_pvalues(losses, depth)
    assert abs((found < 0.05).mean() - 0.05) < 0.025
    assert abs(np.corrcoef(found, np.log(depth))[0, 1]) < 0.05
    losses[:800] *= 1.4
    found = misfit_pvalues(losses, depth)
    assert (found[:800] < 1e-4).mean() > 0.95
    assert abs((found[800:] < 0.05).mean() - 0.05) < 0.03
    np.testing.assert_array_equal(misfit_pvalues(losses[:29], depth[:29]), 1)


def test_groups_that_are_harder_to_give_back_are_held_against_themselves():
    rng = np.random.default_rng(0)
    depth, group = rng.lognormal(7, 0.5, 4000), np.repeat([0, 1, 2], [3000, 980, 20])
    losses = depth**0.9 * np.array([1.0, 1.5, 1.0])[group] * rng.lognormal(0, 0.05, 4000)
    assert (misfit_pvalues(losses, depth)[group == 1] < 0.05).mean() > 0.9
    found = misfit_pvalues(losses, depth, group)
    for number in (0, 1):
        assert abs((found[group == number] < 0.05).mean() - 0.05) < 0.03
    assert (found[group == 2] < 0.05).mean() < 0.2
