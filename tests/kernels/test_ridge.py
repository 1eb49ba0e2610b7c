from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import lsq_linear
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge

from sctandem.kernels import _ridge as ridge

N_CELLS = 40


@pytest.fixture(name="problem")
def fixture_problem() -> tuple[np.ndarray, np.ndarray]:
    """Features of cells, and targets that follow them strongly, weakly and not at all."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(N_CELLS, 12)) + 1.0
    signal = features @ rng.normal(size=(12, 3))
    return features, np.array([1.0, 0.2, 0.0]) * signal + 2 * rng.normal(size=signal.shape) + 5


def refitted(features: np.ndarray, target: np.ndarray, penalty: float) -> np.ndarray:
    """Predict each cell by a regression with intercept on all others."""
    out = np.empty(len(target))
    for i in range(len(target)):
        others = np.arange(len(target)) != i
        out[i] = Ridge(alpha=penalty).fit(features[others], target[others]).predict(features[[i]])[0]
    return out


def test_fit_equals_ridge_regression_with_intercept(problem):
    features, targets = problem
    kernel = features @ features.T
    fit = ridge.kernel_ridge(kernel, targets, np.arange(N_CELLS))
    for j, target in enumerate(targets.T):
        expected = Ridge(alpha=fit.penalty[j]).fit(features, target).predict(features)
        np.testing.assert_allclose(kernel @ fit.coefficients[:, j] + fit.intercept[j], expected, rtol=1e-6)


def test_fit_equals_kernel_ridge_of_a_centred_kernel(problem):
    features, targets = problem
    distances = ((features[:, None] - features[None]) ** 2).sum(-1)
    kernel = np.exp(-distances / np.median(distances))
    fit = ridge.kernel_ridge(kernel, targets, np.arange(N_CELLS))
    centre = np.eye(N_CELLS) - 1 / N_CELLS
    mean = targets.mean(0)
    for j in range(targets.shape[1]):
        peer = KernelRidge(alpha=fit.penalty[j], kernel="precomputed")
        centred = centre @ kernel @ centre
        expected = peer.fit(centred, targets[:, j] - mean[j]).predict(centred) + mean[j]
        np.testing.assert_allclose(kernel @ fit.coefficients[:, j] + fit.intercept[j], expected, rtol=1e-5)


def test_honest_predictions_equal_refits_without_the_cell(problem):
    features, targets = problem
    fit = ridge.kernel_ridge(features @ features.T, targets, np.arange(N_CELLS))
    for j, target in enumerate(targets.T):
        np.testing.assert_allclose(fit.honest[:, j], refitted(features, target, fit.penalty[j]), rtol=1e-6)


def test_penalty_is_the_one_that_predicts_left_out_cells_best(problem):
    features, targets = problem
    fit = ridge.kernel_ridge(features @ features.T, targets, np.arange(N_CELLS))
    centred = features - features.mean(0)
    penalties = ridge.PENALTIES * (centred**2).sum() / N_CELLS
    for j, target in enumerate(targets.T):
        errors = [((refitted(features, target, penalty) - target) ** 2).sum() for penalty in penalties]
        assert fit.penalty[j] == pytest.approx(penalties[int(np.argmin(errors))])


def test_noise_gets_a_larger_penalty_than_signal(problem):
    features, targets = problem
    fit = ridge.kernel_ridge(features @ features.T, targets, np.arange(N_CELLS))
    assert fit.penalty[0] < fit.penalty[2]


def test_landmarks_that_span_the_features_are_exact(problem):
    features, targets = problem
    exact = ridge.kernel_ridge(features @ features.T, targets, np.arange(N_CELLS))
    some = np.arange(0, N_CELLS, 2)  # 20 landmarks in 12 dimensions
    fit = ridge.kernel_ridge(features @ features[some].T, targets, some)
    np.testing.assert_allclose(fit.honest, exact.honest, rtol=1e-5)
    np.testing.assert_allclose(fit.penalty, exact.penalty)


def test_few_landmarks_come_near():
    rng = np.random.default_rng(0)
    points = rng.uniform(-2, 2, (200, 2))
    target = np.sin(2 * points[:, :1]) + points[:, 1:] ** 2 + 0.1 * rng.normal(size=(200, 1))
    kernel = np.exp(-((points[:, None] - points[None]) ** 2).sum(-1))
    some = np.sort(rng.choice(200, 80, replace=False))
    exact = ridge.kernel_ridge(kernel, target, np.arange(200)).honest
    near = ridge.kernel_ridge(kernel[:, some], target, some).honest
    assert np.corrcoef(near[:, 0], exact[:, 0])[0, 1] > 0.99


def test_order_of_cells_and_targets_does_not_matter(problem):
    features, targets = problem
    everything = np.arange(N_CELLS)
    fit = ridge.kernel_ridge(features @ features.T, targets, everything)
    order = np.random.default_rng(1).permutation(N_CELLS)
    moved = ridge.kernel_ridge(features[order] @ features[order].T, targets[order][:, ::-1], everything)
    np.testing.assert_allclose(moved.honest[:, ::-1], fit.honest[order], rtol=1e-6)


@pytest.mark.parametrize("kernel", [np.ones((15, 15)), np.zeros((15, 15))], ids=["all alike", "nothing in common"])
def test_cells_that_are_all_alike_give_the_mean(kernel, rng):
    targets = rng.normal(size=(15, 2))
    fit = ridge.kernel_ridge(kernel.copy(), targets, np.arange(15))
    np.testing.assert_allclose(kernel @ fit.coefficients + fit.intercept, np.tile(targets.mean(0), (15, 1)), atol=1e-8)
    others = (targets.sum(0) - targets) / 14
    np.testing.assert_allclose(fit.honest, others, atol=1e-8)


def test_stack_is_the_least_squares_without_negative_weights(rng):
    targets = rng.normal(size=(50, 4)) + 3
    honest = [
        targets.mean(0) + 0.5 * (targets - targets.mean(0)) + rng.normal(size=targets.shape),
        targets.mean(0) - 0.3 * (targets - targets.mean(0)) + 0.1 * rng.normal(size=targets.shape),
        rng.normal(size=targets.shape) + 3,
    ]
    empty = np.zeros(0)
    weights, mean = ridge.stack([ridge.RidgeFit(empty, empty, values, empty) for values in honest], targets)
    np.testing.assert_allclose(mean, targets.mean(0))
    for j in range(4):
        design = np.stack([values[:, j] - mean[j] for values in honest], axis=1)
        expected = lsq_linear(design, targets[:, j] - mean[j], bounds=(0, np.inf), tol=1e-12).x
        np.testing.assert_allclose(weights[:, j], expected, atol=1e-5)
    assert (weights[1] == 0).all()
