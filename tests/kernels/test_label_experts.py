from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression

from sctandem.kernels._label_experts import fit_expert_weights, fit_regressions, label_probabilities


def drawn(probabilities, rng):
    return np.array([rng.choice(len(p), p=p) for p in probabilities])


def problem(n_cells=4000, seed=0):
    """Truth by the sum of what two experts know."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(0, 1.5, (2, n_cells, 3))
    return first, second, drawn(softmax(first + second, axis=1), rng), rng


def test_weights_of_the_experts_that_labels_were_drawn_with_come_back():
    first, second, target, _ = problem(20_000)
    weights = fit_expert_weights(expit(3 * first), second / 2, target)
    np.testing.assert_allclose(weights, (1 / 3, 2), rtol=0.06)
    found = label_probabilities(expit(first), second, (1, 1))
    np.testing.assert_allclose(found, softmax(first + second, axis=1), atol=1e-4)


def test_an_expert_that_knows_nothing_has_no_weight():
    first, second, target, rng = problem()
    noise = rng.normal(0, 2, first.shape)
    assert fit_expert_weights(expit(first), noise, target)[1] < 0.03
    assert fit_expert_weights(expit(noise), second, target)[0] < 0.03


def test_a_third_expert_is_weighed_as_the_others_and_needs_no_place_at_the_start():
    first, second, _, rng = problem(20_000)
    third = rng.normal(0, 0.1, first.shape)
    target = drawn(softmax(first + second + 12 * third, axis=1), rng)
    weights = fit_expert_weights(expit(first), second / 2, target, third)
    np.testing.assert_allclose(weights, (1, 2, 12), rtol=0.06)
    found = label_probabilities(expit(first), second / 2, (1, 2, 12), third)
    np.testing.assert_allclose(found, softmax(first + second + 12 * third, axis=1), atol=1e-4)
    assert fit_expert_weights(expit(first)[:19], second[:19], target[:19], third[:19]) == (0.5, 0.5, 0)


def test_few_cells_say_nothing_of_weights():
    assert fit_expert_weights(np.full((19, 2), 0.5), np.zeros((19, 2)), np.zeros(19, dtype=int)) == (0.5, 0.5)


def test_weights_leave_the_halves_as_cells_grow_in_number():
    """Each expert is always right: without the added cells the weights would grow without end."""
    target = np.arange(4000) % 3
    lengths, logits = 0.1 + 0.8 * np.eye(3)[target], 4 * np.eye(3)[target]
    sure = []
    for n in (20, 100, 1000, 4000):
        weights = fit_expert_weights(lengths[:n], logits[:n], target[:n])
        top = label_probabilities(lengths[:1], logits[:1], weights).max()
        half = label_probabilities(lengths[:1], logits[:1], (0.5, 0.5)).max()
        assert top == pytest.approx(
            (n + 20 * half) / (n + 20), abs=2e-3
        )  # as often right as in the cells and those added
        sure.append(top)
    assert np.all(np.diff(sure) > 0)


def features(n_cells, n_labels, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    x = sparse.csr_matrix(rng.poisson(0.7, (n_cells, 30)).astype(np.float32))
    target = drawn(softmax(x @ (scale * rng.normal(size=(30, n_labels))), axis=1), rng)
    return x, target


def test_regression_is_that_of_the_penalty_under_which_heldout_cells_are_likeliest():
    x, target = features(600, 4, scale=0.4)
    held_out = np.arange(600) % 5 == 0
    losses, fits = [], []
    for penalty in (1e-3, 1e-2, 1e-1, 1.0):
        model = LogisticRegression(C=penalty, max_iter=5000, tol=1e-8).fit(x[~held_out].toarray(), target[~held_out])
        logs = model.predict_log_proba(x[held_out].toarray())
        losses.append(-logs[np.arange(held_out.sum()), target[held_out]].mean())
        fits.append(penalty)
    best = fits[int(np.argmin(losses))]
    assert 1e-3 < best < 1
    judged, used = fit_regressions(x, target, held_out, 4)
    for cells, found in ((~held_out, judged), (np.ones(600, dtype=bool), used)):
        model = LogisticRegression(C=best, max_iter=5000, tol=1e-8).fit(x[cells].toarray(), target[cells])
        expected = model.predict_log_proba(x.toarray())
        difference = np.abs(softmax(found.logits(x), axis=1) - np.exp(expected))
        assert difference.mean() < 0.005
        assert difference.max() < 0.06


def test_labels_that_only_heldout_cells_have_and_two_labels():
    x, target = features(400, 2)
    held_out = np.arange(400) % 4 == 0
    judged, _ = fit_regressions(x, target, held_out, 2)
    model = LogisticRegression(C=1.0, max_iter=5000).fit(x[~held_out].toarray(), target[~held_out])
    right = (judged.logits(x[held_out]).argmax(1) == target[held_out]).mean()
    assert right >= model.score(x[held_out].toarray(), target[held_out]) - 0.03
    moved = np.where(held_out & (np.arange(400) < 40), 2, target)
    judged, used = fit_regressions(x, moved, held_out, 3)
    assert softmax(judged.logits(x), axis=1)[:, 2].max() < 1e-3
    assert softmax(used.logits(x), axis=1)[:, 2].max() > 1e-2
