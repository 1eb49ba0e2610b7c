"""Regression on boxes: against scikit-learn on points, finite differences, and attacks."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.optimize import approx_fprime
from sklearn.linear_model import LogisticRegression

from sctandem.kernels._robust_regression import (
    CellBoxes,
    _Boxes,
    _fit,
    _largest_weight,
    _PointsAndBoxes,
    fit_robust_regressions,
)


def simulated(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    labels = rng.integers(3, size=200)
    return rng.normal(size=(200, 6)) + 1.5 * np.eye(3, 6)[labels], labels


def test_without_width_it_is_ridge_regression(rng: np.random.Generator) -> None:
    points, labels = simulated(rng)
    box = sparse.csr_matrix(points)
    own = _fit(_PointsAndBoxes(CellBoxes(box, box, box), labels, 3), [(1e-2, 1.0)])[-1]
    peer = LogisticRegression(C=1 / (1e-2 * len(points)), tol=1e-8).fit(points, labels)
    logits = own.logits(box)
    theirs = peer.decision_function(points)
    apart = (logits - logits.mean(1, keepdims=True)) - (theirs - theirs.mean(1, keepdims=True))
    assert np.abs(apart).max() < 0.02


def test_gradient(rng: np.random.Generator) -> None:
    points, labels = simulated(rng)
    half = rng.random(points.shape)
    boxes = _Boxes(sparse.csr_matrix(points - half), sparse.csr_matrix(points + half), labels, 3)
    flat = rng.normal(size=21)
    numeric = approx_fprime(flat, lambda x: boxes.loss(x, 0.1)[0], 1e-6)
    assert np.allclose(boxes.loss(flat, 0.1)[1], numeric, atol=1e-4)


def test_loss_bounds_that_at_any_place_of_the_boxes(rng: np.random.Generator) -> None:
    points, labels = simulated(rng)
    half = 0.3 * rng.random(points.shape)
    low, high = points - half, points + half
    boxes = _Boxes(sparse.csr_matrix(low), sparse.csr_matrix(high), labels, 3)
    flat = rng.normal(size=21)
    worst = boxes.loss(flat, 0)[0]
    for _ in range(20):
        place = sparse.csr_matrix(np.where(rng.random(points.shape) < 0.5, low, high))
        assert _Boxes(place, place, labels, 3).loss(flat, 0)[0] <= worst + 1e-6
    two = labels < 2  # with two labels the bound is reached, at a corner that depends on the label
    sign = np.where(labels[two, None] == 0, 1, -1) * np.sign(
        flat[:18].reshape(6, 3)[:, 1] - flat[:18].reshape(6, 3)[:, 0]
    )
    flat2 = np.append(flat[:18].reshape(6, 3)[:, :2].ravel(), flat[18:20])
    corner = sparse.csr_matrix(np.where(sign > 0, high[two], low[two]))
    pair = _Boxes(sparse.csr_matrix(low[two]), sparse.csr_matrix(high[two]), labels[two], 2)
    assert np.isclose(_Boxes(corner, corner, labels[two], 2).loss(flat2, 0)[0], pair.loss(flat2, 0)[0], atol=1e-3)


def test_accuracy_under_attack_is_higher_than_of_a_plain_regression(rng: np.random.Generator) -> None:
    labels = rng.integers(2, size=600)
    strong = rng.normal(size=(600, 2)) + 2.5 * labels[:, None]
    weak = rng.normal(size=(600, 40)) + 0.35 * labels[:, None]  # many small differences, each within the box
    points = np.hstack([strong, weak])
    cells = CellBoxes(*(sparse.csr_matrix(points + sign * 0.3) for sign in (0, -1, 1)))
    train = np.arange(600) < 400
    robust = fit_robust_regressions(cells.rows(train), labels[train], rng.random(400) < 0.2, 2)[1]
    plain = LogisticRegression().fit(points[train], labels[train])
    direction = plain.coef_[0], robust.weights[:, 1] - robust.weights[:, 0]
    offset = plain.intercept_[0], robust.intercepts[1] - robust.intercepts[0]
    held, truth = points[~train], labels[~train]
    accuracy = []
    for w, b in zip(direction, offset, strict=True):
        margin = (held @ w + b) * np.where(truth == 1, 1, -1)
        accuracy.append((np.mean(margin > 0), np.mean(margin > 0.3 * np.abs(w).sum())))
    assert accuracy[1][1] > accuracy[0][1] + 0.05
    assert accuracy[1][0] > accuracy[0][0] - 0.05


def test_gradient_of_cells_and_boxes_together_and_each_alone(rng: np.random.Generator) -> None:
    points, labels = simulated(rng)
    half = rng.random(points.shape)
    cells = CellBoxes(*(sparse.csr_matrix(points + sign * half) for sign in (0, -1, 1)))
    both, flat = _PointsAndBoxes(cells, labels, 3), rng.normal(size=21)
    numeric = approx_fprime(flat, lambda x: both.loss(x, 0.1, 0.5)[0], 1e-6)
    assert np.allclose(both.loss(flat, 0.1, 0.5)[1], numeric, atol=1e-4)
    alone = [part.loss(flat, 0.1)[0] for part in (both.points, both.boxes)]
    assert np.isclose(both.loss(flat, 0.1, 0.5)[0], (alone[0] + 0.5 * alone[1]) / 1.5)


def test_copies_are_learned_and_do_not_judge(rng: np.random.Generator) -> None:
    points, labels = simulated(rng)
    cells = CellBoxes(*[sparse.csr_matrix(points)] * 3)
    held_out = rng.random(200) < 0.3
    alone = fit_robust_regressions(cells, labels, held_out, 3)
    same = fit_robust_regressions(cells, labels, held_out, 3, copies=cells)  # every cell twice changes no mean
    assert all(np.allclose(a.weights, b.weights, atol=2e-3) for a, b in zip(alone, same, strict=True))
    turned = points.copy()
    turned[held_out] = rng.normal(
        scale=50, size=turned[held_out].shape
    )  # of held-out cells the judged one knows no copy
    other = fit_robust_regressions(cells, labels, held_out, 3, copies=CellBoxes(*[sparse.csr_matrix(turned)] * 3))
    assert np.allclose(other[0].weights, same[0].weights, atol=2e-3)
    assert not np.allclose(other[1].weights, same[1].weights, atol=2e-2)


def test_boxes_count_in_full_where_that_costs_nothing_and_little_where_it_does(rng: np.random.Generator) -> None:
    labels = rng.integers(2, size=1200)
    strong = rng.normal(size=(1200, 2)) + 3.0 * labels[:, None]
    weak = rng.normal(size=(1200, 40)) + 0.6 * labels[:, None]
    found = []
    for points in (np.hstack([strong, rng.normal(size=(1200, 40))]), weak):
        cells = CellBoxes(*(sparse.csr_matrix(points + sign * 0.5) for sign in (0, -1, 1)))
        shown = np.arange(1200) < 700
        objective = _PointsAndBoxes(cells.rows(shown), labels[shown], 2)
        found.append(_largest_weight(objective, cells.points[~shown], labels[~shown], 2.0))
    assert found[0] == 2.0
    assert found[1] == 0.25  # all that tells these is within the boxes
