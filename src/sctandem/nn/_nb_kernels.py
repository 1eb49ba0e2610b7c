"""Compiled kernels of the negative binomial likelihood, one block of cells at a time.

With rho = log(mu / theta), softplus and sigma the logistic function,

    log p(x) = -theta softplus(rho) + x (rho - softplus(rho)) + lgamma(x + theta) - lgamma(theta) - lgamma(x + 1)
    d / d log mu = x (1 - sigma(rho)) - theta sigma(rho)
    d / d log theta = -theta softplus(rho) + theta (digamma(x + theta) - digamma(theta)) - d / d log mu

so that at x = 0 nothing but softplus and sigma is left. Every gene first gets the terms of a zero, in loops that
vectorise; the counts above zero are then put right one by one, in double precision.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from sctandem.nn._kernel import kernel
from sctandem.nn._numba_math import exp_nonpositive, gamma_ratio, log1p_unit, log_gamma

_OPTIONS = {"fastmath": {"contract", "reassoc", "nsz"}, "error_model": "numpy", "nogil": True}
N_SCRATCH = 5
_LOG_FACTORIAL = np.array([math.lgamma(x + 1) for x in range(256)])


@njit(**_OPTIONS)
def log_factorial(x):
    """Return log(x!) from a table for small whole numbers, else by Stirling's series."""
    if x < 256.0 and x == math.floor(x):
        return _LOG_FACTORIAL[int(x)]
    return log_gamma(x + 1.0)


@njit(**_OPTIONS)
def _exps(eta, top, exps):
    """Fill `exps` with exp(eta - top) of one cell; return the sum."""
    total = exps.dtype.type(0)
    for g in range(eta.shape[0]):
        e = exp_nonpositive(eta[g] - top)
        exps[g] = e
        total += e
    return total


@njit(**_OPTIONS)
def _parts_of_shares(exps, scale, per_theta, small, logs):
    """Fill exp(-|rho|) and log(1 + exp(-|rho|)) of one cell from exp(rho) = mu / theta, without a second exponential."""
    one = exps.dtype.type(1)
    for g in range(exps.shape[0]):
        ratio = exps[g] * (scale * per_theta[g])
        small[g] = one / ratio if ratio > one else ratio
    for g in range(exps.shape[0]):
        logs[g] = log1p_unit(small[g])


@njit(**_OPTIONS)
def _parts_of_rates(eta, log_theta, small, logs):
    """Fill exp(-|rho|) and log(1 + exp(-|rho|)) of one cell from rho."""
    for g in range(eta.shape[0]):
        small[g] = exp_nonpositive(-abs(eta[g] - log_theta[g]))
    for g in range(eta.shape[0]):
        logs[g] = log1p_unit(small[g])


@njit(**_OPTIONS)
def _parts(eta, top, log_library, gene, rows):
    """Fill the parts of one cell; return what is added to `eta` to give log mu, and the sum of the exponentials.

    `log_library` has the cell's, or nothing where `eta` is log mu.
    """
    log_theta, per_theta = gene[0], gene[2]
    exps, small, logs = rows
    if log_library.shape[0] == 0:
        _parts_of_rates(eta, log_theta, small, logs)
        return 0.0, exps.dtype.type(1)
    total = _exps(eta, top, exps)
    scale = math.exp(np.float64(log_library[0])) / total
    _parts_of_shares(exps, exps.dtype.type(scale), per_theta, small, logs)
    return np.float64(log_library[0]) - np.float64(top) - math.log(total), total


@njit(**_OPTIONS)
def _logistic(x, rho, small, logs):
    """Return softplus(rho), sigma(rho) and sigma(-rho) from the parts, which are made anew for a large count."""
    e, log_part = np.float64(small), np.float64(logs)
    if x > 64.0:
        e = math.exp(-abs(rho))
        log_part = math.log1p(e)
    larger = 1.0 / (1.0 + e)
    if rho > 0.0:
        return rho + log_part, larger, e * larger
    return log_part, e * larger, larger


@njit(**_OPTIONS)
def _spread(slopes, exps, scale, by_eta):
    """Fill the gradient by the logits of one cell from that by log mu: the softmax takes the shares of its sum away."""
    for g in range(slopes.shape[0]):
        by_eta[g] = slopes[g] - exps[g] * scale


@kernel(**_OPTIONS)
def nb_block(start, stop, counts, eta, gene, cell, scratch, out):
    """Fill the log-likelihood of some cells, and its gradients where there is room for them.

    Parameters
    ----------
    start, stop
        The cells.
    counts
        `indptr`, `indices` and `values` of the counts (CSR).
    eta
        Logits of the softmax or log-rates, cells x genes.
    gene
        log theta, theta and 1 / theta, then theta, log gamma(theta) and digamma(theta) in double precision.
    cell
        Weight of each cell in the gradient by log theta; largest logit of each cell and its log library size, both of
        length 0 when `eta` holds log-rates.
    scratch
        Room for the work on one cell, zeros, `N_SCRATCH` x genes.
    out
        Log-likelihood and its gradient by the log library size (cells), gradient by `eta` (cells x genes, or of length
        0 when no gradient is wanted; it may be `eta` itself) and the sum over these cells of the gradient by log theta
        (genes).
    """
    indptr, indices, values = counts
    log_theta, theta, _, wide_theta, log_gamma_theta, digamma_theta = gene
    weights, tops, log_library = cell
    likelihood, by_library, by_eta, by_theta = out
    n_genes = eta.shape[1]
    exps, small, logs, terms, slopes = scratch[0], scratch[1], scratch[2], scratch[3], scratch[4]
    zero, one = theta.dtype.type(0), theta.dtype.type(1)
    softmax, gradient = log_library.shape[0] > 0, by_eta.shape[0] > 0
    for i in range(start, stop):
        row, weight = eta[i], weights[i]
        top = tops[i] if softmax else zero
        shift, total = _parts(row, top, log_library[i : i + 1], gene, (exps, small, logs))
        near = theta.dtype.type(shift)
        log_p, slope = 0.0, 0.0
        for g in range(n_genes):
            terms[g] = -theta[g] * (max(row[g] + near - log_theta[g], zero) + logs[g])
            log_p += terms[g]
        if gradient:
            for g in range(n_genes):
                a = -theta[g] * (one if row[g] + near > log_theta[g] else small[g]) / (one + small[g])
                slopes[g] = a
                by_theta[g] += weight * (terms[g] - a)
                slope += a
        for k in range(indptr[i], indptr[i + 1]):
            g, x = indices[k], np.float64(values[k])
            if x == 0.0:
                continue
            th = wide_theta[g]
            rho = np.float64(row[g]) + shift - np.float64(log_theta[g])
            softplus, up, down = _logistic(x, rho, small[g], logs[g])
            ratio, slope_ratio = gamma_ratio(x, th, np.float64(log_theta[g]), log_gamma_theta[g], digamma_theta[g])
            log_p += -th * softplus - terms[g] + x * (rho - softplus) + ratio - log_factorial(x)
            if gradient:
                a = x * down - th * up
                by_theta[g] += weight * (th * (slope_ratio - softplus) - a - (terms[g] - slopes[g]))
                slope += a - slopes[g]
                slopes[g] = a
        likelihood[i], by_library[i] = log_p, slope
        if gradient:
            _spread(slopes, exps, theta.dtype.type(slope) / total, by_eta[i])


@njit(**_OPTIONS)
def _softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


@njit(**_OPTIONS)
def _sigmoid(x):
    e = math.exp(-abs(x))
    return (1.0 if x > 0.0 else e) / (1.0 + e)


@kernel(**_OPTIONS)
def zinb_block(start, stop, counts, eta, dropout, gene, cell, scratch, out):
    """Fill the zero-inflated log-likelihood of some cells, and its gradients where there is room for them.

    Parameters are those of `nb_block`; `dropout` holds the logit of the dropout (cells x genes), and `out` has the
    gradient by it as its fifth element.
    """
    indptr, indices, values = counts
    log_theta, theta, _, wide_theta, log_gamma_theta, digamma_theta = gene
    weights, tops, log_library = cell
    likelihood, by_library, by_eta, by_theta, by_dropout = out
    n_genes = eta.shape[1]
    exps, small, logs, terms, slopes = scratch[0], scratch[1], scratch[2], scratch[3], scratch[4]
    zero, one = theta.dtype.type(0), theta.dtype.type(1)
    softmax, gradient = log_library.shape[0] > 0, by_eta.shape[0] > 0
    for i in range(start, stop):
        row, pi, weight = eta[i], dropout[i], weights[i]
        top = tops[i] if softmax else zero
        shift, total = _parts(row, top, log_library[i : i + 1], gene, (exps, small, logs))
        near = theta.dtype.type(shift)
        log_p, slope = 0.0, 0.0
        for g in range(n_genes):
            rho = row[g] + near - log_theta[g]
            nb = -theta[g] * (max(rho, zero) + logs[g])
            t = nb - pi[g]
            e_t, e_pi = exp_nonpositive(-abs(t)), exp_nonpositive(-abs(pi[g]))
            terms[g] = max(t, zero) + log1p_unit(e_t) - max(-pi[g], zero) - log1p_unit(e_pi)
            log_p += terms[g]
            if gradient:
                w = (one if t > zero else e_t) / (one + e_t)
                a = -theta[g] * (one if rho > zero else small[g]) / (one + small[g])
                slopes[g] = w * a
                by_theta[g] += weight * w * (nb - a)
                by_dropout[i, g] = (e_pi if pi[g] > zero else one) / (one + e_pi) - w
                slope += w * a
        for k in range(indptr[i], indptr[i + 1]):
            g, x = indices[k], np.float64(values[k])
            if x == 0.0:
                continue
            th, logit = wide_theta[g], np.float64(pi[g])
            rho = np.float64(row[g]) + shift - np.float64(log_theta[g])
            softplus, up, down = _logistic(x, rho, small[g], logs[g])
            ratio, slope_ratio = gamma_ratio(x, th, np.float64(log_theta[g]), log_gamma_theta[g], digamma_theta[g])
            log_p += -th * softplus + x * (rho - softplus) + ratio - log_factorial(x) - _softplus(logit) - terms[g]
            if gradient:
                a, a_zero = x * down - th * up, -th * up
                w = _sigmoid(-th * softplus - logit)
                by_theta[g] += weight * (th * (slope_ratio - softplus) - a - w * (-th * softplus - a_zero))
                slope += a - slopes[g]
                slopes[g] = a
                by_dropout[i, g] = -_sigmoid(logit)
        likelihood[i], by_library[i] = log_p, slope
        if gradient:
            _spread(slopes, exps, theta.dtype.type(slope) / total, by_eta[i])
