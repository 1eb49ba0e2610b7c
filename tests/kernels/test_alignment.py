from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from sctandem.kernels import _alignment, align_batches
from sctandem.kernels._alignment import _added, _shifts
from sctandem.kernels._group_draws import draw_within_groups


def two_batches(*, shift: float = 3.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four types in two batches; the last type is in the second batch only, and the shift differs from type to type."""
    rng = np.random.default_rng(seed)
    kind = np.repeat(np.arange(4), [300, 200, 100, 120])
    batch = rng.integers(2, size=len(kind))
    batch[kind == 3] = 1
    shifts = shift * rng.normal(size=(4, 6)) / np.sqrt(6)
    points = 9 * np.eye(4, 6)[kind] + rng.normal(size=(len(kind), 6)) + batch[:, None] * shifts[kind]
    return points, kind, batch


def neighbours_of_other_batch(points: np.ndarray, batch: np.ndarray) -> float:
    near = NearestNeighbors(n_neighbors=21).fit(points).kneighbors(points)[1][:, 1:]
    return float((batch[near] != batch[:, None]).mean())


def test_batches_are_mixed_within_types_and_types_kept_apart():
    points, kind, batch = two_batches()
    moved = align_batches(points, batch, rng=0)
    shared = kind < 3
    even = np.mean([(batch[kind == k] == 1).mean() * (batch[kind == k] == 0).mean() * 2 for k in range(3)])
    assert neighbours_of_other_batch(points[shared], batch[shared]) < 0.5 * even
    assert neighbours_of_other_batch(moved[shared], batch[shared]) > 0.8 * even
    near = NearestNeighbors(n_neighbors=21).fit(moved).kneighbors(moved)[1][:, 1:]
    assert (kind[near] == kind[:, None]).mean() > 0.99


def test_a_type_of_one_batch_is_not_moved_onto_another():
    points, kind, batch = two_batches()
    moved = align_batches(points, batch, rng=0)
    means = np.stack([moved[kind == k].mean(0) for k in range(4)])
    assert np.linalg.norm(means[3] - means[:3], axis=1).min() > 6


def test_batches_further_apart_than_types_need_the_balance_and_several_rounds():
    rng = np.random.default_rng(0)
    kind, batch = np.repeat(np.arange(3), [400, 300, 300]), rng.integers(2, size=1000)
    points = 9 * np.eye(3, 6)[kind] + rng.normal(size=(1000, 6)) + 9 * batch[:, None] * np.eye(6)[5]
    mixed = neighbours_of_other_batch(align_batches(points, batch, rng=0), batch)
    assert mixed > 0.45
    assert neighbours_of_other_batch(align_batches(points, batch, balance=0, rng=0), batch) < 0.1
    assert neighbours_of_other_batch(align_batches(points, batch, n_rounds=1, rng=0), batch) < 0.2


def test_shift_is_a_ridge_regression_on_a_free_mean_and_the_batches():
    rng = np.random.default_rng(0)
    points, weight, batch = rng.normal(size=(30, 2)), rng.random(30), rng.integers(3, size=30)
    of_batch = np.eye(3)[batch]
    design = np.hstack([np.ones((30, 1)), of_batch])
    penalty = np.diag([0.0, 0.7, 0.7, 0.7])
    effects = np.linalg.solve(design.T @ (weight[:, None] * design) + penalty, design.T @ (weight[:, None] * points))
    expected = weight[:, None] * effects[1 + batch]
    added = _added(points, weight[:, None], of_batch, 0.7)
    np.testing.assert_allclose(added[0], effects[1:], atol=1e-10)
    np.testing.assert_allclose(_shifts(weight[:, None], of_batch, added), expected, atol=1e-10)


def test_one_batch_stays_as_it_is():
    points, _, batch = two_batches()
    np.testing.assert_array_equal(align_batches(points, 0 * batch), points.astype(np.float32))


def test_moving_everything_moves_the_result():
    points, _, batch = two_batches()
    moved = align_batches(points, batch, rng=0)
    np.testing.assert_allclose(align_batches(points + 5, batch, rng=0), moved + 5, atol=1e-3)
    np.testing.assert_allclose(align_batches(3 * points, batch, rng=0), 3 * moved, atol=1e-3)


def test_same_seed_same_result():
    points, _, batch = two_batches()
    first, second = (align_batches(points, batch, rng=1) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": np.full((4, 2), np.nan)}, "not finite"),
        ({"points": np.zeros(4)}, "matrix"),
        ({"batch": np.zeros(3, dtype=int)}, "batch must hold"),
        ({"batch": np.array([0, 1, -1, 0])}, "batch must hold"),
        ({"balance": -1.0}, "balance"),
        ({"ridge": 0.0}, "ridge"),
        ({"n_rounds": 0}, "n_rounds"),
    ],
)
def test_bad_input(change, message):
    given = {"points": np.zeros((4, 2)), "batch": np.array([0, 1, 0, 1])} | change
    with pytest.raises(ValueError, match=message):
        align_batches(given.pop("points"), given.pop("batch"), **given)


def test_points_beyond_those_that_are_looked_at_are_moved_as_these(monkeypatch):
    points, kind, batch = two_batches()
    points, kind, batch = np.tile(points, (4, 1)), np.tile(kind, 4), np.tile(batch, 4)
    points = points + np.random.default_rng(1).normal(scale=0.3, size=points.shape)
    whole = align_batches(points, batch, rng=0)
    monkeypatch.setattr(_alignment, "_MOST_POINTS", 1000)
    monkeypatch.setattr(_alignment, "_BLOCK", 257)
    moved = align_batches(points, batch, rng=0)
    shared = kind < 3
    mixed, before, expected = (neighbours_of_other_batch(p[shared], batch[shared]) for p in (moved, points, whole))
    assert before < 0.2 < 0.95 * expected < mixed


def test_points_are_moved_again_as_they_were_where_batches_are_uneven(monkeypatch):
    rng = np.random.default_rng(0)
    kind, batch = rng.choice(3, 3000, p=[0.6, 0.3, 0.1]), (rng.random(3000) < 0.15).astype(int)
    batch[kind == 2] = rng.random((kind == 2).sum()) < 0.6
    points = 5 * np.eye(3, 6)[kind] + rng.normal(size=(3000, 6)) + 4 * batch[:, None] * np.eye(6)[5]
    seen = draw_within_groups(batch, 1000, np.random.default_rng(0))
    alone, rounds = _alignment._align(points[seen], np.eye(2)[batch[seen]], 2.0, 1.0, 10, np.random.default_rng(3))
    far = np.abs(alone - points[seen]).max()

    def off(rounds):
        return np.sqrt(((_alignment._move(points[seen], batch[seen], rounds) - alone) ** 2).mean()) / far

    # up to the order in which clusters were balanced; not without the penalty, nor from some of the rounds
    right = off(rounds)
    assert right < 0.001
    assert off([one._replace(penalty=0 * one.penalty) for one in rounds]) > 3 * right
    assert off([one._replace(penalty=-one.penalty) for one in rounds]) > 3 * right
    assert min(off(rounds[:1]), off(rounds[-1:])) > 3 * right
    monkeypatch.setattr(_alignment, "_MOST_POINTS", 1000)
    moved = align_batches(points, batch, rng=0)
    again = np.random.default_rng(0)
    drawn = draw_within_groups(batch, 1000, again)
    expected, _ = _alignment._align(points[drawn], np.eye(2)[batch[drawn]], 2.0, 1.0, 10, again)
    np.testing.assert_array_equal(moved[drawn], expected.astype(np.float32))


def test_a_small_batch_is_among_those_that_are_looked_at(monkeypatch):
    points, _, batch = two_batches()
    points, batch = np.tile(points, (4, 1)), np.tile(batch, 4)
    batch[:60] = 2
    points[:60] += 4 * np.eye(6)[5]
    monkeypatch.setattr(_alignment, "_MOST_POINTS", 500)
    moved = align_batches(points, batch, rng=0)
    assert np.abs(moved[:60] - points[:60]).max() > 2
