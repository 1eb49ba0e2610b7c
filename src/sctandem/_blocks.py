"""Matrices in blocks of bounded size, wherever and however they are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from anndata.abc import CSCDataset, CSRDataset
from scipy import sparse

from sctandem._check_arguments import received

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK = 1 << 22
"""Values looked at in one go."""


def value_blocks(matrix: Any) -> Iterator[np.ndarray]:
    """Yield the stored values of a matrix in blocks of bounded size.

    Parameters
    ----------
    matrix
        CSR, CSC or another scipy sparse format, a dense array, a view of one of them, or one that is backed by a file.

    Yields
    ------
    One-dimensional arrays; zeros that a sparse format does not store are left out.
    """
    if sparse.issparse(matrix):
        data = matrix.data if matrix.format in {"csr", "csc", "coo"} else matrix.tocsr().data
        for start in range(0, data.size, _BLOCK):
            yield np.asarray(data[start : start + _BLOCK])
        return
    for _, block in matrix_blocks(matrix):
        yield block.data if sparse.issparse(block) else np.asarray(block).ravel()


def matrix_blocks(matrix: Any) -> Iterator[tuple[slice, Any]]:
    """Yield slices along the first axis (the second for a backed CSC matrix) and the matrix there, in memory."""
    columns = isinstance(matrix, CSCDataset)
    length, width = (matrix.shape[1], matrix.shape[0]) if columns else matrix.shape
    step = max(1, _BLOCK // max(1, width))
    if sparse.issparse(matrix) or isinstance(matrix, CSRDataset | CSCDataset):
        step *= 8
    for start in range(0, length, step):
        where = slice(start, min(length, start + step))
        yield where, matrix[:, where] if columns else matrix[where]


def as_dense(matrix: Any) -> np.ndarray:
    """Read a matrix of any kind into memory, also one that is backed by a file; a dense one is not copied."""
    if not isinstance(matrix, np.ndarray) and not sparse.issparse(matrix):
        matrix = matrix[:]  # backed by a file
    return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)


def as_csr(matrix: Any) -> sparse.csr_matrix | sparse.csr_array:
    """Return a matrix as CSR in memory; one that is CSR already is not copied.

    Parameters
    ----------
    matrix
        CSR, CSC, dense, or one of these backed by a file.

    Returns
    -------
    The matrix as CSR.

    Raises
    ------
    TypeError
        For what is no matrix, or holds no numbers.
    """
    if isinstance(matrix, CSRDataset | CSCDataset):
        matrix = matrix.to_memory()
    dtype = getattr(matrix, "dtype", None)  # a table has dimensions, but none
    if getattr(matrix, "ndim", None) != 2 or not isinstance(dtype, np.dtype) or dtype.kind not in "biuf":
        msg = f"matrix must be a matrix of numbers, cells x features, got {received(matrix)}"
        raise TypeError(msg)
    if sparse.issparse(matrix):
        return matrix if matrix.format == "csr" else matrix.tocsr()
    return sparse.csr_matrix(np.asarray(matrix[:]))


def canonical_csr(matrix: Any) -> sparse.csr_matrix:
    """Return a matrix as CSR whose entries stand in order and once each; what was given is not changed."""
    found = sparse.csr_matrix(as_csr(matrix))
    if not found.has_canonical_format:
        found = found.copy()
        found.sum_duplicates()
    return found
