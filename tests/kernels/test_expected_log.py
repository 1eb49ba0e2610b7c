from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sctandem.kernels import expected_log1p


def reference(mean: float, theta: float, unit: float) -> float:
    """Sum over all counts that matter; the distribution is that of scipy."""
    distribution = stats.nbinom(theta, theta / (theta + mean))
    counts = np.arange(int(distribution.ppf(1 - 1e-12)) + 2)
    return float(distribution.pmf(counts) @ np.log1p(unit * counts))


@pytest.mark.parametrize("theta", [0.1, 0.5, 2.0, 10.0, 100.0])
@pytest.mark.parametrize("library", [200.0, 1e3, 2e4])
def test_equals_the_sum_over_counts(theta, library):
    means = np.array([1e-4, 0.01, 0.3, 2.0, 4.0, 20.0, 60.0, 400.0, 999.0, 1001.0, 2e4])
    value = expected_log1p(np.log(means / library)[None], np.full(means.size, theta), np.array([library]))
    expected = [reference(mean, theta, 1e4 / library) for mean in means]
    assert value.dtype == np.float32
    np.testing.assert_allclose(value[0], expected, rtol=1e-4, atol=1e-5)


def test_sum_and_integral_agree_where_they_meet():
    for theta in (0.1, 1.0, 100.0):
        edge = 50.0 / (1 + 1 / theta)
        sides = np.log(np.array([[edge * (1 - 1e-7), edge * (1 + 1e-7)]]))
        low, high = expected_log1p(sides, np.full(2, theta), np.ones(1), scale=1.0)[0]
        assert low == pytest.approx(high, rel=2e-5)


def test_equals_a_simulation(rng):
    mean, theta, library = 1.7, 0.8, 3000.0
    rates = rng.gamma(theta, mean / theta, 400_000)
    drawn = np.log1p(1e4 / library * rng.poisson(rates))
    value = expected_log1p(np.log([[mean / library]]), np.array([theta]), np.array([library]))[0, 0]
    assert abs(value - drawn.mean()) < 4 * drawn.std() / np.sqrt(drawn.size)


def test_library_that_varies(rng):
    rate, theta, library, spread = 1e-3, 2.0, 2000.0, 0.5
    sizes = library * np.exp(spread * rng.normal(size=400_000))
    counts = rng.poisson(rng.gamma(theta, rate / theta, sizes.size) * sizes)
    simulated = np.log1p(1e4 * counts / sizes).mean()
    arguments = (np.log([[rate]]), np.array([theta]), np.array([library]))
    assert expected_log1p(*arguments, library_sd=spread)[0, 0] == pytest.approx(simulated, rel=0.01)
    assert expected_log1p(*arguments, library_sd=spread)[0, 0] != expected_log1p(*arguments)[0, 0]


def test_never_exceeds_the_log_of_the_expectation_and_rises_with_the_rate():
    log_rate = np.linspace(-14, 0, 60)[None]
    for theta in (0.1, 1.0, 100.0):
        value = expected_log1p(log_rate, np.full(60, theta), np.array([1500.0]))[0]
        assert (value <= np.log1p(1e4 * np.exp(log_rate[0])) + 1e-5).all()
        assert (np.diff(value) > 0).all()


def test_cells_and_genes_do_not_mix(rng):
    log_rate, theta, library = rng.normal(-7, 1, (4, 3)), np.array([0.3, 1.0, 9.0]), rng.uniform(500, 5000, 4)
    whole = expected_log1p(log_rate, theta, library)
    for i in range(4):
        for j in range(3):
            alone = expected_log1p(log_rate[i : i + 1, j : j + 1], theta[j : j + 1], library[i : i + 1])
            assert whole[i, j] == alone[0, 0]
