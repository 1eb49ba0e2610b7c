"""What the composition of bulk samples leads to expect of every gene, and the depth of the samples given that."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Largest number of rounds in which the depth settles.
DEPTH_ROUNDS = 50
#: Residuals beyond this many robust standard deviations do not count towards the depth (Tukey's biweight).
TUKEY = 4.685


@dataclass(frozen=True, slots=True)
class Expected:
    """Expression that follows from the composition alone.

    Attributes
    ----------
    level
        Expected values of each sample and gene, in the units of the signature, samples x genes.
    parts
        Share of each type in that, samples x genes x types; they add up to 1 less what is the same in all samples.
    """

    level: np.ndarray
    parts: np.ndarray

    def with_constant(self, value: float) -> Expected:
        """Add something that no type makes to every value."""
        level = self.level + value
        return Expected(level, self.parts * (self.level / level)[:, :, None])

    def grown(self, change: np.ndarray) -> np.ndarray:
        """Return the logarithm of how much each value grows by changes within types (genes x types, natural logarithm), samples x genes."""
        return np.log1p((self.parts * np.expm1(change)).sum(2))


def expected_expression(shares: np.ndarray, signature: np.ndarray) -> Expected:
    """Mix the types.

    Parameters
    ----------
    shares
        Share of RNA of each type, samples x types, adding up to 1.
    signature
        Expression of each gene in each type, genes x types; every gene with some.

    Returns
    -------
    The expected values. Samples in which a gene is expected not to be expressed at all get a hundredth of its mean level over types.
    """
    parts = shares[:, None, :] * np.maximum(signature, 0.01 * signature.mean(1, keepdims=True))
    level = parts.sum(2)
    return Expected(level, parts / level[:, :, None])


def relative_depth(observed: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return the depth of each sample at which most genes are as expected.

    Parameters
    ----------
    observed
        Values of each sample and gene, samples x genes, at least 0.
    expected
        What the composition leads to expect, samples x genes, above 0; each gene may be off by a factor of its own.

    Returns
    -------
    (samples,), with the scale of `observed / expected`: the robust mean over genes of the log-ratios, freed of what each gene has in
    all samples, by Tukey's biweight. A gene that changes far more than others do not count.
    """
    seen = (observed > 0).all(0)
    if seen.sum() < min(50, observed.shape[1]):
        seen = np.ones(observed.shape[1], dtype=bool)
    small = 0.5 * observed[observed > 0].min() if (observed > 0).any() else 1.0
    ratio = np.log(np.maximum(observed[:, seen], small)) - np.log(expected[:, seen])
    # genes that are seen well count most, those with next to no counts are noise
    weight = np.sqrt(observed[:, seen].mean(0))
    weight = np.minimum(weight, 10 * np.median(weight))
    depth = np.median(ratio, axis=1)
    for _ in range(DEPTH_ROUNDS):
        rest = ratio - depth[:, None]
        rest -= np.median(rest, axis=0)
        scale = np.median(np.abs(rest), axis=1, keepdims=True) / 0.6745
        with np.errstate(divide="ignore", invalid="ignore"):
            inside = np.where(scale > 0, np.abs(rest) / (TUKEY * scale), np.where(np.abs(rest) > 1e-12, 2.0, 0.0))
        trust = weight * np.maximum(1 - inside**2, 0) ** 2
        step = (trust * rest).sum(1) / np.maximum(trust.sum(1), 1e-300)
        depth = depth + step
        if np.abs(step).max() < 1e-10:
            break
    return np.exp(depth)
