"""The scalar functions against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from scipy import special

from sctandem.nn._numba_math import digamma, exp_nonpositive, gamma_of, gamma_ratio, log1p_unit, log_gamma


@njit
def over(x, out):
    for i in range(x.shape[0]):
        out[i, 0] = exp_nonpositive(x[i])
        out[i, 1] = log1p_unit(-x[i] / x.dtype.type(100))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-7), (np.float64, 1e-15)])
def test_exp_and_log1p(dtype, tolerance):
    x = -np.linspace(0, 100, 20_001, dtype=dtype) * (0.87 if dtype is np.float32 else 1)
    out = np.empty((len(x), 2), dtype)
    over(x, out)
    exact = np.exp(x.astype(np.float64))
    np.testing.assert_allclose(out[:, 0], exact, rtol=tolerance * 2)
    np.testing.assert_allclose(out[:, 1], np.log1p(-x.astype(np.float64) / 100), rtol=tolerance * 2, atol=1e-12)


def test_exp_of_very_negative_numbers_is_next_to_nothing():
    out = np.empty((2, 2), np.float32)
    over(np.array([-1000, -np.inf], np.float32), out)
    assert (out[:, 0] < 1e-37).all()
    assert (out[:, 0] >= 0).all()


@pytest.mark.parametrize("x", [1e-4, 0.3, 1.0, 1.4616, 7.99, 8.0, 123.4, 1e6])
def test_gamma_functions(x):
    np.testing.assert_allclose(log_gamma(x), special.gammaln(x), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(digamma(x), special.digamma(x), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("theta", [1e-4, 0.7, 30.0, 1e4])
@pytest.mark.parametrize("x", [1.0, 2.0, 8.0, 9.0, 2.5, 1e6])
def test_ratios(x, theta):
    log_gamma_theta, digamma_theta = np.empty(1), np.empty(1)
    gamma_of(0, 1, np.array([theta]), log_gamma_theta, digamma_theta)
    value, slope = gamma_ratio(x, theta, np.log(theta), log_gamma_theta[0], digamma_theta[0])
    np.testing.assert_allclose(value, special.gammaln(x + theta) - special.gammaln(theta), rtol=1e-9)
    np.testing.assert_allclose(slope, special.digamma(x + theta) - special.digamma(theta), rtol=1e-9)
