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

from sctandem.nn._numba_math import exp_nonpositive, gamma_ratio, log1p_unit, log_gamma

_OPTIONS = {"fastmath": {"contract", "reassoc", "nsz"}, "error_model": "numpy", "nogil": True, "cache": True}
_LOG_FACTORIAL = np.array([math.lgamma(x + 1) for x in range(256)])


@njit(**_OPTIONS)
def log_factorial(x):
    """Return log(x!) from a table for small whole numbers, else by Stirling's series."""
    if x < 256.0 and x == math.floor(x):
        return _LOG_FACTORIAL[int(x)]
    return log_gamma(x + 1.0)


@njit(**_OPTIONS)
def _shifted(eta, bias, row):
    """Fill `row` with eta + bias of one cell."""
    for g in range(row.shape[0]):
        row[g] = eta[g] + bias[g]


@njit(**_OPTIONS)
def _softmax_shift(eta, exps):
    """Fill `exps` with exp(eta - max) of one cell; return the maximum and the sum."""
    top = eta[0]
    for g in range(eta.shape[0]):
        top = max(top, eta[g])
    total = exps.dtype.type(0)
    for g in range(eta.shape[0]):
        e = exp_nonpositive(eta[g] - top)
        exps[g] = e
        total += e
    return top, total


@njit(**_OPTIONS)
def _zero_terms(eta, log_theta, shift, small, logs):
    """Fill exp(-|rho|) and log(1 + exp(-|rho|)) of one cell."""
    for g in range(eta.shape[0]):
        e = exp_nonpositive(-abs(eta[g] + shift - log_theta[g]))
        small[g] = e
        logs[g] = log1p_unit(e)


@njit(**_OPTIONS)
def nb_block(start, stop, counts, eta, gene, cell, out, weights):
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
        log theta, theta, log gamma(theta), digamma(theta) and what is added to `eta`, of each gene.
    cell
        Log library size of each cell, of length 0 when `eta` holds log-rates.
    out
        Log-likelihood and its gradient by the log library size (cells), gradient by `eta` (cells x genes, or of length
        0 when no gradient is wanted; it may be `eta` itself) and the sum over these cells of the gradient by log theta
        (genes).
    weights
        Weight of each cell in that sum.
    """
    indptr, indices, values = counts
    log_theta, theta, log_gamma_theta, digamma_theta, bias = gene
    likelihood, by_library, by_eta, by_theta = out
    n_genes = eta.shape[1]
    row, exps, small, logs = np.empty_like(bias), np.empty_like(bias), np.empty_like(bias), np.empty_like(bias)
    zero, one = exps.dtype.type(0), exps.dtype.type(1)
    softmax, gradient = cell.shape[0] > 0, by_eta.shape[0] > 0
    for i in range(start, stop):
        _shifted(eta[i], bias, row)
        shift, total, weight = zero, one, weights[i]
        if softmax:
            top, total = _softmax_shift(row, exps)
            shift = cell[i] - top - exps.dtype.type(math.log(total))
        _zero_terms(row, log_theta, shift, small, logs)
        summed, slope = zero, zero
        if gradient:
            for g in range(n_genes):
                rho = row[g] + shift - log_theta[g]
                value = -theta[g] * (max(rho, zero) + logs[g])
                a = -theta[g] * (one if rho > zero else small[g]) / (one + small[g])
                by_eta[i, g] = a
                by_theta[g] += weight * (value - a)
                summed += value
                slope += a
        else:
            for g in range(n_genes):
                summed -= theta[g] * (max(row[g] + shift - log_theta[g], zero) + logs[g])
        log_p, a_sum = np.float64(summed), np.float64(slope)
        for k in range(indptr[i], indptr[i + 1]):
            g, x = indices[k], np.float64(values[k])
            if x == 0.0:
                continue
            rho, e = np.float64(row[g] + shift - log_theta[g]), np.float64(small[g])
            ratio, slope_ratio = gamma_ratio(
                x, np.float64(theta[g]), np.float64(log_theta[g]), log_gamma_theta[g], digamma_theta[g]
            )
            log_p += x * (min(rho, 0.0) - logs[g]) + ratio - log_factorial(x)
            if gradient:
                a = x * (e if rho > 0.0 else 1.0) / (1.0 + e)
                a_sum += a
                by_eta[i, g] += a
                by_theta[g] += weight * (theta[g] * slope_ratio - a)
        likelihood[i], by_library[i] = log_p, a_sum
        if gradient and softmax:
            scale = exps.dtype.type(a_sum) / total
            for g in range(n_genes):
                by_eta[i, g] -= exps[g] * scale


@njit(**_OPTIONS)
def _softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


@njit(**_OPTIONS)
def _sigmoid(x):
    e = math.exp(-abs(x))
    return (1.0 if x > 0.0 else e) / (1.0 + e)


@njit(**_OPTIONS)
def zinb_block(start, stop, counts, eta, dropout, gene, cell, out, weights):
    """Fill the zero-inflated log-likelihood of some cells, and its gradients where there is room for them.

    Parameters are those of `nb_block`; `dropout` holds the logit of the dropout (cells x genes), and `out` has the
    gradient by it as its fifth element.
    """
    indptr, indices, values = counts
    log_theta, theta, log_gamma_theta, digamma_theta, bias = gene
    likelihood, by_library, by_eta, by_theta, by_dropout = out
    n_genes = eta.shape[1]
    row, exps, small, logs = np.empty_like(bias), np.empty_like(bias), np.empty_like(bias), np.empty_like(bias)
    zero, one = exps.dtype.type(0), exps.dtype.type(1)
    softmax, gradient = cell.shape[0] > 0, by_eta.shape[0] > 0
    for i in range(start, stop):
        _shifted(eta[i], bias, row)
        pi, shift, total, weight = dropout[i], zero, one, weights[i]
        if softmax:
            top, total = _softmax_shift(row, exps)
            shift = cell[i] - top - exps.dtype.type(math.log(total))
        _zero_terms(row, log_theta, shift, small, logs)
        summed, slope = zero, zero
        for g in range(n_genes):
            rho = row[g] + shift - log_theta[g]
            nb = -theta[g] * (max(rho, zero) + logs[g])
            t = nb - pi[g]
            e_t, e_pi = exp_nonpositive(-abs(t)), exp_nonpositive(-abs(pi[g]))
            summed += max(t, zero) + log1p_unit(e_t) - max(-pi[g], zero) - log1p_unit(e_pi)
            if gradient:
                w = (one if t > zero else e_t) / (one + e_t)
                a = -theta[g] * (one if rho > zero else small[g]) / (one + small[g])
                by_eta[i, g] = w * a
                by_theta[g] += weight * w * (nb - a)
                by_dropout[i, g] = (e_pi if pi[g] > zero else one) / (one + e_pi) - w
                slope += w * a
        log_p, a_sum = np.float64(summed), np.float64(slope)
        for k in range(indptr[i], indptr[i + 1]):
            g, x = indices[k], np.float64(values[k])
            if x == 0.0:
                continue
            rho, e, logit, th = np.float64(row[g] + shift - log_theta[g]), np.float64(small[g]), pi[g], theta[g]
            ratio, slope_ratio = gamma_ratio(
                x, np.float64(th), np.float64(log_theta[g]), log_gamma_theta[g], digamma_theta[g]
            )
            nb = -th * (max(rho, 0.0) + logs[g])
            t = nb - logit
            log_p += nb + x * (min(rho, 0.0) - logs[g]) + ratio - log_factorial(x)
            log_p -= _softplus(logit) + _softplus(t) - _softplus(-logit)
            if gradient:
                a_zero = -th * (1.0 if rho > 0.0 else e) / (1.0 + e)
                a = a_zero + x * (e if rho > 0.0 else 1.0) / (1.0 + e)
                w = _sigmoid(t)
                a_sum += a - w * a_zero
                by_eta[i, g] = a
                by_theta[g] += weight * (nb + th * slope_ratio - a - w * (nb - a_zero))
                by_dropout[i, g] = -_sigmoid(logit)
        likelihood[i], by_library[i] = log_p, a_sum
        if gradient and softmax:
            scale = exps.dtype.type(a_sum) / total
            for g in range(n_genes):
                by_eta[i, g] -= exps[g] * scale
