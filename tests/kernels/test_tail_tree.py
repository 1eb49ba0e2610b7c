"""Trees of clusters in which rare kinds are branches, their distances, weights over them, and splits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu
from sklearn.metrics import adjusted_rand_score

from sctandem.kernels._cluster_distances import kullback_leibler, mahalanobis, mann_whitney
from sctandem.kernels._micro_clusters import micro_clusters, nearest
from sctandem.kernels._tail_split import composition_divergence, missed_at_random, split_groups, split_points
from sctandem.kernels._tail_tree import cluster_tree
from sctandem.kernels._tail_weights import tree_weights

SIZES = [1000, 300, 100, 40, 20, 15]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tailed(seed: int = 0, *, distance: float = 3.0, d: int = 20) -> tuple[np.ndarray, np.ndarray]:
    kinds = np.repeat(np.arange(len(SIZES)), SIZES)
    centres = distance * rng(seed).normal(size=(len(SIZES), d))
    return centres[kinds] + rng(seed + 1).normal(size=(len(kinds), d)), kinds


# --- micro-clusters -------------------------------------------------------------------------------------------------------


def test_nearest_is_that_of_all_distances():
    points, centres = rng().normal(100, 1, (500, 7)), rng(1).normal(100, 1, (30, 7))
    codes, squares = nearest(points, centres)
    all_squares = ((points[:, None] - centres) ** 2).sum(2)
    np.testing.assert_array_equal(codes, all_squares.argmin(1))
    np.testing.assert_allclose(squares, all_squares.min(1), rtol=1e-3, atol=1e-3)


def test_micro_clusters_hold_one_kind():
    points, kinds = tailed()
    codes = micro_clusters(points, rng=rng())
    assert codes.max() + 1 <= len(points) // 5
    for code in np.unique(codes):
        assert len(np.unique(kinds[codes == code])) == 1


def test_micro_clusters_find_what_a_sample_misses(monkeypatch):
    """Five points among 4,000, of which the sample sees 200."""
    monkeypatch.setattr("sctandem.kernels._micro_clusters.SAMPLE", 200)
    points = rng().normal(size=(4000, 5))
    points[:5] += 30
    codes = micro_clusters(points, 40, rng=rng(3))
    assert not set(codes[:5]) & set(codes[5:])


@pytest.mark.parametrize("points", [np.ones((30, 3)), np.ones((1, 2))])
def test_points_without_spread(points):
    assert (micro_clusters(points, rng=rng()) == 0).all()


# --- distances ------------------------------------------------------------------------------------------------------------


def test_mahalanobis_is_free_of_units_and_turns():
    points, kinds = tailed()
    found = mahalanobis(points, kinds, kinds)
    within = points - np.stack([points[kinds == k].mean(0) for k in range(len(SIZES))])[kinds]
    inverse = np.linalg.inv(within.T @ within / (len(points) - len(SIZES)))
    gap = points[kinds == 0].mean(0) - points[kinds == 3].mean(0)
    assert found[0, 3] == pytest.approx(np.sqrt(gap @ inverse @ gap), rel=5e-3)
    turn = np.linalg.qr(rng(5).normal(size=(20, 20)))[0] * np.geomspace(0.1, 10, 20)
    np.testing.assert_allclose(mahalanobis(points @ turn, kinds, kinds), found, rtol=2e-2)


def test_mann_whitney_is_that_of_scipy():
    points = rng().poisson(3.0, (300, 4)).astype(float)  # few values: exact, with ties
    groups = np.repeat([0, 1, 2], [150, 100, 50])
    points[groups == 1] += 1
    found = mann_whitney(points, groups)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        u = np.array([mannwhitneyu(x[groups == a], x[groups == b]).statistic for x in points.T])
        effect = 2 * u / ((groups == a).sum() * (groups == b).sum()) - 1
        assert found[a, b] == found[b, a] == pytest.approx(np.sqrt((effect**2).mean()), abs=1e-12)
    assert (np.diag(found) < 1e-12).all()


def test_mann_whitney_is_free_of_scale():
    points, kinds = tailed(distance=0.5)
    np.testing.assert_allclose(mann_whitney(np.exp(points), kinds), mann_whitney(points, kinds), atol=1e-12)


def test_kullback_leibler_has_its_closed_form():
    draws = rng().normal(size=(2, 200_000, 2))
    points = np.concatenate([draws[0], draws[1] * [2.0, 1.0] + [1.0, 3.0]]) + 500
    groups = np.repeat([0, 1], 200_000)
    # KL(p | q) + KL(q | p) of normals in each dimension, variances 1 and 4 with means 1 apart, and 1 and 1 with means 3 apart
    expected = 0.5 * (4 + 1 / 4 - 2 + 1 * (1 + 1 / 4)) + 9
    assert kullback_leibler(points, groups)[0, 1] == pytest.approx(np.sqrt(expected), rel=5e-3)


# --- trees ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", ["mahalanobis", "mann_whitney", "kullback_leibler"])
@pytest.mark.parametrize("seed", [0, pytest.param(7, marks=pytest.mark.slow)])
def test_kinds_are_found(distance, seed):
    points, kinds = tailed(seed)
    tree = cluster_tree(points, distance=distance, rng=rng(seed))
    assert tree.levels[0].max() == 0
    assert tree.levels[1].max() + 1 == len(SIZES)
    assert adjusted_rand_score(kinds, tree.levels[1]) > 0.999
    np.testing.assert_array_equal(np.bincount(tree.levels[1]), np.sort(np.bincount(tree.levels[1]))[::-1])


def test_one_cloud_is_not_cut():
    assert cluster_tree(rng().normal(size=(3000, 10)), rng=rng()).levels.max() == 0


def test_levels_are_nested_and_hold_labels():
    points, kinds = tailed(distance=0.3)  # labels that cannot be seen
    tree = cluster_tree(points, (3, 6, 15), labels=kinds, rng=rng())
    assert [int(level.max()) + 1 for level in tree.levels] == [3, 6, 15]
    for coarse, fine in zip(tree.levels, tree.levels[1:], strict=False):
        assert len(np.unique(fine * 100 + coarse)) == fine.max() + 1
    assert adjusted_rand_score(kinds, tree.levels[1]) == 1
    assert np.bincount(tree.levels[2]).min() >= 10


def test_tree_adds_up():
    points, kinds = tailed()
    tree = cluster_tree(points, (6, 12), labels=kinds, rng=rng())
    for node in np.flatnonzero(tree.cluster < 0):
        children = np.flatnonzero(tree.parent == node)
        assert tree.n_points[children].sum() == tree.n_points[node]
        assert (tree.height[children] <= tree.height[node]).all() or tree.height[node] == 0
    leaves = tree.cluster >= 0
    np.testing.assert_array_equal(tree.n_points[leaves], np.bincount(tree.levels[-1])[tree.cluster[leaves]])
    assert tree.n_points[0] == len(points)


# --- weights --------------------------------------------------------------------------------------------------------------


def test_weights_have_their_closed_forms():
    levels = np.array([[0] * 6 + [1] * 2, [0] * 5 + [1, 2, 2]])
    n, k = 8, [np.array([6] * 6 + [2] * 2), np.array([5] * 5 + [1, 2, 2])]
    inverse = (n / 2 / k[0] + n / 3 / k[1]) / 2
    np.testing.assert_allclose(tree_weights(levels, "inverse"), inverse)
    share = (k[0] / k[0].mean() + k[1] / k[1].mean()) / 2
    np.testing.assert_allclose(tree_weights(levels, "share"), share)
    parts = [(1 - 0.9) / (1 - 0.9**size) for size in k]
    effective = (parts[0] / parts[0].mean() + parts[1] / parts[1].mean()) / 2
    np.testing.assert_allclose(tree_weights(levels, "effective", beta=0.9), effective)
    np.testing.assert_allclose(tree_weights(levels, strength=0), np.ones(n))


def test_weights_have_a_floor():
    points, kinds = tailed()
    for form in ("inverse", "effective", "share"):
        weights = tree_weights(cluster_tree(points, (1, 6, 12), labels=kinds, rng=rng()).levels, form)
        assert weights.min() >= 1 / 3 - 1e-12
        assert weights.mean() == pytest.approx(1)


# --- splits ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_every_cluster_is_in_every_part(seed):
    sizes = [5000, 400, 30, 7, 4, 3, 3, 3, 3, 2, 1]
    clusters = rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    shares = np.array([0.8, 0.1, 0.1])
    parts = split_points(clusters, shares, rng=rng(seed))
    counts = np.bincount(parts * len(sizes) + clusters, minlength=3 * len(sizes)).reshape(3, -1)
    assert (counts[:, :9] > 0).all()
    assert (counts[0] > 0).all()
    np.testing.assert_allclose(np.bincount(parts) / len(parts), shares, atol=2 / len(parts))
    assert np.abs(counts[:, 0] - 5000 * shares).max() <= 10


def test_groups_are_whole_and_clusters_kept():
    """Rare clusters lie in three donors each; a division that has all of them exists and is hard to hit."""
    counts = rng().integers(50, 100, (15, 5))
    rare = np.zeros((15, 4), dtype=int)
    for cluster in range(4):
        rare[[cluster, cluster + 5, cluster + 10], cluster] = 3
    both = np.concatenate([counts, rare], axis=1)
    shares = np.array([0.4, 0.3, 0.3])
    parts = split_groups(both, shares, rng=rng())
    sums = np.stack([both[parts == part].sum(0) for part in range(3)])
    assert (sums > 0).all()
    np.testing.assert_allclose(sums.sum(1) / both.sum(), shares, atol=0.1)
    hits = 0
    for seed in range(200):
        drawn = rng(seed).choice(3, 15, p=shares)
        hits += all((both[drawn == part].sum(0) > 0).all() for part in range(3))
    assert hits < 20


def test_missed_at_random_is_what_draws_miss():
    size = np.array([500, 20, 5, 3, 3])
    clusters = np.repeat(np.arange(5), size)
    drawn = [5 - len(np.unique(rng(seed).permutation(clusters)[:53])) for seed in range(3000)]
    assert missed_at_random(size, 53) == pytest.approx(np.mean(drawn), abs=0.05)


def test_composition_divergence():
    counts = np.array([[899.5, 99.5], [499.5, 499.5]])
    expected = 0.4 * np.log(0.9 / 0.5) - 0.4 * np.log(0.1 / 0.5)
    found = composition_divergence(counts)
    assert found[0, 1] == found[1, 0] == pytest.approx(expected)
    assert found[0, 0] == 0
