from __future__ import annotations

import numpy as np
import pytest

from sctandem.kernels import _fragments as kernel
from sctandem.kernels._fragments import Barcodes, SortedRegions, count_block, pack, parse_block, tally

CONTIGS = pack([b"chr1", b"chr10", b"chr2"])


def parse(text: bytes, table: Barcodes, *, learn: bool = False, state: np.ndarray | None = None):
    block = np.frombuffer(text, dtype=np.uint8)
    state = np.array([-1, 0, 0, 0, 0]) if state is None else state
    out = np.full((4, text.count(b"\n")), -7, dtype=np.int32)
    if learn:
        table.make_room(out.shape[1], block.size)
    parts = table.text, table.ends, table.slots, table.n
    n, table.n = parse_block(block, block.size, *CONTIGS, *parts, learn, state, np.zeros(3, dtype=np.bool_), out)
    return out[:, :n].T.tolist(), state


def test_lines_become_numbers():
    text = b"# a comment\nchr1\t0\t5\tAA-1\t3\nchr1\t0\t2147483647\tCC-1\nchr10\t7\t9\tAA-10\t1\r\nchr2\t1\t2\tCC-1\r\n"
    rows, state = parse(text, Barcodes.of([b"CC-1", b"AA-1"]))
    assert rows == [[0, 0, 5, 1], [0, 0, 2147483647, 0], [1, 7, 9, -1], [2, 1, 2, 0]]
    assert state.tolist() == [2, 1, 5, 0, 0]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"chr1\t10\t20\n", kernel.FIELDS),
        (b"chr1\t10\t20\r\n", kernel.FIELDS),
        (b"chr1\t10\t20\t\t1\n", kernel.FIELDS),
        (b"\n", kernel.FIELDS),
        (b"\t10\t20\tA\n", kernel.FIELDS),
        (b"chr1 10 20 A\n", kernel.FIELDS),
        (b"chr1\t10\n", kernel.NUMBER),
        (b"chr1\t\t20\tA\n", kernel.NUMBER),
        (b"chr1\t-1\t20\tA\n", kernel.NUMBER),
        (b"chr1\t1e3\t2000\tA\n", kernel.NUMBER),
        (b"chr1\t10\t20.5\tA\n", kernel.NUMBER),
        (b"chr1\t10\t2147483648\tA\n", kernel.NUMBER),
        (b"chr1\t10\t99999999999999999999999999\tA\n", kernel.NUMBER),
        (b"chr1\t10\t10\tA\n", kernel.INVERTED),
        (b"chr1\t10\t9\tA\n", kernel.INVERTED),
        (b"chr1\t4\t20\tA\n", kernel.UNSORTED),
        (b"chr2\t5\t9\tA\nchr1\t50\t90\tA\n", kernel.RETURNED),
        (b"chr\t50\t90\tA\n", kernel.UNKNOWN),
        (b"chr11\t50\t90\tA\n", kernel.UNKNOWN),
    ],
)
def test_what_may_be_wrong_with_a_line(line, fault):
    before = b"#\nchr1\t5\t9\tA\n"
    rows, state = parse(before + line, Barcodes.of([b"A"]))
    at = len(before) + (line.index(b"\n") + 1 if fault == kernel.RETURNED else 0)
    assert state[kernel.FAULT] == fault
    assert state[kernel.PLACE] == at
    assert state[kernel.LINE] == 2 + line.count(b"\n")
    assert rows[0] == [0, 5, 9, 0]


def test_barcodes_are_told_apart(monkeypatch):
    rng = np.random.default_rng(0)
    names = sorted({bytes(rng.choice(list(b"ACGT"), rng.integers(1, 8)).astype(np.uint8)) for _ in range(4000)})
    rng.shuffle(names)
    held, rest = names[::2], names[1::2]
    lines = b"".join(b"chr1\t1\t2\t" + name + b"\n" for name in names)
    rows, _ = parse(lines, Barcodes.of(held))
    number = {name: i for i, name in enumerate(held)}
    assert [row[3] for row in rows] == [number.get(name, -1) for name in names]
    # learned in several portions, the table growing in between
    table = Barcodes()
    found = []
    for part in (rest[:10], rest[:500], names):
        found += [row[3] for row in parse(b"".join(b"chr1\t1\t2\t" + n + b"\n" for n in part), table, learn=True)[0]]
    order = list(dict.fromkeys([*rest[:10], *rest[:500], *names]))
    assert table.names() == [name.decode() for name in order]
    assert found == [order.index(name) for name in [*rest[:10], *rest[:500], *names]]


def count(parsed, regions, *, insertions, n_cells=3, room=None, place=(-1, 0, 2**62), only=False):
    chrom, start, end = (np.array(values) for values in zip(*regions, strict=True))
    held = SortedRegions.of(chrom, start, end, 3)
    room = room or 4 * len(regions)
    parsed = np.array(parsed, dtype=np.int32).T.copy()
    state, per_cell, keys = np.zeros(4, dtype=np.int64), np.zeros(n_cells, dtype=np.int64), []
    done, calls = 0, 0
    while done < parsed.shape[1]:
        hits = np.empty(room, dtype=np.int64)
        where = held.start, held.end, held.reach, held.bounds
        done, n = count_block(parsed, done, parsed.shape[1], *where, insertions, *place, only, per_cell, state, hits)
        keys.append(hits[:n])
        calls += 1
    values, counts = tally(np.concatenate(keys))
    out = np.zeros((n_cells, len(regions)), dtype=int)
    out[values // held.order.size, held.order[values % held.order.size]] = counts
    return out, state, per_cell, calls


REGIONS = [(0, 100, 200), (0, 150, 160), (0, 50, 1000), (1, 0, 10), (2, 5, 6), (-1, 0, 9)]


@pytest.mark.parametrize(
    ("fragment", "insertions", "fragments"),
    [
        ((0, 100, 200), [2, 0, 2], [1, 1, 1]),  # ends exactly on the borders of the first region
        ((0, 99, 201), [0, 0, 2], [1, 1, 1]),  # one base more on both sides: longer than the region
        ((0, 199, 201), [1, 0, 2], [1, 0, 1]),
        ((0, 200, 201), [0, 0, 2], [0, 0, 1]),
        ((0, 40, 100), [0, 0, 1], [0, 0, 1]),
        ((0, 40, 101), [1, 0, 1], [1, 0, 1]),
        ((0, 40, 50), [0, 0, 0], [0, 0, 0]),
        ((0, 40, 51), [0, 0, 1], [0, 0, 1]),
        ((0, 155, 156), [2, 2, 2], [1, 1, 1]),  # a single base has both ends there
        ((0, 150, 160), [2, 2, 2], [1, 1, 1]),
        ((0, 10, 5000), [0, 0, 0], [1, 1, 1]),
        ((0, 999, 1000), [0, 0, 2], [0, 0, 1]),
        ((0, 1000, 1001), [0, 0, 0], [0, 0, 0]),
    ],
)
def test_borders(fragment, insertions, fragments):
    parsed = [(*fragment, 1), (*fragment, -1)]
    for wanted, how in ((insertions, True), (fragments, False)):
        found, state, per_cell, _ = count(parsed, REGIONS, insertions=how)
        assert found[1].tolist() == [*wanted, 0, 0, 0]
        assert found[[0, 2]].sum() == 0
        assert per_cell.tolist() == [0, 1, 0]
        ends = max(wanted) if how else int(max(wanted) > 0)
        assert state[:3].tolist() == [2, 1, ends]


def test_little_room_for_hits_changes_nothing():
    rng = np.random.default_rng(1)
    start = np.sort(rng.integers(0, 1100, 400))
    parsed = np.column_stack([np.zeros(400, int), start, start + rng.integers(1, 400, 400), rng.integers(-1, 3, 400)])
    for insertions in (True, False):
        wide = count(parsed, REGIONS, insertions=insertions, room=4000)
        tight = count(parsed, REGIONS, insertions=insertions, room=6)
        assert wide[3] == 1
        assert tight[3] > 50
        assert (wide[0] == tight[0]).all()
        assert wide[1][:3].tolist() == tight[1][:3].tolist()
        assert wide[2].tolist() == tight[2].tolist()


def test_only_a_place():
    parsed = [(0, 10, 60, 0), (0, 120, 170, 0), (0, 190, 300, 1), (1, 120, 130, 2), (1, 3, 4, 2)]
    found, state, per_cell, _ = count(parsed, REGIONS, insertions=True, place=(0, 100, 190))
    assert per_cell.tolist() == [1, 0, 0]
    assert found[0].tolist() == [2, 0, 2, 0, 0, 0]
    assert state[:3].tolist() == [1, 1, 2]
    # fragments that overlap nothing are left out, those of other cells among them
    _, state, per_cell, _ = count(
        [(0, 1, 50, 0), (0, 1, 50, -1), (0, 1, 51, 0), (1, 9, 12, -1)], REGIONS, insertions=True, only=True
    )
    assert per_cell.tolist() == [1, 0, 0]
    assert state[:3].tolist() == [2, 1, 1]


def test_tally():
    values, counts = tally(np.array([5, 1, 5, 2**40, 5, 1]))
    assert values.tolist() == [1, 5, 2**40]
    assert counts.tolist() == [2, 3, 1]
    assert [len(part) for part in tally(np.zeros(0, dtype=np.int64))] == [0, 0]
