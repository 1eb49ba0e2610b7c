"""What the contrasts of the genes have in common with their residuals, told from how samples differ in their response."""

from __future__ import annotations

import numpy as np
from scipy import stats

#: Sizes of effects that are told apart, in standard errors of a contrast; 0 is that of genes without an effect.
SIZES = np.array([0, 0.5, 1, 2, 4, 8, 16, 32])
#: Share of genes without an effect at the start.
START = 0.6
#: Weight of what is held without data, in genes: independent samples, and a response that is the same in all of them.
PRIOR_GENES = 10.0
#: Longest residual part of the direction of effects, its part along the contrast being 1.
LONGEST = 1.0
#: Rise of the log-likelihood that speaks for a direction of effects, in logarithms of the number of genes a dimension.
EVIDENCE = 0.75
#: Rounds at most, and change of a coefficient at which they have settled.
N_ROUNDS, SETTLED = 400, 1e-5


def shared_part(contrast: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Return how much of each residual coordinate the contrasts of genes without an effect have in common.

    Parameters
    ----------
    contrast
        (genes,), of unit variance where there is neither an effect nor a hidden factor.
    residual
        Genes x dimensions, of unit variance.

    Returns
    -------
    Coefficients of the regression of the contrast on the residuals that holds for genes without an effect, (dimensions,).

    Notes
    -----
    Donors respond to a treatment more or less. The residuals of genes with an effect then follow the effect, in the same way in all of
    them, and a regression over genes would take the effect for a hidden factor, the more so the more genes change. A
    gene is therefore taken for the sum of two parts: noise and hidden factors, normal with one covariance of contrast and residuals for
    all genes, and an effect times the direction in which samples respond. Sizes of effects are a mixture with many at 0. Shares,
    covariance and direction are the likeliest (expectation and maximisation). The residual part of the direction is at most as long as
    that along the contrast: what lies mostly in the residuals is no effect.

    The genes must speak for such a direction: with it their log-likelihood must rise by more than three quarters of the logarithm of
    their number a dimension. Otherwise the robust regression over all genes stands. That is one and a half times what Schwarz's
    criterion asks: noise is not quite normal, and null splits of donors reach 1.4 times.
    """
    both = np.column_stack([contrast, residual])
    _, same = _decompose(both, 0.0)
    coefficients, own = _decompose(both, LONGEST)
    if own - same > EVIDENCE * residual.shape[1] * np.log(len(both)):
        return coefficients
    return common_slope(contrast, residual)


def common_slope(contrast: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Regress the contrasts of the genes robustly on their residuals.

    Parameters
    ----------
    contrast
        (genes,), of unit variance.
    residual
        Genes x dimensions, of unit variance.

    Returns
    -------
    Coefficients, (dimensions,), which genes with an effect of their own do not sway as long as they are not most of them, or their
    effects do not follow their residuals.
    """
    n, m = residual.shape
    coefficients = np.zeros(m)
    for _ in range(30):
        rest = contrast - residual @ coefficients
        scale = max(float(np.median(np.abs(rest))) / stats.norm.ppf(0.75), 1e-8)
        weight = np.where(np.abs(rest) < 4 * scale, (1 - (rest / (4 * scale)) ** 2) ** 2, 0)
        weighted = residual * weight[:, None]
        new = np.linalg.solve(weighted.T @ residual + PRIOR_GENES * np.eye(m), weighted.T @ contrast)
        if np.abs(new - coefficients).max() < 1e-10:
            return new
        coefficients = new
    return coefficients


def _decompose(both: np.ndarray, longest: float) -> tuple[np.ndarray, float]:
    """Fit the two parts of contrast and residuals; give the coefficients and the log-likelihood."""
    n, m = both.shape
    squares = both.T @ both
    covariance, direction = np.eye(m), np.eye(m)[0]
    share = np.full(len(SIZES), (1 - START) / (len(SIZES) - 1))
    share[0] = START
    coefficients = np.zeros(m - 1)
    for _ in range(N_ROUNDS):
        precision = np.linalg.inv(covariance)
        score, information = both @ precision @ direction, float(direction @ precision @ direction)
        share, effect, power, likelihood = _expected_effects(score, information, share)
        likelihood += 0.5 * (n * np.linalg.slogdet(precision)[1] - float((precision * squares).sum()))
        direction = _response(precision, effect @ both / power, power, longest)
        cross = np.outer(direction, effect @ both)
        own = squares - cross - cross.T + power * np.outer(direction, direction)
        covariance = (own + PRIOR_GENES * np.eye(m)) / (n + PRIOR_GENES)
        new = np.linalg.solve(covariance[1:, 1:], covariance[1:, 0])
        settled = np.abs(new - coefficients).max() < SETTLED
        coefficients = new
        if settled:
            break
    return coefficients, likelihood


def _expected_effects(
    score: np.ndarray, information: float, share: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Give the shares of the sizes, the expected effect of each gene, the sum of the expected squares, and what effects add to the log-likelihood.

    An effect `t` has the likelihood `exp(score t - information t^2 / 2)`.
    """
    variance = SIZES**2 / (1 + SIZES**2 * information)
    log = 0.5 * (score[:, None] ** 2 * variance - np.log1p(SIZES**2 * information)) + np.log(np.maximum(share, 1e-300))
    top = log.max(1, keepdims=True)
    member = np.exp(log - top)
    total = member.sum(1, keepdims=True)
    member /= total
    power = (member @ variance + (member @ variance**2) * score**2).sum()
    return member.mean(0), (member @ variance) * score, float(power) + 1e-9, float((np.log(total) + top).sum())


def _response(precision: np.ndarray, slope: np.ndarray, power: float, longest: float) -> np.ndarray:
    """Give the direction of effects, 1 along the contrast, from the slope of contrast and residuals on the effects."""
    rest = slope[1:] - np.linalg.solve(precision[1:, 1:], precision[1:, 0]) * (1 - slope[0])
    rest *= power / (power + PRIOR_GENES)
    return np.concatenate([[1.0], rest * min(1.0, longest / max(float(np.linalg.norm(rest)), 1e-12))])
