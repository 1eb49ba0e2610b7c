"""Words of DNA and their order: counts of k-mers per peak, and what single bases and pairs of bases say."""

from __future__ import annotations

from itertools import product

import numpy as np
from scipy import sparse

from sctandem._compat import cached_njit

#: Code of a base that is not known.
UNKNOWN = 4
#: Longest word.
MAX_K = 8
#: Unread bases between the halves of gapped words.
GAPS = (1, 2, 3, 4)


def canonical_words(k: int) -> tuple[np.ndarray, list[str]]:
    """Give numbers to the words of length `k`, a word and its reverse complement as one.

    Returns
    -------
    For the code of each word (base 4, the first letter first) its number, int32, (4**k,); and the names, in the order of
    the alphabet: of a word and its reverse complement the one that comes first in it.
    """
    codes = np.arange(4**k)
    powers = 4 ** np.arange(k - 1, -1, -1)
    digits = codes[:, None] // powers % 4
    reverse = ((3 - digits[:, ::-1]) * powers).sum(axis=1)
    kept, number = np.unique(np.minimum(codes, reverse), return_inverse=True)
    return number.astype(np.int32), ["".join("ACGT"[d] for d in digits[code]) for code in kept]


def word_names(k: int, *, gapped: bool = False) -> list[str]:
    """Name the columns of `count_words`: ``ACGTTT``, and of gapped words ``ACGnTTT``, ``ACGnnTTT``, ..."""
    names = canonical_words(k)[1]
    half = k // 2
    return names + [f"{name[:half]}{'n' * gap}{name[half:]}" for gap in GAPS if gapped for name in names]


def count_words(codes: np.ndarray, offsets: np.ndarray, k: int, *, gapped: bool = False) -> sparse.csr_matrix:
    """Count the words of each peak on both strands at once.

    Parameters
    ----------
    codes, offsets
        Bases of the peaks, one after the other, and where each starts, as in `genome.read_sequences`.
    k
        Length of the words, 1 to 8.
    gapped
        Count as well words of two halves of `k / 2` letters with 1 to 4 letters between that are not read; `k` is even.

    Returns
    -------
    Peaks x words, int32, sorted indices; the columns are those of `word_names`. A word that holds an unknown base does
    not count; in the gap it may be.
    """
    number, names = canonical_words(k)
    gaps = np.array((0, *GAPS) if gapped else (0,), dtype=np.int64)
    n_words = len(names) * len(gaps)
    filled = np.zeros(len(offsets), dtype=np.int64)
    nothing = np.empty(0, dtype=np.int32)
    _words(codes, offsets, k, gaps, number, len(names), filled, nothing, nothing)
    indptr = np.cumsum(filled)
    indices, data = np.empty(indptr[-1], dtype=np.int32), np.empty(indptr[-1], dtype=np.int32)
    _words(codes, offsets, k, gaps, number, len(names), indptr, indices, data)
    if indptr[-1] <= np.iinfo(np.int32).max:
        indptr = indptr.astype(np.int32)
    counts = sparse.csr_matrix((len(offsets) - 1, n_words), dtype=np.int32)
    counts.data, counts.indices, counts.indptr = data, indices.astype(indptr.dtype, copy=False), indptr
    counts.has_sorted_indices = True
    return counts


@cached_njit(nogil=True)
def _words(codes, offsets, k, gaps, number, n_names, indptr, indices, data):
    """Write the words of each peak to `indices` and `data`; without room there, how many differ, to `indptr[1:]`."""
    left, right = k // 2, k - k // 2
    n_words = n_names * len(gaps)
    tally = np.zeros(n_words, dtype=np.int32)
    longest = 0
    for peak in range(len(offsets) - 1):
        longest = max(longest, offsets[peak + 1] - offsets[peak])
    first = np.empty(longest + 1, dtype=np.int64)
    second = np.empty(longest + 1, dtype=np.int64)
    seen = np.empty(min(n_words, (longest + 1) * len(gaps)), dtype=np.int32)
    for peak in range(len(offsets) - 1):
        bases = codes[offsets[peak] : offsets[peak + 1]]
        n_seen = 0
        codes_of_words(bases, left, first)
        codes_of_words(bases, right, second)
        for g in range(len(gaps)):
            shift = left + gaps[g]
            for i in range(len(bases) - k - gaps[g] + 1):
                if first[i] < 0 or second[i + shift] < 0:
                    continue
                word = number[first[i] * 4**right + second[i + shift]] + g * n_names
                if tally[word] == 0:
                    seen[n_seen] = word
                    n_seen += 1
                tally[word] += 1
        if len(indices) == 0:
            indptr[peak + 1] = n_seen
            for s in range(n_seen):
                tally[seen[s]] = 0
            continue
        into = indptr[peak]
        if n_words < 16 * n_seen:  # going through all words is then quicker than sorting those seen
            for word in range(n_words):
                if tally[word]:
                    indices[into] = word
                    data[into] = tally[word]
                    tally[word] = 0
                    into += 1
        else:
            for word in np.sort(seen[:n_seen]):
                indices[into] = word
                data[into] = tally[word]
                tally[word] = 0
                into += 1


@cached_njit(nogil=True)
def codes_of_words(bases, width, out):
    """Write the code of the word of `width` letters from each position on, -1 where one of them is unknown."""
    code, known, top = 0, 0, 4**width
    for i in range(len(bases)):
        if width == 0:
            out[i] = 0
            continue
        if bases[i] >= UNKNOWN:
            known, code = 0, 0
        else:
            known += 1
            code = (code * 4 + bases[i]) % top
        if i >= width - 1:
            out[i - width + 1] = code if known >= width else -1


#: The pairs of neighbouring bases, up to the reverse complement.
PAIRS = canonical_words(2)[1]
#: Columns of `nucleotide_order`.
COMPOSITION = ("a", "c", "g", "t", "unknown", "gc", "cpg_oe", *(f"rho_{pair}" for pair in PAIRS))


def nucleotide_order(codes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Describe the composition of each peak and the order of neighbouring bases in it.

    Parameters
    ----------
    codes, offsets
        Bases of the peaks, one after the other, and where each starts, as in `genome.read_sequences`.

    Returns
    -------
    Peaks x `COMPOSITION`, float32. Shares of the known bases (``unknown`` of all); CpG observed over expected, 0 where the
    peak has no C or no G; and for each pair of bases its odds ratio on both strands taken together, 1 where one of its
    bases is missing.
    """
    singles, pairs = _tally(codes, offsets)
    known = np.maximum(singles[:, :UNKNOWN].sum(1), 1)
    share = singles[:, :UNKNOWN] / known[:, None]
    lengths = np.maximum(np.diff(offsets), 1)
    expected = singles[:, 1] * singles[:, 2] / known
    cpg = np.divide(pairs[:, 1 * 4 + 2], expected, out=np.zeros(len(known)), where=expected > 0)
    # both strands: A as often as T, a pair as often as its reverse complement
    both = (share + share[:, ::-1]) / 2
    number = canonical_words(2)[0]
    turned = np.array([(3 - y) * 4 + 3 - x for x, y in product(range(4), repeat=2)])
    joint = (pairs + pairs[:, turned]) / 2 / np.maximum(pairs.sum(1, keepdims=True), 1)
    chosen = [int(np.argmax(number == word)) for word in range(len(PAIRS))]
    alone = both[:, [code // 4 for code in chosen]] * both[:, [code % 4 for code in chosen]]
    rho = np.divide(joint[:, chosen], alone, out=np.ones_like(alone), where=(alone > 0) & (pairs.sum(1) > 0)[:, None])
    columns = [share, singles[:, UNKNOWN] / lengths, share[:, 1] + share[:, 2], cpg, rho]
    return np.column_stack(columns).astype(np.float32)


@cached_njit(nogil=True)
def _tally(codes, offsets):
    """Count bases (the fifth is unknown) and pairs of neighbours of each peak."""
    n = len(offsets) - 1
    singles = np.zeros((n, UNKNOWN + 1))
    pairs = np.zeros((n, 16))
    for peak in range(n):
        before = UNKNOWN
        for i in range(offsets[peak], offsets[peak + 1]):
            base = codes[i]
            singles[peak, base] += 1
            if base < UNKNOWN and before < UNKNOWN:
                pairs[peak, before * 4 + base] += 1
            before = base
    return singles, pairs
