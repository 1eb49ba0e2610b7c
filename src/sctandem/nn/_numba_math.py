"""Scalar functions for compiled kernels, in single precision by polynomials that vectorise.

`exp` and `log1p` of the C library are called one number at a time. In single precision these are polynomials
(coefficients from the Cephes library) accurate to about one unit in the last place; in double precision the C library.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, types
from numba.extending import overload

from sctandem.nn._kernel import kernel

_OPTIONS = {"fastmath": {"contract"}, "error_model": "numpy", "nogil": True}

_F = np.float32
_LOG2E, _MAGIC = _F(1.4426950408889634), _F(12582912.0)
_LN2_HI, _LN2_LO, _LN2 = _F(0.693359375), _F(-2.12194440e-4), _F(0.6931471805599453)
_EXP_LOW = _F(-87.0)
_E0, _E1, _E2 = _F(1.9875691500e-4), _F(1.3981999507e-3), _F(8.3334519073e-3)
_E3, _E4, _E5 = _F(4.1665795894e-2), _F(1.6666665459e-1), _F(5.0000001201e-1)
_L0, _L1, _L2 = _F(7.0376836292e-2), _F(-1.1514610310e-1), _F(1.1676998740e-1)
_L3, _L4, _L5 = _F(-1.2420140846e-1), _F(1.4249322787e-1), _F(-1.6668057665e-1)
_L6, _L7, _L8 = _F(2.0000714765e-1), _F(-2.4999993993e-1), _F(3.3333331174e-1)
_ONE, _HALF, _ZERO, _SPLIT = _F(1), _F(0.5), _F(0), _F(0.41421356)


def exp_nonpositive(x: float) -> float:
    """Return exp(x) for x <= 0."""
    return math.exp(x)


def log1p_unit(x: float) -> float:
    """Return log(1 + x) for 0 <= x <= 1."""
    return math.log1p(x)


def _exp_single(x):
    # below -87 the result is denormal; it is held at exp(-87) = 1.6e-38 there
    x = max(x, _EXP_LOW)
    t = x * _LOG2E + _MAGIC
    n = t - _MAGIC
    f = x - n * _LN2_HI
    f = f - n * _LN2_LO
    p = ((((_E0 * f + _E1) * f + _E2) * f + _E3) * f + _E4) * f + _E5
    p = (p * f) * f + f + _ONE
    bits = np.int32(np.int32(np.float32(t).view(np.int32) << 23) + np.int32(1065353216))
    return p * np.int32(bits).view(np.float32)


def _log1p_single(x):
    upper = x > _SPLIT
    z = _HALF * x - _HALF if upper else x
    y = z * z
    p = (((((((_L0 * z + _L1) * z + _L2) * z + _L3) * z + _L4) * z + _L5) * z + _L6) * z + _L7) * z + _L8
    r = z + (z * y * p - _HALF * y)
    return r + _LN2 if upper else r


@overload(exp_nonpositive, jit_options=_OPTIONS)
def _exp_nonpositive(x):
    if x == types.float32:
        return _exp_single
    return lambda x: math.exp(x)  # noqa: PLW0108 (numba compiles Python functions only)


@overload(log1p_unit, jit_options=_OPTIONS)
def _log1p_unit(x):
    if x == types.float32:
        return _log1p_single
    return lambda x: math.log1p(x)  # noqa: PLW0108


@njit(**_OPTIONS)
def digamma(x):
    """Return the digamma function of x > 0 in double precision, by recurrence up to 8 and the asymptotic series."""
    result = 0.0
    while x < 8.0:
        result -= 1.0 / x
        x += 1.0
    inverse = 1.0 / (x * x)
    series = 1 / 252 - inverse * (1 / 240 - inverse * (1 / 132 - inverse * (691 / 32760)))
    return result + math.log(x) - 0.5 / x - inverse * (1 / 12 - inverse * (1 / 120 - inverse * series))


@njit(**_OPTIONS)
def log_gamma(x):
    """Return log gamma of x > 0 in double precision, by recurrence up to 8 and Stirling's series."""
    product = 1.0
    while x < 8.0:
        product *= x
        x += 1.0
    inverse = 1.0 / (x * x)
    series = 1 / 1260 - inverse * (1 / 1680 - inverse * (1 / 1188 - inverse * (691 / 360360)))
    series = (1 / 12 - inverse * (1 / 360 - inverse * series)) / x
    return (x - 0.5) * math.log(x) - x + 0.9189385332046727 + series - math.log(product)


@njit(**_OPTIONS)
def gamma_ratio(x, theta, log_theta, log_gamma_theta, digamma_theta):
    """Return log(gamma(x + theta) / gamma(theta)) and digamma(x + theta) - digamma(theta), for x > 0.

    Up to 8 the counts are written out as a product, which loses nothing for a large theta.
    """
    if x == 1.0:
        return log_theta, 1.0 / theta
    if x <= 8.0 and x == math.floor(x):
        product, total = 1.0, 0.0
        for i in range(int(x)):
            product *= theta + i
            total += 1.0 / (theta + i)
        return math.log(product), total
    return log_gamma(x + theta) - log_gamma_theta, digamma(x + theta) - digamma_theta


@kernel(**_OPTIONS)
def gamma_of(start, stop, theta, logs, slopes):
    """Fill log gamma and digamma of some elements of an array in double precision."""
    for i in range(start, stop):
        logs[i], slopes[i] = log_gamma(theta[i]), digamma(theta[i])
