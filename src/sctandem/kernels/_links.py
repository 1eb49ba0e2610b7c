"""Which peaks drive which gene: what the window network says, held against the gene's own profile."""

from __future__ import annotations

import numpy as np
from scipy.stats import false_discovery_control

#: Pairs that are compared with the null at once.
BLOCK = 4096


def unit_rows(values: np.ndarray) -> np.ndarray:
    """Scale each row to length 1; rows of zeros stay."""
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)


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
) -> tuple[np.ndarray, np.ndarray]:
    """Score pairs, and test them against permuted windows.

    The agreement of a pair is the cosine between the response of the peak and the profile of the gene, with the sign of
    the weight. Under the null hypothesis the gene follows the peak no more than a gene of another chromosome does: the
    window is handed to such genes, and the p-value is the share of them that agree at least as well.

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
    Importance (pairs,): size of the weight, times the size of the peak's response, times one plus the agreement; and the
    p-value (pairs,), NaN for genes that have no profile or no gene on another chromosome to compare with.
    """
    direction, aim = unit_rows(response), unit_rows(profile)
    side = np.sign(weight)
    agreement = np.where(known[gene], side * np.einsum("ij,ij->i", direction[peak], aim[gene]), 0.0)
    importance = np.abs(weight) * np.linalg.norm(response, axis=1)[peak] * (1 + agreement)
    pool = np.flatnonzero(known)
    pool = pool if pool.size <= n_permutations else np.sort(rng.choice(pool, n_permutations, replace=False))
    pvalue = np.full(weight.size, np.nan)
    for start in range(0, weight.size, BLOCK):
        rows = slice(start, start + BLOCK)
        null = side[rows, None] * (direction[peak[rows]] @ aim[pool].T)
        other = chromosome[gene[rows]][:, None] != chromosome[pool]
        # ties (a peak or a gene without any response) count against the pair
        beaten = (other & (null >= agreement[rows, None] - 1e-12)).sum(1)
        total = other.sum(1)
        pvalue[rows] = np.where(known[gene[rows]] & (total > 0), (1 + beaten) / (1 + total), np.nan)
    return importance, pvalue


def adjust(pvalue: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg adjusted p-values; NaN stays NaN and does not count as a test."""
    out = np.full(pvalue.shape, np.nan)
    tested = ~np.isnan(pvalue)
    if tested.any():
        out[tested] = false_discovery_control(pvalue[tested])
    return out
