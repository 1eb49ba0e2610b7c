from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from sctandem.kernels import _pwm
from sctandem.kernels._pwm import STEP, log_odds, scan_motifs, score_chance, score_threshold


def draw_motif(rng, width: int, concentration: float = 0.3) -> np.ndarray:
    return rng.dirichlet(np.full(4, concentration), size=width)


def peaks_of(rng, widths: list[int], unknown: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    share = (1 - unknown) / 4
    codes = rng.choice(5, sum(widths), p=[share] * 4 + [unknown]).astype(np.uint8)
    return codes, np.concatenate([[0], np.cumsum(widths)])


def rows(hits) -> list[tuple]:
    return list(
        zip(hits.peak.tolist(), hits.start.tolist(), hits.motif.tolist(), hits.strand.tolist(), hits.score, strict=True)
    )


def slow_scan(codes, offsets, motifs, p_value) -> list[tuple]:
    """Every place of every peak, letter by letter."""
    found = []
    for peak, (a, b) in enumerate(zip(offsets[:-1], offsets[1:], strict=True)):
        for number, motif in enumerate(motifs):
            odds = log_odds(motif)
            threshold = score_threshold(odds, p_value)
            for start in range(b - a - len(odds) + 1):
                word = codes[a + start : a + start + len(odds)]
                if threshold is None or (word == 4).any():
                    continue
                forward = sum(int(odds[i, base]) for i, base in enumerate(word))
                reverse = sum(int(odds[i, 3 - base]) for i, base in enumerate(word[::-1]))
                if max(forward, reverse) >= threshold:
                    strand = int(np.sign(forward - reverse))
                    found.append((peak, start, number, strand, np.float32(max(forward, reverse) * STEP)))
    return sorted(found)


@pytest.mark.parametrize("width", [2, 3, 5, 6])
def test_tail_over_all_words(rng, width):
    odds = log_odds(draw_motif(rng, width))
    scores = np.array(
        [sum(int(odds[i, base]) for i, base in enumerate(word)) for word in product(range(4), repeat=width)]
    )
    lowest, tail = odds.min(1).sum(), np.cumsum(score_chance(odds)[::-1])[::-1]
    for score in (lowest, lowest + 1, int(np.median(scores)), scores.max()):
        assert tail[score - lowest] == pytest.approx(np.mean(scores >= score), rel=1e-12)
    for p_value in (0.5, 0.1, 2.0 / 4**width, 1.0 / 4**width, 0.9 / 4**width):
        threshold = score_threshold(odds, p_value)
        passing = [score for score in np.unique(scores) if np.mean(scores >= score) <= p_value * (1 + 1e-9)]
        assert (threshold is None) == (not passing)
        if passing:
            assert threshold == min(passing)


def test_scores_are_bits_against_even_odds():
    odds = log_odds(np.array([[1.0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0, 0]]))
    never = round(np.log2(1e-4 / 1.0001) / STEP)
    assert odds.tolist() == [[200, never, never, never], [0] * 4, [100, 100, never, never]]


def test_random_sequence_has_as_many_hits_as_the_p_value_says(rng):
    codes, offsets = peaks_of(rng, [500_000])
    motif = draw_motif(rng, 10)
    hits, (threshold,) = scan_motifs(codes, offsets, [motif], p_value=1e-3)
    odds = log_odds(motif)
    chance = score_chance(odds)[round(threshold / STEP) - odds.min(1).sum() :].sum()
    assert chance <= 1e-3
    assert len(hits.peak) == pytest.approx(2 * 500_000 * chance, rel=0.15)


@pytest.mark.parametrize("unknown", [0.0, 0.03])
def test_hits_place_by_place(rng, unknown):
    motifs = [draw_motif(rng, width) for width in (2, 4, 6, 7, 8, 9, 12, 20)]
    codes, offsets = peaks_of(rng, [1, 6, 7, 8, 25, 300, 2, 150, 80], unknown)
    for p_value in (0.02, 0.002):
        hits, _ = scan_motifs(codes, offsets, motifs, p_value=p_value)
        expected = slow_scan(codes, offsets, motifs, p_value)
        assert len(expected) > 5
        assert rows(hits) == expected
    kinds = [values.dtype for values in (hits.peak, hits.motif, hits.start, hits.strand, hits.score)]
    assert kinds == [np.int32, np.int32, np.int32, np.int8, np.float32]


def test_hits_and_scores_equal_those_of_memelite(rng):
    fimo = pytest.importorskip("memelite").fimo
    motifs = {f"m{i}": draw_motif(rng, int(rng.integers(8, 16)), 0.2) for i in range(12)}
    codes, offsets = peaks_of(rng, [400] * 60)
    hits, thresholds = scan_motifs(codes, offsets, list(motifs.values()), p_value=1e-3)
    sequence = np.zeros((60, 4, 400), dtype=np.int8)
    np.put_along_axis(sequence, codes.reshape(60, 1, 400).astype(np.int64), 1, axis=1)
    # memelite adds a pseudocount of its own: hand it the probabilities whose scores are then those of our rounded matrix
    exact = {name: (2.0 ** (log_odds(motif) * STEP) / 4 - 1e-9).T for name, motif in motifs.items()}
    theirs = fimo(exact, sequence, bin_size=STEP, eps=1e-9, threshold=1e-3)
    ours = {(p, m, s, d): float(score) for p, s, m, d, score in rows(hits)}
    seen = {}
    for motif, table in enumerate(theirs):
        for _, row in table.iterrows():
            key = (int(row["sequence_name"]), motif, int(row["start"]), 1 if row["strand"] == "+" else -1)
            seen[key] = float(row["score"])
    assert len(ours) > 300
    for key, score in ours.items():
        # a score on the threshold is a hit here and, by its last bit, there or not
        assert key in seen or abs(score - thresholds[key[1]]) < 1e-3
        assert key not in seen or seen[key] == pytest.approx(score, abs=1e-3)
    for key, score in seen.items():
        other = (*key[:3], -key[3])  # of two strands at one place the better one is kept
        assert key in ours or ours.get(other, -99) >= score - 1e-3


def test_a_palindrome_counts_once_a_place_and_a_motif_hits_on_both_strands():
    matrix = np.full((8, 4), 0.01)
    matrix[np.arange(8), [0, 0, 1, 1, 2, 2, 3, 3]] = 0.97  # AACCGGTT
    codes = np.full(40, 0, dtype=np.uint8)
    codes[10:18] = [0, 0, 1, 1, 2, 2, 3, 3]
    hits, _ = scan_motifs(codes, np.array([0, 40]), [matrix], p_value=1e-4)
    assert [(start, strand) for _, start, _, strand, _ in rows(hits)] == [(10, 0)]
    one_way = np.full((8, 4), 0.01)
    one_way[np.arange(8), [0, 1, 1, 1, 2, 1, 1, 1]] = 0.97
    turned = (3 - one_way.argmax(1))[::-1]
    codes[22:30] = turned
    hits, _ = scan_motifs(codes, np.array([0, 40]), [one_way], p_value=1e-4)
    assert [(start, strand) for _, start, _, strand, _ in rows(hits)] == [(22, -1)]


def test_no_hit_across_peaks_or_unknown_bases():
    matrix = np.full((9, 4), 0.01)
    matrix[:, 2] = 0.97
    codes = np.full(18, 2, dtype=np.uint8)
    assert len(scan_motifs(codes, np.array([0, 8, 16, 18]), [matrix], p_value=1e-4)[0].peak) == 0
    hits = scan_motifs(codes, np.array([0, 9, 18]), [matrix], p_value=1e-4)[0]
    assert hits.peak.tolist() == [0, 1]
    assert hits.start.tolist() == [0, 0]
    codes[4] = 4
    assert scan_motifs(codes, np.array([0, 9, 18]), [matrix], p_value=1e-4)[0].peak.tolist() == [1]


def test_too_short_for_the_p_value():
    matrix = np.eye(4)[[0, 1, 2, 3, 0, 1, 2]]
    hits, thresholds = scan_motifs(np.tile([0, 1, 2, 3], 9).astype(np.uint8), np.array([0, 36]), [matrix], p_value=5e-5)
    assert np.isinf(thresholds).all()
    assert len(hits.peak) == 0
    assert np.isfinite(scan_motifs(np.zeros(9, np.uint8), np.array([0, 9]), [matrix], p_value=7e-5)[1]).all()


def test_chunks_of_any_size_give_the_same(rng, monkeypatch):
    motifs = [draw_motif(rng, width) for width in (5, 9, 14)]
    codes, offsets = peaks_of(rng, rng.integers(1, 300, 60).tolist(), 0.01)
    whole = rows(scan_motifs(codes, offsets, motifs, p_value=1e-2)[0])
    for size in (1, 100, 1000):
        monkeypatch.setattr(_pwm, "CHUNK", size)
        assert rows(scan_motifs(codes, offsets, motifs, p_value=1e-2)[0]) == whole
    assert len(whole) > 50
    assert rows(scan_motifs(np.empty(0, np.uint8), np.zeros(1, np.int64), motifs, p_value=1e-2)[0]) == []
