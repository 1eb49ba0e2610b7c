"""How well each gene is predicted: scores on arrays of cells x genes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy import sparse
from scipy.stats import rankdata

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Matrix: TypeAlias = ArrayLike | sparse.spmatrix | sparse.sparray
    Scores: TypeAlias = NDArray[np.float64]

__all__ = ["auroc", "correlation", "gain", "log_fold_changes", "pearson", "rmse", "within_group_pearson"]

_BLOCK_VALUES = 2**24
"""Values that are ranked at a time: bounds the memory of `auroc` at about 0.5 GB."""


def pearson(truth: Matrix, prediction: Matrix) -> Scores:
    """Pearson correlation of every gene over cells.

    Parameters
    ----------
    truth
        Measured values, cells x genes; may be sparse.
    prediction
        Predicted values, cells x genes, on the same scale and in the same order.

    Returns
    -------
    One correlation a gene, `float64`; NaN where the truth or the prediction does not vary over the cells.

    Raises
    ------
    ValueError
        If the shapes differ, or there is no cell.

    Examples
    --------
    >>> import numpy as np
    >>> pearson(np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]), np.array([[1.0, 0.0], [2.0, 1.0], [3.0, 2.0]]))
    array([ 1., nan])

    Notes
    -----
    A gene counts as constant if its standard deviation is within rounding of its largest value, so that the
    last digits of a constant prediction are not taken for a signal.
    """
    truth, prediction = _matched(truth, prediction)
    return _ratio(*_comoments(truth, prediction))


def within_group_pearson(truth: Matrix, prediction: Matrix, groups: ArrayLike) -> Scores:
    """Pearson correlation of every gene over cells, the differences between groups of cells removed.

    The truth and the prediction are both centred on the mean of each group, and the centred values of all groups are
    correlated together. A prediction that knows the group of a cell and nothing else scores zero in expectation.

    Parameters
    ----------
    truth
        Measured values, cells x genes; may be sparse.
    prediction
        Predicted values, cells x genes.
    groups
        Group of every cell, any labels.

    Returns
    -------
    One correlation a gene, `float64`; NaN where the truth or the prediction varies within no group.

    Raises
    ------
    ValueError
        If the shapes differ, there is no cell, or `groups` has another length than the cells.

    Examples
    --------
    >>> import numpy as np
    >>> truth = np.array([[0.0], [1.0], [10.0], [11.0]])
    >>> within_group_pearson(truth, truth + 5, ["a", "a", "b", "b"])
    array([1.])
    """
    truth, prediction = _matched(truth, prediction)
    labels = _labels(groups, truth.shape[0])
    parts = [_comoments(truth[labels == label], prediction[labels == label]) for label in np.unique(labels)]
    return _ratio(*(np.sum(part, axis=0) for part in zip(*parts, strict=True)))


def rmse(truth: Matrix, prediction: Matrix) -> Scores:
    """Root mean squared error of every gene over cells.

    Parameters
    ----------
    truth
        Measured values, cells x genes; may be sparse.
    prediction
        Predicted values, cells x genes, or one value a gene for all cells.

    Returns
    -------
    One error a gene, `float64`, in the units of the values.

    Raises
    ------
    ValueError
        If the shapes differ, or there is no cell.

    Examples
    --------
    >>> import numpy as np
    >>> rmse(np.array([[0.0], [2.0]]), np.array([[1.0], [1.0]]))
    array([1.])
    """
    truth, prediction = _matched(truth, prediction)
    return np.sqrt(_squared_errors(truth, prediction) / truth.shape[0])


def gain(truth: Matrix, prediction: Matrix, reference: Matrix) -> Scores:
    """Share of the squared error of a reference that a prediction removes, per gene.

    `1 - SSE / SSE_reference`: 1 is a perfect prediction, 0 is no better than the reference, and negative is worse.
    With the mean of the training cells as the reference it is the out-of-sample R squared.

    Parameters
    ----------
    truth
        Measured values, cells x genes; may be sparse.
    prediction
        Predicted values, cells x genes, or one value a gene for all cells.
    reference
        The prediction to improve on, cells x genes, or one value a gene for all cells.

    Returns
    -------
    One gain a gene, `float64`; NaN where the reference makes no error.

    Raises
    ------
    ValueError
        If the shapes differ, or there is no cell.

    Examples
    --------
    >>> import numpy as np
    >>> gain(np.array([[0.0], [2.0]]), np.array([[0.5], [1.5]]), reference=np.array([1.0]))
    array([0.75])
    """
    truth, prediction = _matched(truth, prediction)
    _, reference = _matched(truth, reference)
    errors, reference_errors = _squared_errors(truth, prediction), _squared_errors(truth, reference)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(reference_errors > 0, 1.0 - errors / reference_errors, np.nan)


def auroc(truth: Matrix, prediction: Matrix) -> Scores:
    """Area under the ROC curve for telling the cells in which a gene was detected, per gene.

    The probability that a cell with a count has a higher prediction than a cell without; ties count one half.

    Parameters
    ----------
    truth
        Counts or normalised counts, cells x genes; may be sparse. Positive values are detections.
    prediction
        Predicted values, cells x genes; only their order over cells matters.

    Returns
    -------
    One area a gene, `float64`; NaN where the gene is detected in no cell or in all cells, 0.5 where the prediction is
    constant.

    Raises
    ------
    ValueError
        If the shapes differ, or there is no cell.

    Examples
    --------
    >>> import numpy as np
    >>> auroc(np.array([[0], [3], [1]]), np.array([[0.1], [0.2], [0.9]]))
    array([1.])

    Notes
    -----
    Cost: one sort a gene. Genes are ranked in blocks, so that memory stays bounded.
    """
    truth, prediction = _matched(truth, prediction)
    n_cells, n_genes = prediction.shape
    block = max(1, _BLOCK_VALUES // n_cells)
    columns = truth.tocsc() if sparse.issparse(truth) else truth
    scores = np.full(n_genes, np.nan)
    for start in range(0, n_genes, block):
        part = slice(start, start + block)
        detected = columns[:, part]
        detected = (detected.toarray() if sparse.issparse(detected) else detected) > 0
        positive = detected.sum(axis=0, dtype=np.float64)
        pairs = positive * (n_cells - positive)
        rank_sum = np.where(detected, rankdata(prediction[:, part], axis=0), 0.0).sum(axis=0)
        np.divide(rank_sum - positive * (positive + 1) / 2, pairs, out=scores[part], where=pairs > 0)
    return scores


def log_fold_changes(values: Matrix, groups: ArrayLike, *, target: object, baseline: object) -> Scores:
    """Difference of the pseudobulk of two groups of cells, per gene.

    Parameters
    ----------
    values
        Log-normalised values, cells x genes; may be sparse.
    groups
        Group of every cell.
    target
        The group whose mean is the minuend.
    baseline
        The group whose mean is subtracted.

    Returns
    -------
    Mean over the cells of `target` minus mean over those of `baseline`, `float64`: with natural-log values,
    natural-log fold changes.

    Raises
    ------
    ValueError
        If `groups` has another length than the cells, or one of the two groups has no cell.

    Examples
    --------
    >>> import numpy as np
    >>> log_fold_changes(np.array([[0.0], [1.0], [3.0]]), ["a", "a", "b"], target="b", baseline="a")
    array([2.5])

    Notes
    -----
    The mean is taken of the logarithms. The logarithm of a mean is another quantity: compare a prediction of the mean
    logarithm with the mean logarithm.
    """
    values = _as_matrix(values)
    labels = _labels(groups, values.shape[0])
    means = []
    for label in (target, baseline):
        members = labels == label
        if not members.any():
            msg = f"no cell of group {label!r}; available groups: {np.unique(labels).tolist()}"
            raise ValueError(msg)
        means.append(np.asarray(values[members].mean(axis=0, dtype=np.float64)).ravel())
    return means[0] - means[1]


def correlation(left: ArrayLike, right: ArrayLike) -> float:
    """Pearson correlation of two vectors, over the positions where both are finite.

    Parameters
    ----------
    left
        Values, for example the measured log fold change of every gene.
    right
        Values in the same order.

    Returns
    -------
    The correlation; NaN where one of the two does not vary.

    Raises
    ------
    ValueError
        If the lengths differ, or no position is finite in both.

    Examples
    --------
    >>> round(correlation([0.0, 1.0, 2.0, float("nan")], [1.0, 3.0, 2.0, 9.0]), 6)
    0.5
    """
    left, right = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if left.shape != right.shape or left.ndim != 1:
        msg = f"expected two vectors of one length, got shapes {left.shape} and {right.shape}"
        raise ValueError(msg)
    finite = np.isfinite(left) & np.isfinite(right)
    if not finite.any():
        msg = f"no position is finite in both vectors of length {left.size}"
        raise ValueError(msg)
    return float(pearson(left[finite, None], right[finite, None])[0])


def _as_matrix(values: Matrix) -> Any:
    """Give a float array, or a CSR array where the values are sparse."""
    if sparse.issparse(values):
        return sparse.csr_array(values)
    return np.asarray(values)


def _matched(truth: Matrix, prediction: Any) -> tuple[Any, np.ndarray]:
    """Check that both are cells x genes; a sparse prediction becomes dense, one value a gene is repeated over cells."""
    truth = _as_matrix(truth)
    dense = prediction.toarray() if sparse.issparse(prediction) else np.asarray(prediction)
    if truth.ndim == 2 and dense.shape == truth.shape[1:]:
        dense = np.broadcast_to(dense, truth.shape)
    if truth.ndim != 2 or truth.shape != dense.shape:
        msg = f"expected truth and prediction as cells x genes of one shape, got {truth.shape} and {dense.shape}"
        raise ValueError(msg)
    if truth.shape[0] == 0:
        msg = f"no cell to score: the truth has shape {truth.shape}"
        raise ValueError(msg)
    return truth, dense


def _labels(groups: ArrayLike, n_cells: int) -> np.ndarray:
    """Group labels as an array, one a cell."""
    labels = np.asarray(groups)
    if labels.shape != (n_cells,):
        msg = f"expected one group label a cell ({n_cells}), got an array of shape {labels.shape}"
        raise ValueError(msg)
    return labels


def _squared_errors(truth: np.ndarray | sparse.csr_array, prediction: np.ndarray) -> Scores:
    """Sum of squared differences a gene."""
    if sparse.issparse(truth):
        squared = np.einsum("cg,cg->g", prediction, prediction, dtype=np.float64)
        rows, columns = truth.nonzero()
        values = np.asarray(truth[rows, columns], dtype=np.float64).ravel()
        at_values = prediction[rows, columns]
        return squared + np.bincount(columns, values * (values - 2.0 * at_values), minlength=truth.shape[1])
    difference = np.subtract(truth, prediction, dtype=np.float64)
    return np.einsum("cg,cg->g", difference, difference)


def _comoments(truth: np.ndarray | sparse.csr_array, prediction: np.ndarray) -> tuple[Scores, Scores, Scores]:
    """Centred sums of products and of squares a gene; the sum of squares of a constant gene is exactly zero."""
    centred = _centre(prediction)
    squares = np.einsum("cg,cg->g", centred, centred)
    squares[_is_rounding(squares, np.abs(prediction).max(axis=0), prediction)] = 0.0
    if sparse.issparse(truth):
        products, truth_squares, largest = _sparse_comoments(truth, centred)
    else:
        truth_centred = _centre(truth)
        truth_squares = np.einsum("cg,cg->g", truth_centred, truth_centred)
        products = np.einsum("cg,cg->g", truth_centred, centred)
        largest = np.abs(truth).max(axis=0)
    truth_squares[_is_rounding(truth_squares, largest, truth)] = 0.0
    return products, truth_squares, squares


def _centre(values: np.ndarray) -> NDArray[np.float64]:
    """Values minus their mean a gene; the second pass takes away the rounding of the first mean."""
    centred = np.subtract(values, values.mean(axis=0, dtype=np.float64), dtype=np.float64)
    return centred - centred.mean(axis=0)


def _sparse_comoments(truth: sparse.csr_array, centred: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centred sums of a sparse truth with a dense centred prediction, and the largest absolute value a gene."""
    n_cells, n_genes = truth.shape
    genes, values = truth.indices, truth.data.astype(np.float64)
    n_zeros = n_cells - np.bincount(genes, minlength=n_genes)
    mean = np.bincount(genes, values, minlength=n_genes) / n_cells
    deviations = values - mean[genes]
    rest = (np.bincount(genes, deviations, minlength=n_genes) - n_zeros * mean) / n_cells
    squares = np.bincount(genes, deviations**2, minlength=n_genes) + n_zeros * mean**2 - n_cells * rest**2
    cells = np.repeat(np.arange(n_cells), np.diff(truth.indptr))
    products = np.bincount(genes, values * centred[cells, genes], minlength=n_genes)
    return products, squares, abs(truth).max(axis=0).toarray().ravel()


def _is_rounding(squares: Scores, largest: np.ndarray, values: np.ndarray | sparse.csr_array) -> NDArray[np.bool_]:
    """Whether a sum of squares is no more than the rounding of the values it was made of."""
    is_float = np.issubdtype(values.dtype, np.floating)
    epsilon = np.finfo(values.dtype).eps if is_float else np.finfo(np.float64).eps
    return squares <= values.shape[0] * (4.0 * epsilon * largest.astype(np.float64)) ** 2


def _ratio(products: Scores, left_squares: Scores, right_squares: Scores) -> Scores:
    """Correlation from centred sums, NaN where one side is constant."""
    scale = np.sqrt(left_squares) * np.sqrt(right_squares)
    scores = np.full(scale.shape, np.nan)
    np.divide(products, scale, out=scores, where=scale > 0)
    return np.clip(scores, -1.0, 1.0)
