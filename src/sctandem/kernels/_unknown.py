"""The share of a bulk sample that is of no type of the reference, where the samples give evidence of it."""

from __future__ import annotations

import numpy as np
from scipy import stats

#: Standard deviation of the log ratio over samples from which a gene is taken to follow something unknown: states of donors move less.
LARGE = 0.7
#: Correlation with their common course that such genes must have, and how many there must be.
COURSE, LEAST_GENES = 0.7, 10
#: Samples below which a course says nothing; and the level of the test.
LEAST_SAMPLES, LEVEL = 6, 0.01
#: Most of a sample that can be unknown.
_MOST = 0.97


def unknown_share(ratio: np.ndarray, variance: np.ndarray, *, telling: np.ndarray, common: np.ndarray) -> np.ndarray:
    r"""Estimate the unknown share of RNA, which is 0 unless two kinds of genes speak for it.

    Parameters
    ----------
    ratio
        Log of measured by expected expression where the known types make up all of the RNA, samples x genes.
    variance
        Variance of that by counting, samples x genes.
    telling
        Positions of the genes that tell the known types apart.
    common
        Positions of genes that all types express alike.

    Returns
    -------
    Share of RNA, (samples,).

    Notes
    -----
    A type that the reference lacks does two things where its share :math:`u_s` varies. Genes that hardly any known type has follow it:
    their log ratios have a large common course :math:`z_s = \log u_s + c`. And what tells the known types makes less of the RNA, against the
    genes that all types have alike, by :math:`q_s = \log(1 - u_s) + c'`. So :math:`q_s = c' + \log(1 - k e^{z_s})`, whose one unknown :math:`k` is
    fitted; :math:`u_s = k e^{z_s}`. Without ten genes on one course, or where :math:`e^q` does not fall with :math:`e^z` (one-sided test at
    0.01), nothing is said to be unknown. Likelihoods with a free profile do not stop there: they take the states of donors, which move
    many genes a little, for something unknown.
    """
    n_samples = len(ratio)
    nothing = np.zeros(n_samples)
    if n_samples < LEAST_SAMPLES or not len(common):
        return nothing
    depth = _depth(ratio[:, common])
    lost = _depth(ratio[:, telling]) - depth
    rest = ratio - depth[:, None]
    rest = rest - np.median(rest, axis=0)
    course = _course(rest, np.median(variance, axis=0))
    if course is None or lost.std() == 0:
        return nothing
    amount = np.exp(course)
    test = stats.pearsonr(np.exp(lost), amount, alternative="less")
    if not test.pvalue <= LEVEL:
        return nothing
    scales = np.linspace(0, _MOST / amount.max(), 200)
    left = lost - np.log1p(-scales[:, None] * amount)
    misfit = ((left - left.mean(1, keepdims=True)) ** 2).sum(1)
    return scales[misfit.argmin()] * amount


def _depth(ratio: np.ndarray) -> np.ndarray:
    """Return the log scale of each sample: the median over genes of what is left of their medians over samples."""
    first = np.median(ratio - np.median(ratio, axis=0), axis=1)
    return np.median(ratio - np.median(ratio - first[:, None], axis=0), axis=1)


def _course(rest: np.ndarray, noise: np.ndarray) -> np.ndarray | None:
    """Return the common course of the genes that vary much, samples; `None` without one."""
    large = (rest.std(0) > LARGE) & (rest.var(0) > 4 * noise)
    if large.sum() < LEAST_GENES:
        return None
    found = rest[:, large]
    scaled = (found - found.mean(0)) / found.std(0)
    first = np.linalg.svd(scaled, full_matrices=False)[0][:, 0]
    along = first @ scaled / (np.linalg.norm(first) * np.linalg.norm(scaled, axis=0))
    along = along * np.sign(np.median(along))
    if (along > COURSE).sum() < LEAST_GENES:
        return None
    return np.median(found[:, along > COURSE], axis=1)
