"""The negative binomial likelihood and its gradients by compiled kernels, on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from sctandem.nn import _nb_kernels as kernels
from sctandem.nn._likelihood_torch import Terms
from sctandem.nn._numba_math import gamma_of
from sctandem.nn._sparse import csr_parts
from sctandem.nn._threads import row_blocks, run_blocks

if TYPE_CHECKING:
    from torch import Tensor

#: What the kernels take.
DTYPES = (torch.float32, torch.float64)


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
    counts: Tensor,
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
    counts
        Sparse CSR, cells x genes.
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
    csr = csr_parts(counts)
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
