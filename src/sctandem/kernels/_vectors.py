"""Vectors of genes and of words of DNA, from what occurs together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, svds

from sctandem._compat import cached_njit
from sctandem.kernels._kmers import canonical_words, codes_of_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Power of the frequency of a neighbour, which makes rare ones count less [Levy15].
_SMOOTH = 0.75


def coexpression_vectors(counts: sparse.csr_matrix, n_dims: int, *, seed: int) -> NDArray[np.float32]:
    r"""Find vectors of genes whose products tell which genes go together.

    Parameters
    ----------
    counts
        Cells x genes.
    n_dims
        Dimensions.
    seed
        Of the start of the decomposition.

    Returns
    -------
    Genes x dimensions; rows of length 1, or 0 for a gene without counts.

    Notes
    -----
    Correspondence analysis of the square roots of the counts: with their shares :math:`P` and its margins, the right singular vectors of
    :math:`D_r^{-1/2} (P - r c^T) D_c^{-1/2}`, times the singular values. Neither depth of cells nor mean of genes is left.
    Nothing is made dense; cost: some tens of products with the counts.

    References
    ----------
    Hsu & Culhane, corral: single-cell RNA-seq dimension reduction, batch integration, and visualization with
    correspondence analysis, Scientific Reports 13 (2023).
    """
    roots = sparse.csr_matrix(counts, dtype=np.float64).sqrt()
    total = roots.sum()
    r, c = (np.asarray(roots.sum(axis)).ravel() / total for axis in (1, 0))
    scale = [np.divide(1, np.sqrt(x), out=np.zeros_like(x), where=x > 0) for x in (r, c)]
    scaled = sparse.diags_array(scale[0]) @ (roots / total) @ sparse.diags_array(scale[1])
    rows, columns = np.sqrt(r), np.sqrt(c)
    residual = LinearOperator(
        scaled.shape,
        matvec=lambda x: scaled @ x.ravel() - rows * (columns @ x.ravel()),
        rmatvec=lambda x: scaled.T @ x.ravel() - columns * (rows @ x.ravel()),
        dtype=np.float64,
    )
    start = np.random.default_rng(seed).normal(size=min(scaled.shape))
    _, values, right = svds(residual, k=n_dims, v0=start)
    order = np.argsort(-values)
    return _unit((right[order].T * values[order]) * scale[1][:, None])


def word_vectors(
    codes: np.ndarray, offsets: np.ndarray, k: int, window: int, n_dims: int, *, seed: int
) -> NDArray[np.float32]:
    r"""Find vectors of words whose products tell which words lie near each other.

    Parameters
    ----------
    codes, offsets
        Bases of the sequences, one after the other, and where each starts.
    k
        Length of the words.
    window
        Bases between the starts of two words up to which they are neighbours; those that overlap are none.
    n_dims
        Dimensions.
    seed
        Of the start of the decomposition.

    Returns
    -------
    Words x dimensions, in the order of `canonical_words`; rows of length 1, or 0 for a word that has no neighbours.

    Notes
    -----
    :math:`M = U S U^T` of the positive pointwise mutual information :math:`\max(0, \log p(a, b) / p(a) p(b)^{0.75})`,
    symmetrised, and :math:`|S|^{1/2} U`: what skip-gram with negative sampling factorises.

    References
    ----------
    Levy, Goldberg & Dagan, Improving distributional similarity with lessons learned from word embeddings, TACL 3 (2015).
    """
    together = count_neighbours(codes, offsets, k, window).astype(np.float64)
    total = max(together.sum(), 1)
    share = together.sum(1) / total
    smooth = share**_SMOOTH
    smooth /= max(smooth.sum(), 1e-300)
    expected = np.outer(share, smooth)
    ratio = np.divide(together / total, expected, out=np.ones_like(expected), where=expected > 0)
    information = np.log(np.maximum(ratio, 1))
    information = (information + information.T) / 2
    start = np.random.default_rng(seed).normal(size=len(information))
    left, values, _ = svds(information, k=n_dims, v0=start)
    order = np.argsort(-values)
    return _unit(left[:, order] * np.sqrt(values[order]))


def count_neighbours(codes: np.ndarray, offsets: np.ndarray, k: int, window: int) -> NDArray[np.int64]:
    """Count how often words lie near each other, both strands as one.

    Parameters
    ----------
    codes, offsets, k, window
        As for `word_vectors`.

    Returns
    -------
    Words x words, symmetric.
    """
    number, names = canonical_words(k)
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    _count_pairs(codes, offsets, k, window, number, counts)
    return counts + counts.T


@cached_njit(nogil=True)
def _count_pairs(codes, offsets, k, window, number, counts):
    """Count each pair once, the word further left first."""
    for peak in range(len(offsets) - 1):
        start, stop = offsets[peak], offsets[peak + 1]
        n = stop - start - k + 1
        if n <= 0:
            continue
        words = np.empty(n, dtype=np.int64)
        codes_of_words(codes[start:stop], k, words)
        for i in range(n):
            if words[i] >= 0:
                words[i] = number[words[i]]
        for i in range(n):
            if words[i] < 0:
                continue
            for j in range(i + k, min(n, i + window + 1)):
                if words[j] >= 0:
                    counts[words[i], words[j]] += 1


def _unit(vectors: np.ndarray) -> NDArray[np.float32]:
    """Scale rows to length 1; rows of zeros stay."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors, dtype=np.float64), where=length > 1e-12).astype(
        np.float32
    )
