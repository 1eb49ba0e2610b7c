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


def test_shifts_are_found_whatever_groups_a_batch_has():
    features, group, batch, shifts = cells()
    found = shifts_within_groups(features, group, batch, 4, ridge=1e-9)
    expected = (shifts - shifts[batch].mean(0)).T
    np.testing.assert_allclose(found, expected, atol=1e-6)
    by_mean = np.array([features[batch == b].mean(0) for b in range(4)])
    assert np.abs((by_mean - by_mean.mean(0)) - (shifts - shifts.mean(0))).max() > 1


def test_shifts_are_those_of_a_regression_with_a_ridge():
    features, group, batch, _ = cells(noise=1.0)
    found = shifts_within_groups(features, group, batch, 4, ridge=3.0)
    of_group, of_batch = np.eye(3)[group], np.eye(4)[batch]
    design = np.vstack([np.hstack([of_group, of_batch]), np.hstack([np.zeros((4, 3)), np.sqrt(3.0) * np.eye(4)])])
    target = np.vstack([features.toarray(), np.zeros((4, 8))])
    expected = np.linalg.lstsq(design, target)[0][3:]
    np.testing.assert_allclose(found, (expected - expected[batch].mean(0)).T, atol=1e-8)


def test_a_batch_that_shares_no_group_is_not_moved():
    features, group, batch, _ = cells()
    alone = np.where(group == 2, 4, batch)
    found = shifts_within_groups(features, group, alone, 5)
    np.testing.assert_allclose(found[:, 4] - found[:, 3], 0, atol=1e-12)  # nor is batch 3, of which nothing is left


def test_groups_hold_points_that_are_near():
    rng = np.random.default_rng(0)
    kind = np.repeat(np.arange(3), 40)
    group = groups_of_points(20 * np.eye(3)[kind] + rng.normal(size=(120, 3)), rng)
    assert len(np.unique(group)) == pytest.approx(4, abs=1)
    assert all(len(np.unique(kind[group == g])) == 1 for g in np.unique(group))
