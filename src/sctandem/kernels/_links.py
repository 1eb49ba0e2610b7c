"""Which peaks drive which gene: what the window network says, held against the gene's own profile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

#: Pairs that are compared with the null at once.
BLOCK = 4096
#: Pairs whose permuted windows make up the pooled null distribution, at most.
MAX_POOLED = 2000


@dataclass(frozen=True, slots=True)
class LinkEvidence:
    """What speaks for each pair.

    Attributes
    ----------
    importance
        Size of the pair's effect on the log rate that the window network expects, (pairs,).
    agreement
        How much more closely the gene follows the peak than permuted windows do, in their standard deviations, (pairs,);
        0 for genes without a profile of their own.
    pvalue
        Share of the permuted windows that agree at least as well, (pairs,); NaN where there is nothing to compare.
    """

    importance: np.ndarray
    agreement: np.ndarray
    pvalue: np.ndarray


def unit_rows(values: np.ndarray) -> np.ndarray:
    """Scale each row to length 1; rows of zeros stay."""
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)


def unexplained(
    weight: np.ndarray,
    response: np.ndarray,
    profile: np.ndarray,
    *,
    peak: np.ndarray,
    gene: np.ndarray,
    known: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Take from each gene's profile what its window explains.

    Returns
    -------
    What is left, genes x functions, and the effect of each pair in it, pairs x functions: a gene's row plus the row of
    one of its pairs is what the gene would leave unexplained without that pair.
    """
    effect = weight[:, None] * response[peak]
    explained = np.zeros_like(profile)
    np.add.at(explained, gene, effect)
    if known.any():
        explained[known] -= explained[known].mean(0)
    size = float((explained[known] ** 2).sum())
    # the network shrinks its weights: one factor for all of them brings them to the scale of the profiles
    scale = max(0.0, float((explained[known] * profile[known]).sum()) / size) if size > 0 else 0.0
    return profile - scale * explained, scale * effect


def link_evidence(
    weight: np.ndarray,
    response: np.ndarray,
    profile: np.ndarray,
    *,
    peak: np.ndarray,
    gene: np.ndarray,
    chromosome: np.ndarray,
    known: np.ndarray,
    n_permutations: int,
    rng: np.random.Generator,
) -> LinkEvidence:
    """Score pairs, and test them against permuted windows.

    The question to a pair is whether the gene follows the peak in what the *other* peaks of its window leave unexplained,
    in the direction that the network expects. Under the null hypothesis that leaves the same as in genes of other
    chromosomes, whose own windows have explained what they can: the peak is held against those.

    Parameters
    ----------
    weight
        Weight that the window network gives each pair, (pairs,).
    response
        Response of each peak to the functions of the cells, peaks x functions, in a basis in which these are white.
    profile
        Profile of each gene in the same basis, without what all genes share, genes x functions.
    peak, gene
        Positions of each pair, (pairs,).
    chromosome
        Code of each gene's chromosome, (genes,).
    known
        Which genes have a profile of their own, (genes,).
    n_permutations
        Genes drawn for the null distribution; fewer where there are fewer.
    rng
        Draws them.

    Returns
    -------
    The evidence. Agreements are cosines, standardised by the mean and standard deviation of the same peak's permuted
    windows; p-values are their ranks in the pool of all permuted windows.
    """
    left, effect = unexplained(weight, response, profile, peak=peak, gene=gene, known=known)
    direction, side = unit_rows(response), np.where(weight < 0, -1.0, 1.0)
    cosine = side * np.einsum("ij,ij->i", direction[peak], unit_rows(left[gene] + effect))
    pool = np.flatnonzero(known)
    pool = pool if pool.size <= n_permutations else np.sort(rng.choice(pool, n_permutations, replace=False))
    aim = unit_rows(left[pool])

    def permuted(rows: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        other = chromosome[gene[rows]][:, None] != chromosome[pool]
        null = side[rows, None] * (direction[peak[rows]] @ aim.T)
        count = np.maximum(other.sum(1, keepdims=True), 1)
        mean = np.where(other, null, 0).sum(1, keepdims=True) / count
        spread = np.sqrt(np.where(other, (null - mean) ** 2, 0).sum(1, keepdims=True) / count)
        return (
            np.where(other, (null - mean) / np.maximum(spread, 1e-9), np.nan),
            mean[:, 0],
            np.maximum(spread[:, 0], 1e-9),
        )

    testable = known[gene] & (np.linalg.norm(response, axis=1)[peak] > 0)
    per_chromosome = pd.Series(chromosome[pool]).value_counts()
    testable &= per_chromosome.reindex(chromosome[gene], fill_value=0).to_numpy() < pool.size
    agreement = np.zeros(weight.size)
    for start in range(0, weight.size, BLOCK):
        rows = slice(start, start + BLOCK)
        _, mean, spread = permuted(rows)
        agreement[rows] = np.where(testable[rows], (cosine[rows] - mean) / spread, 0.0)
    pvalue = np.full(weight.size, np.nan)
    tested = np.flatnonzero(testable)
    if tested.size:
        some = tested if tested.size <= MAX_POOLED else np.sort(rng.choice(tested, MAX_POOLED, replace=False))
        null = permuted(some)[0]
        null = np.sort(null[~np.isnan(null)])
        above = null.size - np.searchsorted(null, agreement[tested] - 1e-12, side="left")
        pvalue[tested] = (1 + above) / (1 + null.size)
    importance = np.abs(weight) * np.linalg.norm(response, axis=1)[peak]
    return LinkEvidence(importance, agreement, pvalue)


def adjust(pvalue: np.ndarray, prior: np.ndarray | None = None) -> np.ndarray:
    """Control the false discovery rate, by Benjamini-Hochberg with weights [Genovese06]_.

    Parameters
    ----------
    pvalue
        NaN stays NaN and does not count as a test.
    prior
        Weight of each test, known without its p-value and not negative; scaled to a mean of 1. `None` for equal weights.

    Returns
    -------
    Adjusted p-values.

    References
    ----------
    .. [Genovese06] Genovese, Roeder & Wasserman, False discovery control with p-value weighting, Biometrika 93 (2006).
    """
    out = np.full(pvalue.shape, np.nan)
    tested = ~np.isnan(pvalue)
    if not tested.any():
        return out
    values = pvalue[tested]
    if prior is not None and prior[tested].sum() > 0:
        share = prior[tested] / prior[tested].mean()
        values = np.minimum(values / np.maximum(share, 1e-12), 1.0)
    out[tested] = false_discovery_control(values)
    return out
