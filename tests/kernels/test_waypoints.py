from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.csgraph import shortest_path

from sctandem.kernels import _lineages as lineages
from sctandem.kernels import _waypoint_change as changes
from sctandem.kernels import _waypoints as walks
from sctandem.kernels._branch_drivers import branch_drivers, smooth_bands


def chain(n: int) -> np.ndarray:
    return np.diag(np.ones(n - 1), 1) + np.diag(np.ones(n - 1), -1)


def region_of(n: int, *ends: int) -> np.ndarray:
    region = np.full(n, -1)
    region[list(ends)] = np.arange(len(ends))
    return region


def y_tree(arm: int) -> np.ndarray:
    """Three chains that meet in point 0; the ends are at arm, 2 * arm and 3 * arm."""
    n = 3 * arm + 1
    weights = np.zeros((n, n))
    for first in (1, arm + 1, 2 * arm + 1):
        way = [0, *range(first, first + arm)]
        weights[way[:-1], way[1:]] = weights[way[1:], way[:-1]] = 1
    return weights


def tree_distance(weights: np.ndarray) -> np.ndarray:
    return shortest_path(weights, unweighted=True)


def test_a_fair_walk_on_a_chain():
    found = lineages.absorption(chain(11), region_of(11, 0, 10))
    np.testing.assert_allclose(found[:, 1], np.arange(11) / 10, atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1)


@pytest.mark.parametrize("ratio", [0.5, 1.7])
def test_the_ruin_of_a_gambler(ratio):
    """Steps up are `ratio` times as likely as steps down: (1 - r^i) / (1 - r^n) with r = 1 / ratio."""
    up = np.diag(np.full(8, ratio), 1) + np.diag(np.ones(8), -1)
    found = lineages.absorption(up, region_of(9, 0, 8))[:, 1]
    r = 1 / ratio
    np.testing.assert_allclose(found, (1 - r ** np.arange(9)) / (1 - r**8), atol=1e-12)


def test_a_small_chain_by_hand():
    """From 0 to 1 or to the end 2 alike, from 1 to 0 or to the end 3 alike: 2/3 and 1/3."""
    weights = np.zeros((4, 4))
    weights[0, [1, 2]] = weights[1, [0, 3]] = 1
    found = lineages.absorption(weights, np.array([-1, -1, 0, 1]))
    np.testing.assert_allclose(found, [[2 / 3, 1 / 3], [1 / 3, 2 / 3], [1, 0], [0, 1]], atol=1e-12)


def test_probabilities_are_those_of_simulated_walks():
    rng = np.random.default_rng(0)
    weights = rng.random((7, 7)) * (rng.random((7, 7)) < 0.7) + 0.05
    region = region_of(7, 4, 5, 6)
    step = np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)
    at = np.repeat(np.arange(4), 20_000)
    while (moving := region[at] < 0).any():
        at[moving] = (rng.random(moving.sum())[:, None] > step[at[moving]]).sum(axis=1)
    seen = np.stack([np.bincount(region[walk], minlength=3) / 20_000 for walk in at.reshape(4, -1)])
    np.testing.assert_allclose(lineages.absorption(weights, region)[:4], seen, atol=0.015)


def test_points_from_which_no_end_can_be_reached():
    weights = np.zeros((5, 5))
    weights[:3, :3], weights[3:, 3:] = 1, 1
    with pytest.raises(ValueError, match="no end can be reached from 2 of 5 points"):
        lineages.absorption(weights, region_of(5, 0))


def test_lineages_of_a_tree_with_two_arms():
    """With the resistances of a Y: at x of the way from the fork to the end, P = (1 + 2x) / (2 + x)."""
    arm = 6
    weights = y_tree(arm)
    region = region_of(len(weights), arm, 2 * arm, 3 * arm)
    fates, ahead = lineages.lineage_probabilities(weights, region)
    x = np.arange(1, arm + 1) / arm
    np.testing.assert_allclose(fates[0], 0.5, atol=1e-12)
    np.testing.assert_allclose(fates[1 : arm + 1], 0.5, atol=1e-12)  # the trunk, the root at its end included
    np.testing.assert_allclose(fates[arm + 1 : 2 * arm + 1, 0], (1 + 2 * x) / (2 + x), atol=1e-12)
    np.testing.assert_allclose(ahead[0], 2 / 3, atol=1e-12)
    np.testing.assert_allclose(ahead[1 : arm + 1], 2 / 3 * (1 - x), atol=1e-12)
    # a lineage is a chain of 2 * arm steps from the root, and side branches do not count
    time = lineages.progress(weights, region, fates)
    np.testing.assert_allclose(time[1 : arm + 1], (1 - x) / 2, atol=1e-12)
    own = fates[arm + 1 : 2 * arm + 1, 0]
    np.testing.assert_allclose(time[arm + 1 : 2 * arm + 1], own * (1 + x) / 2 + (1 - own) / 2, atol=1e-12)


def test_steps_of_walks_that_do_not_come_back():
    """Two definitions: rejecting walks that came back, and the transformed walk."""
    weights = chain(5)
    region = region_of(5, 0, 4)
    ahead = lineages.absorption(weights, region)[:, 1]
    steps = lineages.conditioned(weights, ahead)
    np.testing.assert_allclose(steps[1], [0, 0, 1, 0, 0])
    np.testing.assert_allclose(steps[2], [0, 0.25, 0, 0.75, 0])
    assert steps[0, 1] == 1


def test_tips_of_a_tree_are_found_longest_first():
    weights = np.zeros((12, 12))
    for way in ([0, 1, 2, 3, 4, 5], [2, 6, 7, 8], [3, 9, 10], [4, 11]):
        weights[way[:-1], way[1:]] = weights[way[1:], way[:-1]] = 1
    distance = tree_distance(weights)
    tips, lengths = lineages.find_terminals(distance, 0, shortest=0.3)
    assert tips == [5, 8, 10]
    np.testing.assert_allclose(lengths, [5, 3, 2])
    assert lineages.find_terminals(distance, 0, shortest=0.1)[0] == [5, 8, 10, 11]
    assert lineages.find_terminals(distance, 0, shortest=0, most=2)[0] == [5, 8]
    assert lineages.find_terminals(tree_distance(chain(9)), 0)[0] == [8]


def test_branch_points_of_a_tree():
    weights = np.zeros((9, 9))
    for way in ([0, 1, 2, 3, 4], [3, 5, 6], [1, 7, 8]):
        weights[way[:-1], way[1:]] = weights[way[1:], way[:-1]] = 1
    points = lineages.branch_points(tree_distance(weights), 0, [4, 6, 8])
    assert [(p.parent, p.left, p.right, p.waypoint) for p in points] == [(-1, (0, 1), (2,), 1), (0, (0,), (1,), 3)]
    assert lineages.branch_points(tree_distance(weights), 0, [4]) == []
    fates = np.array([[0.4, 0.3, 0.3], [0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])
    sides = lineages.segments(fates, np.array([0.1, 0.4, 0.9, 0.9]), points, np.array([0.3, 0.6]))
    assert sides == [(0, 1, 2), (0, 1), (0,), (2,)]


def test_ends_do_not_share_points():
    distance = np.abs(np.subtract.outer(np.arange(20.0), np.arange(20.0)))
    region = lineages.end_regions(distance, [0, 3], share=0.25)
    assert region.tolist()[:8] == [0, 0, 1, 1, 1, 1, -1, -1]


def test_the_share_of_the_way():
    """Between points of a tree: exact on a chain; on a Y the way to the farther end counts as far as it leads past the point."""
    distance = tree_distance(chain(101))
    found = lineages.share_of_the_way(distance[0], distance, distance[0])
    assert found[0] == 0
    assert found[100] == 1
    np.testing.assert_allclose(found, np.arange(101) / 100, atol=0.02)
    assert (np.diff(found) > 0).all()
    # a short arm that leaves the trunk at 30 ends at 50, the long one at 100
    weights = np.zeros((121, 121))
    for way in (list(range(101)), [30, *range(101, 121)]):
        weights[way[:-1], way[1:]] = weights[way[1:], way[:-1]] = 1
    distance = tree_distance(weights)
    forked = lineages.share_of_the_way(distance[0], distance, distance[0])
    np.testing.assert_allclose(forked[:101], np.arange(101) / 100, atol=0.02)
    ahead = np.sort(np.arange(1, 51) * np.exp(-20 / (0.3 * distance[0].max())))[-2:].mean()
    assert forked[120] == pytest.approx(50 / (50 + ahead), abs=0.02)
    assert 1.15 * distance[0, 120] / 100 < forked[120] < 1  # further than its distance alone would say
    np.testing.assert_allclose(  # the unit of distances does not matter
        lineages.share_of_the_way(7 * distance[0], 7 * distance, 7 * distance[0]), forked, atol=1e-12
    )


def test_waypoints_cover_every_component():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(500, 2)) * [10, 1]
    chosen = walks.choose_waypoints(points, 40, np.array([7]))
    assert 7 in chosen
    assert len(chosen) <= 40
    for column in points.T:
        assert {column.argmin(), column.argmax()} <= set(chosen)
        assert np.diff(np.sort(column[chosen])).max() < np.ptp(column) / 8
    assert walks.choose_waypoints(points, 500, np.array([7])).tolist() == list(range(500))


def test_commute_times_are_resistances():
    """Against the pseudo-inverse of the Laplacian, all components taken."""
    rng = np.random.default_rng(1)
    points = rng.random((15, 2))
    affinity = walks.neighbour_affinity(points, 6)
    dense = affinity.toarray()
    density = dense.sum(axis=1)
    dense = dense / density[:, None] / density
    degree = dense.sum(axis=1)
    inverse = np.linalg.pinv(np.diag(degree) - dense)
    diagonal = np.diag(inverse)
    expected = degree.sum() * (diagonal[:, None] + diagonal - 2 * inverse)
    values, vectors = np.linalg.eigh(dense / np.sqrt(degree)[:, None] / np.sqrt(degree))
    vectors = vectors[:, :-1] / np.sqrt(degree / degree.sum())[:, None]
    np.testing.assert_allclose(walks.commute_times(vectors / np.sqrt(1 - values[:-1])), expected, rtol=1e-6, atol=1e-6)
    # that of the kernel is the same, but for components of no weight and two steps of smoothing
    step = dense / degree[:, None]
    tree = walks.diffusion_map(affinity).tree
    smooth = step @ step @ (vectors / np.sqrt(1 - values[:-1]))
    np.testing.assert_allclose(walks.commute_times(tree), walks.commute_times(smooth), rtol=0.05, atol=0.05)


def test_the_map_knows_neither_order_nor_rotation():
    rng = np.random.default_rng(2)
    points = rng.normal(size=(300, 4)) * [5, 3, 1, 1]
    turned = points @ np.linalg.qr(rng.normal(size=(4, 4)))[0]
    order = rng.permutation(300)
    first = walks.commute_times(walks.diffusion_map(walks.neighbour_affinity(points, 15)).tree)
    np.testing.assert_allclose(
        walks.commute_times(walks.diffusion_map(walks.neighbour_affinity(turned, 15)).tree), first, rtol=1e-4, atol=1e-4
    )
    shuffled = walks.commute_times(walks.diffusion_map(walks.neighbour_affinity(points[order], 15)).tree)
    np.testing.assert_allclose(shuffled, first[np.ix_(order, order)], rtol=1e-4, atol=1e-4)


def test_affinities_of_copies_are_finite():
    points = np.repeat(np.arange(10.0), 8)[:, None]
    affinity = walks.neighbour_affinity(points, 30)
    assert np.isfinite(affinity.data).all()
    assert (affinity != affinity.T).nnz == 0
    assert walks.graph_parts(affinity).max() == 0


def test_a_walk_whose_waypoints_fall_apart_is_bridged():
    points = np.concatenate([np.arange(20.0), 1000 + np.arange(20.0)])[:, None]
    walk = walks.waypoint_walk(points, np.arange(40), 3)
    assert lineages.absorption(walk.affinity, region_of(40, 0))[:, 0].tolist() == [1] * 40
    np.testing.assert_allclose(walk.mixture.sum(axis=1), 1)
    np.testing.assert_allclose(walk.affinity, walk.affinity.T)


def test_change_directs_the_edges():
    """On a line whose change points up, steps up are exp(2 * strength) times as likely as steps down."""
    state = np.arange(9.0)[:, None]
    weights = changes.directed(chain(9), changes.cosines(state, np.ones((9, 1))), 0.3)
    found = lineages.absorption(weights, region_of(9, 0, 8))[:, 1]
    r = np.exp(-0.6)
    np.testing.assert_allclose(found, (1 - r ** np.arange(9)) / (1 - r**8), atol=1e-12)
    still = changes.cosines(state, np.zeros((9, 1)))
    np.testing.assert_array_equal(changes.directed(chain(9), still, 0.3), chain(9))
    assert changes.agreement(chain(9), still, np.arange(9)) == 0


def test_cosines_by_their_definition():
    rng = np.random.default_rng(6)
    state, change = rng.normal(size=(7, 4)), rng.normal(size=(7, 4))
    found = changes.cosines(state, change)
    for i in range(7):
        for j in set(range(7)) - {i}:
            way = state[j] - state[i]
            assert found[i, j] == pytest.approx(way @ change[i] / np.linalg.norm(way) / np.linalg.norm(change[i]))


def test_agreement_with_pseudotime():
    state = np.arange(9.0)[:, None]
    time = np.arange(9) / 8
    up = np.ones((9, 1))
    assert changes.agreement(chain(9), changes.cosines(state, up), time) == pytest.approx(1)
    assert changes.agreement(chain(9), changes.cosines(state, -up), time) == pytest.approx(-1)
    # up on half of the eight edges and down on the others, none on that between
    half = np.where(np.arange(9)[:, None] < 4, 1.0, -1.0)
    assert changes.agreement(chain(9), changes.cosines(state, half), time) == pytest.approx(0, abs=0.15)
    # at random
    rng = np.random.default_rng(7)
    random = [changes.agreement(chain(9), changes.cosines(state, rng.normal(size=(9, 1))), time) for _ in range(400)]
    assert np.mean(random) == pytest.approx(0, abs=0.1)


def test_the_pull_is_free_of_regression_to_the_mean():
    rng = np.random.default_rng(8)
    aim, lag = rng.normal(size=(200, 5)), rng.normal(size=(200, 5))
    measured = aim + 0.5 * rng.normal(size=(200, 5))
    shrunk = 0.6 * measured + 3
    np.testing.assert_allclose(changes.pull(measured, shrunk), 0, atol=1e-12)
    found = changes.pull(measured, shrunk + lag)
    np.testing.assert_allclose((found * (measured - measured.mean(axis=0))).sum(axis=0), 0, atol=1e-9)
    assert np.corrcoef(found.ravel(), lag.ravel())[0, 1] > 0.95
    shrunk[0, 2] = np.nan
    assert np.isnan(changes.pull(measured, shrunk)).all(axis=0).tolist() == [False, False, True, False, False]


def test_means_of_waypoints():
    from scipy import sparse

    mixture = sparse.csr_matrix([[1.0, 0, 0], [0.5, 0.5, 0]])
    values = np.array([[3.0], [6.0]])
    expected = [[4.0], [6.0], [0.0]]
    np.testing.assert_allclose(walks.waypoint_means(mixture, values), expected)
    np.testing.assert_allclose(walks.waypoint_means(mixture, sparse.csr_matrix(values)), expected)


@pytest.fixture(scope="module")
def fork():
    """Waypoints of a Y, its two arms the sides."""
    rng = np.random.default_rng(3)
    arm, x = rng.integers(3, size=240), rng.random(240)
    points = x[:, None] * np.eye(3)[arm] * 10 + rng.normal(size=(240, 3)) * 0.3
    walk = walks.waypoint_walk(points, np.arange(240), 15)
    side = np.select([arm == 1, arm == 2], [x, -x], 0)
    return walk, side, np.where(arm == 0, 0.5 - x / 2, 0.5 + x / 2), (arm > 0).astype(float)


def test_bands_are_orthonormal_from_smooth_to_rough(fork):
    walk = fork[0]
    bands = smooth_bands(walk.affinity)
    together = np.concatenate(bands, axis=1)
    assert [band.shape[1] for band in bands][:3] == [4, 8, 16]
    np.testing.assert_allclose(together.T @ together, np.eye(239), atol=1e-9)
    np.testing.assert_allclose(together.sum(axis=0), 0, atol=1e-9)
    roughness = [(walk.affinity * np.square(v[:, None] - v)).sum() for v in (bands[0][:, 0], bands[-1][:, -1])]
    assert roughness[0] < roughness[1] / 10


def test_drivers_are_told_from_smooth_patterns(fork):
    walk, side, time, weight = fork
    rng = np.random.default_rng(4)
    bands = smooth_bands(walk.affinity)
    step = walk.affinity / walk.affinity.sum(axis=1, keepdims=True)
    null = rng.normal(size=(240, 300))
    for _ in range(10):
        null = step @ null
    values = np.column_stack([3 * side, -side + rng.normal(size=240) * 0.05, time, np.ones(240), null])
    found = branch_drivers(values, side, time, weight, bands, rng=rng)
    assert found.effect[0] == pytest.approx(6)
    assert found.effect[1] == pytest.approx(-2, abs=0.1)
    assert found.correlation[0] == pytest.approx(1)
    assert found.correlation[1] < -0.95
    assert (found.p_value[:2] < 0.01).all()
    assert found.p_value[2] > 0.05  # explained by pseudotime
    assert found.p_value[3] == 1
    assert np.mean(found.p_value[4:] < 0.05) < 0.1


def test_no_sides_have_no_drivers(fork):
    walk, _, time, weight = fork
    found = branch_drivers(
        time[:, None], np.zeros(240), time, weight, smooth_bands(walk.affinity), rng=np.random.default_rng(0)
    )
    assert (found.p_value[0], found.effect[0]) == (1, 0)
