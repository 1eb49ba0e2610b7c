"""Weights, owners and sums against loops that follow the published rules word by word."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import sparse

from sctandem.kernels._activity_sums import effective_number, gene_sums
from sctandem.kernels._gene_activity import (
    ARCHR_TILE,
    Genes,
    Intervals,
    Pairs,
    archr_pairs,
    archr_reach,
    body_pairs,
    gene_pieces,
    gene_tiles,
    overlaps,
    owners,
    places,
)


def random_genes(rng, n=30, size=400_000, *, apart=False, n_chromosomes=3) -> Genes:
    chrom = np.sort(rng.integers(0, n_chromosomes, n))
    start = rng.integers(6000, size, n)
    length = rng.integers(200, 40_000, n)
    if apart:  # far enough from one another for their 5 kb not to meet
        start, length = 20_000 + 60_000 * np.arange(n), rng.integers(200, 30_000, n)
    minus = rng.random(n) < 0.5
    end = start + length
    return Genes(chrom, start, end, np.where(minus, end - 1, start), minus)


def random_peaks(rng, n=200, size=450_000, n_chromosomes=3) -> Intervals:
    start = rng.integers(0, size, n)
    return Intervals(rng.integers(0, n_chromosomes + 1, n), start, start + rng.integers(1, 1500, n))


def as_dict(pairs: Pairs) -> dict[tuple[int, int], float]:
    return dict(zip(zip(pairs.source.tolist(), pairs.gene.tolist(), strict=True), pairs.weight.tolist(), strict=True))


def naive_archr(genes: Genes, sources: Intervals) -> dict[tuple[int, int], float]:
    """As the R code goes: positions from 1, both ends included, one gene after the other."""
    n = len(genes.start)
    start1, end1 = [int(x) + 1 for x in genes.start], [int(x) for x in genes.end]
    for g in range(n):
        if genes.minus[g]:
            end1[g] += 5000
        else:
            start1[g] -= 5000
    m = [1 / (end1[g] - start1[g] + 1) for g in range(n)]
    factor = [1 + x * 4 / (max(m) - min(m)) for x in m]
    weights = {}
    for chrom in set(genes.chrom.tolist()):
        on = sorted((g for g in range(n) if genes.chrom[g] == chrom), key=lambda g: (start1[g], end1[g]))
        for at, g in enumerate(on):
            before = 1 if at == 0 else end1[on[at - 1]] + 500
            after = end1[g] + 100_000 if at == len(on) - 1 else start1[on[at + 1]] - 500
            low = min(start1[g] - 1000, max(before, start1[g] - 100_000))
            high = max(end1[g] + 1000, min(after, end1[g] + 100_000))
            for s in range(len(sources.start)):
                a, b = int(sources.start[s]) + 1, int(sources.end[s])
                if sources.chrom[s] != chrom or b < low or a > high:
                    continue
                gap = max(0, start1[g] - b - 1, a - end1[g] - 1)
                weights[s, g] = (math.exp(-gap / 5000) + math.exp(-1)) * factor[g]
    return weights


@pytest.mark.parametrize("seed", range(5))
def test_overlaps_are_those_of_a_loop(seed):
    rng = np.random.default_rng(seed)
    peaks, genes = random_peaks(rng), random_genes(rng)
    regions = Intervals(genes.chrom, genes.start, genes.end)
    expected = [
        (s, g)
        for s in range(len(peaks.start))
        for g in range(len(genes.start))
        if peaks.chrom[s] == genes.chrom[g] and peaks.start[s] < genes.end[g] and peaks.end[s] > genes.start[g]
    ]
    assert list(zip(*(found.tolist() for found in overlaps(peaks, regions)), strict=True)) == expected


def test_borders_of_the_gene_body_by_hand():
    genes = Genes(
        np.array([0, 0]),
        np.array([10_000, 50_000]),
        np.array([11_000, 51_000]),
        np.array([10_000, 50_999]),
        np.array([False, True]),
    )
    #         last base before and first base in, for both ends of both genes
    start = np.array([7_999, 8_000, 10_999, 11_000, 49_999, 50_000, 52_999, 53_000])
    peaks = Intervals(np.zeros(8, dtype=int), start, start + 1)
    assert as_dict(body_pairs(peaks, genes)) == {(1, 0): 1.0, (2, 0): 1.0, (5, 1): 1.0, (6, 1): 1.0}


@pytest.mark.parametrize("seed", range(8))
def test_archr_is_that_of_a_loop(seed):
    rng = np.random.default_rng(seed)
    genes, peaks = random_genes(rng), random_peaks(rng)
    found, expected = as_dict(archr_pairs(peaks, archr_reach(genes))), naive_archr(genes, peaks)
    assert found.keys() == expected.keys()
    assert len(expected) > 50
    np.testing.assert_allclose([found[pair] for pair in expected], list(expected.values()), rtol=1e-12)


def test_archr_constants_by_hand():
    # two genes of 1 kb (6 kb with what is before them) and 7 kb (12 kb), 300 kb apart
    genes = Genes(
        np.array([0, 0]),
        np.array([100_000, 400_000]),
        np.array([101_000, 407_000]),
        np.array([100_000, 406_999]),
        np.array([False, True]),
    )
    reach = archr_reach(genes)
    assert reach.body.start.tolist() == [95_000, 400_000]
    assert reach.body.end.tolist() == [101_000, 412_000]
    assert reach.reach.start.tolist() == [499 - 499, 300_000]
    assert reach.reach.end.tolist() == [201_000, 512_000]
    np.testing.assert_allclose(reach.factor, [1 + 4 * 2, 1 + 4 * 1])
    peaks = Intervals(
        np.zeros(3, dtype=int), np.array([100_500, 106_000, 407_500]), np.array([100_600, 106_500, 407_900])
    )
    weights = as_dict(archr_pairs(peaks, reach))
    assert weights == pytest.approx(
        {(0, 0): 9 * (1 + math.exp(-1)), (1, 0): 9 * 2 * math.exp(-1), (2, 1): 5 * (1 + math.exp(-1))}
    )


def test_archr_stops_before_the_neighbour_but_not_below_one_kb():
    genes = Genes(
        np.zeros(2, dtype=int),
        np.array([100_000, 120_000]),
        np.array([101_000, 121_000]),
        np.array([100_000, 120_000]),
        np.zeros(2, dtype=bool),
    )
    reach = archr_reach(genes)
    assert reach.reach.end[0] == 115_000 - 499  # 500 bp before the 5 kb of the next
    assert reach.reach.start[1] == 101_000 + 499
    near = Genes(
        genes.chrom,
        np.array([100_000, 106_500]),
        np.array([101_000, 108_000]),
        np.array([100_000, 106_500]),
        genes.minus,
    )
    assert archr_reach(near).reach.end[0] == 102_000


def test_genes_of_one_length_have_no_factor():
    genes = Genes(
        np.zeros(2, dtype=int),
        np.array([10_000, 90_000]),
        np.array([11_000, 91_000]),
        np.array([10_000, 90_000]),
        np.zeros(2, dtype=bool),
    )
    np.testing.assert_array_equal(archr_reach(genes).factor, 1.0)


@pytest.mark.parametrize("rule", ["body", "archr"])
@pytest.mark.parametrize("seed", range(3))
def test_the_mirrored_genome_gives_the_mirrored_result(rule, seed):
    rng = np.random.default_rng(seed)
    size = 3_000_000
    genes, peaks = random_genes(rng, apart=True), random_peaks(rng, size=2_000_000)
    turned_genes = Genes(genes.chrom, size - genes.end, size - genes.start, size - 1 - genes.tss, ~genes.minus)
    turned_peaks = Intervals(peaks.chrom, size - peaks.end, size - peaks.start)
    found = []
    for g, p in ((genes, peaks), (turned_genes, turned_peaks)):
        pairs = body_pairs(p, g) if rule == "body" else archr_pairs(p, archr_reach(g))
        found.append((as_dict(pairs), owners(pairs, p, g), places(owners(pairs, p, g), p, g, 2000)))
    # the first gene of a chromosome may reach to its beginning, which the mirror does not know: weights are the same there
    assert found[0][0] == pytest.approx(found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])
    np.testing.assert_array_equal(found[0][2], found[1][2])


def naive_owner(s, pairs, peaks, genes) -> int:
    here = [(g, w) for (source, g), w in pairs.items() if source == s and w > 0]
    middle = (peaks.start[s] + peaks.end[s] - 1) / 2
    return min(here, key=lambda one: (-one[1], abs(genes.tss[one[0]] - middle), one[0]))[0] if here else -1


@pytest.mark.parametrize("rule", ["body", "archr"])
def test_owners_are_those_of_a_loop(rule):
    rng = np.random.default_rng(3)
    genes, peaks = random_genes(rng, n=60), random_peaks(rng)
    pairs = body_pairs(peaks, genes) if rule == "body" else archr_pairs(peaks, archr_reach(genes))
    expected = [naive_owner(s, as_dict(pairs), peaks, genes) for s in range(len(peaks.start))]
    assert owners(pairs, peaks, genes).tolist() == expected
    assert len(set(expected)) > 10


def test_ties_go_to_the_nearest_start_and_then_to_the_first():
    genes = Genes(
        np.zeros(3, dtype=int),
        np.array([100, 100, 500]),
        np.array([900, 900, 900]),
        np.array([100, 100, 500]),
        np.zeros(3, dtype=bool),
    )
    peaks = Intervals(np.zeros(3, dtype=int), np.array([290, 495, 301]), np.array([300, 505, 302]))
    pairs = body_pairs(peaks, genes)
    # the last peak, a base at 301, is 201 and 199 bp from the starts
    assert owners(pairs, peaks, genes).tolist() == [0, 2, 2]
    middle = Intervals(np.zeros(1, dtype=int), np.array([300]), np.array([301]))
    assert owners(body_pairs(middle, genes), middle, genes).tolist() == [0]


def test_weights_that_are_not_positive_own_nothing():
    genes = Genes(
        np.zeros(2, dtype=int),
        np.array([100, 300]),
        np.array([200, 400]),
        np.array([100, 300]),
        np.zeros(2, dtype=bool),
    )
    peaks = Intervals(np.zeros(2, dtype=int), np.array([150, 350]), np.array([160, 360]))
    pairs = Pairs(np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([-2.0, 0.5, -1.0]))
    assert owners(pairs, peaks, genes).tolist() == [1, -1]


def test_places():
    genes = Genes(
        np.zeros(1, dtype=int), np.array([10_000]), np.array([11_000]), np.array([10_000]), np.zeros(1, dtype=bool)
    )
    start = np.array([10_500, 9_990, 9_000, 7_999, 8_000, 11_000, 20_000])
    peaks = Intervals(np.zeros(7, dtype=int), start, start + np.array([10, 11, 10, 1, 1, 1, 1]))
    owner = np.array([0, 0, 0, 0, 0, 0, -1])
    assert places(owner, peaks, genes, 2000).tolist() == [0, 0, 1, 2, 1, 2, 3]
    assert places(np.full(7, -1), peaks, Genes(*(x[:0] for x in genes)), 2000).tolist() == [3] * 7


@pytest.mark.parametrize("seed", range(6))
def test_pieces_are_those_of_every_base(seed):
    rng = np.random.default_rng(seed)
    n, size = 8, 600
    start = rng.integers(0, size - 100, n)
    end = start + rng.integers(5, 200, n)
    minus = rng.random(n) < 0.5
    genes = Genes(rng.integers(0, 2, n), start, end, np.where(minus, end - 1, start), minus)
    pieces = gene_pieces(genes, upstream=40)
    pairs = body_pairs(pieces, genes, upstream=40)
    owner = owners(pairs, pieces, genes)
    of_piece = {s: set(pairs.gene[pairs.source == s].tolist()) for s in range(len(pieces.start))}
    for chrom in (0, 1):
        for base in range(size + 300):
            covering = {
                g
                for g in range(n)
                if genes.chrom[g] == chrom
                and genes.start[g] - (0 if minus[g] else 40) <= base < genes.end[g] + (40 if minus[g] else 0)
            }
            at = [
                s
                for s in range(len(pieces.start))
                if pieces.chrom[s] == chrom and pieces.start[s] <= base < pieces.end[s]
            ]
            assert len(at) == bool(covering)
            if covering:
                assert of_piece[at[0]] == covering
                assert owner[at[0]] == min(covering, key=lambda g: (abs(genes.tss[g] - base), g))


def test_tiles_begin_where_positions_from_one_are_divided():
    # the last of them ends with the first base of a tile
    reach = Intervals(np.array([0, 0, 1, 1]), np.array([-300, 1_400, 998, 2_300]), np.array([10, 1_600, 999, 2_500]))
    tiles = gene_tiles(reach)
    assert list(zip(*(ends.tolist() for ends in tiles), strict=True)) == [
        (0, 0, 499),
        (0, 999, 1499),
        (0, 1499, 1999),
        (1, 499, 999),
        (1, 1999, 2499),
        (1, 2499, 2999),
    ]
    for chrom, start, end in zip(*tiles, strict=True):
        assert {(base + 1) // ARCHR_TILE for base in range(start, end)} == {(end + 1) // ARCHR_TILE - 1}, chrom


def test_effective_number():
    pairs = Pairs(np.array([0, 1, 2, 3, 3]), np.array([0, 0, 0, 1, 2]), np.array([1.0, 1.0, 2.0, 1.0, 1.0]))
    found = effective_number(pairs, np.array([4, 4, 2, 7]), 4)
    np.testing.assert_allclose(found, [3, 1, 1, 0])
    # shares 1/4 and 3/4
    found = effective_number(Pairs(np.array([0, 1]), np.zeros(2, dtype=int), np.array([1.0, 3.0])), np.array([5, 5]), 1)
    np.testing.assert_allclose(found, np.exp(-0.25 * np.log(0.25) - 0.75 * np.log(0.75)))


@pytest.mark.parametrize("ceiling", [None, 4])
def test_sums_are_matrix_products(ceiling, rng):
    n_cells, n_sources, n_genes = 40, 60, 15
    counts = sparse.csr_matrix(rng.poisson(2.0, (n_cells, n_sources)) * (rng.random((n_cells, n_sources)) < 0.3))
    weights = rng.normal(size=(n_sources, n_genes)) * (rng.random((n_sources, n_genes)) < 0.1)
    source, gene = weights.nonzero()
    owner = rng.integers(-1, n_genes, n_sources)
    found = gene_sums(
        (counts.data, counts.indices, counts.indptr),
        owner,
        Pairs(source, gene, weights[source, gene]),
        n_genes,
        ceiling,
    )
    one = np.zeros((n_sources, n_genes), dtype=int)
    one[owner >= 0, owner[owner >= 0]] = 1
    dense = counts.toarray()
    capped = dense if ceiling is None else np.minimum(dense, ceiling)
    made = sparse.csr_matrix(found.counts, shape=(n_cells, n_genes))
    np.testing.assert_array_equal(made.toarray(), dense @ one)
    assert made.has_sorted_indices
    assert made.dtype == np.int32
    assert (made.data > 0).all()
    np.testing.assert_allclose(
        sparse.csr_matrix(found.scores, shape=(n_cells, n_genes)).toarray(), capped @ weights, rtol=1e-5, atol=1e-5
    )
    np.testing.assert_array_equal(found.unassigned, dense[:, owner < 0].sum(1))
    np.testing.assert_array_equal(found.counted, dense.sum(0))
    np.testing.assert_array_equal(found.capped, capped.sum(0))
    np.testing.assert_allclose(found.size, (capped @ weights).sum(1), atol=1e-9)
    assert found.largest == (dense @ one).max()
    assert found.counts[0].sum() + found.unassigned.sum() == dense.sum()
