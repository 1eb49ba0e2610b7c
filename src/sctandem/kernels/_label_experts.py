"""Labels by experts: capsules, a regression, and elsewhere profiles, weighed by what they say of cells that none was fitted to."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, logit, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from scipy import sparse

EPS = 1e-6
"""Distance from 0 and 1 at which lengths are cut off before their log odds."""
_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
"""Inverse strengths of the penalty that are tried, the strongest first: each fit starts from the one before."""
FEWEST = 20
"""Held-out cells below which neither penalty nor weights are chosen."""
_DEFAULT_PENALTY = 1e-1
DEFAULT_WEIGHTS = (0.5, 0.5)
"""Of capsules and regression, before any cell told better."""
_MOST = (20.0, 20.0, 100.0)
"""Largest weights of capsules, regression and profiles, whose cosines are small numbers."""
UNSEEN = -15.0
"""Logit of a label that no cell had."""


class Regression(NamedTuple):
    """A multinomial regression."""

    weights: NDArray[np.float32]
    """Features x labels."""
    intercepts: NDArray[np.float32]
    """(labels,)."""

    def logits(self, features: sparse.csr_matrix) -> NDArray[np.float64]:
        """Give the logit of each label, cells x labels."""
        return np.asarray(features @ self.weights, dtype=np.float64) + self.intercepts


def fit_regressions(
    features: sparse.csr_matrix, labels: NDArray[np.integer], held_out: NDArray[np.bool_], n_labels: int
) -> tuple[Regression, Regression]:
    """Fit labels by multinomial regression, with the penalty under which held-out cells are likeliest.

    Parameters
    ----------
    features
        Logarithms of the counts of labelled cells, cells x features.
    labels
        Label of each, 0, 1, ...
    held_out
        Cells that choose the penalty; where there are fewer than 20, it is 0.1.
    n_labels
        Number of labels.

    Returns
    -------
    The regression without the held-out cells, by which it is judged, and the one with all, which is used.
    """
    shown = ~held_out
    if held_out.sum() < FEWEST:
        return _fit(features[shown], labels[shown], n_labels, (_DEFAULT_PENALTY,))[-1], _fit(
            features, labels, n_labels, (_DEFAULT_PENALTY,)
        )[-1]
    tried = _fit(features[shown], labels[shown], n_labels, _PENALTIES)
    losses = [_loss(one.logits(features[held_out]), labels[held_out]) for one in tried]
    best = int(np.argmin(losses))
    return tried[best], _fit(features, labels, n_labels, _PENALTIES[: best + 1])[-1]


def _fit(
    features: sparse.csr_matrix, labels: NDArray[np.integer], n_labels: int, penalties: tuple[float, ...]
) -> list[Regression]:
    """Fit with one penalty after the other."""
    fits = []
    present = np.unique(labels)
    model = LogisticRegression(max_iter=200, tol=1e-3, warm_start=True)
    for penalty in penalties:
        weights = np.zeros((features.shape[1], n_labels), dtype=np.float32)
        intercepts = np.full(n_labels, UNSEEN, dtype=np.float32)
        if len(present) == 1:
            intercepts[present] = 0
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # held-out cells say whether it will do
                model.set_params(C=penalty).fit(features, labels)
            two = len(present) == 2  # scikit-learn gives one logit for two labels: that of the second
            where = present[1:] if two else present
            weights[:, where], intercepts[present] = model.coef_.T, 0 if two else model.intercept_
            if two:
                intercepts[where] = model.intercept_
        fits.append(Regression(weights, intercepts))
    return fits


def fit_expert_weights(
    lengths: NDArray[np.floating],
    logits: NDArray[np.floating],
    target: NDArray[np.integer],
    cosines: NDArray[np.floating] | None = None,
) -> tuple[float, ...]:
    """Find how much the log odds of capsules and the logits of a regression count, so that held-out labels are likeliest.

    Parameters
    ----------
    lengths
        Lengths of the label capsules, cells x labels, in [0, 1).
    logits
        Logits of the regression, cells x labels.
    target
        Label of each cell.
    cosines
        Of cells with the profiles of the labels, cells x labels; `None` to leave these out.

    Returns
    -------
    Weight of the capsules, of the regression and of the cosines where given, 0 or more; with fewer than 20 cells one half each, and 0. They
    also set how sure the probabilities are, as a temperature does.

    Notes
    -----
    Twenty average cells are added whose labels are as probable as with halves: few cells do not make an expert that was right in
    all of them sure of everything, or leave the other one out.

    References
    ----------
    Hinton, Training products of experts by minimizing contrastive divergence, Neural Computation 14 (2002);
    Guo et al., On calibration of modern neural networks, ICML (2017).
    """
    start = DEFAULT_WEIGHTS if cosines is None else (*DEFAULT_WEIGHTS, 0.0)
    if len(target) < FEWEST:
        return start
    experts = _experts(lengths, logits, cosines)
    before = softmax(_weighed(start, experts), axis=1)

    def loss(weights: NDArray[np.float64]) -> float:
        logs = log_softmax(_weighed(weights, experts), axis=1)
        return -float(
            logs[np.arange(len(target)), target].mean() + FEWEST / len(target) * (before * logs).sum(1).mean()
        )

    found = minimize(loss, start, method="L-BFGS-B", bounds=[(0, most) for most in _MOST[: len(start)]]).x
    return tuple(map(float, found))


def label_probabilities(
    lengths: NDArray[np.floating],
    logits: NDArray[np.floating],
    weights: Sequence[float],
    cosines: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """Unite what the experts say of the labels.

    Parameters
    ----------
    lengths, logits, cosines
        As for `fit_expert_weights`, whose result `weights` is.
    weights
        Of each.

    Returns
    -------
    Cells x labels, adding up to 1.
    """
    return softmax(_weighed(weights, _experts(lengths, logits, cosines)), axis=1)


def _experts(
    lengths: NDArray[np.floating], logits: NDArray[np.floating], cosines: NDArray[np.floating] | None
) -> list[NDArray[np.floating]]:
    """Give what each expert says in the units of a logit, cells x labels each."""
    return [_log_odds(lengths), logits, *([] if cosines is None else [cosines.astype(np.float64)])]


def _weighed(
    weights: Sequence[float] | NDArray[np.float64], experts: list[NDArray[np.floating]]
) -> NDArray[np.float64]:
    """Add up the experts by their weights."""
    return np.sum([weight * expert for weight, expert in zip(weights, experts, strict=True)], axis=0)


def _loss(logits: NDArray[np.float64], target: NDArray[np.integer]) -> float:
    """Give the mean log loss."""
    return -float(log_softmax(logits, axis=1)[np.arange(len(target)), target].mean())


def _log_odds(lengths: NDArray[np.floating]) -> NDArray[np.float64]:
    """Give the log odds of lengths, finite at 0 and 1."""
    return logit(np.clip(lengths, EPS, 1 - EPS).astype(np.float64))
