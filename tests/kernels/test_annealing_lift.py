"""The kernel feature space: groups of any connected shape, as long as there is space between them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import make_moons
from sklearn.metrics import adjusted_rand_score

from sctandem.kernels._annealing_fit import anneal
from sctandem.kernels._annealing_lift import fit_lift


def rings(radii: tuple[float, ...], *, n: int = 1500, noise: float = 0.08) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    kind, angle = rng.integers(len(radii), size=n), rng.random(n) * 2 * np.pi
    radius = np.array(radii)[kind] + noise * rng.normal(size=n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), kind


def in_space(points: np.ndarray, d: int = 5, noise: float = 0.08) -> np.ndarray:
    """Lay points of a plane into a space with noise, turned."""
    rng = np.random.default_rng(1)
    wide = np.hstack([points, noise * rng.normal(size=(len(points), d - 2))])
    return wide @ np.linalg.qr(rng.normal(size=(d, d)))[0]


def two_ways() -> tuple[np.ndarray, np.ndarray]:
    """Two long bent lines side by side, three times as far apart as wide (two standard deviations each way)."""
    rng = np.random.default_rng(0)
    kind, along = np.arange(1500) % 2, rng.random(1500) * 10
    points = np.stack([along, 2 * np.sin(along / 2) + 2 * kind], axis=1)
    return points + 0.15 * rng.normal(size=points.shape), kind


def labels(points: np.ndarray, *, lift: bool = True) -> np.ndarray:
    return anneal(points, lift=lift, rng=np.random.default_rng(0)).memberships.argmax(axis=1)


@pytest.mark.parametrize(
    "drawn",
    [rings((1, 2)), rings((1, 2, 3), n=2500), make_moons(1500, noise=0.08, random_state=0), two_ways()],
    ids=["rings", "three rings", "moons", "ways"],
)
def test_shapes_are_found_whole(drawn):
    points, kind = drawn
    assert adjusted_rand_score(labels(points), kind) > 0.98
    assert adjusted_rand_score(labels(points, lift=False), kind) < 0.9  # what the lift is for


def test_further_dimensions_of_noise_do_little():
    points, kind = rings((1, 2), n=2500)
    assert adjusted_rand_score(labels(in_space(points)), kind) > 0.98


@pytest.mark.parametrize("seed", [0, 1])
def test_a_cloud_and_a_ring_are_one(seed):
    cloud = np.random.default_rng(seed).normal(size=(1500, 3))
    assert labels(cloud).max() == 0
    assert labels(rings((1,))[0]).max() == 0


def test_round_clusters_are_found_too():
    rng = np.random.default_rng(0)
    kind = rng.integers(4, size=1500)
    assert adjusted_rand_score(labels(8 * np.eye(4, 6)[kind] + rng.normal(size=(1500, 6))), kind) > 0.98


def test_features_are_those_of_the_walk():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(400, 2))
    lift = fit_lift(points, rng=rng)
    apart = ((points[:, None] - lift.landmarks) ** 2).sum(axis=2)
    step = np.exp(-apart / (2 * lift.widths))
    step /= step.sum(axis=1, keepdims=True)
    features = lift.of(points)
    np.testing.assert_allclose(features, step @ lift.weights, rtol=1e-4, atol=1e-6)
    # there and back: the features are eigenvectors of the walk between points, which they leave in proportion
    walk = step @ (step / step.sum(axis=0)).T
    np.testing.assert_allclose(walk.sum(axis=1), 1)
    first = features[:, 0].astype(float)
    assert np.corrcoef(walk @ first, first)[0, 1] == pytest.approx(1, abs=1e-5)


def test_moving_and_scaling_change_nothing():
    points, _ = rings((1, 2))
    assert adjusted_rand_score(labels(points), labels(7 * points + 100)) == 1


def test_number_overrules():
    points, _ = rings((1, 2))
    found = anneal(points, lift=True, n_clusters=5, rng=np.random.default_rng(0))
    assert found.memberships.shape[1] == 5
