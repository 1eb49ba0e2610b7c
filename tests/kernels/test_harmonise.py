"""Counts of a source on another axis, against dense sums; and what tells two cells apart."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from sctandem.kernels._harmonise import barcode_hashes, cell_keys, gene_sets, harmonise, later_duplicates


def test_moved_and_added_up_as_dense_sums(rng):
    values = rng.poisson(0.7, (40, 300)).astype(float)
    values[:, 7] = 70_000  # beyond 16 bits
    positions = rng.integers(-1, 130, 300).astype(np.int32)
    sets = gene_sets([positions], 130)
    found = harmonise(sparse.csr_matrix(values), positions, sets.bits, sets.least[0])
    expected = np.zeros((40, 130))
    for gene, place in enumerate(positions):
        if place >= 0:
            expected[:, place] += values[:, gene]
    np.testing.assert_array_equal(found.counts.toarray(), expected)
    assert found.counts.has_canonical_format
    np.testing.assert_array_equal(found.totals, expected.sum(1))
    np.testing.assert_array_equal(found.outside, values[:, positions < 0].sum(1))


@pytest.mark.parametrize(
    ("value", "message"),
    [(-1, "negative values"), (0.5, "does not hold counts"), (np.nan, "NaN or infinite"), (np.inf, "NaN or infinite")],
)
def test_what_is_no_count_is_named(value, message):
    matrix = sparse.csr_matrix(np.array([[1.0, 0.0], [2.0, value]]))
    with pytest.raises(ValueError, match=message):
        harmonise(matrix, np.array([0, 1], dtype=np.int32), np.zeros(2, dtype=np.uint64), np.array([1]))


def test_hashes_of_shared_genes_are_the_same_in_two_sources(rng):
    whole = rng.poisson(1.0, (30, 600))
    first, second = np.arange(500), np.arange(200, 600)
    places = [
        np.r_[np.arange(500), np.full(100, -1)].astype(np.int32),
        np.r_[np.full(200, -1), np.arange(200, 600)].astype(np.int32),
    ]
    sets = gene_sets(places, 600)
    assert sets.of_source == [0, 1]
    parts = [
        harmonise(sparse.csr_matrix(whole[:, genes]), genes.astype(np.int32), sets.bits, sets.least[i])
        for i, genes in enumerate((first, second))
    ]
    np.testing.assert_array_equal(parts[0].hashes[:, 1], parts[1].hashes[:, 0])
    assert len(np.unique(parts[0].hashes[:, 1])) == 30
    changed = whole.copy()
    changed[:, 300] += 1
    other = harmonise(sparse.csr_matrix(changed[:, second]), second.astype(np.int32), sets.bits, sets.least[1])
    assert not np.intersect1d(other.hashes[:, 0], parts[0].hashes[:, 1]).size


def test_cells_with_few_counts_and_sets_with_few_shared_genes_are_not_compared(rng):
    places = [np.arange(300, dtype=np.int32), np.arange(250, 550, dtype=np.int32)]
    sets = gene_sets(places, 550)
    values = np.zeros((2, 300))
    values[0, :9], values[1, :10] = 1, 1
    found = harmonise(sparse.csr_matrix(values), places[0], sets.bits, sets.least[0])
    assert (found.hashes[:, 0] > 0).tolist() == [False, True]  # ten in one set of genes
    assert not found.hashes[:, 1].any()  # fifty shared genes are too few


def test_barcodes_are_the_letters_of_dna():
    first, second, third, fourth = barcode_hashes(
        ["AAACCTGAGAAACCAT-1", "donor_2#AAACCTGAGAAACCAT-1-0", "AAACCTGAGAAACCAA-1", "cell_17"]
    )
    assert first == second
    assert len({first, third, fourth}) == 3


def test_later_duplicates_against_a_dictionary(rng):
    keys = rng.integers(0, 40, 200).astype(np.uint64)
    later, first = later_duplicates(keys)
    seen: dict[int, int] = {}
    expected = {}
    for i, key in enumerate(keys.tolist()):
        if key and key in seen:
            expected[i] = seen[key]
        seen.setdefault(key, i)
    assert dict(zip(later.tolist(), first.tolist(), strict=True)) == expected


def test_keys_need_both_counts_and_barcode(rng):
    hashes, barcodes = rng.integers(1, 2**63, 100).astype(np.uint64), rng.integers(1, 2**63, 100).astype(np.uint64)
    keys = cell_keys(hashes, barcodes)
    assert len({*keys, *cell_keys(hashes, np.roll(barcodes, 1)), *cell_keys(np.roll(hashes, 2), barcodes)}) == 300
    assert (cell_keys(np.zeros(3, dtype=np.uint64), barcodes[:3]) == 0).all()
