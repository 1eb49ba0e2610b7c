"""Vectors against dense linear algebra, a count by hand, and what was planted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from sctandem.kernels._kmers import canonical_words
from sctandem.kernels._vectors import coexpression_vectors, count_neighbours, word_vectors


def cosines(vectors: np.ndarray) -> np.ndarray:
    return vectors.astype(float) @ vectors.astype(float).T


def test_genes_are_those_of_a_dense_correspondence_analysis(rng: np.random.Generator) -> None:
    counts = rng.poisson(2.0, (80, 15)).astype(float)
    share = np.sqrt(counts) / np.sqrt(counts).sum()
    r, c = share.sum(1), share.sum(0)
    _, values, right = np.linalg.svd((share - np.outer(r, c)) / np.sqrt(np.outer(r, c)), full_matrices=False)
    expected = right[:5].T * values[:5] / np.sqrt(c)[:, None]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = coexpression_vectors(sparse.csr_matrix(counts), 5, seed=0)
    assert np.allclose(cosines(found), cosines(expected), atol=1e-4)


def test_depth_and_order_of_cells_do_not_matter(rng: np.random.Generator) -> None:
    counts = rng.poisson(2.0, (80, 15)).astype(float)
    first = coexpression_vectors(sparse.csr_matrix(counts), 4, seed=0)
    again = coexpression_vectors(sparse.csr_matrix(counts[rng.permutation(80)]), 4, seed=1)
    assert np.allclose(cosines(first), cosines(again), atol=1e-4)


def test_programmes_are_found_where_correlations_of_genes_miss_them(rng: np.random.Generator) -> None:
    programme = np.repeat(np.arange(8), 25)
    active = rng.gamma(0.5, 2.0, (600, 8))
    mean = rng.lognormal(-2.5, 0.8, 200)
    depth = rng.lognormal(0, 0.7, (600, 1))
    counts = rng.poisson(depth * mean * (0.3 + active[:, programme]))

    def purity(similarity: np.ndarray) -> float:
        np.fill_diagonal(similarity, -np.inf)
        near = np.argsort(-similarity, axis=1)[:, :5]
        return float((programme[near] == programme[:, None]).mean())

    logs = np.log1p(1e4 * counts / np.maximum(counts.sum(1, keepdims=True), 1))
    plain = np.nan_to_num(np.corrcoef(logs.T))
    own = cosines(coexpression_vectors(sparse.csr_matrix(counts), 10, seed=0))
    assert 1 - purity(own) < 0.5 * (1 - purity(plain))


def test_neighbours_are_those_of_a_count_by_hand() -> None:
    text = ["ACGTTGCANACC", "GGATCCA"]
    codes = np.array(["ACGTN".index(base) for base in "".join(text)], dtype=np.uint8)
    offsets = np.cumsum([0, *map(len, text)])
    number = canonical_words(2)[0]
    expected = np.zeros((10, 10), dtype=int)
    for sequence in text:
        words = [sequence[i : i + 2] for i in range(len(sequence) - 1)]
        for i, first in enumerate(words):
            for j in range(i + 2, min(len(words), i + 5)):
                if "N" in first + words[j]:
                    continue
                a, b = (number["ACGT".index(w[0]) * 4 + "ACGT".index(w[1])] for w in (first, words[j]))
                expected[a, b] += 1
                expected[b, a] += 1
    assert np.array_equal(count_neighbours(codes, offsets, 2, 4), expected)


def test_both_strands_give_the_same_vectors(rng: np.random.Generator) -> None:
    codes = rng.integers(4, size=4000).astype(np.uint8)
    offsets = np.arange(0, 4001, 100)
    reverse = np.concatenate([3 - codes[a:b][::-1] for a, b in zip(offsets, offsets[1:], strict=False)])
    assert np.array_equal(count_neighbours(codes, offsets, 3, 20), count_neighbours(reverse, offsets, 3, 20))


def test_words_that_share_a_partner_are_alike(rng: np.random.Generator) -> None:
    """Two words stand beside the same third one, so that they can be exchanged: second-order likeness."""
    peaks = []
    for i in range(1500):
        bases = rng.integers(4, size=60)
        if i % 2:
            word = ((0, 1, 3, 0), (2, 1, 0, 3))[rng.integers(2)]  # ACTA or GCAT
            bases[20:24], bases[28:32] = word, (1, 1, 2, 0)  # CCGA
        peaks.append(bases)
    codes, offsets = np.concatenate(peaks).astype(np.uint8), np.arange(0, 60 * 1500 + 1, 60)
    names = canonical_words(4)[1]
    similarity = cosines(word_vectors(codes, offsets, 4, 12, 20, seed=0))
    a, b = (names.index(word) for word in ("ACTA", "ATGC"))
    rank = int((similarity[a] > similarity[a, b]).sum())  # with itself
    assert rank <= 0.05 * len(names)


@pytest.mark.parametrize("seed", [0, 1])
def test_rows_have_length_one_or_none(rng: np.random.Generator, seed: int) -> None:
    counts = rng.poisson(2.0, (50, 12))
    counts[:, 3] = 0
    length = np.linalg.norm(coexpression_vectors(sparse.csr_matrix(counts), 4, seed=seed), axis=1)
    assert np.allclose(np.delete(length, 3), 1, atol=1e-5)
    assert length[3] == 0
