"""Negative binomial regressions of all genes at once on one design of samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Bins of the mean in which the dispersion is fitted.
N_BINS = 6
#: Largest change of a coefficient in one step, natural logarithm.
MAX_STEP = 3.0
#: Counts added at the average depth before coefficients are reported: the default of edgeR's `predFC`.
PRIOR_COUNT = 0.125
#: Halvings of a step that does not lower the deviance.
MAX_HALVINGS = 8


@dataclass(frozen=True, slots=True)
class NBFit:
    """Regressions of several genes on one design.

    Attributes
    ----------
    coefficients
        Natural logarithm, genes x columns of the design.
    mean
        Fitted counts, samples x genes.
    covariance
        Inverse of the information at a quasi-dispersion of 1, genes x columns x columns.
    deviance
        Of each gene, (genes,).
    """

    coefficients: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray
    deviance: np.ndarray


def size_factors(counts: np.ndarray) -> np.ndarray:
    """Return the effective depth of each sample: its total, corrected by the trimmed mean of log-ratios to the average sample.

    Parameters
    ----------
    counts
        Samples x genes, with a count in every sample.

    Returns
    -------
    (samples,), with the geometric mean of the corrections at 1.

    References
    ----------
    Robinson & Oshlack, A scaling normalization method for differential expression analysis of RNA-seq data, Genome Biology 11
    (2010).
    """
    totals = counts.sum(1)
    shares = counts / totals[:, None]
    average = shares.mean(0)
    correction = np.zeros(len(counts))
    for i, share in enumerate(shares):
        seen = share > 0
        ratio, level = np.log(share[seen] / average[seen]), 0.5 * np.log(share[seen] * average[seen])
        low, high = np.quantile(ratio, [0.3, 0.7])
        bottom, top = np.quantile(level, [0.05, 0.95])
        kept = (ratio >= low) & (ratio <= high) & (level >= bottom) & (level <= top)
        if kept.any():
            weight = 1 / (1 / counts[i, seen] + 1 / (average[seen] * totals.sum()))
            correction[i] = np.average(ratio[kept], weights=weight[kept])
    return totals * np.exp(correction - correction.mean())


def add_prior_counts(counts: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Add a part of a count to every count, in proportion to the depth of the sample.

    Parameters
    ----------
    counts
        Samples x genes.
    depth
        Effective depth of each sample, (samples,).

    Returns
    -------
    Samples x genes, above 0: a regression on them has finite coefficients also where a group has no counts. At a ratio of depths
    of `depth`, genes that do not change do not change thereby. Between two groups the coefficient is at most
    `log(1 + mean / PRIOR_COUNT)`, with the mean count at the average depth in the group that has counts.

    References
    ----------
    Phipson, Empirical Bayes modelling of expression profiles and their associations, PhD thesis, University of Melbourne (2013);
    `predFC` of edgeR, whose default is taken.
    """
    return counts + PRIOR_COUNT * (depth / depth.mean())[:, None]


def deviances(counts: np.ndarray, mean: np.ndarray, dispersion: np.ndarray) -> np.ndarray:
    """Return the deviance of each count.

    Parameters
    ----------
    counts, mean
        Samples x genes.
    dispersion
        Of each gene; the variance is `mean + dispersion * mean^2`.

    Returns
    -------
    Samples x genes, at least 0.
    """
    size = 1 / np.maximum(dispersion, 1e-10)
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.where(counts > 0, counts * np.log(counts / mean), 0.0)
    return np.maximum(2 * (own - (counts + size) * np.log((size + counts) / (size + mean))), 0.0)


def fit_nb(
    counts: np.ndarray,
    design: np.ndarray,
    depth: np.ndarray,
    dispersion: np.ndarray,
    *,
    n_iterations: int = 60,
    tolerance: float = 1e-12,
) -> NBFit:
    """Fit a negative binomial regression with a log link to every gene, by Fisher scoring.

    Parameters
    ----------
    counts
        Samples x genes.
    design
        Samples x columns, of full rank.
    depth
        Effective depth of each sample, (samples,).
    dispersion
        Of each gene, (genes,).
    n_iterations
        At most.
    tolerance
        Relative change of the deviance at which a gene has settled.

    Returns
    -------
    The fits. A gene without counts in a group has a coefficient that is large and negative, with a large variance: its deviance
    is right, its coefficients say nothing. For coefficients see `add_prior_counts`.
    """
    offset = np.log(depth)[:, None]
    start = np.log((counts + 0.25 * depth[:, None] / depth.mean()) / depth[:, None])
    beta = (np.linalg.pinv(design) @ start).T
    deviance = deviances(counts, _mean(design, beta, offset), dispersion).sum(0)
    left = np.arange(counts.shape[1])
    for _ in range(n_iterations):
        own, spread = counts[:, left], dispersion[left]
        mean = _mean(design, beta[left], offset)
        slack = 1 / (1 + spread * mean)
        step = np.linalg.solve(_information(design, mean * slack), (((own - mean) * slack).T @ design)[:, :, None])
        step = np.clip(step[:, :, 0], -MAX_STEP, MAX_STEP)
        new = deviances(own, _mean(design, beta[left] + step, offset), spread).sum(0)
        for _halving in range(MAX_HALVINGS):
            worse = new > deviance[left] * (1 + 1e-12) + 1e-12
            if not worse.any():
                break
            step[worse] /= 2
            mean = _mean(design, beta[left[worse]] + step[worse], offset)
            new[worse] = deviances(own[:, worse], mean, spread[worse]).sum(0)
        beta[left] += step
        settled = (np.abs(new - deviance[left]) <= tolerance * (np.abs(new) + 0.1)) & (np.abs(step).max(1) < 1e-5)
        deviance[left] = new
        left = left[~settled]
        if not len(left):
            break
    mean = _mean(design, beta, offset)
    information = _information(design, mean / (1 + dispersion * mean))
    return NBFit(beta, mean, np.linalg.inv(information), deviance)


def _mean(design: np.ndarray, beta: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Give the fitted counts."""
    return np.exp(np.clip(design @ beta.T + offset, -30, 30))


def _information(design: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Give the information matrix of each gene, kept invertible where a group has no counts."""
    n_columns = design.shape[1]
    products = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    information = (weight.T @ products).reshape(-1, n_columns, n_columns)
    return information + 1e-9 * np.eye(n_columns)


def dispersion_trend(counts: np.ndarray, design: np.ndarray, depth: np.ndarray, *, n_rounds: int = 6) -> np.ndarray:
    """Fit the negative binomial dispersion as a function of the mean.

    Parameters
    ----------
    counts
        Samples x genes.
    design
        Samples x columns, of full rank and fewer columns than samples.
    depth
        Effective depth of each sample.
    n_rounds
        Rounds of regression and dispersion.

    Returns
    -------
    Dispersion of each gene, (genes,): that at which Pearson's statistic of the genes of a like mean is its degrees of freedom,
    joined linearly between bins of the log-mean.
    """
    free = len(design) - design.shape[1]
    level = np.log(counts.mean(0) + 0.1)
    n_bins = max(1, min(N_BINS, counts.shape[1] // 20))
    edges = np.quantile(level, np.linspace(0, 1, n_bins + 1))
    where = np.clip(np.searchsorted(edges, level, side="right") - 1, 0, n_bins - 1)
    used = [k for k in range(n_bins) if (where == k).any()]
    centers = np.array([level[where == k].mean() for k in used])
    dispersion = np.full(counts.shape[1], 0.05)
    for _ in range(n_rounds):
        mean = fit_nb(counts, design, depth, dispersion, n_iterations=6, tolerance=1e-6).mean
        values = [_dispersion(counts[:, where == k], mean[:, where == k], free) for k in used]
        dispersion = np.exp(np.interp(level, centers, np.log(values)))
    return dispersion


def _dispersion(counts: np.ndarray, mean: np.ndarray, free: int) -> float:
    """Find the dispersion of some genes by bisection of its logarithm."""
    low, high, squares = 1e-5, 10.0, (counts - mean) ** 2
    for _ in range(24):
        middle = np.sqrt(low * high)
        if (squares / (mean + middle * mean**2)).sum() > free * counts.shape[1]:
            low = middle
        else:
            high = middle
    return float(np.sqrt(low * high))
