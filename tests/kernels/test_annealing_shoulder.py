"""Shoulders: overlapping clusters without a valley between are seen, one cloud of any shape is not cut."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from sctandem.kernels._annealing_evidence import separation
from sctandem.kernels._annealing_fit import anneal
from sctandem.kernels._annealing_shoulder import (
    FEWEST,
    LEAST_GAIN,
    WIDEST,
    Shoulder,
    concave_majorant,
    has_shoulder,
    shoulder,
)
from sctandem.kernels._annealing_tree import merge_by_evidence


def pair(
    n: int, share: float, *, apart: float = 3.2, wide: float = 1.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Two normals on a line, the second with a share of the points and a width of its own."""
    rng = np.random.default_rng(seed)
    second = rng.random(n) < share
    return rng.normal(size=n) * np.where(second, wide, 1.0) + apart * second, second


def gain_of_densities(share: float, *, apart: float = 3.2) -> float:
    """Nats a point that two normals gain over the log-concave density of the same stretch that is nearest above."""
    place = np.linspace(-0.5, apart + 0.5, 2001)
    log = np.log((1 - share) * np.exp(-(place**2) / 2) + share * np.exp(-((place - apart) ** 2) / 2))
    top = concave_majorant(place, log)
    two, one = np.exp(log) / np.exp(log).sum(), np.exp(top) / np.exp(top).sum()
    return float(two @ np.log(two / one))


def test_majorant_is_the_upper_hull():
    rng = np.random.default_rng(0)
    place, value = np.sort(rng.random(60)), rng.normal(size=60)
    found = concave_majorant(place, value)
    hull = ConvexHull(np.stack([place, value], axis=1))
    inside = hull.equations[hull.equations[:, 1] > 0]  # sides that look up
    expected = (-(inside[:, 0] * place[:, None] + inside[:, 2]) / inside[:, 1]).min(axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert (found >= value - 1e-12).all()


@pytest.mark.parametrize("share", [0.5, 0.2, 0.1])
def test_gain_nears_that_of_the_densities(share):
    scores, second = pair(200_000, share)
    found = shoulder(scores, second)
    inside = ((scores > -0.5) & (scores < 3.7)).mean()
    assert found.gain / len(scores) == pytest.approx(gain_of_densities(share) * inside, rel=0.2)
    assert found.widths == pytest.approx(1, abs=0.1)


def test_error_is_that_over_draws():
    found = [shoulder(*pair(3000, 0.2, seed=seed)) for seed in range(60)]
    assert np.mean([one.error for one in found]) == pytest.approx(np.std([one.gain for one in found]), rel=0.4)


@pytest.mark.parametrize("share", [0.25, 0.1])
def test_a_shoulder_is_seen_where_no_valley_is(share):
    rng = np.random.default_rng(1)
    scores, second = pair(3000, share)
    points = np.hstack([scores[:, None], rng.normal(size=(3000, 9))]).astype(np.float32)
    assert separation(points, second).sure < 0.1
    assert has_shoulder(points, second)


@pytest.mark.parametrize("shape", ["normal", "exponential", "even", "falling", "logistic"])
@pytest.mark.parametrize("cut", [0.3, 0.5, 0.8])
def test_one_log_concave_cloud_has_none(shape, cut):
    sure = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        draws = {
            "normal": lambda rng=rng: rng.normal(size=2000),
            "exponential": lambda rng=rng: rng.standard_exponential(2000),
            "even": lambda rng=rng: 10 * rng.random(2000),
            "falling": lambda rng=rng: rng.normal(size=2000) + 6 * rng.standard_exponential(2000),
            "logistic": lambda rng=rng: rng.logistic(size=2000),
        }[shape]()
        sure += shoulder(draws, draws > np.quantile(draws, cut)).is_sure()
    assert sure == 0


def test_a_plateau_beside_a_peak_has_none_though_two_normals_fit_it_better():
    rng = np.random.default_rng(0)
    along = np.concatenate([np.zeros(3000), 14 * rng.random(1000)])
    scores = along + rng.normal(size=4000)
    found = shoulder(scores, along > 3)
    assert found.gain > 2 * LEAST_GAIN
    assert found.widths > WIDEST
    assert not found.is_sure()


def test_direction_and_units_of_place_do_not_matter():
    scores, second = pair(2000, 0.2)
    before = shoulder(scores, second)
    for after in (shoulder(-scores, second), shoulder(scores + 100, second), shoulder(scores, ~second)):
        np.testing.assert_allclose(after, before, rtol=0.02)


@pytest.mark.parametrize(
    ("found", "sure"),
    [
        (Shoulder(LEAST_GAIN, 1.0, 1.0), True),
        (Shoulder(LEAST_GAIN - 0.1, 1.0, 1.0), False),
        (Shoulder(16.5, 10.0, 1.0), True),
        (Shoulder(16.3, 10.0, 1.0), False),  # 1.64 standard errors are asked for
        (Shoulder(50.0, 1.0, WIDEST), True),
        (Shoulder(50.0, 1.0, WIDEST + 0.1), False),
    ],
)
def test_sure_is_gain_error_and_width(found, sure):
    assert found.is_sure() == sure


def test_few_points_are_no_shoulder():
    rng = np.random.default_rng(0)
    for n, seen in ((FEWEST, True), (FEWEST - 1, False)):
        points = np.concatenate([rng.normal(size=(2000, 2)), rng.normal(size=(n, 2)) + [6, 0]])
        assert has_shoulder(points, np.arange(len(points)) >= 2000) == seen


def three(apart: float = 3.2) -> tuple[np.ndarray, np.ndarray]:
    """Three types in a row in five dimensions; the outer two have a sixth of the middle one's points."""
    rng = np.random.default_rng(0)
    kind = rng.choice(3, 6000, p=[0.125, 0.75, 0.125])
    return (apart * (kind[:, None] - 1) * np.eye(5)[0] + rng.normal(size=(6000, 5))).astype(np.float32), kind


def test_shoulders_are_kept_apart_where_asked_for():
    points, kind = three()
    rng = np.random.default_rng(0)
    assert anneal(points, rng=rng).memberships.shape[1] == 1
    assert anneal(points, shoulders=True, rng=rng).memberships.shape[1] == 3
    assert anneal(points, shoulders=True, n_clusters=2, rng=rng).memberships.shape[1] == 2
    cut = kind * 2 + rng.integers(2, size=len(kind))
    assert merge_by_evidence(points, cut, least=0.1).max() == 0
    united = merge_by_evidence(points, cut, least=0.1, shoulders=True)
    assert united.max() == 2
    assert (united[::2] == united[1::2]).all()


@pytest.mark.parametrize("seed", [1, 2])
def test_no_shoulder_is_seen_in_a_gradient_or_at_a_branching(seed):
    """Of six such draws of arms one is cut (seed 0): the guide says so."""
    rng = np.random.default_rng(seed)
    along = -8 * np.log(1 - 0.98 * rng.random(4000))
    falling = np.outer(along, np.eye(8)[0]) + rng.normal(size=(4000, 8))
    arms = 12 * rng.beta(1, 1.3, 4000)[:, None] * np.eye(8)[rng.integers(3, size=4000)] + rng.normal(size=(4000, 8))
    for points in (falling, arms):
        assert anneal(points.astype(np.float32), shoulders=True, rng=rng).memberships.shape[1] == 1


def interleaved(first: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> list[np.ndarray]:
    """Put every other point from each of two draws: the halves of which one judges what the other was explained by."""
    return [np.stack(both, axis=1).ravel() for both in zip(first, other, strict=True)]


def test_points_judge_what_the_others_were_explained_by():
    """Each half has two peaks, those of the one in the valleys of the other: what explains one half fails on the other."""
    scores, second = pair(2000, 0.5, apart=5)
    assert shoulder(*interleaved((scores, second), pair(2000, 0.5, apart=5, seed=1))).gain > 4 * LEAST_GAIN
    assert shoulder(*interleaved((scores, second), (scores + 2.5, second))).gain < 0


def test_widths_are_those_of_the_half_that_differs_more():
    like, wide = pair(4000, 0.5, apart=5), pair(4000, 0.5, apart=5, wide=2.0, seed=1)
    for halves in ((like, wide), (wide, like)):
        assert shoulder(*interleaved(*halves)).widths > 1.7
