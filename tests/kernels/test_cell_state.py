from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData
from scipy import sparse

from sctandem.kernels import fit_cell_state
from sctandem.kernels._atac_views import DAMP, ChiView, log_view, truncated_svd
from sctandem.kernels._ridge import kernel_ridge, stack

N_CELLS, N_PEAKS = 90, 120


@pytest.fixture(name="counts")
def fixture_counts() -> sparse.csr_matrix:
    """Two kinds of cells of various depths, with a peak and a cell without counts."""
    rng = np.random.default_rng(0)
    rate = rng.gamma(0.5, 0.6, (2, N_PEAKS))[np.arange(N_CELLS) % 2] * rng.uniform(0.5, 2, (N_CELLS, 1))
    counts = rng.poisson(rate)
    counts[:, 5] = 0
    counts[7] = 0
    return sparse.csr_matrix(counts.astype(np.float32))


@pytest.fixture(name="targets")
def fixture_targets() -> np.ndarray:
    rng = np.random.default_rng(1)
    kind = np.arange(N_CELLS) % 2
    return np.column_stack([kind + 0.3 * rng.normal(size=N_CELLS), rng.normal(size=N_CELLS)])


def chi_residuals(counts: sparse.csr_matrix, reference: sparse.csr_matrix) -> np.ndarray:
    """The formula of the docstring, dense."""
    opened, known = counts.toarray() > 0, reference.toarray() > 0
    share = known.sum(0) / known.sum()
    n = np.maximum(opened.sum(1), 1)[:, None]
    depth = np.median(np.maximum(known.sum(1), 1))
    return (opened - n * share) * np.sqrt(depth / n) / np.sqrt(depth * share + DAMP)


def test_log_view_equals_scanpy(counts):
    adata = AnnData(counts[8:].copy())
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    np.testing.assert_allclose(log_view(counts)[8:].toarray(), adata.X.toarray(), rtol=1e-5)
    assert log_view(counts)[7].nnz == 0  # the cell without counts
    assert log_view(counts).dtype == np.float32


def test_log_view_does_not_depend_on_depth(counts):
    np.testing.assert_allclose(log_view(counts * 7).toarray(), log_view(counts).toarray(), rtol=1e-5)


def test_chi_view_equals_the_dense_formula(counts):
    view = ChiView.fit(counts[:50])
    part, level = view(counts)
    np.testing.assert_allclose(
        part.toarray() - np.outer(level, view.mean), chi_residuals(counts, counts[:50]), atol=1e-5
    )


def test_squared_chi_residuals_add_up_to_the_statistic(counts):
    """For cells of one depth and without the damping, this is Pearson's statistic over the shares of the peaks."""
    rng = np.random.default_rng(0)
    opened = np.zeros((30, 25))
    for row in opened:
        row[rng.choice(25, 8, replace=False)] = 1
    view = ChiView.fit(sparse.csr_matrix(opened))
    part, level = view(sparse.csr_matrix(opened))
    found = ((part.toarray() - np.outer(level, view.mean)) ** 2).sum()
    expected = 8 * opened.sum(0) / opened.sum()
    assert found == pytest.approx(((opened - expected) ** 2 / (expected + DAMP)).sum(), rel=1e-5)


def test_truncated_svd_equals_numpy(counts):
    coordinates, loadings = truncated_svd(counts, 6)
    left, values, right = np.linalg.svd(counts.toarray().astype(np.float64), full_matrices=False)
    np.testing.assert_allclose(np.abs(coordinates), np.abs(left[:, :6] * values[:6]), atol=1e-6)
    np.testing.assert_allclose(np.abs(loadings), np.abs(right[:6].T), atol=1e-6)
    np.testing.assert_allclose(counts @ loadings, coordinates, atol=1e-6)
    assert (loadings.sum(0) > 0).all()
    other = truncated_svd(counts, 6, rng=9)
    np.testing.assert_allclose(other[0], coordinates, atol=1e-6)


def test_truncated_svd_of_a_small_matrix_gives_what_there_is(counts):
    assert truncated_svd(counts[:, :10], 50)[0].shape == (N_CELLS, 9)


@pytest.fixture(name="fitted")
def fixture_fitted(counts, targets):
    return fit_cell_state(counts, targets, n_components=8)


def test_prediction_equals_the_stack_of_dense_kernels(counts, targets, fitted):
    """Three kernels laid out in full, with nothing folded into weights of the peaks."""
    state, honest = fitted
    logs, chi = log_view(counts).toarray().astype(np.float64), chi_residuals(counts, counts)
    components = logs @ state.loadings
    distances = ((components[:, None] - components[None]) ** 2).sum(-1)
    bandwidth = np.median(distances[distances > 0])
    assert state.bandwidth[0] == pytest.approx(bandwidth, rel=1e-5)
    kernels = [logs @ logs.T, chi @ chi.T, np.exp(-distances / bandwidth)]
    fits = [kernel_ridge(kernel.copy(), targets, np.arange(N_CELLS)) for kernel in kernels]
    weights, mean = stack(fits, targets)
    expected = mean + sum(
        (kernel @ fit.coefficients + fit.intercept - mean) * weight
        for kernel, fit, weight in zip(kernels, fits, weights, strict=True)
    )
    left_out = mean + sum((fit.honest - mean) * weight for fit, weight in zip(fits, weights, strict=True))
    low, high = left_out.min(axis=0), left_out.max(axis=0)
    assert ((expected < low) | (expected > high)).any()  # something is to be brought back
    np.testing.assert_allclose(state.predict(counts), np.clip(expected, low, high), atol=1e-4)
    np.testing.assert_allclose(honest, left_out, atol=1e-4)


def test_a_rare_type_is_read():
    """Five cells of 1,000 whose target lies six away from all others, and five more of their kind that are new."""
    rng = np.random.default_rng(0)
    rare = np.arange(1010) >= 1000
    rare[:5] = True
    rate = np.where(rare[:, None], np.roll(rng.gamma(0.5, 0.6, N_PEAKS), 7), rng.gamma(0.5, 0.6, N_PEAKS))
    counts = sparse.csr_matrix(rng.poisson(rate).astype(np.float32))
    target = 6.0 * rare[:, None] + 0.3 * rng.normal(size=(1010, 1))
    state, _ = fit_cell_state(counts[:1000], target[:1000], n_components=10)
    found = state.predict(counts)[:, 0]
    assert found[1000:].mean() > 3
    assert abs(found[5:1000].mean()) < 0.2


def test_state_of_a_cell_does_not_depend_on_the_others(counts, fitted, monkeypatch):
    state = fitted[0]
    whole = state.predict(counts)
    order = np.random.default_rng(3).permutation(N_CELLS)
    np.testing.assert_allclose(state.predict(counts[order]), whole[order], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(state.predict(counts[4:5]), whole[4:5], rtol=1e-6, atol=1e-9)
    monkeypatch.setattr("sctandem.kernels._cell_state.BLOCK", 13)
    np.testing.assert_allclose(state.predict(counts), whole, rtol=1e-6, atol=1e-9)


def test_order_of_training_cells_and_peaks_does_not_matter(counts, targets, fitted):
    state, honest = fitted
    cells, peaks = np.random.default_rng(3).permutation(N_CELLS), np.random.default_rng(4).permutation(N_PEAKS)
    moved, moved_honest = fit_cell_state(counts[cells][:, peaks], targets[cells], n_components=8)
    np.testing.assert_allclose(moved.predict(counts[:, peaks]), state.predict(counts), atol=1e-3)
    np.testing.assert_allclose(moved_honest, honest[cells], atol=1e-3)


def test_components_of_training_cells_are_standardised(counts, fitted):
    components = fitted[0].components(counts)
    np.testing.assert_allclose(components.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(components.std(0), 1, atol=1e-5)


def test_honest_predictions_do_not_believe_in_noise(counts, targets, fitted):
    state, honest = fitted
    assert np.corrcoef(honest[:, 0], targets[:, 0])[0, 1] > 0.7
    assert abs(np.corrcoef(honest[:, 1], targets[:, 1])[0, 1]) < 0.3
    assert honest[:, 1].std() < 0.5 * targets[:, 1].std()


def test_unseen_cells_are_read_as_well_as_honest_predictions_say():
    rng = np.random.default_rng(5)
    position = rng.uniform(size=400)
    bump = np.exp(-((position[:, None] - np.linspace(0, 1, 100)) ** 2) / 0.05)
    counts = sparse.csr_matrix(rng.poisson(0.3 * bump).astype(np.float32))
    target = np.column_stack([np.sin(6 * position) + 0.3 * rng.normal(size=400)])
    state, honest = fit_cell_state(counts[:250], target[:250], n_components=10)
    told = np.corrcoef(honest[:, 0], target[:250, 0])[0, 1]
    found = np.corrcoef(state.predict(counts[250:])[:, 0], target[250:, 0])[0, 1]
    assert found > 0.8
    assert found == pytest.approx(told, abs=0.08)


def test_landmarks_come_near_all_cells(counts, targets, fitted):
    state, _ = fit_cell_state(counts, targets, n_components=8, n_landmarks=70, rng=0)
    assert len(state.landmarks) == 70
    assert np.corrcoef(state.predict(counts)[:, 0], fitted[0].predict(counts)[:, 0])[0, 1] > 0.95
    again, _ = fit_cell_state(counts, targets, n_components=8, n_landmarks=70, rng=0)
    np.testing.assert_array_equal(again.landmarks, state.landmarks)
    other, _ = fit_cell_state(counts, targets, n_components=8, n_landmarks=70, rng=1)
    assert not np.array_equal(other.landmarks, state.landmarks)


def test_directions_that_training_cells_lack_are_not_blown_up(targets):
    """Copies of three cells span three components: the others are zero, in every cell."""
    rng = np.random.default_rng(0)
    counts = sparse.csr_matrix(rng.poisson(1.0, (3, 40))[np.arange(N_CELLS) % 3].astype(np.float32))
    state, _ = fit_cell_state(counts, targets, n_components=10)
    query = sparse.csr_matrix(rng.poisson(1.0, (20, 40)).astype(np.float32))
    assert state.loadings.shape == (40, 3)
    assert np.abs(state.components(query)).max() < 100
    assert np.isfinite(state.predict(query)).all()


def test_cells_that_are_all_alike_give_the_mean(targets):
    counts = sparse.csr_matrix(np.ones((N_CELLS, 30), dtype=np.float32))
    state, honest = fit_cell_state(counts, targets, n_components=5)
    assert np.isfinite(honest).all()
    np.testing.assert_allclose(state.predict(counts), np.tile(targets.mean(0), (N_CELLS, 1)), atol=1e-6)
