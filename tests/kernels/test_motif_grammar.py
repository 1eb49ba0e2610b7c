from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, kstest, norm
from statsmodels.stats.contingency_tables import StratifiedTable

from sctandem.kernels._motif_grammar import cooccurrence, order, spacing, together
from sctandem.kernels._motif_sites import MotifSites

WIDTH = np.array([8, 10, 6, 12])
N_PEAKS, LENGTH = 400, 300


def random_hits(rng, n_peaks=N_PEAKS, rate=0.6):
    n = rng.poisson(rate, (n_peaks, WIDTH.size))
    peak, motif = (np.repeat(x, n[np.nonzero(n)]) for x in np.nonzero(n))
    start = rng.integers(0, LENGTH - WIDTH[motif])
    return peak, motif, start, rng.choice([-1, 1], peak.size), rng.gamma(2, size=peak.size)


def sites_of(hits, n_peaks=N_PEAKS, width=WIDTH):
    peak, motif, start, strand, score = (np.asarray(column) for column in hits)
    return MotifSites.build(peak, motif, start, strand=strand, score=score, width=width, n_peaks=n_peaks)


def naive_table(sites, peaks, a, b):
    """Presence of two motifs in each peak, by the rule for sites on top of each other, one peak at a time."""
    cells = np.zeros((2, 2))
    for peak in peaks:
        rows = np.flatnonzero(sites.peak == peak)
        first, second = (rows[sites.motif[rows] == motif] for motif in (a, b))
        has = [first.size > 0, second.size > 0]
        if all(has):
            apart = any(
                sites.start[x] >= sites.start[y] + sites.width[b] or sites.start[y] >= sites.start[x] + sites.width[a]
                for x in first
                for y in second
            )
            if not apart:
                better = sites.quality[first].max() - sites.quality[second].max()
                has = [better > 0 or (better == 0 and a < b), better < 0 or (better == 0 and a > b)]
        cells[1 - has[0], 1 - has[1]] += 1
    return cells


def test_tables_are_those_of_statsmodels(rng):
    sites = sites_of(random_hits(rng))
    peaks, stratum = np.arange(0, N_PEAKS, 2), rng.integers(0, 4, N_PEAKS // 2)
    found = together(sites, peaks, stratum)
    for a, b in ((0, 1), (2, 1), (3, 0)):
        tables = [naive_table(sites, peaks[stratum == code], a, b) for code in range(4)]
        assert found.observed[a, b] == sum(table[0, 0] for table in tables)
        expected = sum(table[0].sum() * table[:, 0].sum() / table.sum() for table in tables)
        assert found.expected[a, b] == pytest.approx(expected)
        theirs = StratifiedTable([*tables, np.full((2, 2), 0.5)])
        assert found.log_odds[a, b] == pytest.approx(theirs.logodds_pooled)
        assert found.variance[a, b] == pytest.approx(theirs.logodds_pooled_se**2)
    np.testing.assert_allclose(found.log_odds, found.log_odds.T)


def test_motifs_on_top_of_each_other_are_one_site(rng):
    """A copy of a motif, hit at the same places, lies together with it no more often than chance."""
    peak, motif, start, strand, score = random_hits(rng, 2000, 0.3)
    keep = motif != 3
    copies = np.flatnonzero(motif == 0)
    parts = (peak, np.where(motif == 0, 3, motif), start, strand, score)
    hits = tuple(
        np.concatenate([x[keep], y[copies]]) for x, y in zip((peak, motif, start, strand, score), parts, strict=True)
    )
    sites = sites_of(hits, 2000, np.array([8, 10, 6, 8]))
    found = together(sites, np.arange(2000), np.zeros(2000, dtype=int))
    both = sum(np.unique(start[(peak == p) & (motif == 0)]).size > 1 for p in range(2000))
    assert found.observed[0, 3] <= both  # and not the 520 or so peaks that hold the motif
    assert found.observed[0, 3] > 0


def test_odds_do_not_follow_what_is_enriched_alone(rng):
    """Single motifs five times as frequent, and nothing else: p-values are uniform. A planted pair stands out."""
    pvalues = []
    for _ in range(25):
        n = 1500
        group = np.arange(n) < 500
        rate = np.where(group[:, None], [1.0, 1.0, 0.3, 0.3], [0.25, 0.25, 0.3, 0.3])
        counts = rng.poisson(rate)
        peak, motif = (np.repeat(x, counts[np.nonzero(counts)]) for x in np.nonzero(counts))
        start = rng.integers(0, LENGTH - WIDTH[motif])
        hits = peak, motif, start, np.ones(peak.size), np.ones(peak.size)
        sites = sites_of(hits, n)
        tables = [together(sites, np.flatnonzero(part), np.zeros(part.sum(), dtype=int)) for part in (group, ~group)]
        found = cooccurrence(*tables)
        pvalues.extend(found.pvalue[np.triu_indices(4, 1)])
    assert np.isfinite(pvalues).sum() > 100
    assert kstest(pvalues, "uniform").pvalue > 0.01
    twins = rng.choice(500, 250, replace=False)
    more = np.tile(twins, 2), np.repeat([0, 1], 250), np.repeat([20, 90], 250), np.ones(500), np.ones(500)
    sites = sites_of(tuple(np.concatenate(pair) for pair in zip(hits, more, strict=True)), n)
    planted = cooccurrence(together(sites, np.arange(500), np.zeros(500, dtype=int)), tables[1])
    assert planted.pvalue[0, 1] < 1e-3
    assert planted.effect[0, 1] > 0.5
    assert planted.observed[0, 1] > planted.expected[0, 1] + 15


def test_expected_follows_the_odds_of_the_background(rng):
    """A pair that lies together in the background just as it does in the group is expected, though it is not independent."""
    n = 3000
    module = rng.random(n) < 0.3
    counts = (rng.random((n, 4)) < np.where(module[:, None], 0.7, 0.1)).astype(int)
    peak, motif = np.nonzero(counts)
    hits = peak, motif, motif * 30, np.ones(peak.size), np.ones(peak.size)
    sites = sites_of(hits, n)
    one, other = (
        together(sites, np.arange(n)[part], np.zeros(n // 2, dtype=int)) for part in (slice(0, 1500), slice(1500, n))
    )
    found = cooccurrence(one, other)
    assert one.observed[0, 1] > 1.5 * one.expected[0, 1]
    assert found.expected[0, 1] == pytest.approx(one.observed[0, 1], rel=0.15)
    assert found.pvalue[0, 1] > 0.001
    alone = cooccurrence(one, None)
    assert alone.pvalue[0, 1] < 1e-10
    assert alone.expected[0, 1] == pytest.approx(one.expected[0, 1])


def test_order_is_a_binomial_test_of_nearest_pairs(rng):
    sites = sites_of(random_hits(rng))
    peaks = np.arange(N_PEAKS)
    n, ahead, pvalue = order(sites, peaks, least=10)
    told = downstream = 0
    for peak in peaks:
        rows = np.flatnonzero(sites.peak == peak)
        gaps = []
        for x in rows[sites.motif[rows] == 0]:
            for y in rows[sites.motif[rows] == 2]:
                right, left = sites.start[y] - sites.start[x] - 8, sites.start[x] - sites.start[y] - 6
                if max(right, left) >= 0:
                    gaps.append((max(right, left), sites.strand[x] * (1 if right >= 0 else -1)))
        nearest = {side for gap, side in gaps if gap == min(gaps)[0]}
        if len(nearest) == 1 and nearest != {0}:
            told += 1
            downstream += nearest == {1}
    assert (n[0, 2], ahead[0, 2]) == (told, downstream)
    assert pvalue[0, 2] == pytest.approx(binomtest(int(downstream), int(told)).pvalue)
    assert np.isnan(order(sites, peaks, least=N_PEAKS)[2]).all()


def test_the_other_strand_reads_the_same(rng):
    hits = random_hits(rng)
    turned = hits[0], hits[1], LENGTH - WIDTH[hits[1]] - hits[2], -hits[3], hits[4]
    peaks, middle = np.arange(N_PEAKS), np.full(N_PEAKS, LENGTH // 2)
    one, other = sites_of(hits), sites_of(turned)
    for x, y in zip(order(one, peaks, least=5), order(other, peaks, least=5), strict=True):
        np.testing.assert_array_equal(x, y)
    stratum = peaks % 3
    np.testing.assert_allclose(together(one, peaks, stratum).log_odds, together(other, peaks, stratum).log_odds)
    gaps = [spacing(sites, peaks, (0, 1), middle=middle, reach=80, least=5) for sites in (one, other)]
    assert gaps[0].n_peaks == gaps[1].n_peaks
    assert gaps[0].observed == gaps[1].observed


def test_palindromes_have_no_direction():
    both = sites_of(([0, 0, 0], [0, 0, 1], [10, 10, 50], [1, -1, 1], [2.0, 1.0, 1.0]), 1)
    assert both.peak.size == 2
    assert both.strand.tolist() == [0, 1]
    shifted = sites_of(([0, 0, 0], [0, 0, 1], [10, 12, 50], [1, -1, 1], [2.0, 1.0, 1.0]), 1)
    assert shifted.strand.tolist() == [0, 0, 1]
    n, ahead, _ = order(shifted, np.array([0]), least=1)
    assert n[0, 1] == 0
    assert (n[1, 0], ahead[1, 0]) == (1, 0)
    same = sites_of(([0, 0, 0], [0, 0, 1], [10, 12, 50], [1, 1, 1], [2.0, 1.0, 1.0]), 1)
    assert same.strand.tolist() == [1, 1, 1]


def test_planted_spacing_is_found_and_chance_is_not(rng):
    n = 300
    pvalues = []
    for planted in (False,) * 60 + (True,):
        a = rng.normal(150, 40, n).astype(int)
        b = rng.normal(150, 40, n).astype(int)
        if planted:
            b[:45] = a[:45] + 8 + 17
        hits = np.tile(np.arange(n), 2), np.repeat([0, 1], n), np.concatenate([a, b]), np.ones(2 * n), np.ones(2 * n)
        sites = sites_of(hits, n)
        found = spacing(sites, np.arange(n), (0, 1), middle=np.full(n, LENGTH // 2), reach=100, least=20)
        pvalues.append(found.pvalue)
    assert found.gap == 17
    assert found.pvalue < 1e-10
    assert found.observed >= 45 > found.expected * 5
    null = np.array(pvalues[:-1])
    assert (null <= 0.1).mean() <= 0.2  # conservative: counts are discrete, and neighbouring windows overlap
    assert null.min() > 1e-3


def test_spacing_needs_enough_peaks(rng):
    sites = sites_of(random_hits(rng))
    middle = np.full(N_PEAKS, LENGTH // 2)
    assert spacing(sites, np.arange(3), (0, 1), middle=middle, reach=50, least=20) is None
    assert spacing(sites, np.arange(N_PEAKS), (0, 1), middle=middle, reach=50, least=N_PEAKS) is None


def test_gaps_are_those_of_the_nearest_pairs_that_do_not_overlap(rng):
    sites = sites_of(random_hits(rng, rate=2.0))
    found = spacing(sites, np.arange(N_PEAKS), (0, 3), middle=np.full(N_PEAKS, LENGTH // 2), reach=40, least=5)
    gaps = []
    for peak in range(N_PEAKS):
        rows = np.flatnonzero(sites.peak == peak)
        first, second = (sites.start[rows[sites.motif[rows] == motif]] for motif in (0, 3))
        apart = [max(y - x - 8, x - y - 12) for x in first for y in second]
        gaps.extend(sorted(gap for gap in apart if 0 <= gap < 40)[:1])
    assert found.n_peaks == len(gaps)
    half = found.width // 2
    assert found.observed == sum(abs(gap - found.gap) <= half for gap in gaps)
    assert found.expected < found.observed


def test_motifs_near_each_other_at_no_gap_in_particular_have_no_spacing(rng):
    """Motifs of like composition crowd together; exchanged peaks alone would call the short gaps a spacing."""
    n, pvalues = 600, []
    for planted in (False,) * 30 + (True,):
        a = rng.integers(60, 240, n)
        b = a + 8 + rng.geometric(1 / 80, n)  # near, and smoothly so
        if planted:
            b[:60] = a[:60] + 8 + 30
        hits = np.tile(np.arange(n), 2), np.repeat([0, 1], n), np.concatenate([a, b]), np.ones(2 * n), np.ones(2 * n)
        found = spacing(sites_of(hits, n), np.arange(n), (0, 1), middle=np.full(n, LENGTH // 2), reach=100, least=20)
        pvalues.append(found.pvalue)
    assert (np.array(pvalues[:-1]) <= 0.05).mean() <= 0.1
    assert found.gap == 30
    assert found.pvalue < 1e-6


def test_a_motif_and_its_copy_are_no_pair_without_a_background(rng):
    """Two sites of one family in a peak read as one of each: their odds are twice those of chance, so nothing is said."""
    n = 3000
    peak = np.repeat(np.arange(n), rng.poisson(0.5, n))
    start = rng.integers(0, LENGTH - 12, peak.size)
    quality = rng.random((2, peak.size))
    hits = [np.concatenate([column, column]) for column in (peak, np.zeros(peak.size, int), start, np.ones(peak.size))]
    hits[1][peak.size :] = 1
    sites = sites_of((*hits, quality.ravel()), n)
    tables = together(sites, np.arange(n), np.zeros(n, dtype=int))
    assert tables.shared[0, 1] > 0.5
    assert np.exp(tables.log_odds[0, 1]) > 1.5
    assert np.isnan(cooccurrence(tables, None).pvalue[0, 1])
    # against a background of the same kind it is as good as any other
    assert cooccurrence(tables, tables).pvalue[0, 1] == pytest.approx(0.5)
    apart = together(sites_of(random_hits(rng)), np.arange(N_PEAKS), np.zeros(N_PEAKS, dtype=int))
    assert np.isfinite(cooccurrence(apart, None).pvalue[0, 1])


def test_a_gap_that_no_exchange_has_is_not_impossible():
    n = 40
    a = 1000 * np.arange(n)
    hits = (
        np.tile(np.arange(n), 2),
        np.repeat([0, 1], n),
        np.concatenate([a, a + 8 + 17]),
        np.ones(2 * n),
        np.ones(2 * n),
    )
    found = spacing(sites_of(hits, n), np.arange(n), (0, 1), middle=np.zeros(n, dtype=int), reach=50, least=20)
    assert found.gap == 17
    assert found.expected == pytest.approx(n / 50)  # no gap is more likely than another
    assert 0 < found.pvalue < 1e-20


def test_the_background_is_as_uncertain_as_the_group(rng):
    """The difference of two log odds ratios has the sum of their variances."""
    sites = sites_of(random_hits(rng))
    parts = np.arange(N_PEAKS) < N_PEAKS // 4, np.arange(N_PEAKS) < N_PEAKS // 2  # a small group, and the rest
    one, other = (together(sites, np.flatnonzero(part), np.zeros(part.sum(), dtype=int)) for part in parts)
    z = (one.log_odds - other.log_odds) / np.hypot(np.sqrt(one.variance), np.sqrt(other.variance))
    found = cooccurrence(one, other).pvalue
    pairs = np.isfinite(found)
    assert pairs.any()
    np.testing.assert_allclose(found[pairs], norm.sf(z[pairs]))


def test_quality_is_the_rank_among_the_sites_of_a_motif():
    """Scores of two motifs are not on one scale; a good site of a weak motif takes a place from a poor site of a strong one."""
    motif, score = [0, 0, 0, 0, 1, 1], [30.0, 20.0, 40.0, 10.0, 3.0, 5.0]
    sites = sites_of(([0, 1, 2, 3, 1, 3], motif, [50] * 6, [1] * 6, score), 4)
    found = dict(zip(zip(sites.peak.tolist(), sites.motif.tolist(), strict=True), sites.quality.tolist(), strict=True))
    expected = {(0, 0): 0.625, (1, 0): 0.375, (2, 0): 0.875, (3, 0): 0.125, (1, 1): 0.25, (3, 1): 0.75}
    assert found == pytest.approx(expected)
    tables = together(sites, np.arange(4), np.zeros(4, dtype=int))
    assert tables.observed[0, 1] == 0
    # the first keeps peak 1 (0.375 against 0.25), the second takes peak 3
    assert tables.first[0, 1] == 3
    assert tables.first[1, 0] == 1
