"""Annealing against closed forms, what cannot happen, and truths to find again."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from sctandem.kernels._annealing import anneal_path, annealing_step, critical_temperature, soft_memberships
from sctandem.kernels._annealing_evidence import NO_DIP, density_dip, left_out_scores, separation
from sctandem.kernels._annealing_fit import anneal, within_metric
from sctandem.kernels._annealing_tree import merge_by_evidence, split_tree


def blobs(n: int, masses: np.ndarray, d: int = 20, apart: float = 8.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Round normal clusters at the corners of a simplex, `apart` standard deviations from one another."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(len(masses), n, p=masses)
    means = np.zeros((len(masses), d))
    means[np.arange(len(masses)), np.arange(len(masses))] = apart / np.sqrt(2)
    return (means[labels] + rng.normal(size=(n, d))).astype(np.float32), labels


def stretched(n: int = 3000, d: int = 10, seed: int = 0) -> np.ndarray:
    """One normal cloud, 10 times as long as wide."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return ((rng.normal(size=(n, d)) * np.geomspace(10, 1, d)) @ turn).astype(np.float32)


def test_memberships_are_those_of_a_mixture_of_round_normals():
    rng = np.random.default_rng(0)
    points, centres = rng.normal(size=(50, 4)), rng.normal(size=(3, 4))
    masses, temperature = np.array([0.5, 0.3, 0.2]), 0.7
    weights = masses * np.exp(-((points[:, None] - centres) ** 2).sum(axis=2) / temperature)
    found = soft_memberships(points, centres, masses, temperature)
    np.testing.assert_allclose(found, weights / weights.sum(axis=1, keepdims=True), atol=1e-5)
    energy = annealing_step(points, centres, masses, temperature)[2]
    assert energy == pytest.approx(-temperature * np.log(weights.sum(axis=1)).mean(), rel=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 3.0, 30.0])
def test_free_energy_never_rises(temperature):
    points = stretched()
    rng = np.random.default_rng(1)
    centres, masses = points[rng.choice(len(points), 12, replace=False)], np.full(12, 1 / 12)
    energies = []
    for _ in range(40):
        centres, masses, energy = annealing_step(points, centres, masses, temperature)
        energies.append(energy)
    assert np.diff(energies).max() <= 1e-5 * temperature
    assert energies[-1] < energies[0] - 1e-3 * temperature


def test_critical_temperature_is_twice_the_largest_variance():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(200_000, 3)) * [2.0, 1.0, 0.5]
    value, direction = critical_temperature(points)
    assert value == pytest.approx(8.0, rel=0.02)
    np.testing.assert_allclose(np.abs(direction), [1, 0, 0], atol=0.02)


def test_weights_count_as_repetitions():
    rng = np.random.default_rng(0)
    points, times = rng.normal(size=(60, 3)).astype(np.float32), rng.integers(1, 5, 60)
    shares = times / times.max()
    assert critical_temperature(points, shares)[0] == pytest.approx(
        critical_temperature(np.repeat(points, times, axis=0))[0], rel=1e-4
    )


def test_first_split_is_at_the_critical_temperature():
    points = stretched()
    critical = critical_temperature(points)[0]
    above = anneal_path(points, n_max=10, temperature=1.01 * critical)
    below = anneal_path(points, n_max=10, temperature=0.9 * critical)
    assert len(above.centres) == 1
    assert len(below.centres) == 2


def test_path_cools_and_ends_with_clusters_that_share_all_mass():
    path = anneal_path(stretched(), n_max=15)
    assert (np.diff(path.phases[:, 0]) < 0).all()
    assert len(path.centres) == path.phases[-1, 1] == 15
    assert path.masses.sum() == pytest.approx(1)


def test_path_ends_at_the_first_temperature_below_twice_the_variance_that_is_left():
    points, _ = blobs(2000, np.full(3, 1 / 3), d=15)
    path = anneal_path(points, n_max=500, min_points=1)
    assert len(path.centres) < 500
    shares = soft_memberships(points, path.centres, path.masses, path.temperature)
    squares = ((points[:, None].astype(float) - path.centres) ** 2).sum(axis=2)
    left = (shares * squares).sum() / points.size  # a dimension
    assert 0.85 * 2 * left * 0.95 < path.temperature <= 2 * left * 1.01


def test_left_out_scores_are_those_of_a_discriminant_without_the_point():
    rng = np.random.default_rng(0)
    n, d = 40, 6
    points, second = rng.normal(size=(n, d)), np.arange(n) % 3 == 0
    points[second] += 1
    within = points - np.where(second[:, None], points[second].mean(0), points[~second].mean(0))
    shrunk = d / n
    ridge = shrunk / (1 - shrunk) * np.trace(within.T @ within) / d
    expected = []
    for i in range(n):
        rest = np.arange(n) != i
        means = points[rest & ~second].mean(0), points[rest & second].mean(0)
        z = points[rest] - np.where(second[rest, None], means[1], means[0])
        axis = np.linalg.solve(z.T @ z + ridge * np.eye(d), means[1] - means[0])
        length = np.sqrt(axis @ (means[1] - means[0]))
        expected.append(axis @ (points[i] - (means[0] + means[1]) / 2) / length * np.sqrt((n - 2) / (1 - shrunk)))
    np.testing.assert_allclose(left_out_scores(points, second), expected, rtol=1e-8)


def test_left_out_scores_do_not_part_noise():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(120, 60))
    second = rng.random(120) < 0.5
    scores = left_out_scores(points, second)
    assert (
        abs(np.corrcoef(scores, second)[0, 1]) < 0.25
    )  # the discriminant that has seen its points parts them almost fully


def test_dip_grows_with_points_and_nears_that_of_the_densities():
    rng = np.random.default_rng(0)
    depths = []
    for n in (100, 1000, 100_000):
        second = np.arange(n) % 2 == 0
        depths.append(density_dip(rng.normal(size=n) + np.where(second, 1.75, -1.75), second).sure)
    assert depths[0] < depths[1] < depths[2]
    # log of the density at a peak over that in the middle: -log(2 exp(-1.75^2 / 2)), smoothing lowers it somewhat
    assert depths[2] == pytest.approx(1.75**2 / 2 - np.log(2), abs=0.15)


@pytest.mark.parametrize("share", [0.5, 0.2, 0.05])
def test_dip_under_a_chord_is_that_of_the_density(share):
    rng = np.random.default_rng(0)
    second = rng.random(400_000) < share
    found = density_dip(rng.normal(size=len(second)) + np.where(second, 1.6, -1.6), second).likely
    place = np.linspace(-1.6, 1.6, 81)
    log = np.log((1 - share) * np.exp(-((place + 1.6) ** 2) / 2) + share * np.exp(-((place - 1.6) ** 2) / 2))
    depth = max(
        np.interp(place[j], place[[i, k]], log[[i, k]]) - log[j]
        for i in range(81)
        for k in range(i + 2, 81)
        for j in range(i + 1, k)
    )
    assert found == pytest.approx(depth, rel=0.15)
    assert found > 0.25


def test_shoulder_counts_in_order_but_is_no_valley():
    rng = np.random.default_rng(0)
    second = rng.random(100_000) < 0.1
    scores = rng.normal(size=len(second)) + np.where(second, 3.2, 0)
    density, edges = np.histogram(scores, np.arange(-1, 4.5, 0.5))
    assert (np.diff(density[edges[:-1] >= 0]) < 0).all()  # falls all the way over the second
    dip = density_dip(scores, second)
    assert dip.likely > 0.1
    assert dip.sure < 0.1
    draws = rng.normal(size=100_000)
    assert density_dip(draws, draws > np.quantile(draws, 0.9)).likely < dip.likely / 2


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize(
    ("shape", "n"), [("normal", 60), ("normal", 600), ("logistic", 600), ("standard_exponential", 6000)]
)
def test_one_log_concave_peak_has_no_dip(shape, n, share):
    rng = np.random.default_rng(0)
    depths = []
    for _ in range(20):
        draws = getattr(rng, shape)(size=n)
        draws = draws / draws.std()
        depths.append(density_dip(draws, draws > np.quantile(draws, share)).sure)
    assert np.mean(np.array(depths) >= 0.1) <= 0.05


def test_dip_does_not_depend_on_which_group_is_second():
    rng = np.random.default_rng(0)
    second = rng.random(500) < 0.3
    scores = rng.normal(size=500) + 3 * second
    np.testing.assert_allclose(density_dip(scores, second), density_dip(-scores, ~second), rtol=0.05, atol=0.02)


def test_separation_of_too_few_points_is_none():
    points = np.random.default_rng(0).normal(size=(20, 3))
    assert separation(points, np.arange(20) < 2) == NO_DIP


def test_merging_finds_the_clusters_that_were_cut():
    points, labels = blobs(3000, np.full(4, 0.25))
    rng = np.random.default_rng(0)
    cut = labels * 5 + rng.integers(5, size=len(labels))
    united = merge_by_evidence(points, cut, least=0.1)
    assert united.max() + 1 == 4
    assert adjusted_rand_score(united[cut], labels) == 1
    assert merge_by_evidence(points, cut, n_groups=2).max() + 1 == 2


def test_tree_splits_by_temperature_and_keeps_all_points():
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=2000)
    means = np.array([[-20, 0], [-20, 3], [20, 0], [20, 8]])  # two pairs, the second further apart
    tree = split_tree(means[labels] + rng.normal(size=(2000, 2)) * 0.3, labels)
    assert tree.parent[0] == -1
    assert tree.n_points[0] == 2000
    assert (tree.leaf >= 0).sum() == 4
    for i, parent in enumerate(tree.parent[1:], 1):
        assert parent < i
        if tree.leaf[i] < 0:
            assert tree.temperature[i] <= tree.temperature[parent]
    sides = [set(tree.leaf[tree.parent == i]) for i in np.flatnonzero(tree.leaf < 0)[1:]]
    assert sorted(map(sorted, sides)) == [[0, 1], [2, 3]]
    assert np.nanmax(tree.temperature) == pytest.approx(2 * 400, rel=0.1)  # twice the variance of -20 and 20


def test_metric_makes_clusters_round():
    points, labels = blobs(5000, np.full(3, 1 / 3), d=6)
    points = points * np.geomspace(1, 5, 6)
    turned = points @ within_metric(points, labels).T
    within = turned - np.stack([turned[labels == k].mean(axis=0) for k in range(3)])[labels]
    np.testing.assert_allclose(within.T @ within / len(points), np.eye(6), atol=1e-6)


@pytest.mark.parametrize("masses", [np.full(6, 1 / 6), np.array([0.4, 0.3, 0.15, 0.1, 0.03, 0.02])])
def test_number_of_clusters_is_found(masses):
    points, labels = blobs(2000, masses, apart=7)
    found = anneal(points, rng=np.random.default_rng(0))
    assert found.memberships.shape == (2000, 6)
    assert adjusted_rand_score(found.memberships.argmax(axis=1), labels) > 0.99
    sizes = found.memberships.sum(axis=0)
    assert (np.diff(sizes) <= 1).all()  # largest first


def test_a_valley_of_a_quarter_parts_and_none_does_not():
    """At 2.9 standard deviations the density falls by about a third between the means, at 1.9 not at all."""
    for apart, number in ((2.9, 2), (1.9, 1)):
        points, _ = blobs(8000, np.full(2, 0.5), d=3, apart=apart)
        assert anneal(points, rng=np.random.default_rng(0)).memberships.shape[1] == number


def test_one_long_cloud_is_one_cluster():
    assert anneal(stretched(), rng=np.random.default_rng(0)).memberships.shape[1] == 1


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_close_clusters_under_long_noise_need_the_second_metric(seed):
    points, labels = blobs(4000, np.full(5, 0.2), d=8, apart=8, seed=seed)
    points[:, 5:] *= 4  # noise is as wide as the clusters are apart
    one, two = (anneal(points, n_rounds=n, rng=np.random.default_rng(0)).memberships.argmax(axis=1) for n in (1, 3))
    assert adjusted_rand_score(two, labels) > max(0.99, adjusted_rand_score(one, labels) + 0.02)


def test_turning_moving_and_scaling_change_nothing():
    points, _ = blobs(1500, np.full(5, 0.2))
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(20, 20)))[0]
    before = anneal(points, rng=np.random.default_rng(0)).memberships.argmax(axis=1)
    after = anneal(3 * points @ turn + 5, rng=np.random.default_rng(0)).memberships.argmax(axis=1)
    assert adjusted_rand_score(before, after) == 1


def test_number_and_temperature_overrule():
    points, _ = blobs(1000, np.full(4, 0.25))
    rng = np.random.default_rng(0)
    for n in (1, 2, 7):
        assert anneal(points, n_clusters=n, rng=rng).memberships.shape[1] == n
    critical = critical_temperature(points)[0]
    assert anneal(points, temperature=1.1 * critical, rng=rng).memberships.shape[1] == 1
    warm = anneal(points, temperature=0.5 * critical, rng=rng)
    assert warm.temperature == pytest.approx(0.5 * critical)
    assert warm.memberships.shape[1] == 4


def test_cells_that_were_not_drawn_are_assigned_alike():
    points, labels = blobs(6000, np.full(5, 0.2))
    found = anneal(points, max_points=1500, rng=np.random.default_rng(0)).memberships
    assert adjusted_rand_score(found.argmax(axis=1), labels) > 0.99
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-4)
