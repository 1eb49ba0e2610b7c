"""Hits of motifs: how likely a score is by chance, exactly, and a scan of both strands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sctandem._compat import cached_njit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Added to the probabilities of a motif in all, spread evenly over the bases.
PSEUDOCOUNT = 1e-4
#: Scores are whole numbers of these bits, so that their distribution is exact.
STEP = 0.01
#: Letters that the filter in front of the scan reads; its table then stays in the first cache.
FILTER = 7
#: Bases that are scanned at once, at most (more only for a single longer peak).
CHUNK = 1 << 17
_UNKNOWN = 4


@dataclass(frozen=True, slots=True)
class MotifHits:
    """Hits of motifs, sorted by peak, start, motif.

    Attributes
    ----------
    peak, motif
        Positions of the peak and of the motif, int32.
    start
        Where the hit begins, counted from the start of the peak, int32.
    strand
        1 for the forward, -1 for the reverse strand, 0 where both fit alike, as palindromes do, int8.
    score
        Log odds against even odds of the bases, in bits, float32.
    """

    peak: np.ndarray
    motif: np.ndarray
    start: np.ndarray
    strand: np.ndarray
    score: np.ndarray


def log_odds(motif: np.ndarray) -> np.ndarray:
    """Turn probabilities, width x ACGT, into log odds against even odds of the bases, in whole steps of `STEP` bits."""
    probability = (motif + PSEUDOCOUNT / 4) / (1 + PSEUDOCOUNT)
    return np.rint(np.log2(4 * probability) / STEP).astype(np.int64)


def score_threshold(odds: np.ndarray, p_value: float) -> int | None:
    """Find the smallest score of any word whose tail in a random sequence of even bases has at most this probability.

    Parameters
    ----------
    odds
        From `log_odds`.
    p_value
        The probability.

    Returns
    -------
    The score, or `None` where even the best match is more likely.
    """
    chance = score_chance(odds)
    tail = np.cumsum(chance[::-1])[::-1]
    reached = np.flatnonzero((tail <= p_value * (1 + 1e-9)) & (chance > 0))
    return int(odds.min(axis=1).sum() + reached[0]) if reached.size else None


def score_chance(odds: np.ndarray) -> np.ndarray:
    """Compute the probability of each score in a random sequence of even bases.

    Parameters
    ----------
    odds
        From `log_odds`.

    Returns
    -------
    From the worst score of the motif to its best, in steps of 1.
    """
    chance = np.ones(1)
    for column in odds - odds.min(axis=1, keepdims=True):
        wider = np.zeros(len(chance) + int(column.max()))
        for gain in column:
            wider[gain : gain + len(chance)] += chance / 4
        chance = wider
    return chance


def scan_motifs(
    codes: np.ndarray,
    offsets: np.ndarray,
    motifs: Sequence[np.ndarray],
    *,
    p_value: float,
    tick: Callable[[int], None] | None = None,
) -> tuple[MotifHits, np.ndarray]:
    """Find the hits of motifs on both strands.

    Parameters
    ----------
    codes, offsets
        Bases of the peaks, one after the other, and where each starts, as in `genome.read_sequences`.
    motifs
        Probabilities, width x ACGT.
    p_value
        Chance of a score at least as good at a given place of a given strand of a random sequence.
    tick
        Called after each run of peaks with how many peaks it has.

    Returns
    -------
    The hits, and the threshold of each motif in bits (infinite where no match is unlikely enough). A place with an unknown
    base is no hit. A motif that hits both strands at one place counts once there, on the strand with the better score
    (on neither when they are alike).
    """
    forward = [log_odds(motif) for motif in motifs]
    reverse = [np.ascontiguousarray(odds[::-1, ::-1]) for odds in forward]
    lowest = [score_threshold(odds, p_value) for odds in forward]
    filters = {
        motif: _filter_table(forward[motif], reverse[motif], threshold)
        for motif, threshold in enumerate(lowest)
        if threshold is not None
    }
    found = []
    for first, last in _chunks(offsets):
        bases, origin, place = _joined(codes, offsets, first, last)
        words = _filter_words(bases, FILTER)
        for motif, (table, shift) in filters.items():
            where, strand, score = _scan(bases, words[shift:], forward[motif], reverse[motif], lowest[motif], table)
            found.append((place[where] + first, motif, origin[where], strand, score))
        if tick is not None:
            tick(last - first)
    thresholds = np.array([np.inf if threshold is None else threshold * STEP for threshold in lowest])
    return _sorted_hits(found), thresholds


def _sorted_hits(found: list) -> MotifHits:
    """Bring the hits of all chunks and motifs into one order."""
    sizes = [len(hits[0]) for hits in found]
    motif = np.repeat(np.array([hits[1] for hits in found], dtype=np.int32), sizes)
    kinds = {0: np.int32, 2: np.int32, 3: np.int8, 4: np.int64}
    peak, start, strand, score = (
        np.concatenate([np.empty(0, kind), *(hits[part].astype(kind) for hits in found)])
        for part, kind in kinds.items()
    )
    order = np.lexsort((motif, start, peak))
    return MotifHits(peak[order], motif[order], start[order], strand[order], (score[order] * STEP).astype(np.float32))


def _chunks(offsets: np.ndarray) -> list[tuple[int, int]]:
    """Cut peaks into runs of about `CHUNK` bases."""
    if len(offsets) < 2:
        return []
    cuts = np.flatnonzero(np.diff(offsets[:-1] // CHUNK)) + 1
    bounds = [0, *cuts.tolist(), len(offsets) - 1]
    return list(zip(bounds[:-1], bounds[1:], strict=True))


def _joined(codes: np.ndarray, offsets: np.ndarray, first: int, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lay peaks in a row, an unknown base after each, so that no hit reaches from one into the next.

    Returns
    -------
    The bases, and of each its position in its peak and the number of the peak within the run.
    """
    widths = np.diff(offsets[first : last + 1])
    place = np.repeat(np.arange(last - first, dtype=np.int32), widths + 1)
    origin = np.arange(len(place)) - (np.cumsum(widths + 1) - widths - 1)[place]
    bases = np.full(len(place), _UNKNOWN, dtype=np.uint8)
    bases[origin < widths[place]] = codes[offsets[first] : offsets[last]]
    return bases, origin, place


def _filter_table(odds: np.ndarray, turned: np.ndarray, threshold: int) -> tuple[np.ndarray, int]:
    """Say for each word of `FILTER` letters whether a hit may hold it, at the columns of the motif that tell most.

    Parameters
    ----------
    odds, turned
        Of the motif and of its reverse complement.
    threshold
        Of the scores.

    Returns
    -------
    uint8, 0 where no hit of either strand holds the word, (4**FILTER + 1,), the last for words with unknown bases; and the
    first of those columns.
    """
    if len(odds) < FILTER:  # the filter would read over the end of the peak
        return np.ones(4**FILTER + 1, dtype=np.uint8), 0
    spread = np.convolve(odds.max(axis=1) - odds.mean(axis=1), np.ones(FILTER), mode="valid")
    shift = int(np.argmax(spread + spread[::-1]))
    table = np.zeros(4**FILTER + 1, dtype=np.uint8)
    for matrix in (odds, turned):
        best = matrix.max(axis=1)
        sums = best.sum() - best[shift : shift + FILTER].sum(keepdims=True)
        for column in matrix[shift : shift + FILTER]:
            sums = (sums[:, None] + column).ravel()
        table[:-1] |= sums >= threshold
    return table, shift


@cached_njit(nogil=True)
def _filter_words(bases, width):
    """Code the word that begins at each position; 4**width where it holds an unknown base or reaches over the end."""
    none = 4**width
    words = np.full(len(bases), none, dtype=np.uint16)
    code, known = 0, 0
    for i in range(len(bases)):
        if bases[i] >= _UNKNOWN:
            code, known = 0, 0
        else:
            code = (code * 4 + bases[i]) % none
            known += 1
        if known >= width:
            words[i - width + 1] = code
    return words


@cached_njit(nogil=True)
def _scan(bases, words, odds, turned, threshold, table):
    """Find where the better score of the two strands reaches the threshold, the strand, and the score."""
    n_letters = len(odds)
    n_places = max(len(bases) - n_letters + 1, 0)
    passed = np.empty(n_places + 1, dtype=np.int32)
    n_passed = np.uint64(0)
    for i in range(np.uint64(n_places)):  # without a branch, and without looking for negative positions
        passed[n_passed] = i
        n_passed += np.uint64(table[words[i]])
    strands = np.empty(n_passed, dtype=np.int8)
    scores = np.empty(n_passed, dtype=np.int64)
    n_hits = 0
    for p in range(n_passed):
        forward, reverse, whole = 0, 0, True
        for j in range(n_letters):
            base = bases[passed[p] + j]
            if base >= _UNKNOWN:
                whole = False
                break
            forward += odds[j, base]
            reverse += turned[j, base]
        score = max(forward, reverse)
        if whole and score >= threshold:
            passed[n_hits] = passed[p]
            strands[n_hits] = (forward >= reverse) - (reverse >= forward)
            scores[n_hits] = score
            n_hits += 1
    return passed[:n_hits].copy(), strands[:n_hits].copy(), scores[:n_hits].copy()
