"""The negative binomial likelihood and its gradients in torch operations, for any device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn.functional import logsigmoid, softplus

if TYPE_CHECKING:
    from torch import Tensor


class Terms(NamedTuple):
    """Log-likelihood and gradients of a minibatch.

    Each gradient is that of the log-likelihood of the cell; `by_theta` is per cell and gene here. Gradients are tensors, or
    `None` where none were asked for.
    """

    likelihood: Tensor
    by_library: Tensor
    by_eta: Any
    by_theta: Any
    by_dropout: Any


def row_index(counts: Tensor) -> Tensor:
    """Return the row of each stored value of a CSR tensor."""
    indptr = counts.crow_indices()
    rows = torch.arange(counts.shape[0], device=counts.device)
    return torch.repeat_interleave(rows, indptr.diff().long(), output_size=counts.values().shape[0])


def _wide(tensor: Tensor) -> Tensor:
    """Return double precision where the device has it: lgamma(x + theta) - lgamma(theta) cancels for a large theta."""
    return tensor if tensor.device.type == "mps" else tensor.double()


def likelihood_terms(
    counts: Tensor,
    eta: Tensor,
    log_theta: Tensor,
    *,
    log_library: Tensor | None,
    dropout_logits: Tensor | None,
    gradient: bool,
) -> Terms:
    """Compute the log-likelihood of each cell, with lgamma at the stored counts only, and its closed-form gradients.

    Parameters
    ----------
    counts
        Sparse CSR, cells x genes.
    eta
        Log-rates, or logits of the softmax when `log_library` is given, cells x genes.
    log_theta
        Log inverse dispersion, (genes,) or cells x genes.
    log_library
        Log library size (cells,), or `None`.
    dropout_logits
        Logit of the zero inflation, cells x genes, or `None` for none.
    gradient
        Whether the gradients are wanted.

    Returns
    -------
    The terms; the gradients are `None` when they are not wanted.
    """
    log_theta = log_theta.expand_as(eta)
    theta = log_theta.exp()
    log_mu = eta if log_library is None else torch.log_softmax(eta, dim=-1) + log_library[:, None]
    rho = log_mu - log_theta
    value = -theta * softplus(rho)
    rows, genes, x = row_index(counts), counts.col_indices().long(), counts.values().to(eta.dtype)
    stored = x > 0
    rows, genes, x = rows[stored], genes[stored], x[stored]
    x_wide, theta_wide = _wide(x), _wide(log_theta[rows, genes]).exp()
    extra = torch.lgamma(x_wide + theta_wide) - torch.lgamma(theta_wide) - torch.lgamma(x_wide + 1)
    extra = (extra + x_wide * _wide(logsigmoid(rho[rows, genes]))).to(eta.dtype)
    slope = None
    if gradient:
        slope = (theta_wide * (torch.digamma(x_wide + theta_wide) - torch.digamma(theta_wide))).to(eta.dtype)
    parts = _Parts(rows, genes, x, extra, slope)
    return _combine(parts, value, rho, theta, dropout_logits, log_mu if log_library is not None else None)


class _Parts(NamedTuple):
    """The counts above zero and what they add to the terms of a zero."""

    rows: Tensor
    genes: Tensor
    x: Tensor
    extra: Tensor
    slope: Tensor | None


def _combine(
    parts: _Parts, value: Tensor, rho: Tensor, theta: Tensor, dropout: Tensor | None, log_mu: Tensor | None
) -> Terms:
    """Add the counts above zero to the terms of the zeros, in the order likelihood, gradients, softmax."""
    rows, genes, x, extra, slope = parts
    at = (rows, genes)
    if dropout is None:
        likelihood = value.sum(-1).index_add(0, rows, extra)
    else:
        mixed = softplus(value - dropout) - softplus(-dropout)
        fixed = value[at] + extra - softplus(dropout[at]) - mixed[at]
        likelihood = mixed.sum(-1).index_add(0, rows, fixed)
    if slope is None:
        return Terms(likelihood, torch.zeros_like(likelihood), None, None, None)
    by_eta = -theta * torch.sigmoid(rho)
    by_theta = value - by_eta
    raised = x * torch.sigmoid(-rho[at])
    by_dropout = None
    if dropout is None:
        by_eta.index_put_(at, raised, accumulate=True)
        by_theta.index_put_(at, slope - raised, accumulate=True)
    else:
        full, full_theta = by_eta[at] + raised, by_theta[at] + slope - raised
        share = torch.sigmoid(value - dropout)
        by_dropout = torch.sigmoid(-dropout) - share
        by_eta, by_theta = by_eta * share, by_theta * share
        by_eta[at], by_theta[at] = full, full_theta
        by_dropout[at] = -torch.sigmoid(dropout[at])
    by_library = by_eta.sum(-1)
    if log_mu is not None:
        # mu / library is the softmax itself
        by_eta = by_eta - torch.softmax(log_mu, dim=-1) * by_library[:, None]
    return Terms(likelihood, by_library, by_eta, by_theta, by_dropout)
