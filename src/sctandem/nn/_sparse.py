"""Sparse CSR tensors, and a linear layer that reads them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.autograd.function import once_differentiable

from sctandem._compat import csr_tensor
from sctandem.nn._kernel import kernel
from sctandem.nn._threads import row_blocks, run_blocks

if TYPE_CHECKING:
    from scipy import sparse
    from torch import Tensor

_OPTIONS = {"fastmath": {"contract"}, "error_model": "numpy", "nogil": True}


def scipy_to_csr(matrix: sparse.csr_matrix, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Turn a scipy CSR matrix into a torch CSR tensor.

    Parameters
    ----------
    matrix
        The matrix; its arrays are shared where their types already fit.
    dtype
        Type of the values.

    Returns
    -------
    Sparse CSR tensor of the same shape.
    """
    index = np.int32 if matrix.nnz < 2**31 else np.int64
    indptr = torch.from_numpy(np.ascontiguousarray(matrix.indptr, dtype=index))
    indices = torch.from_numpy(np.ascontiguousarray(matrix.indices, dtype=index))
    return csr_tensor(indptr, indices, torch.from_numpy(np.ascontiguousarray(matrix.data)).to(dtype), matrix.shape)


def dense_to_csr(tensor: Tensor) -> Tensor:
    """Turn a dense tensor into a CSR tensor on the same device, without gradient.

    Parameters
    ----------
    tensor
        Rows x columns.

    Returns
    -------
    The same values as CSR.
    """
    tensor = tensor.detach()
    rows, columns = tensor.nonzero(as_tuple=True)
    per_row = torch.bincount(rows, minlength=tensor.shape[0])
    indptr = torch.cat([per_row.new_zeros(1), per_row.cumsum(0)]).int()
    return csr_tensor(indptr, columns.int(), tensor[rows, columns], tensor.shape)


def csr_parts(tensor: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return `indptr`, `indices` and `values` of a CSR tensor on the CPU as numpy arrays, without copies where possible."""
    index = np.int32 if tensor.values().shape[0] < 2**31 else np.int64
    values = tensor.values().detach()
    if values.dtype not in {torch.float32, torch.float64}:
        values = values.float()
    return (
        tensor.crow_indices().numpy().astype(index, copy=False),
        tensor.col_indices().numpy().astype(index, copy=False),
        values.numpy(),
    )


def map_values(tensor: Tensor, function: Any) -> Tensor:
    """Apply an elementwise function that keeps zero (such as `torch.log1p`) to the stored values of a CSR tensor.

    Parameters
    ----------
    tensor
        CSR or dense.
    function
        From a tensor to a tensor.

    Returns
    -------
    Of the same layout.
    """
    if tensor.layout is not torch.sparse_csr:
        return function(tensor)
    return csr_tensor(tensor.crow_indices(), tensor.col_indices(), function(tensor.values()), tensor.shape)


def map_by_row(tensor: Tensor, by: Tensor, function: Any) -> Tensor:
    """Apply a function that keeps zero to the stored values of a CSR tensor, each beside a number of its row.

    Parameters
    ----------
    tensor
        Rows x columns, CSR or dense.
    by
        A number for each row, (rows,).
    function
        From the values and, of a shape that goes with them, the numbers of their rows to the new values.

    Returns
    -------
    Of the same layout.
    """
    if tensor.layout is not torch.sparse_csr:
        return function(tensor, by[:, None])
    rows = torch.repeat_interleave(by, tensor.crow_indices().long().diff())
    return map_values(tensor, lambda values: function(values, rows))


def row_sums(tensor: Tensor) -> Tensor:
    """Return the sum of each row.

    Parameters
    ----------
    tensor
        Rows x columns, CSR or dense.

    Returns
    -------
    The sums, (rows,).
    """
    if tensor.layout is not torch.sparse_csr:
        return tensor.sum(-1)
    values = tensor.values()
    if values.device.type == "cpu":
        return torch.segment_reduce(values, "sum", offsets=tensor.crow_indices().long(), initial=0)
    totals = torch.zeros(
        tensor.shape[0] + 1, dtype=torch.float64 if values.is_cuda else values.dtype, device=values.device
    )
    ends = torch.cat([totals[:1], values.to(totals.dtype).cumsum(0)])
    return ends[tensor.crow_indices().long()].diff().to(values.dtype)


@kernel(**_OPTIONS)
def _product_block(start, stop, csr, weight, bias, out):
    """Fill rows start..stop of X W + b; four stored values at a time, so that a row of the result is read less often."""
    indptr, indices, values = csr
    n_out = weight.shape[1]
    for i in range(start, stop):
        row = out[i]
        for j in range(n_out):
            row[j] = bias[j]
        k, end = indptr[i], indptr[i + 1]
        while k + 3 < end:
            x0, x1, x2, x3 = values[k], values[k + 1], values[k + 2], values[k + 3]
            w0, w1 = weight[indices[k]], weight[indices[k + 1]]
            w2, w3 = weight[indices[k + 2]], weight[indices[k + 3]]
            for j in range(n_out):
                row[j] += x0 * w0[j] + x1 * w1[j] + x2 * w2[j] + x3 * w3[j]
            k += 4
        while k < end:
            x0, w0 = values[k], weight[indices[k]]
            for j in range(n_out):
                row[j] += x0 * w0[j]
            k += 1


@kernel(**_OPTIONS)
def _transpose_block(start, stop, csr, starts, place, moved):
    """Fill the parts of the transpose of some rows (a counting sort by column); `starts` and `place` begin with zeros."""
    indptr, indices, values = csr
    to_rows, to_values = moved
    for k in range(indptr[start], indptr[stop]):
        starts[indices[k] + 1] += 1
    for g in range(place.shape[0]):
        starts[g + 1] += starts[g]
        place[g] = starts[g]
    for i in range(start, stop):
        for k in range(indptr[i], indptr[i + 1]):
            to = place[indices[k]]
            place[indices[k]] = to + 1
            to_rows[to], to_values[to] = i, values[k]


def _transpose(csr: tuple[np.ndarray, ...], n_columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the parts of the transpose."""
    indptr, indices, values = csr
    starts, place = (np.zeros(n, indptr.dtype) for n in (n_columns + 1, n_columns))
    moved = np.empty_like(indices), np.empty_like(values)
    _transpose_block(0, len(indptr) - 1, csr, starts, place, moved)
    return starts, *moved


def _compilable(weight: Tensor) -> bool:
    """Whether the kernels take these weights."""
    return weight.device.type == "cpu" and weight.dtype in {torch.float32, torch.float64}


class _SparseProduct(torch.autograd.Function):
    """X W + b for a sparse X, with the gradients by W and b."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.matrix, ctx.n_in = matrix, weight.shape[0]
        ctx.compiled = _compilable(weight)
        if not ctx.compiled:
            return torch.sparse.mm(matrix.to(weight.dtype), weight) + bias
        csr = _typed_parts(matrix, weight.dtype)
        out = torch.empty(matrix.shape[0], weight.shape[1], dtype=weight.dtype)
        _fill_product(csr, weight, bias, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        by_weight = None
        if ctx.needs_input_grad[1]:
            by_weight = _weight_gradient(ctx, grad)
        return None, by_weight, grad.sum(0) if ctx.needs_input_grad[2] else None


def _typed_parts(matrix: Tensor, dtype: torch.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the parts of a CSR tensor with the values in the type of the weights."""
    indptr, indices, values = csr_parts(matrix)
    return indptr, indices, values.astype(np.float32 if dtype is torch.float32 else np.float64, copy=False)


def _fill_product(csr: tuple[np.ndarray, ...], weight: Tensor, bias: Tensor, out: Tensor) -> None:
    """Fill X W + b, by blocks of rows on several threads."""
    arrays = (tensor.detach().contiguous().numpy() for tensor in (weight, bias, out))
    fill = _product_block.bind(csr, *arrays)
    run_blocks(lambda _, start, stop: fill(start, stop), row_blocks(out.shape[0]))


def _weight_gradient(ctx: Any, grad: Tensor) -> Tensor:
    """Return X' grad, dense, n_in x n_out."""
    if not ctx.compiled:
        matrix = ctx.matrix.to(grad.dtype)
        return torch.sparse.mm(matrix.to_sparse_coo().t(), grad)
    transposed = _transpose(_typed_parts(ctx.matrix, grad.dtype), ctx.n_in)
    out = torch.empty(ctx.n_in, grad.shape[1], dtype=grad.dtype)
    _fill_product(transposed, grad, out.new_zeros(grad.shape[1]), out)
    return out


def product(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return `x @ weight + bias` for a sparse CSR tensor or a dense one; see `SparseLinear`."""
    if x.layout is not torch.sparse_csr:
        return torch.addmm(bias, x, weight)
    return _SparseProduct.apply(x, weight, bias)


class SparseLinear(nn.Module):
    """Linear layer that reads a sparse CSR tensor (or a dense one): `x @ weight + bias`.

    Parameters
    ----------
    n_in
        Number of input features.
    n_out
        Number of output features.
    bias
        Whether to learn a bias; without it the bias stays a buffer of zeros.

    Attributes
    ----------
    weight
        (n_in, n_out): the transpose of that of :class:`torch.nn.Linear`, so that an input feature owns one contiguous row.
    bias
        (n_out,)

    Notes
    -----
    The cost is that of the stored values: about `density` times that of a dense layer. On the CPU a compiled kernel, on
    other devices torch's sparse products. No gradient flows to a sparse input; to a dense one it does.

    Examples
    --------
    >>> import torch
    >>> from sctandem.nn import SparseLinear, dense_to_csr
    >>> layer = SparseLinear(100, 8)
    >>> x = torch.eye(100)[:5]
    >>> bool(torch.allclose(layer(dense_to_csr(x)), layer(x)))
    True
    """

    def __init__(self, n_in: int, n_out: int, *, bias: bool = True) -> None:
        super().__init__()
        for name, value in (("n_in", n_in), ("n_out", n_out)):
            if value < 1:
                msg = f"{name} must be at least 1, got {value}"
                raise ValueError(msg)
        self.n_in, self.n_out = n_in, n_out
        self.weight = nn.Parameter(torch.empty(n_in, n_out))
        if bias:
            self.bias = nn.Parameter(torch.empty(n_out))
        else:
            self.register_buffer("bias", torch.zeros(n_out))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias as :class:`torch.nn.Linear` does, from torch's global generator."""
        bound = 1 / math.sqrt(self.n_in)
        nn.init.uniform_(self.weight, -bound, bound)
        if isinstance(self.bias, nn.Parameter):
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs to outputs.

        Parameters
        ----------
        x
            Rows x `n_in`, sparse CSR or dense.

        Returns
        -------
        Rows x `n_out`, dense.
        """
        if x.shape[-1] != self.n_in:
            msg = f"the input has {x.shape[-1]} features, but the layer was made for {self.n_in}"
            raise ValueError(msg)
        return product(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Describe the layer."""
        return f"n_in={self.n_in}, n_out={self.n_out}, bias={isinstance(self.bias, nn.Parameter)}"
