"""Cells of a collection come in random order at each level: the blocks, and the cells of those that are read together."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from scipy import sparse

from sctandem.data import _streamed
from sctandem.data._streamed import StreamedCounts, by_blocks

BLOCK, N_BLOCKS = 16, 12
N_CELLS = BLOCK * N_BLOCKS


class InMemory(StreamedCounts):
    """Counts that are not on disk: the number of each cell."""

    def read(self, start, stop):
        return sparse.csr_matrix(np.arange(start, stop, dtype=np.float32)[:, None])

    def row_lengths(self, start, stop):
        return np.diff(self.read(start, stop).indptr)


@pytest.fixture
def counts(monkeypatch):
    """One block at a time."""
    monkeypatch.setattr(_streamed, "BLOCK", BLOCK)
    monkeypatch.setattr(_streamed, "MOST_CELLS", BLOCK)
    monkeypatch.setattr(_streamed, "has_annbatch", lambda: False)
    return InMemory([], [N_CELLS], [N_CELLS], 1, gene_totals=np.ones(1), cell_totals=np.ones(N_CELLS))


def parts_of(counts, seed):
    """The order of the blocks, and by block that of its cells."""
    blocks, inside = [], {}
    for places, rows in counts.shuffled(np.arange(N_CELLS), np.random.default_rng(seed)):
        np.testing.assert_array_equal(rows.toarray().ravel(), places)
        (block,) = np.unique(places // BLOCK)
        blocks.append(int(block))
        inside[int(block)] = (places % BLOCK).tolist()
    return blocks, inside


def test_blocks_come_in_another_order_for_another_seed(counts):
    (first, _), (again, _), (other, _) = (parts_of(counts, seed) for seed in (0, 0, 1))
    assert first == again
    assert sorted(first) == sorted(other) == list(range(N_BLOCKS))
    assert len({tuple(order) for order in (first, other, range(N_BLOCKS))}) == 3


def test_cells_of_a_block_come_in_another_order_for_another_seed_and_block(counts):
    first, again, other = (parts_of(counts, seed)[1] for seed in (0, 0, 1))
    assert first == again
    orders = [tuple(order) for inside in (first, other) for order in inside.values()]
    assert all(sorted(order) == list(range(BLOCK)) for order in orders)
    assert len({*orders, tuple(range(BLOCK))}) == 2 * N_BLOCKS + 1


def test_a_part_of_the_cells_lies_in_few_blocks_in_random_order(monkeypatch):
    monkeypatch.setattr(_streamed, "BLOCK", BLOCK)
    cells = np.random.default_rng(0).permutation(N_CELLS)
    orders = []
    for seed in (0, 1):
        found = by_blocks(cells, np.random.default_rng(seed))
        assert sorted(found) == sorted(cells)
        blocks = found.reshape(N_BLOCKS, BLOCK) // BLOCK
        assert (blocks == blocks[:, :1]).all()
        orders.append(tuple(blocks[:, 0]))
    assert len({*orders, tuple(range(N_BLOCKS))}) == 3


@pytest.mark.parametrize("lengths", [[3, 0, 5, 2], [0, 0], [4]], ids=["rows without entries", "nothing", "one row"])
def test_rows_put_in_order_block_by_block_are_those_of_the_stack(lengths):
    rng = np.random.default_rng(0)
    blocks = [sparse.random(n, 7, 0.4, "csr", dtype=np.float32, random_state=rng) for n in lengths]
    whole = sparse.vstack(blocks, format="csr")
    order = rng.permutation(whole.shape[0])
    found = _streamed._put_in_order(iter(blocks), np.diff(whole.indptr), order, 7)
    for name in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole[order], name))
    assert found.dtype == np.float32


@pytest.mark.parametrize("indptr", [[1, 2, 3], [0, 3, 2], [0, 1, 9], [0, 1, 2]], ids=["start", "back", "end", "short"])
def test_rows_that_do_not_follow_one_another_are_damage(tmp_path, indptr):
    group = zarr.open_group(tmp_path / "shard", mode="w").create_group("X")
    for name, values in {"indptr": indptr, "indices": [0, 0, 0], "data": [1, 1, 1]}.items():
        group.create_array(name, data=np.array(values))
    counts = StreamedCounts([tmp_path / "shard"], [2], [3], 1, gene_totals=np.ones(1), cell_totals=np.ones(2))
    with pytest.raises(ValueError, match="shard' cannot be read as a part of a collection.*do not follow one another"):
        counts.row_lengths(0, 2)
