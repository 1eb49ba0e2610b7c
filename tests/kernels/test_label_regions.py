from __future__ import annotations

import numpy as np
from scipy.stats import chi2, kstest, multivariate_normal

from sctandem.kernels._label_regions import (
    fit_regions,
    labelled_share,
    region_distances,
    typicality,
)


def labelled_points(seed: int = 0, n: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=n)
    return 6 * np.eye(3, 4)[labels] + rng.normal(size=(n, 4)), labels


def test_distance_is_that_of_the_normal_of_the_nearest_label():
    points, labels = labelled_points(n=20_000)
    regions = fit_regions(points, labels, np.zeros(len(points), dtype=bool), 3)
    found = region_distances(points, regions)
    own = ((points - 6 * np.eye(3, 4)[labels]) ** 2).sum(1)
    assert np.abs(found - own).mean() < 0.1
    assert kstest(found, chi2(4).cdf).statistic < 0.02


def test_held_out_cells_only_set_the_scale():
    points, labels = labelled_points(n=400)
    held_out = np.arange(len(points)) % 4 == 0
    regions = fit_regions(points, labels, held_out, 3)
    moved = points + held_out[:, None] * 3.0
    other = fit_regions(moved, labels, held_out, 3)
    for name in ("means", "precisions", "offsets"):
        np.testing.assert_array_equal(getattr(other, name), getattr(regions, name))
    np.testing.assert_allclose(regions.distances, np.sort(region_distances(points[held_out], regions)))
    np.testing.assert_allclose(other.distances, np.sort(region_distances(moved[held_out], regions)))


def test_wide_and_narrow_labels_have_densities_of_their_own():
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=40_000)
    points = rng.normal(size=(len(labels), 3)) * np.array([[0.6], [1.8]])[labels] + 3 * labels[:, None]
    regions = fit_regions(points, labels, np.zeros(len(points), dtype=bool), 2)
    asked = rng.uniform(-2, 5, (200, 3))
    logs = [multivariate_normal([3 * k] * 3, (0.6, 1.8)[k] ** 2).logpdf(asked) for k in range(2)]
    expected = -2 * np.max(logs, axis=0) - 3 * np.log(2 * np.pi)
    np.testing.assert_allclose(region_distances(asked, regions), expected, rtol=0.05, atol=0.2)


def test_typicality_is_even_for_cells_with_labels_and_low_for_others():
    points, labels = labelled_points()
    held_out = np.arange(len(points)) % 4 == 0
    regions = fit_regions(points, labels, held_out, 3)
    fresh, _ = labelled_points(seed=1)
    assert kstest(typicality(fresh, regions), "uniform").statistic < 0.08
    new = np.random.default_rng(2).normal(size=(200, 4)) + [0, 0, 0, 7]
    assert typicality(new, regions).max() < 0.05


def test_groups_without_a_label_have_no_labelled_neighbours():
    points, labels = labelled_points()
    labelled = (labels < 2) & (np.random.default_rng(0).random(len(labels)) < 0.8)
    share = labelled_share(points, labelled)
    assert np.quantile(share[labels == 2], 0.95) < 0.2
    assert np.median(share[labels < 2]) == 1.0
    assert labelled_share(points, np.zeros(len(points), dtype=bool)).max() == 0


def test_share_is_counted_among_the_others():
    rng = np.random.default_rng(0)
    points, labelled = rng.normal(size=(120, 3)), rng.random(120) < 0.5
    found = labelled_share(points, labelled)
    for cell in range(0, 120, 7):
        near = np.argsort(((points - points[cell]) ** 2).sum(axis=1))[1:31]
        assert found[cell] == min(labelled[near].mean() / labelled.mean(), 1)
    assert (found < 1).any()


def test_a_label_without_cells_has_no_region():
    points, labels = labelled_points()
    shown = np.zeros(len(points), dtype=bool)
    # it would lie in the middle of all, and make what is there typical
    middle = points.mean(axis=0, keepdims=True)
    found = region_distances(middle, fit_regions(points, 2 * labels, shown, 6))
    np.testing.assert_allclose(found, region_distances(middle, fit_regions(points, labels, shown, 3)))
    assert typicality(middle, fit_regions(points, 2 * labels, shown, 6)) < 0.01


def test_a_label_of_heldout_cells_alone_has_their_region():
    points, labels = labelled_points()
    regions = fit_regions(points, labels, labels == 2, 3)
    np.testing.assert_allclose(regions.means[2], points[labels == 2].mean(axis=0))
