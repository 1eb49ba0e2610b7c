"""Variances of genes moderated by what other genes of their kind have: empirical Bayes with a heavy tail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special, stats

#: Scales of the kinds of genes, in units of the variance that the covariates lead to expect.
KINDS = np.array([0.25, 1.0, 3.0, 9.0, 27.0])
#: Degrees of freedom of the prior that are tried.
PRIOR_DF = np.array([2.0, 3, 4.5, 6, 8, 10, 13, 17, 22, 30, 45, 70, 120, 300])
_SMALLEST = 1e-4


@dataclass(frozen=True, slots=True)
class Moderation:
    """Prior and posterior of the variances of genes.

    Attributes
    ----------
    df
        Degrees of freedom of the observed variances.
    prior_df
        Degrees of freedom of the prior.
    kinds
        Share of the genes of each kind, (kinds,).
    membership
        Probability of each kind for each gene, genes x kinds.
    variance
        Moderated variance of each gene given its kind, genes x kinds.
    """

    df: float
    prior_df: float
    kinds: np.ndarray
    membership: np.ndarray
    variance: np.ndarray

    @property
    def expected(self) -> np.ndarray:
        """Moderated variance of each gene, averaged over kinds, (genes,)."""
        return (self.membership * self.variance).sum(1)

    def tail(self, effect: np.ndarray) -> np.ndarray:
        """Return two-sided p-values of effects whose variance is that of the gene.

        Parameters
        ----------
        effect
            (genes,), in units in which their variance is what was moderated.

        Returns
        -------
        (genes,): a mean of the tails of t-distributions over the kinds that the gene may be of.
        """
        t = np.abs(effect)[:, None] / np.sqrt(self.variance)
        return np.clip((self.membership * 2 * stats.t.sf(t, self.prior_df + self.df)).sum(1), 1e-300, 1.0)


def inverse_trigamma(value: float) -> float:
    """Return `x` at which the trigamma function has a value above 0."""
    if value > 1e7:
        return float(1 / np.sqrt(value))
    x = 0.5 + 1 / value
    for _ in range(50):
        current = special.polygamma(1, x)
        change = current * (1 - current / value) / special.polygamma(2, x)
        x += change
        if abs(change) < 1e-12 * x:
            break
    return float(x)


def variance_prior(variance: np.ndarray, df: float, covariates: np.ndarray) -> tuple[float, np.ndarray]:
    """Fit a scaled inverse chi-squared prior, whose scale follows covariates, by the moments of the log-variances.

    Parameters
    ----------
    variance
        Of each gene, (genes,).
    df
        Its degrees of freedom.
    covariates
        Genes x covariates, a constant among them.

    Returns
    -------
    Degrees of freedom of the prior (at most 1000, where the variances vary no more than by chance) and its scale, (genes,).

    References
    ----------
    Smyth, Linear models and empirical Bayes methods for assessing differential expression in microarray experiments,
    Statistical Applications in Genetics and Molecular Biology 3 (2004).
    """
    log = np.log(np.maximum(variance, _SMALLEST)) - special.digamma(df / 2) + np.log(df / 2)
    fitted = covariates @ np.linalg.lstsq(covariates, log, rcond=None)[0]
    free = len(log) - covariates.shape[1]
    excess = ((log - fitted) ** 2).sum() / max(free, 1) - special.polygamma(1, df / 2)
    if free < 3 or excess <= special.polygamma(1, 500):
        return 1000.0, np.exp(fitted)
    prior_df = 2 * inverse_trigamma(float(excess))
    return prior_df, np.exp(fitted + special.digamma(prior_df / 2) - np.log(prior_df / 2))


def moderate(variance: np.ndarray, df: float, covariates: np.ndarray) -> Moderation:
    """Moderate variances by a prior with a heavy tail: a mixture of kinds of genes.

    Parameters
    ----------
    variance
        Of each gene, (genes,).
    df
        Its degrees of freedom.
    covariates
        Genes x covariates, a constant among them, which the scale of the prior follows.

    Returns
    -------
    The prior and the posterior.

    Notes
    -----
    The scale comes from :func:`variance_prior`. Shares of the kinds and the degrees of freedom are the likeliest for the
    observed variances, which follow a scaled F-distribution. A few genes that vary far more than others (those of one sex, of a
    few genotypes) are then a kind of their own, instead of making the prior wide for all.
    """
    observed = np.maximum(variance, _SMALLEST)
    _, scale = variance_prior(observed, df, covariates)
    usual = int(np.flatnonzero(KINDS == 1)[0])
    best: tuple[float, float, np.ndarray, np.ndarray] | None = None
    for prior_df in PRIOR_DF:
        ratio = observed[:, None] / (scale[:, None] * KINDS)
        log = stats.f.logpdf(ratio, df, prior_df) - np.log(KINDS)
        top = log.max(1, keepdims=True)
        likelihood = np.exp(log - top)
        share = np.full(len(KINDS), 0.02)
        share[usual] = 1 - 0.02 * (len(KINDS) - 1)
        for _ in range(60):
            new = share * (likelihood.T @ (1 / (likelihood @ share))) / len(observed)
            settled = np.abs(new - share).max() < 1e-4
            share = new
            if settled:
                break
        total = float(np.log(likelihood @ share).sum() + top.sum())
        if best is None or total > best[0]:
            member = likelihood * share
            best = (total, float(prior_df), share, member / member.sum(1, keepdims=True))
    _, prior_df, share, member = best  # type: ignore[misc]
    posterior = (prior_df * scale[:, None] * KINDS + df * observed[:, None]) / (prior_df + df)
    return Moderation(df, prior_df, share, member, posterior)


def natural_spline(x: np.ndarray, n_knots: int = 4) -> np.ndarray:
    """Return a basis of natural cubic splines, with the constant.

    Parameters
    ----------
    x
        (genes,).
    n_knots
        Knots, at quantiles of `x`.

    Returns
    -------
    Genes x columns; one column where `x` does not vary.
    """
    knots = np.unique(np.quantile(x, np.linspace(0, 1, n_knots)))
    if len(knots) < 3:
        return np.ones((len(x), 1)) if len(knots) == 1 else np.column_stack([np.ones(len(x)), x - x.mean()])
    width = knots[-1] - knots[0]
    x, knots = (x - knots[0]) / width, (knots - knots[0]) / width

    def bend(k: int) -> np.ndarray:
        return (np.maximum(x - knots[k], 0) ** 3 - np.maximum(x - knots[-1], 0) ** 3) / (knots[-1] - knots[k])

    last = bend(len(knots) - 2)
    return np.column_stack([np.ones(len(x)), x, *(bend(k) - last for k in range(len(knots) - 2))])
