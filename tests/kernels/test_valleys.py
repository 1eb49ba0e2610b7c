from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import adjusted_rand_score

from sctandem.kernels import merge_by_valleys, valley_depth


def test_depth_is_that_of_two_normal_distributions():
    """Along the axis of the means the density is known: at 2.5 standard deviations either way, 2 f(2.5) / (f(0) + f(5))."""
    rng = np.random.default_rng(0)
    first, second = (rng.normal(mean, 1, (40_000, 1)) for mean in (-2.0, 2.0))
    expected = 2 * norm.pdf(2.0) / (norm.pdf(0) + norm.pdf(4.0))
    assert valley_depth(first, second, rng=0) == pytest.approx(expected, abs=0.03)


def test_depth_does_not_depend_on_scale_place_or_order():
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 1, (300, 3)), rng.normal(1.6, 1, (300, 3))
    expected = valley_depth(first, second, rng=0)
    assert valley_depth(7 * first + 5, 7 * second + 5, rng=0) == pytest.approx(expected, rel=1e-6)
    assert valley_depth(second, first, rng=0) == pytest.approx(expected, abs=0.15)


@pytest.mark.parametrize("n_dims", [2, 10, 30])
def test_a_cut_through_one_group_shows_no_valley(n_dims):
    """The cut is along the direction of the largest spread, as k-means would have it."""
    points = np.random.default_rng(n_dims).normal(size=(400, n_dims)) * np.linspace(3, 1, n_dims)
    left = points[:, 0] < 0
    assert valley_depth(points[left], points[~left], rng=0) > 0.8


@pytest.mark.parametrize("seed", range(5))
def test_number_and_members_of_uneven_groups_are_found(seed):
    rng = np.random.default_rng(seed)
    sizes = [800, 300, 300, 100, 40]
    centres = 7 * np.linalg.qr(rng.normal(size=(10, 10)))[0][: len(sizes)]
    truth = np.repeat(np.arange(len(sizes)), sizes)
    points = centres[truth] + rng.normal(size=(len(truth), 10)) * rng.uniform(0.7, 1.3, (len(sizes), 10))[truth]
    found = merge_by_valleys(points, rng=seed)
    assert len(np.unique(found)) == len(sizes)
    assert adjusted_rand_score(truth, found) > 0.98


def test_one_elongated_group_stays_one():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(1500, 5)) * [6, 1, 1, 1, 1]
    skewed = np.column_stack([rng.gamma(2, 2, 1500), rng.normal(size=(1500, 3))])
    assert (merge_by_valleys(points, rng=0) == 0).all()
    assert (merge_by_valleys(skewed, rng=0) == 0).all()


def test_groups_are_numbered_by_size_and_none_is_too_small():
    rng = np.random.default_rng(0)
    points = np.concatenate(
        [rng.normal(mean, 1, (size, 2)) for mean, size in ((0, 200), (12, 60), (-12, 400), (40, 4))]
    )
    sizes = np.bincount(merge_by_valleys(points, rng=0))
    assert (np.diff(sizes) <= 0).all()
    assert sizes.min() >= 10


def test_same_seed_same_groups_and_points_are_left_alone():
    points = np.random.default_rng(0).normal(size=(300, 4))
    before = points.copy()
    np.testing.assert_array_equal(merge_by_valleys(points, rng=3), merge_by_valleys(points, rng=3))
    np.testing.assert_array_equal(points, before)


def test_few_or_equal_points_are_one_group():
    assert (merge_by_valleys(np.arange(6.0)[:, None], rng=0) == 0).all()
    assert (merge_by_valleys(np.ones((100, 3)), rng=0) == 0).all()


@pytest.mark.parametrize(
    ("points", "options", "message"),
    [
        (np.zeros(5), {}, "points must be a matrix of at least 2 points, got shape"),
        (np.zeros((1, 3)), {}, "points must be a matrix of at least 2 points"),
        (np.array([[0.0], [np.nan], [1.0]]), {}, "points hold 1 values that are not finite"),
        (np.zeros((9, 2)), {"n_start": 0}, "n_start"),
        (np.zeros((9, 2)), {"max_depth": -1}, "max_depth"),
        (np.zeros((9, 2)), {"min_size": 0}, "min_size"),
    ],
)
def test_bad_values(points, options, message):
    with pytest.raises(ValueError, match=message):
        merge_by_valleys(points, **options)
