from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.linalg import subspace_angles

from sctandem.kernels import rna_factors
from sctandem.kernels._rna_factors import THETA_RANGE, dispersion

N_CELLS, N_GENES = 1500, 80


def negative_binomial(rng, mean, theta):
    return sparse.csr_matrix(rng.poisson(rng.gamma(theta, mean / theta, mean.shape)).astype(np.float32))


@pytest.fixture(name="library")
def fixture_library() -> np.ndarray:
    return np.random.default_rng(0).uniform(500, 5000, N_CELLS)


def test_dispersion_recovers_theta(library, rng):
    theta = np.repeat([0.3, 1.0, 5.0, 30.0], 20)
    rate = np.full(N_GENES, 2e-3)
    counts = negative_binomial(rng, np.outer(library, rate), theta)
    found_rate, found = dispersion(counts, library)
    np.testing.assert_allclose(found_rate, rate, rtol=0.3)
    for value in (0.3, 1.0, 5.0, 30.0):
        assert np.median(found[theta == value]) == pytest.approx(value, rel=0.3)


def test_dispersion_by_moments_equals_the_dense_formula(library, rng):
    counts = negative_binomial(rng, np.outer(library, np.full(5, 1e-3)), np.full(5, 1.0))
    rate, theta = dispersion(counts, library)
    dense = counts.toarray()
    np.testing.assert_allclose(rate, (dense.sum(0) + 0.1) / library.sum())
    mean = np.outer(library, rate)
    expected = (mean**2).sum(0) / (((dense - mean) ** 2).sum(0) - dense.sum(0))
    np.testing.assert_allclose(theta, expected, rtol=1e-5)


def test_dispersion_stays_in_its_range(library):
    rare = np.zeros((N_CELLS, 3), dtype=np.float32)
    rare[3, 1], rare[:, 2] = 500, 3  # never seen, in one cell, less variable than Poisson
    theta = dispersion(sparse.csr_matrix(rare), library)[1]
    assert theta.tolist() == [pytest.approx(theta[0]), *THETA_RANGE]
    assert THETA_RANGE[0] <= theta[0] <= THETA_RANGE[1]


@pytest.fixture(name="planted", scope="module")
def fixture_planted():
    """Counts of which two factors move the log rates, and the truth."""
    rng = np.random.default_rng(1)
    library = rng.uniform(2000, 6000, N_CELLS)
    scores = rng.normal(size=(N_CELLS, 2)) * [0.6, 0.3]
    loadings = rng.normal(size=(N_GENES, 2))
    log_mean = rng.uniform(-7.5, -5.5, N_GENES)
    counts = negative_binomial(rng, library[:, None] * np.exp(log_mean + scores @ loadings.T), np.full(N_GENES, 5.0))
    return counts, library, scores, loadings


def test_planted_factors_are_found(planted):
    counts, library, scores, loadings = planted
    found = rna_factors(counts, library, 2)
    cosines = np.cos(subspace_angles(found.scores, scores - scores.mean(0)))
    assert cosines.min() > 0.9
    assert np.cos(subspace_angles(found.loadings, loadings)).min() > 0.9


def test_loadings_are_on_the_scale_of_the_log_rate(planted):
    counts, library, scores, loadings = planted
    found = rna_factors(counts, library, 2)
    true, told = (scores - scores.mean(0)) @ loadings.T, found.scores @ found.loadings.T
    slope = (true * told).sum() / (told**2).sum()
    assert np.corrcoef(true.ravel(), told.ravel())[0, 1] > 0.8
    assert slope == pytest.approx(1, abs=0.25)


def test_strongest_factor_comes_first_and_scores_are_uncorrelated(planted):
    found = rna_factors(planted[0], planted[1], 4)
    gram = found.scores.T @ found.scores
    assert (np.diff(np.diag(gram)) < 0).all()
    np.testing.assert_allclose(gram - np.diag(np.diag(gram)), 0, atol=1e-2 * gram[0, 0])


def test_order_of_cells_and_blocks_of_genes_do_not_matter(planted, monkeypatch):
    counts, library = planted[0][:300], planted[1][:300]
    found = rna_factors(counts, library, 2)
    product = found.scores @ found.loadings.T
    order = np.random.default_rng(2).permutation(300)
    moved = rna_factors(counts[order], library[order], 2)
    np.testing.assert_allclose(moved.scores @ moved.loadings.T, product[order], atol=1e-2)
    again = rna_factors(counts, library, 2)
    np.testing.assert_array_equal(again.scores, found.scores)
    monkeypatch.setattr("sctandem.kernels._rna_factors.MAX_GENES", 50)
    fewer = rna_factors(counts, library, 2)
    assert fewer.loadings.shape == (N_GENES, 2)
    assert np.corrcoef((fewer.scores @ fewer.loadings.T).ravel(), product.ravel())[0, 1] > 0.9


def test_few_genes_and_copies_of_genes(planted):
    counts, library = planted[0], planted[1]
    assert rna_factors(counts[:, :3], library, 20).scores.shape == (N_CELLS, 2)
    copies = sparse.csr_matrix(sparse.hstack([counts[:, :2]] * 4))
    found = rna_factors(copies, library, 6)
    assert np.isfinite(found.loadings).all()
    assert np.abs(found.scores @ found.loadings.T).max() < 20
