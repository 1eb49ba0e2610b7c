"""Multinomial regression on boxes in place of points: what it is sure of holds anywhere in the box of a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from sctandem.kernels._label_experts import FEWEST, UNSEEN, Regression

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

#: Strengths of the penalty that are tried, the strongest first.
_PENALTIES = (1e-2, 3e-3, 1e-3, 1e-4)
_DEFAULT_PENALTY = 3e-3
_N_ITERATIONS = 100
_EPS = 1e-8


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


def fit_robust_regressions(
    low: sparse.csr_matrix,
    high: sparse.csr_matrix,
    labels: NDArray[np.integer],
    held_out: NDArray[np.bool_],
    n_labels: int,
) -> tuple[Regression, Regression]:
    r"""Fit labels by multinomial regression at the worst place of the box of each cell.

    Parameters
    ----------
    low, high
        Bounds of the features, cells x features.
    labels
        Label of each cell, 0, 1, ...
    held_out
        Cells that choose the penalty.
    n_labels
        Number of labels.

    Returns
    -------
    The regression without the held-out cells, by which it is judged, and the one with all, which is used.

    Notes
    -----
    With middle :math:`m_c` and half widths :math:`h_c`, the logit of label :math:`j` over the true one :math:`y` is at most
    :math:`(w_j - w_y)^T m_c + |w_j - w_y|^T h_c` in the box: the sum of these bounds is convex, so that no attack is needed to
    train. Held-out cells are judged at the middle and at the worst place alike.

    References
    ----------
    Xu, Caramanis & Mannor, Robustness and regularization of support vector machines, JMLR 10 (2009).

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> from sctandem.kernels._robust_regression import fit_robust_regressions
    >>> middle = np.repeat([[0.0, 0.0], [4.0, 1.0]], 30, axis=0)
    >>> box = [sparse.csr_matrix(middle + sign * np.array([0.5, 1.0])) for sign in (-1, 1)]
    >>> used = fit_robust_regressions(*box, np.repeat([0, 1], 30), np.zeros(60, dtype=bool), 2)[1]
    >>> first, second = np.abs(used.weights).max(1)
    >>> bool(first > 20 * second)
    True
    """
    shown = ~held_out
    boxes = _Boxes(low[shown], high[shown], labels[shown], n_labels)
    everything = _Boxes(low, high, labels, n_labels)
    if held_out.sum() < FEWEST:
        return _fit(boxes, (_DEFAULT_PENALTY,))[-1], _fit(everything, (_DEFAULT_PENALTY,))[-1]
    low, high, target = low[held_out], high[held_out], labels[held_out]
    middle = (low + high) / 2
    judges = [_Boxes(low, high, target, n_labels), _Boxes(middle, middle, target, n_labels)]
    tried = _fit(boxes, _PENALTIES)
    losses = [sum(judge.loss(_flat(one), 0)[0] for judge in judges) for one in tried]
    best = int(np.argmin(losses))
    return tried[best], _fit(everything, _PENALTIES[: best + 1])[-1]


def _fit(boxes: _Boxes, penalties: tuple[float, ...]) -> list[Regression]:
    """Fit with one penalty after the other, each from where the one before ended."""
    flat = np.zeros((boxes.n_features + 1) * boxes.n_labels)
    flat[-boxes.n_labels :][boxes.unseen] = UNSEEN
    fits = []
    for penalty in penalties:
        flat = minimize(
            boxes.loss, flat, args=(penalty,), jac=True, method="L-BFGS-B", options={"maxiter": _N_ITERATIONS}
        ).x
        weights, intercepts = boxes.unpack(flat)
        fits.append(Regression(weights.astype(np.float32), intercepts.astype(np.float32)))
    return fits


def _flat(one: Regression) -> NDArray[np.float64]:
    """Join weights and intercepts."""
    return np.append(one.weights.astype(np.float64).ravel(), one.intercepts)
