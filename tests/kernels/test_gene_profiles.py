from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import sparse, stats

from sctandem.kernels import gene_profiles, whiten

N_CELLS = 1200


@pytest.fixture(name="cells")
def fixture_cells() -> tuple[np.ndarray, np.ndarray]:
    """Library sizes, and three correlated functions of the cells."""
    rng = np.random.default_rng(0)
    library = rng.uniform(500, 4000, N_CELLS)
    basis = rng.normal(size=(N_CELLS, 3)) @ np.array([[1.0, 0.5, 0], [0, 2.0, 0.3], [0, 0, 0.5]]) + 3
    return library, basis


def test_whitening_gives_the_identity(cells):
    library, basis = cells
    mean, matrix = whiten(basis, library)
    white = (basis - mean) @ matrix
    np.testing.assert_allclose(np.average(white, axis=0, weights=library), 0, atol=1e-10)
    np.testing.assert_allclose(np.cov(white.T, aweights=library, ddof=0), np.eye(3), atol=1e-10)


def test_whitening_changes_white_functions_least(cells):
    """The symmetric root: what is white already stays where it is."""
    library, basis = cells
    mean, matrix = whiten(basis, library)
    np.testing.assert_allclose(whiten((basis - mean) @ matrix, library)[1], np.eye(3), atol=1e-8)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)


def test_whitening_of_a_function_that_repeats_stays_finite(cells):
    library, basis = cells
    matrix = whiten(np.column_stack([basis, basis[:, 0]]), library)[1]
    assert np.isfinite(matrix).all()
    assert np.linalg.cond(matrix) < 1e4


def test_planted_slopes_equal_those_of_a_poisson_regression(cells, rng):
    library, basis = cells
    mean, matrix = whiten(basis, library)
    white = (basis - mean) @ matrix
    slopes = rng.normal(size=(6, 3)) * 0.15
    rate = np.exp(rng.uniform(-7.5, -6, 6))
    counts = rng.poisson(library[:, None] * rate * np.exp(white @ slopes.T))
    known = counts.sum(0) / library.sum()
    found = gene_profiles(
        sparse.csr_matrix(counts.astype(np.float32)), library, white, rate=known, theta=np.full(6, 1e8)
    )
    for gene in range(6):
        fit = sm.GLM(
            counts[:, gene], sm.add_constant(white), family=sm.families.Poisson(), offset=np.log(library)
        ).fit()
        np.testing.assert_allclose(found.target[gene], fit.params[1:], atol=0.06)
        np.testing.assert_allclose(1 / np.sqrt(found.information[gene]), fit.bse[1:], rtol=0.15)
    z = (found.target - slopes) * np.sqrt(found.information)[:, None]
    assert np.abs(z).max() < 4


def test_profile_is_the_score_over_the_information(cells, rng):
    """Derivatives of scipy's log-likelihood at constant rates, by differences."""
    library, basis = cells
    mean, matrix = whiten(basis, library)
    white = (basis - mean) @ matrix
    theta, rate = 2.0, 1e-3
    counts = rng.negative_binomial(theta, theta / (theta + library * rate))
    found = gene_profiles(
        sparse.csr_matrix(counts[:, None].astype(np.float32)),
        library,
        white,
        rate=np.array([rate]),
        theta=np.array([theta]),
    )

    def likelihood(change):
        expected = library * rate * np.exp(change)
        return stats.nbinom.logpmf(counts, theta, theta / (theta + expected)).sum()

    step = 1e-4
    for k in range(3):
        slope = (likelihood(step * white[:, k]) - likelihood(-step * white[:, k])) / (2 * step)
        assert found.information[0] * found.target[0, k] == pytest.approx(slope, rel=1e-3, abs=1e-3)
    expected = library * rate
    assert found.information[0] == pytest.approx((expected * theta / (theta + expected)).sum())


def test_profiles_under_the_null_have_the_stated_error(cells, rng):
    library, basis = cells
    mean, matrix = whiten(basis, library)
    rate, theta = np.full(300, 1.5e-3), np.full(300, 3.0)
    expected = np.outer(library, rate)
    counts = sparse.csr_matrix(rng.poisson(rng.gamma(theta, expected / theta)).astype(np.float32))
    found = gene_profiles(counts, library, (basis - mean) @ matrix, rate=rate, theta=theta)
    z = found.target * np.sqrt(found.information)[:, None]
    assert z.std() == pytest.approx(1, abs=0.1)
    assert abs(z.mean()) < 0.15


def test_blocks_do_not_matter(cells, rng, monkeypatch):
    library, basis = cells
    counts = sparse.csr_matrix(rng.poisson(0.5, (N_CELLS, 7)).astype(np.float32))
    arguments = {"rate": np.full(7, 3e-4), "theta": np.full(7, 1.0)}
    whole = gene_profiles(counts, library, basis, **arguments)
    monkeypatch.setattr("sctandem.kernels._gene_profiles.BLOCK", 3)
    np.testing.assert_allclose(gene_profiles(counts, library, basis, **arguments).target, whole.target)
