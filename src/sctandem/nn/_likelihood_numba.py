"""The negative binomial likelihood and its gradients by compiled kernels, on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from sctandem._compat import product
from sctandem.nn import _nb_kernels as kernels
from sctandem.nn._likelihood_torch import Terms
from sctandem.nn._numba_math import gamma_of
from sctandem.nn._threads import row_blocks, run_blocks, torch_on_one_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

#: What the kernels take.
DTYPES = (torch.float32, torch.float64)
_CHUNK = 256
"""Cells whose logits a thread holds at a time."""
_LEAST, _MOST_GROUPS = 64, 8
"""Fewest cells worth a thread, and most sums of the gradients (genes x units each)."""


def compiled_terms(
    csr: Sequence[np.ndarray],
    eta: Tensor,
    log_theta: Tensor,
    *,
    log_library: Tensor | None,
    dropout_logits: Tensor | None,
    gradient: bool,
    weights: Tensor | None = None,
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
    weights
        Weight of each cell in `by_theta`; `None` for 1.

    Returns
    -------
    The terms; gradients that are not wanted are empty.
    """
    n_cells, n_genes = eta.shape
    csr, values = tuple(csr), _array(eta)
    dtype = values.dtype
    blocks = row_blocks(n_cells)
    shape = (n_cells, n_genes) if gradient else (0, n_genes)
    by_eta = torch.empty(shape, dtype=eta.dtype)
    by_theta = np.zeros((len(blocks), n_genes), dtype)
    likelihood, by_library = np.empty(n_cells, dtype), np.empty(n_cells, dtype)
    gene = _gene_terms(_array(log_theta), dtype)
    by_dropout = None
    if dropout_logits is not None:
        dropout = _array(dropout_logits)
        by_dropout = torch.empty(shape, dtype=eta.dtype)

    cell = (_weights(weights, n_cells, dtype), _tops(eta, log_library), _library(log_library, dtype))

    def task(block: int, start: int, stop: int) -> None:
        out = (likelihood, by_library, by_eta.numpy(), by_theta[block])
        scratch = _scratch(n_genes, dtype)
        if by_dropout is None:
            kernels.nb_block(start, stop, csr, values, gene, cell, scratch, out)
        else:
            kernels.zinb_block(start, stop, csr, values, dropout, gene, cell, scratch, (*out, by_dropout.numpy()))

    run_blocks(task, blocks)
    summed = torch.from_numpy(by_theta.sum(axis=0, dtype=np.float64)).to(eta.dtype) if gradient else None
    return Terms(torch.from_numpy(likelihood), torch.from_numpy(by_library), by_eta, summed, by_dropout)


def _array(tensor: Tensor) -> np.ndarray:
    """Return a tensor as a contiguous array."""
    return np.ascontiguousarray(tensor.detach().numpy())


def _scratch(n_genes: int, dtype: np.dtype) -> np.ndarray:
    """Return room for the work of a kernel on one cell."""
    return np.zeros((kernels.N_SCRATCH, n_genes), dtype)


def _library(log_library: Tensor | None, dtype: np.dtype) -> np.ndarray:
    """Return the log library size of each cell, or nothing."""
    return np.empty(0, dtype) if log_library is None else _array(log_library).astype(dtype, copy=False)


def _weights(weights: Tensor | None, n_cells: int, dtype: np.dtype) -> np.ndarray:
    """Return the weight of each cell."""
    return np.ones(n_cells, dtype) if weights is None else _array(weights).astype(dtype, copy=False)


def _tops(eta: Tensor, log_library: Tensor | None) -> np.ndarray:
    """Return the largest logit of each cell, which the softmax subtracts, or nothing: in torch, where it vectorises."""
    return _array(eta.new_empty(0) if log_library is None else eta.detach().amax(1))


def _gene_terms(log_theta: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """Return what the kernels need of each gene; gamma functions in double precision."""
    wide = log_theta.astype(np.float64)
    theta = np.exp(wide)
    # held below what overflows: a ratio of mu to theta beyond it is as good as infinite
    per_theta = np.minimum(np.exp(-wide), np.sqrt(np.finfo(dtype).max))
    log_gamma_theta, digamma_theta = np.empty_like(theta), np.empty_like(theta)
    gamma_of(0, len(theta), theta, log_gamma_theta, digamma_theta)
    return (
        log_theta.astype(dtype, copy=False),
        theta.astype(dtype),
        per_theta.astype(dtype),
        theta,
        log_gamma_theta,
        digamma_theta,
    )


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
    indptr, indices, values_of_counts = csr
    hidden, weight, bias, log_theta = (tensor.detach() for tensor in (hidden, weight, bias, log_theta))
    n_cells, dtype = hidden.shape[0], _array(hidden).dtype
    likelihood, by_library = np.empty(n_cells, dtype), np.zeros(n_cells, dtype)
    by_hidden = torch.zeros_like(hidden)
    gene, library = _gene_terms(_array(log_theta), dtype), _library(log_library, dtype)
    cell_weights = _weights(weights, n_cells, dtype)
    groups = _groups(n_cells)
    sums: list[tuple[Tensor, Tensor, Tensor]] = [(weight.new_zeros(()), bias.new_zeros(()), bias.new_zeros(()))] * len(
        groups
    )

    def piece(rows: slice, by_theta: np.ndarray, scratch: np.ndarray) -> Tensor:
        """Fill the terms of some cells; return the gradient by their logits."""
        eta = product(hidden[rows], weight.t(), bias)
        values = _array(eta)
        counts = (indptr[rows.start : rows.stop + 1], indices, values_of_counts)
        cell = (cell_weights[rows], _tops(eta, log_library), library[rows])
        by_eta = values if gradient else values[:0]
        out = (likelihood[rows], by_library[rows], by_eta, by_theta)
        kernels.nb_block(0, len(eta), counts, values, gene, cell, scratch, out)
        return eta

    def task(group: int, start: int, stop: int) -> None:
        by_theta, scratch = np.zeros(len(bias), dtype), _scratch(len(bias), dtype)
        by_weight, by_bias = sums[group][:2]
        for ends in _cut(start, stop, -(-(stop - start) // _CHUNK)):
            rows = slice(*ends)
            by_eta = piece(rows, by_theta, scratch)
            if gradient:
                by_hidden[rows] = product(by_eta, weight)
                each = torch.from_numpy(cell_weights[rows])
                weighted = hidden[rows] if weights is None else hidden[rows] * each[:, None]
                by_weight = _added(by_weight, product(weighted.t(), by_eta))
                by_bias = _added(by_bias, each @ by_eta)
            del by_eta  # before the next is made
        sums[group] = by_weight, by_bias, torch.from_numpy(by_theta)

    # the products run in single precision whatever autocast says, and in any thread
    with torch_on_one_thread(), torch.autocast("cpu", enabled=False):
        run_blocks(task, groups)
    # in the order of the groups, so that the sums do not depend on which thread came first
    by_weight, by_bias, by_theta = sums[0]
    for i in range(1, len(sums)):
        by_weight, by_bias, by_theta = map(_added, (by_weight, by_bias, by_theta), sums[i])
        sums[i] = sums[0]
    return LinearTerms(
        torch.from_numpy(likelihood),
        torch.from_numpy(by_library),
        by_hidden,
        by_weight.t() if gradient else torch.zeros_like(weight),
        by_bias if gradient else torch.zeros_like(bias),
        by_theta,
    )


def _added(total: Tensor, part: Tensor) -> Tensor:
    """Add a part to a total in place; the first part is the total."""
    return total.add_(part) if total.ndim else part


def _groups(n_cells: int) -> list[tuple[int, int]]:
    """Cut cells into groups by their number only; each sums its gradients by itself, so that there are but a few."""
    return _cut(0, n_cells, max(1, min(4, n_cells // _LEAST), min(_MOST_GROUPS, n_cells // _CHUNK)))


def _cut(start: int, stop: int, n_parts: int) -> list[tuple[int, int]]:
    """Cut a range into parts of nearly the same length."""
    edges = [start + (stop - start) * i // n_parts for i in range(n_parts + 1)]
    return list(zip(edges[:-1], edges[1:], strict=True))
