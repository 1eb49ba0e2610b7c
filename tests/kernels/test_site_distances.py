"""Distances between sites: against what they were drawn from, and without what a sequence says of itself."""

from __future__ import annotations

import numpy as np
import pytest

from sctandem.kernels._site_distances import chance_distances, distance_ratios

LENGTH, WIDTH, OTHER = 100, 10, 12
USUAL = chance_distances(WIDTH, OTHER, LENGTH, both=True)
NEAREST = (WIDTH + OTHER - 1) / 2


def counted(density: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Pairs of sites, in ten folds."""
    return np.stack([rng.multinomial(n // 10, density.ravel()) for _ in range(10)]).reshape(10, *density.shape)


def fitted(found: np.ndarray) -> np.ndarray:
    """The density of the first fold: chance times the ratio, where there is room."""
    return USUAL * np.exp(distance_ratios(found, USUAL, NEAREST)[0][0]) * (free() > 0)


def free() -> np.ndarray:
    apart = np.abs(np.arange(-LENGTH, LENGTH + 1))
    chance = np.where(apart < NEAREST, 0, USUAL)
    return chance / chance.sum()


def test_chance_is_that_of_placing_both_anywhere():
    starts = np.arange(LENGTH - OTHER + 1)
    apart = (starts[:, None] - starts).ravel()
    counts = np.bincount(apart + LENGTH, minlength=2 * LENGTH + 1)
    np.testing.assert_allclose(USUAL, np.stack([counts, counts]) / counts.sum() / 2)
    assert chance_distances(WIDTH, OTHER, LENGTH, both=False)[0].sum() == 0


@pytest.mark.parametrize("around", [0, 3, 15])
def test_the_density_is_recovered(around):
    """Pairs at one distance, in a range and loosely near, on the same strand; one of ten lies by chance. And it sums to 1 over all places, near and far."""
    rng = np.random.default_rng(around)
    true = np.zeros_like(USUAL)
    true[1, LENGTH + 30 - around : LENGTH + 31 + around] = 0.9 / (2 * around + 1)
    true += 0.1 * free()
    density = fitted(counted(true, 400, rng))
    assert density.sum() == pytest.approx(1)
    # nats that a new pair is less likely than under the truth
    assert (true[true > 0] * np.log(true[true > 0] / density[true > 0])).sum() < 0.15
    assert density[1, LENGTH + 30 - around : LENGTH + 31 + around].sum() == pytest.approx(0.9, abs=0.06)


def test_pairs_by_chance_say_nothing():
    found = counted(free(), 500, np.random.default_rng(1))
    logs, told = distance_ratios(found, USUAL, NEAREST)
    there = free() > 0
    # what is free is likelier than where sites would overlap
    assert logs[:, there] == pytest.approx(
        np.log((free() / np.where(there, USUAL, 1))[there])[None].repeat(10, 0), abs=0.3
    )
    assert told < 0.3


def test_pairs_do_not_vouch_for_themselves():
    """Ten pairs of one fold at an odd distance are a reason for the others to look there, and none for that fold; a single pair is for nobody."""
    found = np.zeros((10, *USUAL.shape))
    found[:, 1, LENGTH + 20] = 30
    odd = (slice(None), 0, LENGTH - 50)
    without = distance_ratios(found, USUAL, NEAREST)[0][odd]
    found[4, 0, LENGTH - 50] = 1
    single = distance_ratios(found, USUAL, NEAREST)[0][odd]
    assert single.max() < without.max() + 2
    found[4, 0, LENGTH - 50] = 10
    many = distance_ratios(found, USUAL, NEAREST)[0][odd]
    assert many[4] < without[4] + 1
    assert np.delete(many, 4).min() > many[4] + 5
