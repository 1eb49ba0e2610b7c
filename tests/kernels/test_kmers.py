from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from sctandem.kernels._kmers import COMPOSITION, GAPS, count_words, nucleotide_order, word_names

PAIR = str.maketrans("ACGTNn", "TGCANn")
LETTERS = np.array(list("ACGTN"))


def turned(word: str) -> str:
    return word.translate(PAIR)[::-1]


def read_words(bases: str, k: int, gaps: tuple[int, ...]) -> Counter:
    """Words of a sequence letter by letter, named by the smaller of the word and its reverse complement."""
    found: Counter = Counter()
    for gap in gaps:
        for i in range(len(bases) - k - gap + 1):
            half = k // 2
            word = bases[i : i + half] + "n" * gap + bases[i + half + gap : i + k + gap]
            if "N" not in word:
                found[min(word, turned(word))] += 1
    return found


@pytest.fixture(name="peaks")
def fixture_peaks(rng) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Peaks of 1 to 90 bp and a long one, every tenth base unknown."""
    widths = np.array([1, 2, 3, 5, 8, 13, 90, 40, 2, 700])
    codes = rng.choice(5, widths.sum(), p=[0.25, 0.2, 0.2, 0.3, 0.05]).astype(np.uint8)
    offsets = np.concatenate([[0], np.cumsum(widths)])
    return codes, offsets, ["".join(LETTERS[codes[a:b]]) for a, b in zip(offsets[:-1], offsets[1:], strict=True)]


@pytest.mark.parametrize(
    ("k", "gapped"), [*((k, False) for k in range(1, 9)), (2, True), (4, True), (6, True), (8, True)]
)
def test_words_letter_by_letter(peaks, k, gapped):
    codes, offsets, texts = peaks
    counts = count_words(codes, offsets, k, gapped=gapped)
    names = word_names(k, gapped=gapped)
    assert counts.dtype == np.int32
    assert counts.shape == (len(texts), len(names))
    assert counts.has_canonical_format
    for text, row in zip(texts, counts, strict=True):
        found = {names[column]: int(value) for column, value in zip(row.indices, row.data, strict=True)}
        assert found == read_words(text, k, (0, *GAPS) if gapped else (0,))


@pytest.mark.parametrize(("k", "n"), [(1, 2), (2, 10), (3, 32), (4, 136), (5, 512), (6, 2080), (7, 8192), (8, 32896)])
def test_number_of_words(k, n):
    names = word_names(k)
    assert len(names) == len(set(names)) == n
    assert all(name <= turned(name) for name in names)
    if k % 2 == 0:
        gapped = word_names(k, gapped=True)
        assert len(gapped) == len(set(gapped)) == 5 * n
        assert gapped[:n] == names


def test_the_other_strand_counts_the_same(peaks):
    codes, offsets, _ = peaks
    back = np.concatenate([np.where(p < 4, 3 - p, 4)[::-1] for p in np.split(codes, offsets[1:-1])]).astype(np.uint8)
    for k, gapped in ((5, False), (6, True)):
        ours, theirs = (count_words(bases, offsets, k, gapped=gapped) for bases in (codes, back))
        assert (ours != theirs).nnz == 0
    np.testing.assert_allclose(
        nucleotide_order(back, offsets)[:, 4:], nucleotide_order(codes, offsets)[:, 4:], rtol=1e-5
    )


def test_no_peaks_and_nothing_known():
    assert count_words(np.empty(0, np.uint8), np.zeros(1, np.int64), 3).shape == (0, 32)
    nothing = count_words(np.full(20, 4, np.uint8), np.array([0, 20]), 3, gapped=False)
    assert nothing.nnz == 0
    row = dict(zip(COMPOSITION, nucleotide_order(np.full(20, 4, np.uint8), np.array([0, 20]))[0], strict=True))
    assert row["unknown"] == 1
    assert row["gc"] == row["cpg_oe"] == row["a"] == 0
    assert row["rho_AC"] == 1


def test_order_by_hand(peaks):
    codes, offsets, texts = peaks
    table = nucleotide_order(codes, offsets)
    assert table.dtype == np.float32
    for text, values in zip(texts, table, strict=True):
        row = dict(zip(COMPOSITION, values, strict=True))
        known = [base for base in text if base != "N"]
        for base in "ACGT":
            assert row[base.lower()] == pytest.approx(known.count(base) / max(len(known), 1), abs=1e-6)
        assert row["unknown"] == pytest.approx(text.count("N") / len(text), abs=1e-6)
        assert row["gc"] == pytest.approx(row["g"] + row["c"], abs=1e-6)
        # odds ratios of the sequence put before its reverse complement, pairs across the seam left out
        singles = Counter(known) + Counter(turned("".join(known)))
        pairs = [
            a + b for part in (text, turned(text)) for a, b in zip(part[:-1], part[1:], strict=True) if "N" not in a + b
        ]
        for name in COMPOSITION:
            if name.startswith("rho_") and pairs:
                x, y = name[-2:]
                alone = singles[x] * singles[y] / sum(singles.values()) ** 2
                expected = pairs.count(x + y) / len(pairs) / alone if alone else 1
                assert row[name] == pytest.approx(expected, rel=1e-5)


def test_a_repeat_has_the_order_of_its_unit():
    codes = np.tile(np.array([1, 2], np.uint8), 500)  # CGCGCG...
    row = dict(zip(COMPOSITION, nucleotide_order(codes, np.array([0, 1000]))[0], strict=True))
    assert row["cpg_oe"] == pytest.approx(2, rel=1e-3)
    assert row["rho_CG"] == pytest.approx(2, rel=1e-2)
    assert row["rho_CC"] == 0
    assert row["rho_AA"] == 1


def test_unknown_bases_leave_what_is_known_as_it_was():
    """CpG expected, like all shares, is over the bases that are known."""
    codes = np.array([1, 2, 0, 3, 1, 2, 2, 1, 0, 0], dtype=np.uint8)
    padded = np.concatenate([np.full(10, 4, dtype=np.uint8), codes, np.full(20, 4, dtype=np.uint8)])
    both = np.concatenate([codes, padded])
    alone, among = nucleotide_order(both, np.array([0, 10, 50]))
    known = [i for i, name in enumerate(COMPOSITION) if name != "unknown"]
    np.testing.assert_allclose(among[known], alone[known])
    assert alone[COMPOSITION.index("cpg_oe")] == pytest.approx(2 / (3 * 3 / 10))
    assert among[COMPOSITION.index("unknown")] == pytest.approx(0.75)
