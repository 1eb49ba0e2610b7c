from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import Ridge

from sctandem.kernels import Windows, _window_features, pair_features, peak_response
from sctandem.kernels._window_features import predict_baseline, sequence_summary

GENE = np.array([2, 0, 0, 2, 0, 3])
PEAK = np.array([4, 1, 0, 2, 2, 0])
DISTANCE = np.array([50, 900, -400, -7, 30, 100_000])
WIDTH = np.array([500, 600, 700, 800, 900, 1000])


@pytest.fixture(name="windows")
def fixture_windows() -> Windows:
    return Windows.build(GENE, PEAK, distance=DISTANCE, width=WIDTH, n_genes=5)


def test_pairs_are_sorted_and_numbered(windows):
    assert windows.gene.tolist() == [0, 0, 0, 2, 2, 3]
    assert windows.distance.tolist() == [-400, 30, 900, -7, 50, 100_000]
    assert windows.peak.tolist() == [0, 2, 1, 2, 4, 0]
    assert windows.width.tolist() == [700, 900, 600, 800, 500, 1000]
    assert windows.slot.tolist() == [0, 1, 2, 0, 1, 0]
    assert windows.shape == (5, 3)


def test_padding_lays_out_pairs_in_order(windows):
    padded = windows.pad(windows.distance.astype(float))
    assert padded.tolist() == [[-400, 30, 900], [0, 0, 0], [-7, 50, 0], [100_000, 0, 0], [0, 0, 0]]
    rows = windows.pad(np.column_stack([windows.peak, windows.width]))
    assert rows.shape == (5, 3, 2)
    assert rows[2].tolist() == [[2, 800], [4, 500], [0, 0]]


def test_no_pairs_at_all():
    nothing = np.zeros(0, dtype=int)
    assert Windows.build(nothing, nothing, distance=nothing, width=nothing, n_genes=3).shape == (3, 0)


def test_order_in_which_pairs_are_given_does_not_matter(windows):
    order = np.random.default_rng(0).permutation(6)
    moved = Windows.build(GENE[order], PEAK[order], distance=DISTANCE[order], width=WIDTH[order], n_genes=5)
    for name in ("gene", "peak", "slot", "distance", "width"):
        np.testing.assert_array_equal(getattr(moved, name), getattr(windows, name))


def test_response_is_relative_to_how_open_a_peak_is():
    loadings, accessibility = np.array([[1.0, -2.0], [1.0, -2.0], [1.0, -2.0]]), np.array([0.0, 1.0, 2.0])
    response = peak_response(loadings, accessibility)
    np.testing.assert_allclose(response, loadings / np.array([[0.05], [1.05], [2.05]]))
    assert np.isfinite(peak_response(np.zeros((2, 1)), np.zeros(2))).all()


def test_features_of_a_pair(windows, rng):
    response, accessibility = rng.normal(size=(5, 3)), rng.uniform(0.1, 1, 5)
    features = pair_features(windows, response, accessibility)
    assert features.dtype == np.float32
    assert features.shape == (6, 3 + 2 + 1 + 1 + 9 + 1)
    np.testing.assert_allclose(np.linalg.norm(features[:, :3], axis=1), 3, rtol=1e-5)
    np.testing.assert_allclose(features[:, 5], 2 * windows.distance / 100_000, rtol=1e-5)
    np.testing.assert_allclose(features[:, 6], np.sign(windows.distance))
    # the response of the same peak is described alike in every window
    np.testing.assert_array_equal(features[1, :5], features[3, :5])


def test_direction_does_not_depend_on_the_size_of_a_response(windows, rng):
    response, accessibility = rng.normal(size=(5, 3)), rng.uniform(0.1, 1, 5)
    features = pair_features(windows, response, accessibility)
    scaled = pair_features(windows, 7 * response, accessibility)
    np.testing.assert_allclose(scaled[:, :3], features[:, :3], rtol=1e-4)
    np.testing.assert_allclose(scaled[:, 3], features[:, 3], atol=0.02)


def test_peaks_that_never_open_have_finite_features(windows):
    features = pair_features(windows, np.zeros((5, 2)), np.zeros(5), sequence=np.zeros((5, 4)))
    assert np.isfinite(features).all()


def test_sequence_is_read_as_by_ridge_regression(rng):
    sequence, behaviour = rng.normal(size=(60, 8)), rng.normal(size=(60, 3))
    spread = (sequence - sequence.mean(0)) / sequence.std(0)
    expected = Ridge(alpha=0.6, fit_intercept=False).fit(spread, behaviour - behaviour.mean(0)).predict(spread)
    np.testing.assert_allclose(sequence_summary(sequence, behaviour), expected, atol=1e-8)
    with_constant = np.column_stack([sequence, np.ones(60)])
    np.testing.assert_allclose(sequence_summary(with_constant, behaviour), expected, atol=1e-8)


@pytest.mark.parametrize("size", [1, 40, 1 << 22])
def test_a_sparse_matrix_is_read_like_a_dense_one_and_never_made_dense_whole(rng, monkeypatch, size):
    monkeypatch.setattr(_window_features, "SEQUENCE_BLOCK", size)
    counts = rng.poisson(0.3, (60, 8)).astype(np.int32)
    counts[:, 3] = 2
    behaviour = rng.normal(size=(60, 3))
    read = []
    dense = sparse.csr_matrix.toarray
    monkeypatch.setattr(sparse.csr_matrix, "toarray", lambda self: read.append(self.shape[0]) or dense(self))
    found = sequence_summary(sparse.csr_matrix(counts), behaviour)
    assert max(read) <= max(1, size // 8)
    monkeypatch.undo()
    np.testing.assert_allclose(found, sequence_summary(counts.astype(float), behaviour), atol=1e-10)
    kept = np.delete(counts.astype(float), 3, axis=1)
    spread = (kept - kept.mean(0)) / kept.std(0)
    expected = Ridge(alpha=0.6, fit_intercept=False).fit(spread, behaviour - behaviour.mean(0)).predict(spread)
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_sequence_adds_columns(windows, rng):
    response, accessibility = rng.normal(size=(5, 3)), rng.uniform(0.1, 1, 5)
    without = pair_features(windows, response, accessibility)
    features = pair_features(windows, response, accessibility, sequence=rng.normal(size=(5, 4)))
    assert features.shape[1] == without.shape[1] + 5
    np.testing.assert_array_equal(features[:, :5], without[:, :5])


def test_baseline_reads_learned_genes_only_and_follows_openness(rng):
    n = 80
    accessibility = rng.gamma(1.0, 1.0, n)
    windows = Windows.build(np.arange(n), np.arange(n), distance=np.full(n, 100), width=np.full(n, 500), n_genes=n)
    log_mean = -8 + 2 * np.log1p(accessibility) + 0.1 * rng.normal(size=n)
    learned = np.arange(n) < 60
    predicted = predict_baseline(windows, accessibility, log_mean, learned)
    assert np.corrcoef(predicted[~learned], log_mean[~learned])[0, 1] > 0.95
    hidden = np.where(learned, log_mean, 99.0)
    np.testing.assert_array_equal(predict_baseline(windows, accessibility, hidden, learned), predicted)
