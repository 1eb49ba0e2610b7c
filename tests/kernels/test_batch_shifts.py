from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from sctandem.kernels._batch_shifts import groups_of_points, shifts_within_groups


def cells(*, noise: float = 0.0) -> tuple[sparse.csr_matrix, np.ndarray, np.ndarray, np.ndarray]:
    """Three groups in four batches; none has all groups, and the last two share none with the first but over the second."""
    rng = np.random.default_rng(0)
    pairs = np.repeat([(0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 3)], [200, 50, 120, 30, 90, 60], axis=0)
    group, batch = pairs.T
    means, shifts = 5 * rng.normal(size=(3, 8)), rng.normal(size=(4, 8))
    return (
        sparse.csr_matrix(means[group] + shifts[batch] + noise * rng.normal(size=(len(group), 8))),
        group,
        batch,
        shifts,
    )


def whole(features: sparse.csr_matrix) -> list[tuple[slice, sparse.csr_matrix]]:
    return [(slice(0, 300), features[:300]), (slice(300, None), features[300:])]


def test_shifts_are_found_whatever_groups_a_batch_has():
    features, group, batch, shifts = cells()
    found = shifts_within_groups(whole(features), group, batch, 4, ridge=1e-9)
    expected = (shifts - shifts[batch].mean(0)).T
    np.testing.assert_allclose(found, expected, atol=1e-6)
    by_mean = np.array([features[batch == b].mean(0) for b in range(4)])
    assert np.abs((by_mean - by_mean.mean(0)) - (shifts - shifts.mean(0))).max() > 1


def test_shifts_are_those_of_a_regression_with_a_ridge():
    features, group, batch, _ = cells(noise=1.0)
    found = shifts_within_groups(whole(features), group, batch, 4, ridge=3.0)
    of_group, of_batch = np.eye(3)[group], np.eye(4)[batch]
    design = np.vstack([np.hstack([of_group, of_batch]), np.hstack([np.zeros((4, 3)), np.sqrt(3.0) * np.eye(4)])])
    target = np.vstack([features.toarray(), np.zeros((4, 8))])
    expected = np.linalg.lstsq(design, target)[0][3:]
    np.testing.assert_allclose(found, (expected - expected[batch].mean(0)).T, atol=1e-8)


def test_a_batch_that_shares_no_group_is_not_moved():
    features, group, batch, _ = cells()
    alone = np.where(group == 2, 4, batch)
    found = shifts_within_groups(whole(features), group, alone, 5)
    np.testing.assert_allclose(found[:, 4], 0, atol=1e-12)
    rest = alone != 4
    means = [found[:, alone[rest & (group == g)]].mean(1) for g in (0, 1)]
    sizes = [(rest & (group == g)).sum() for g in (0, 1)]
    np.testing.assert_allclose(np.average(means, axis=0, weights=sizes), 0, atol=1e-12)


@pytest.mark.parametrize("n_types", [10, 40])
def test_shares_of_types_are_not_taken_for_shifts(n_types):
    """Two batches, half of the types four times as common in the one as in the other."""
    rng = np.random.default_rng(n_types)
    kind = rng.integers(n_types, size=4000)
    batch = (rng.random(4000) < np.where(kind % 2, 0.8, 0.2)).astype(int)
    means, shift = 5 * rng.normal(size=(n_types, 16)), rng.normal(size=16)
    points = means[kind] + rng.normal(size=(4000, 16))
    features = sparse.csr_matrix(points + shift * batch[:, None])
    found = shifts_within_groups(whole(features), groups_of_points(points, rng), batch, 2)
    error = np.sqrt((((found[:, 1] - found[:, 0]) - shift) ** 2).mean())
    by_mean = np.asarray(features[batch == 1].mean(0) - features[batch == 0].mean(0)).ravel()
    assert error < 0.1
    assert np.sqrt(((by_mean - shift) ** 2).mean()) > 5 * error


@pytest.mark.filterwarnings("error")
def test_equal_and_few_points_are_grouped_in_silence():
    rng = np.random.default_rng(0)
    assert groups_of_points(np.zeros((120, 3)), rng).tolist() == [0] * 120
    assert groups_of_points(rng.normal(size=(7, 3)), rng).tolist() == [0] * 7


def test_groups_hold_points_that_are_near():
    rng = np.random.default_rng(0)
    kind = np.repeat(np.arange(3), 40)
    group = groups_of_points(20 * np.eye(3)[kind] + rng.normal(size=(120, 3)), rng)
    assert len(np.unique(group)) == pytest.approx(4, abs=1)
    assert all(len(np.unique(kind[group == g])) == 1 for g in np.unique(group))
