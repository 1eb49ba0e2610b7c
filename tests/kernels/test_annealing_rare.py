"""Rare clusters: planted ones are found, and none where none is planted."""

from __future__ import annotations

import numpy as np
import pytest

from sctandem.kernels._annealing_fit import anneal

N, RARE = 12_000, 20


def planted(apart: float, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Four stretched types, and `RARE` points `apart` standard deviations from the middle of one of them."""
    rng = np.random.default_rng(seed)
    masses = np.array([0.4, 0.3, 0.2, 0.1])
    kind = rng.choice(4, N, p=masses)
    points = 6 * np.eye(4, 10)[kind] + rng.normal(size=(N, 10))
    if apart:
        kind[:RARE] = 4
        points[:RARE] = 6 * np.eye(4, 10)[1] + apart * np.eye(10)[7] + rng.normal(size=(RARE, 10))
    return (points * np.geomspace(3, 1, 10)).astype(np.float32), kind


def found(points: np.ndarray, min_points: int | None) -> np.ndarray:
    """Clusters that are found on 1,000 of the points, among which two or so are rare."""
    result = anneal(points, min_points=min_points, max_points=1000, rng=np.random.default_rng(0))
    np.testing.assert_allclose(result.memberships.sum(axis=1), 1, atol=1e-4)
    return result.memberships.argmax(axis=1)


@pytest.mark.parametrize("seed", [0, 1])
def test_rare_cluster_is_found_only_where_it_is_looked_for(seed):
    points, kind = planted(7, seed=seed)
    labels = found(points, 10)
    assert labels.max() + 1 == 5
    hit, rare = labels == 4, kind == 4  # the smallest is last
    assert (hit & rare).sum() >= 0.8 * RARE
    assert (hit & rare).sum() >= 0.5 * hit.sum()
    assert found(points, None).max() + 1 == 4


def test_fewer_than_asked_for_are_not_found():
    points, _ = planted(7)
    assert found(points, 2 * RARE).max() + 1 == 4


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_nothing_is_found_where_nothing_is_planted(seed):
    assert found(planted(0, seed=seed)[0], 10).max() + 1 == 4


def test_tails_are_not_rare_clusters():
    rng = np.random.default_rng(0)
    points = rng.standard_t(4, size=(N, 5)).astype(np.float32)
    assert found(points, 10).max() + 1 == found(points, None).max() + 1
