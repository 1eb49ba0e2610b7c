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
    rows, genes, x = row_index(counts), counts.col_indices().long(), _wide(counts.values().to(eta.dtype))
    stored = x > 0
    rows, genes, x = rows[stored], genes[stored], x[stored]
    log_theta_at = _wide(log_theta[rows, genes])
    theta_at, rho_at = log_theta_at.exp(), _wide(log_mu[rows, genes]) - log_theta_at
    full = torch.lgamma(x + theta_at) - torch.lgamma(theta_at) - torch.lgamma(x + 1)
    full = full + x * logsigmoid(rho_at) - theta_at * softplus(rho_at)
    slope = by_theta = None
    if gradient:
        slope = x * torch.sigmoid(-rho_at) - theta_at * torch.sigmoid(rho_at)
        by_theta = theta_at * (torch.digamma(x + theta_at) - torch.digamma(theta_at) - softplus(rho_at)) - slope
        slope, by_theta = slope.to(eta.dtype), by_theta.to(eta.dtype)
    parts = _Parts(rows, genes, full, slope, by_theta)
    return _combine(parts, value, rho, theta, dropout_logits, eta if log_library is not None else None)


class _Parts(NamedTuple):
    """The counts above zero: log-likelihood and gradients by log mu and log theta of the plain distribution."""

    rows: Tensor
    genes: Tensor
    full: Tensor
    slope: Tensor | None
    by_theta: Tensor | None


def _combine(
    parts: _Parts, value: Tensor, rho: Tensor, theta: Tensor, dropout: Tensor | None, logits: Tensor | None
) -> Terms:
    """Put the counts above zero in the place of the zeros that the dense terms take them for."""
    rows, at = parts.rows, (parts.rows, parts.genes)
    full, zeros = parts.full, value
    if dropout is not None:
        zeros = softplus(value - dropout) - softplus(-dropout)
        full = full - softplus(_wide(dropout[at]))
    sums = zeros.sum(-1, dtype=full.dtype)
    likelihood = sums.index_add(0, rows, full - _wide(zeros[at])).to(value.dtype)
    if parts.slope is None or parts.by_theta is None:
        return Terms(likelihood, torch.zeros_like(likelihood), None, None, None)
    by_eta = -theta * torch.sigmoid(rho)
    by_theta = value - by_eta
    by_dropout = None
    if dropout is not None:
        share = torch.sigmoid(value - dropout)
        by_dropout = torch.sigmoid(-dropout) - share
        by_dropout[at] = -torch.sigmoid(dropout[at])
        by_eta, by_theta = by_eta * share, by_theta * share
    by_eta[at], by_theta[at] = parts.slope, parts.by_theta
    by_library = by_eta.sum(-1, dtype=full.dtype).to(value.dtype)
    if logits is not None:
        by_eta = by_eta - torch.softmax(logits, dim=-1) * by_library[:, None]
    return Terms(likelihood, by_library, by_eta, by_theta, by_dropout)
