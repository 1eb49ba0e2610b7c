"""Effects shrunken by a prior that their own distribution sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr


@dataclass(frozen=True, slots=True)
class Shrunken:
    """Posterior of effects.

    Attributes
    ----------
    mean
        (genes,).
    sd
        Standard deviation, (genes,).
    low, high
        Interval that holds the effect with the probability asked for, widened to the mean where need be, (genes,).
    """

    mean: np.ndarray
    sd: np.ndarray
    low: np.ndarray
    high: np.ndarray


def shrink_effects(effect: np.ndarray, error: np.ndarray, *, level: float = 0.95) -> Shrunken:
    """Shrink effects towards 0 by a mixture of normal distributions around 0, fitted to all of them.

    Parameters
    ----------
    effect
        Estimates, (genes,).
    error
        Their standard errors, (genes,), above 0.
    level
        Probability of the interval.

    Returns
    -------
    The posterior. A large effect with a small error stays; one within its error goes to nearly 0.

    References
    ----------
    Stephens, False discovery rates: a new deal, Biostatistics 18 (2017).
    """
    smallest = float(np.quantile(error, 0.05)) / 4
    largest = 2 * float(np.sqrt(np.maximum(effect**2 - error**2, 0).max())) + 2 * smallest
    n_widths = max(2, int(np.ceil(2 * np.log2(largest / smallest))) + 1)
    widths = np.geomspace(smallest, largest, min(n_widths, 25))
    variance = error[:, None] ** 2 + widths**2
    log = -0.5 * (effect[:, None] ** 2 / variance + np.log(variance))
    likelihood = np.exp(log - log.max(1, keepdims=True))
    prior = np.full(len(widths), 1 / len(widths))
    extra = np.zeros(len(widths))
    extra[0] = 9.0  # nine genes more with next to no effect
    for _ in range(500):
        new = (prior * (likelihood.T @ (1 / (likelihood @ prior))) + extra) / (len(effect) + extra.sum())
        if np.abs(new - prior).max() < 1e-5:
            break
        prior = new
    member = likelihood * prior
    member /= member.sum(1, keepdims=True)
    part = widths**2 / variance
    means, sds = part * effect[:, None], np.sqrt(part) * error[:, None]
    mean = (member * means).sum(1)
    sd = np.sqrt(np.maximum((member * (sds**2 + means**2)).sum(1) - mean**2, 0))
    side = (1 - level) / 2
    low, high = _quantile(member, means, sds, side), -_quantile(member, -means, sds, side)
    return Shrunken(mean, sd, np.minimum(low, mean), np.maximum(high, mean))


def _quantile(member: np.ndarray, means: np.ndarray, sds: np.ndarray, q: float) -> np.ndarray:
    """Find a quantile of each mixture by bisection."""
    safe = np.maximum(sds, 1e-12)
    low, high = (means - 10 * sds).min(1) - 1e-9, (means + 10 * sds).max(1) + 1e-9
    for _ in range(40):
        middle = 0.5 * (low + high)
        below = (member * ndtr((middle[:, None] - means) / safe)).sum(1) < q
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return 0.5 * (low + high)
