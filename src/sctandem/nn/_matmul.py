"""A differentiable matrix product that is quick on every processor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable

from sctandem._compat import product

if TYPE_CHECKING:
    from torch import Tensor


class _Product(torch.autograd.Function):
    """a b, with both gradients."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return product(a.detach(), b.detach())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = ctx.saved_tensors
        by_a = product(grad, b.t()) if ctx.needs_input_grad[0] else None
        by_b = tall_product(a, grad) if ctx.needs_input_grad[1] else None
        return by_a, by_b


def tall_product(a: Tensor, b: Tensor) -> Tensor:
    """Return a' b, with the wider of the two on the right, where it need not be copied."""
    if a.shape[1] > b.shape[1]:
        return product(b.t(), a).t().contiguous()
    return product(a.t(), b)


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """Multiply two dense matrices.

    Parameters
    ----------
    a, b
        Matrices of n x k and k x m.

    Returns
    -------
    n x m, differentiable once.

    Notes
    -----
    In single precision on the CPU this is oneDNN, up to four times faster than `a @ b` on AMD processors; anything else
    is `a @ b`.

    Examples
    --------
    >>> import torch
    >>> from sctandem.nn import matmul
    >>> matmul(torch.eye(2), torch.ones(2, 3)).shape
    torch.Size([2, 3])
    """
    return _Product.apply(a, b)
