"""Scores of TALE repeats on DNA, and where two arrays of repeats face each other on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from sctandem._compat import cached_njit

#: How often each repeat (its two variable residues, RVD) was found on A, C, G and T in natural pairs of TALE and site.
RVD_COUNTS: Final[dict[str, tuple[int, int, int, int]]] = {
    "HD": (7, 99, 0, 1),
    "NI": (58, 6, 0, 0),
    "NG": (6, 6, 1, 57),
    "NN": (21, 8, 26, 2),
    "NS": (20, 6, 4, 0),
    "N*": (1, 11, 1, 7),
    "HG": (1, 2, 0, 15),
    "HA": (1, 4, 1, 0),
    "ND": (0, 4, 0, 0),
    "NK": (0, 0, 2, 0),
    "HI": (0, 1, 0, 0),
    "HN": (0, 0, 1, 0),
    "NA": (0, 0, 1, 0),
    "IG": (0, 0, 0, 1),
    "H*": (0, 0, 0, 1),
    "NH": (0, 0, 1, 0),
} | dict.fromkeys(("S*", "YG", "SN", "SS", "NC", "HH", "XX"), (1, 1, 1, 1))

#: Weight of the counts against a uniform base.
WEIGHT: Final = 0.9
#: Share of a repeat's specificity that binding is taken to depend on: the classes are those of Streubel et al. (2012),
#: strong, intermediate and weak; the numbers are a choice. Repeats that are not listed count as weak.
IMPORTANCE: Final = {"HD": 0.95, "NN": 0.95, "NH": 0.85, "N*": 0.85}
WEAK_IMPORTANCE: Final = 0.7
#: Weights of the first and of the last repeat in the score that knows a polarity; in between they fall linearly.
POLARITY: Final = (1.5, 0.5)

#: Shares of A, C, G and T in the human genome.
BASE_SHARES: Final = (0.295, 0.205, 0.205, 0.295)
#: To what scores are rounded for the probability of a random site.
_STEP: Final = 0.05

#: Bases that one look-up scores; two arrays are scored at once, each in 16 bits.
WORD: Final = 6
#: Scores of the look-up tables are whole numbers of this fraction, rounded down.
QUANTUM: Final = 400.0
#: Positions that are worked on at once, so that what is kept of them stays in the processor's cache.
TILE: Final = 1 << 15
#: A base that is not known; sites with such a base are none.
UNKNOWN: Final = 4
#: Upstream bases that each rule allows, on the strand that the array binds.
UPSTREAM: Final = {"T": (3,), "C": (1,), "either": (1, 3), "mixed": (1, 3)}


def score_matrix(rvds: list[str]) -> np.ndarray:
    """Score every base under every repeat: repeats x ACGT, -ln of its probability (float64)."""
    counts = np.array([RVD_COUNTS[rvd] for rvd in rvds], dtype=np.float64)
    probability = WEIGHT * counts / counts.sum(axis=1, keepdims=True) + (1 - WEIGHT) / 4
    return -np.log(probability)


def polarity_matrix(rvds: list[str]) -> np.ndarray:
    """Score every base under every repeat above the best one, mismatches at the 5' end more than those at the 3' end."""
    scores = score_matrix(rvds)
    weights = np.linspace(*POLARITY, len(rvds))
    return weights[:, None] * (scores - scores.min(axis=1, keepdims=True))


def importance_matrix(rvds: list[str]) -> np.ndarray:
    """Score every base under every repeat above the best one, where weak repeats bind any base to a larger share."""
    importance = np.array([IMPORTANCE.get(rvd, WEAK_IMPORTANCE) for rvd in rvds])[:, None]
    scores = -np.log(importance * np.exp(-score_matrix(rvds)) + (1 - importance) / 4)
    return scores - scores.min(axis=1, keepdims=True)


@cache
def _chance(composition: tuple[tuple[str, int], ...], cutoff: float) -> float:
    """Probability that a random site scores at most `cutoff` times the best, from how often each repeat occurs."""
    rvds = [rvd for rvd, n in composition for _ in range(n)]
    scores = score_matrix(rvds)
    steps = np.rint((scores - scores.min(axis=1, keepdims=True)) / _STEP).astype(np.int64)
    limit = int((cutoff - 1) * scores.min(axis=1).sum() / _STEP)
    chance = np.zeros(limit + 1)
    chance[0] = 1.0
    for row in steps:
        moved = np.zeros_like(chance)
        for step, share in zip(row, BASE_SHARES, strict=True):
            if step <= limit:
                moved[step:] += share * chance[: limit + 1 - step]
        chance = moved
    return float(chance.sum())


def chance_of_site(rvds: list[str], cutoff: float) -> float:
    """Probability that a random site scores at most `cutoff` times the best score of an array, upstream base not counted.

    Bases are drawn as in the human genome. Scores are rounded to 0.05.
    """
    return _chance(tuple(sorted((rvd, rvds.count(rvd)) for rvd in set(rvds))), cutoff)


@dataclass(frozen=True, slots=True)
class PairTables:
    """What the search for two arrays needs.

    Attributes
    ----------
    scores
        Score of each base under each repeat, arrays x repeats x ACGT (float64), padded with zeros.
    length
        Repeats of each array, (2,) int64.
    best
        Best score of each array, (2,) float64.
    threshold
        Highest score of a site of each array, (2,) float64.
    forward, backward
        Sums of scores of both arrays for all words of bases, segments x words (uint32): an array that starts where the
        word starts, and one on the other strand that starts where the word ends.
    """

    scores: np.ndarray
    length: np.ndarray
    best: np.ndarray
    threshold: np.ndarray
    forward: np.ndarray
    backward: np.ndarray


def pair_tables(first: list[str], second: list[str], cutoff: float) -> PairTables:
    """Lay out the scores of two arrays for the search."""
    matrices = [score_matrix(first), score_matrix(second)]
    length = np.array([len(matrix) for matrix in matrices], dtype=np.int64)
    n_words = -(-int(length.max()) // WORD)
    scores = np.zeros((2, n_words * WORD, 4))
    for array, matrix in enumerate(matrices):
        scores[array, : len(matrix)] = matrix
    # one by one, as the search adds: `sum` of Python 3.12 and of numpy round otherwise, and a perfect site would miss a cut-off of 1
    best = np.array([np.cumsum(matrix.min(axis=1))[-1] for matrix in matrices])
    bases = np.arange(4**WORD)[:, None] // 4 ** np.arange(WORD - 1, -1, -1) % 4
    forward, backward = np.zeros((2, n_words, 4**WORD), dtype=np.uint32)
    for array in range(2):
        for word in range(n_words):
            rows = scores[array, word * WORD : (word + 1) * WORD]
            for table, read in ((forward, bases), (backward, 3 - bases[:, ::-1])):
                total = np.floor(rows[np.arange(WORD), read].sum(axis=1) * QUANTUM)
                table[word] += total.astype(np.uint32) << np.uint32(16 * array)
    return PairTables(scores, length, best, cutoff * best, forward, backward)


def reach(length: np.ndarray, spacer_max: int) -> int:
    """How many bases from the first of the left site on decide on the pair, at most."""
    return 2 * int(length.max()) + spacer_max + 1


@cached_njit(nogil=True)
def _left_sites(codes, low, n, allowed, words, pad, forward, limit, where, start):  # type: ignore[no-untyped-def]
    """List the starts of sites on the forward strand whose upstream base is one of the first `n`, for both arrays."""
    found = 0
    for x in range(n):
        where[found] = x + 1
        found += allowed[codes[low + x]]
    n0, n1 = 0, 0
    for t in range(found):
        i = where[t]
        total = np.uint32(0)
        for g in range(forward.shape[0]):
            total += forward[g, words[pad + i + g * WORD]]
        lower, upper = total & np.uint32(0xFFFF), total >> np.uint32(16)
        start[0, n0] = i
        n0 += lower <= limit[0]
        start[1, n1] = i
        n1 += upper <= limit[1]
    return n0, n1


@cached_njit(nogil=True)
def _right_sites(codes, low, n, allowed, words, pad, backward, limit, length, where, start):  # type: ignore[no-untyped-def]
    """List the first positions of sites on the other strand whose upstream base is one of the first `n`."""
    found = 0
    for x in range(n):
        where[found] = x
        found += allowed[codes[low + x]]
    n0, n1 = 0, 0
    for t in range(found):
        p = where[t]
        total = np.uint32(0)
        for g in range(backward.shape[0]):
            total += backward[g, words[pad + p - (g + 1) * WORD]]
        lower, upper = total & np.uint32(0xFFFF), total >> np.uint32(16)
        start[0, n0] = p - length[0]
        n0 += lower <= limit[0]
        start[1, n1] = p - length[1]
        n1 += upper <= limit[1]
    return n0, n1


@cached_njit(nogil=True)
def _site_score(codes, start, step, scores, n):  # type: ignore[no-untyped-def]
    """Sum the scores of a site in the order of its repeats; infinite where a base is not known."""
    total = 0.0
    for k in range(n):
        base = codes[start + step * k]
        if base > 3:
            return np.inf
        total += scores[k, base if step > 0 else 3 - base]
    return total


@cached_njit(nogil=True)
def _pairs(codes, low, lefts, rights, n_left, n_right, scores, length, best, threshold, rules, worst, out, n_out):  # type: ignore[no-untyped-def]
    """Pair left with right sites, and write the pairs that hold. Returns rows written (-1 when they do not fit) and pairs."""
    places, values = out
    n_pairs = 0
    for a in range(2):
        for b in range(2):
            if not rules[2 + 2 * a + b]:
                continue
            j0 = 0
            for t in range(n_left[a]):
                i = lefts[a, t]
                nearest, furthest = i + length[a] + rules[0], i + length[a] + rules[1]
                while j0 < n_right[b] and rights[b, j0] < nearest:
                    j0 += 1
                j = j0
                while j < n_right[b] and rights[b, j] <= furthest:
                    r = rights[b, j]
                    j += 1
                    # TALE-NT looks for the same upstream base on both sides
                    if rules[6] and (codes[low + i - 1] == 3) != (codes[low + r + length[b]] == 0):
                        continue
                    left = _site_score(codes, low + i, 1, scores[a], length[a])
                    if not left <= threshold[a]:
                        break  # and so for every partner
                    right = _site_score(codes, low + r + length[b] - 1, -1, scores[b], length[b])
                    if not right <= threshold[b]:
                        continue
                    n_pairs += 1
                    if (left + right) / (best[a] + best[b]) > worst:
                        continue
                    if n_out == len(places):
                        return -1, n_pairs
                    places[n_out, 0], places[n_out, 1], places[n_out, 2] = 2 * a + b, low + i, low + r
                    values[n_out, 0], values[n_out, 1] = left, right
                    n_out += 1
    return n_out, n_pairs


@cached_njit(nogil=True)
def _scan(codes, begin, stop, forward, backward, scores, length, best, threshold, limit, allowed, rules, worst, out):  # type: ignore[no-untyped-def]
    """Find the pairs whose left site starts in [begin, stop): rows written, pairs found, and where to go on."""
    n_words = forward.shape[0]
    pad = n_words * WORD
    extent = 2 * max(length[0], length[1]) + rules[1] + 1
    size = TILE + extent + 1
    words = np.zeros(size + 2 * pad, np.uint16)
    where = np.zeros(size + 1, np.int32)
    lefts, rights = np.zeros((2, TILE + 1), np.int32), np.zeros((2, size + 1), np.int32)
    mask = np.uint32(4**WORD - 1)
    n_out, n_pairs = 0, 0
    for tile in range(begin, stop, TILE):
        low = tile - 1  # the base upstream of the first start
        width = min(len(codes), tile + TILE + extent) - low
        code = np.uint32(0)
        for x in range(width):
            code = ((code << np.uint32(2)) | np.uint32(codes[low + x] & 3)) & mask
            words[pad + x - WORD + 1] = code
        for x in range(width, width + pad):
            code = (code << np.uint32(2)) & mask
            words[pad + x - WORD + 1] = code
        n_starts = min(tile + TILE, stop, len(codes)) - tile
        n_left = _left_sites(codes, low, n_starts, allowed[0], words, pad, forward, limit, where, lefts)
        n_right = _right_sites(codes, low, width, allowed[1], words, pad, backward, limit, length, where, rights)
        written, found = _pairs(
            codes, low, lefts, rights, n_left, n_right, scores, length, best, threshold, rules, worst, out, n_out
        )
        if written < 0:
            return n_out, n_pairs, tile
        n_out, n_pairs = written, n_pairs + found
    return n_out, n_pairs, stop


def scan_pairs(
    codes: np.ndarray,
    begin: int,
    stop: int,
    tables: PairTables,
    *,
    spacer: tuple[int, int],
    upstream: str = "T",
    dimers: tuple[bool, bool, bool, bool] = (True, True, True, True),
    worst: float = np.inf,
    prune: bool = True,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Find where two arrays of repeats face each other.

    Parameters
    ----------
    codes
        Bases as 0 to 3 for A, C, G, T and `UNKNOWN`, uint8.
    begin, stop
        The left site starts at `begin` or later and before `stop`; `begin` is at least 1, its upstream base at 0. The
        bases up to `reach` after `stop` are looked at where they are there.
    tables
        Of `pair_tables`.
    spacer
        Shortest and longest distance between the two sites.
    upstream
        One of `UPSTREAM`.
    dimers
        Whether to look for left and right array 1 and 1, 1 and 2, 2 and 1, 2 and 2.
    worst
        Pairs whose summed score over the best possible is higher are counted only.
    prune
        Whether sites are sorted out by look-up tables of words first. The result is the same.

    Returns
    -------
    Pair (twice the left array plus the right one), start of the left site and first position of the right one, pairs x 3
    (int64); their scores, pairs x 2 (float64); and the number of pairs, with those that are counted only.
    """
    allowed = np.zeros((2, UNKNOWN + 1), dtype=np.int64)
    for base in UPSTREAM[upstream]:
        allowed[0, base] = allowed[1, 3 - base] = 1
    rules = np.array([*spacer, *dimers, upstream == "either"], dtype=np.int64)
    limit = np.floor(tables.threshold * QUANTUM) if prune else np.full(2, np.inf)
    limit = np.minimum(limit, 0xFFFF).astype(np.uint32)
    t = tables
    rows, found, total, capacity = [], [], 0, 1 << 14
    while begin < stop:
        places, values = np.empty((capacity, 3), dtype=np.int64), np.empty((capacity, 2))
        n, n_pairs, reached = _scan(
            codes, begin, stop, t.forward, t.backward, t.scores, t.length, t.best, t.threshold, limit, allowed, rules,
            worst, (places, values),
        )  # fmt: skip
        if reached == begin:
            capacity *= 4
            continue
        rows.append(places[:n].copy())
        found.append(values[:n].copy())
        total, begin = total + n_pairs, reached
        capacity = max(capacity, 4 * n)
    if not rows:
        return np.empty((0, 3), dtype=np.int64), np.empty((0, 2)), 0
    return np.concatenate(rows), np.concatenate(found), total
