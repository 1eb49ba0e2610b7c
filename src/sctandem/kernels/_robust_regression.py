"""Multinomial regression on points and the boxes around them: what it is sure of holds anywhere in the box of a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import log_softmax

from sctandem.kernels._label_experts import FEWEST, UNSEEN, Regression

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Strengths of the penalty that are tried, the strongest first.
_PENALTIES = (1e-2, 3e-3, 1e-3, 1e-4)
_DEFAULT_PENALTY = 3e-3
#: Parts of the weight of the boxes that are tried.
_PARTS = (0.0, 1 / 8, 1 / 4, 1 / 2, 1.0)
#: Quantile of the normal distribution, one-sided test at 1 %.
_ONE_SIDED = 2.326
_N_ITERATIONS = 100
_EPS = 1e-8


class CellBoxes(NamedTuple):
    """Features of cells, and the box in which each may be, cells x features."""

    points: sparse.csr_matrix
    low: sparse.csr_matrix
    high: sparse.csr_matrix

    def rows(self, rows: NDArray[np.bool_]) -> CellBoxes:
        """Give some of the cells."""
        return CellBoxes(*(part[rows] for part in self))

    def over(self, others: CellBoxes) -> CellBoxes:
        """Give these cells and others below them."""
        return CellBoxes(*(sparse.vstack(parts).tocsr() for parts in zip(self, others, strict=True)))


class _Boxes:
    """Cells of each label, as middles and half widths of their boxes."""

    def __init__(
        self, low: sparse.csr_matrix, high: sparse.csr_matrix, labels: NDArray[np.integer], n_labels: int
    ) -> None:
        middle, half = (low + high) / 2, (high - low) / 2
        self.labels, self.n_labels, self.n_features = labels, n_labels, low.shape[1]
        cells = [np.flatnonzero(labels == label) for label in range(n_labels)]
        self.parts = [(label, middle[rows], half[rows]) for label, rows in enumerate(cells) if len(rows)]
        self.unseen = np.array([len(rows) == 0 for rows in cells])

    def loss(self, flat: NDArray[np.float64], penalty: float) -> tuple[float, NDArray[np.float64]]:
        """Give the mean log loss at the worst places of the boxes, and its gradient."""
        weights, intercepts = self.unpack(flat)
        by_weights, by_intercepts = penalty * weights, np.zeros(self.n_labels)
        total = penalty * 0.5 * float((weights**2).sum())
        n = len(self.labels)
        for label, middle, half in self.parts:
            apart = weights - weights[:, [label]]
            size = np.sqrt(apart**2 + _EPS)
            size[:, label] = 0
            logs = log_softmax(middle @ apart + half @ size + (intercepts - intercepts[label]), axis=1)
            total -= float(logs[:, label].sum()) / n
            slope = np.exp(logs) / n
            slope[:, label] = 0
            change = middle.T @ slope + (half.T @ slope) * (apart / np.maximum(size, np.sqrt(_EPS)))
            by_weights += change
            by_weights[:, label] -= change.sum(1)
            by_intercepts += slope.sum(0)
            by_intercepts[label] -= slope.sum()
        return total, np.append(by_weights.ravel(), by_intercepts)

    def unpack(self, flat: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Take weights (features x labels) and intercepts apart."""
        return flat[: -self.n_labels].reshape(self.n_features, self.n_labels), flat[-self.n_labels :]


class _PointsAndBoxes:
    """Cells as they are, and their boxes, which count by a weight."""

    def __init__(self, cells: CellBoxes, labels: NDArray[np.integer], n_labels: int) -> None:
        self.points = _Boxes(cells.points, cells.points, labels, n_labels)
        self.boxes = _Boxes(cells.low, cells.high, labels, n_labels)

    def loss(self, flat: NDArray[np.float64], penalty: float, weight: float) -> tuple[float, NDArray[np.float64]]:
        """Give the mean of the log loss at the points and at the worst places of the boxes, and its gradient."""
        total, slope = self.points.loss(flat, penalty)
        if weight:
            other, by = self.boxes.loss(flat, penalty)
            total, slope = total + weight * other, slope + weight * by
        return total / (1 + weight), slope / (1 + weight)


def fit_robust_regressions(
    cells: CellBoxes,
    labels: NDArray[np.integer],
    held_out: NDArray[np.bool_],
    n_labels: int,
    *,
    weight: float = 1.0,
    copies: CellBoxes | None = None,
) -> tuple[Regression, Regression]:
    r"""Fit labels by multinomial regression at cells and at the worst place of the box around each.

    Parameters
    ----------
    cells
        Features, and their bounds, cells x features each.
    labels
        Label of each cell, 0, 1, ...
    held_out
        Cells that choose the penalty, and how much the boxes count.
    n_labels
        Number of labels.
    weight
        Most that the loss at the worst places counts, where that of the cells as they are has 1. Of this, a half, a quarter and an eighth the
        largest is taken under which held-out cells as they are are not told worse than without boxes (paired log losses, one-sided test at 1 %).
    copies
        The same cells with fewer molecules, which are learned as well; `None` for none.

    Returns
    -------
    The regression without the held-out cells, by which it is judged, and the one with all, which is used.

    Notes
    -----
    With middle :math:`m_c` and half widths :math:`h_c`, the logit of label :math:`j` over the true one :math:`y` is at most
    :math:`(w_j - w_y)^T m_c + |w_j - w_y|^T h_c` in the box: the sum of these bounds is convex, so that no attack is needed to
    train. Held-out cells choose the penalty by the same sum of both losses.

    References
    ----------
    Xu, Caramanis & Mannor, Robustness and regularization of support vector machines, JMLR 10 (2009).

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> from sctandem.kernels._robust_regression import CellBoxes, fit_robust_regressions
    >>> points = np.repeat([[0.0, 0.0], [4.0, 1.0]], 30, axis=0)
    >>> cells = CellBoxes(*[sparse.csr_matrix(points + sign * np.array([0.5, 1.0])) for sign in (0, -1, 1)])
    >>> used = fit_robust_regressions(cells, np.repeat([0, 1], 30), np.zeros(60, dtype=bool), 2, weight=100.0)[1]
    >>> first, second = np.abs(used.weights).max(1)
    >>> bool(first > 20 * second)
    True
    """

    def objective(rows: NDArray[np.bool_]) -> _PointsAndBoxes:
        kept = cells.rows(rows)
        if copies is None:
            return _PointsAndBoxes(kept, labels[rows], n_labels)
        return _PointsAndBoxes(kept.over(copies.rows(rows)), np.tile(labels[rows], 2), n_labels)

    shown, everything = objective(~held_out), objective(np.ones_like(held_out))
    if held_out.sum() < FEWEST:
        setting = [(_DEFAULT_PENALTY, weight)]
        return _fit(shown, setting)[-1], _fit(everything, setting)[-1]
    weight = _largest_weight(shown, cells.points[held_out], labels[held_out], weight)
    tried = _fit(shown, [(penalty, weight) for penalty in _PENALTIES])
    judge = _PointsAndBoxes(cells.rows(held_out), labels[held_out], n_labels)
    best = int(np.argmin([judge.loss(_flat(one), 0, weight)[0] for one in tried]))
    return tried[best], _fit(everything, [(penalty, weight) for penalty in _PENALTIES[: best + 1]])[-1]


def _largest_weight(
    shown: _PointsAndBoxes, points: sparse.csr_matrix, target: NDArray[np.integer], weight: float
) -> float:
    """Find how much boxes may count before held-out cells as they are are told worse."""
    weights = [part * weight for part in _PARTS]
    fits = _fit(shown, [(_DEFAULT_PENALTY, each) for each in weights])
    rows = np.arange(len(target))
    losses = [-log_softmax(one.logits(points), axis=1)[rows, target] for one in fits]
    for each, loss in zip(weights[:1:-1], losses[:1:-1], strict=True):
        worse = loss - losses[0]
        if worse.mean() <= _ONE_SIDED * worse.std() / np.sqrt(len(worse)):
            return each
    return weights[1]


def _fit(objective: _PointsAndBoxes, settings: Sequence[tuple[float, float]]) -> list[Regression]:
    """Fit with one penalty and weight of boxes after the other, each from where the one before ended."""
    boxes = objective.boxes
    flat = np.zeros((boxes.n_features + 1) * boxes.n_labels)
    flat[-boxes.n_labels :][boxes.unseen] = UNSEEN
    fits = []
    for setting in settings:
        flat = minimize(
            objective.loss, flat, args=setting, jac=True, method="L-BFGS-B", options={"maxiter": _N_ITERATIONS}
        ).x
        weights, intercepts = boxes.unpack(flat)
        fits.append(Regression(weights.astype(np.float32), intercepts.astype(np.float32)))
    return fits


def _flat(one: Regression) -> NDArray[np.float64]:
    """Join weights and intercepts."""
    return np.append(one.weights.astype(np.float64).ravel(), one.intercepts)
