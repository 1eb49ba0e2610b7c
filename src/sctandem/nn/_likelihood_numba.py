"""The negative binomial likelihood and its gradients by compiled kernels, on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from sctandem._compat import product
from sctandem.nn import _nb_kernels as kernels
from sctandem.nn._likelihood_torch import Terms
from sctandem.nn._matmul import tall_product
from sctandem.nn._numba_math import gamma_of
from sctandem.nn._threads import row_blocks, run_blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

#: What the kernels take.
DTYPES = (torch.float32, torch.float64)
_CHUNK = 512
"""Cells whose logits are held at a time."""


class Extra(NamedTuple):
    """What a caller may add to the plain terms.

    `bias` is added to `eta` gene by gene; `weights` weigh the cells in the sum of the gradient by log theta; with
    `in_place` the gradient is written over `eta`.
    """

    bias: Tensor | None = None
    weights: Tensor | None = None
    in_place: bool = False


_NOTHING = Extra()


def compiled_terms(
    csr: Sequence[np.ndarray],
    eta: Tensor,
    log_theta: Tensor,
    *,
    log_library: Tensor | None,
    dropout_logits: Tensor | None,
    gradient: bool,
    extra: Extra = _NOTHING,
) -> Terms:
    """Compute what `likelihood_terms` does; `by_theta` is summed over the cells.

    Parameters
    ----------
    csr
        Row starts, columns and values of the counts, cells x genes.
    eta
        Log-rates, or logits of the softmax when `log_library` is given, cells x genes.
    log_theta
        Log inverse dispersion, (genes,).
    log_library
        Log library size (cells,), or `None`.
    dropout_logits
        Logit of the zero inflation, cells x genes, or `None` for none.
    gradient
        Whether the gradients are wanted.
    extra
        What is added.

    Returns
    -------
    The terms; gradients that are not wanted are empty.
    """
    n_cells, n_genes = eta.shape
    csr = tuple(csr)
    values = _array(eta)
    dtype = values.dtype
    blocks = row_blocks(n_cells)
    shape = (n_cells, n_genes) if gradient else (0, n_genes)
    by_eta = eta.detach() if extra.in_place and gradient else torch.empty(shape, dtype=eta.dtype)
    by_theta = np.zeros((len(blocks), n_genes), dtype)
    likelihood, by_library = np.empty(n_cells, dtype), np.empty(n_cells, dtype)
    gene = _gene_terms(_array(log_theta), _array(extra.bias) if extra.bias is not None else np.zeros(n_genes, dtype))
    library = np.empty(0, dtype) if log_library is None else _array(log_library).astype(dtype, copy=False)
    weights = np.ones(n_cells, dtype) if extra.weights is None else _array(extra.weights).astype(dtype, copy=False)
    by_dropout = None
    if dropout_logits is not None:
        dropout = _array(dropout_logits)
        by_dropout = torch.empty(shape, dtype=eta.dtype)

    def task(block: int, start: int, stop: int) -> None:
        out = (likelihood, by_library, by_eta.numpy(), by_theta[block])
        if by_dropout is None:
            kernels.nb_block(start, stop, csr, values, gene, library, out, weights)
        else:
            kernels.zinb_block(start, stop, csr, values, dropout, gene, library, (*out, by_dropout.numpy()), weights)

    run_blocks(task, blocks)
    summed = torch.from_numpy(by_theta.sum(axis=0, dtype=np.float64)).to(eta.dtype) if gradient else None
    return Terms(torch.from_numpy(likelihood), torch.from_numpy(by_library), by_eta, summed, by_dropout)


def _array(tensor: Tensor) -> np.ndarray:
    """Return a tensor as a contiguous array."""
    return np.ascontiguousarray(tensor.detach().numpy())


def _gene_terms(log_theta: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return what the kernels need of each gene; gamma functions in double precision."""
    log_theta = log_theta.astype(bias.dtype, copy=False)
    theta = np.exp(log_theta.astype(np.float64))
    log_gamma_theta, digamma_theta = gamma_of(theta)
    return log_theta, theta.astype(bias.dtype), theta, log_gamma_theta, digamma_theta, bias


class LinearTerms(NamedTuple):
    """Log-likelihood by way of a linear layer: of each cell, and the gradients of the weighted sum over cells.

    `by_hidden` and `by_library` are of each cell, without the weights.
    """

    likelihood: Tensor
    by_library: Tensor
    by_hidden: Tensor
    by_weight: Tensor
    by_bias: Tensor
    by_theta: Tensor


def linear_terms(
    csr: Sequence[np.ndarray],
    hidden: Tensor,
    log_theta: Tensor,
    *,
    weight: Tensor,
    bias: Tensor,
    log_library: Tensor | None,
    gradient: bool,
    weights: Tensor | None = None,
) -> LinearTerms:
    """Compute the likelihood of `hidden @ weight.T + bias` and its gradients, some cells at a time.

    Parameters
    ----------
    csr
        Row starts, columns and values of the counts, cells x genes.
    hidden
        Cells x units.
    log_theta
        Log inverse dispersion, (genes,).
    weight, bias
        Genes x units and (genes,).
    log_library
        Log library size (cells,), or `None` where the layer gives log-rates.
    gradient
        Whether the gradients are wanted.
    weights
        Weight of each cell; `None` for 1.

    Returns
    -------
    The terms; gradients that are not wanted are zero.
    """
    indptr, indices, values = csr
    n_cells = hidden.shape[0]
    likelihood, by_library = hidden.new_empty(n_cells), hidden.new_zeros(n_cells)
    by_hidden = torch.zeros_like(hidden)
    by_weight, by_bias = torch.zeros_like(weight), torch.zeros_like(bias)
    by_theta = torch.zeros_like(log_theta)
    for start in range(0, n_cells, _CHUNK):
        rows = slice(start, min(n_cells, start + _CHUNK))
        terms = compiled_terms(
            (indptr[start : rows.stop + 1], indices, values),
            product(hidden[rows], weight.t()),
            log_theta,
            log_library=None if log_library is None else log_library[rows],
            dropout_logits=None,
            gradient=gradient,
            extra=Extra(bias=bias, weights=None if weights is None else weights[rows], in_place=True),
        )
        likelihood[rows] = terms.likelihood
        if gradient:
            scale = torch.ones(len(terms.likelihood), dtype=hidden.dtype) if weights is None else weights[rows]
            by_library[rows] = terms.by_library
            by_hidden[rows] = product(terms.by_eta, weight)
            by_weight += tall_product(terms.by_eta, hidden[rows] if weights is None else hidden[rows] * scale[:, None])
            by_bias.addmv_(terms.by_eta.t(), scale)
            by_theta += terms.by_theta
    return LinearTerms(likelihood, by_library, by_hidden, by_weight, by_bias, by_theta)
