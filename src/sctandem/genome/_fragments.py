"""Count the fragments of a file in regions, block after block."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from sctandem._checks import listed
from sctandem._progress import progress_bar
from sctandem.genome._fragment_file import FragmentFile, window_of
from sctandem.kernels import _fragments as kernel
from sctandem.kernels._fragments import Barcodes, SortedRegions, count_block, pack, parse_block, tally

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

#: Hits that are held before they are tallied, at least.
HITS = 1 << 22
#: Regions that are no further apart are read in one go, bp.
NEAR = 1 << 15
#: Bytes of text that are held at once where only a place is read.
SMALL_BLOCK = 1 << 17
_ANYWHERE = (-1, 0, 2**62)
_SEQUENCE = re.compile("[ACGTN]{8,}")


@dataclass(frozen=True, slots=True)
class FragmentCounts:
    """What was found.

    Attributes
    ----------
    counts
        Cells x regions, int32.
    barcodes
        Names of the cells, where none were given.
    per_cell
        Fragments read of each cell.
    reached
        Furthest end of a fragment on each chromosome of the file, 0 where none was read.
    n_read, n_in_cells, n_units_in
        Fragments read, those of the cells, and the units (ends or fragments) of the cells in at least one region.
    """

    counts: sparse.csr_matrix
    barcodes: list[str]
    per_cell: np.ndarray
    reached: np.ndarray
    n_read: int
    n_in_cells: int
    n_units_in: int


class _Counter:
    """What is carried from block to block."""

    def __init__(
        self,
        file: FragmentFile,
        where: tuple[np.ndarray, np.ndarray, np.ndarray],
        cells: list[str] | None,
        *,
        insertions: bool,
        only_regions: bool,
    ) -> None:
        self.file, self.insertions, self.only_regions = file, insertions, only_regions
        self.contigs = pack([name.encode() for name in file.contigs])
        self.learn = cells is None
        self.barcodes = Barcodes.of([name.encode() for name in cells or []])
        self.regions = SortedRegions.of(*where, len(file.contigs))
        self.n_regions = where[0].size
        most = int(np.diff(self.regions.bounds).max(initial=0))
        self.hits = np.empty(max(HITS, 4 * most), dtype=np.int64)
        self.parts: list[tuple[np.ndarray, np.ndarray]] = []
        self.held = 0
        self.per_cell = np.zeros(self.barcodes.n, dtype=np.int64)
        self.reached = np.zeros(len(file.contigs), dtype=np.int64)
        self.state = np.zeros(4, dtype=np.int64)
        self.parsed = np.empty((4, 0), dtype=np.int32)
        self.begin(from_start=True)

    def begin(self, *, from_start: bool) -> None:
        """Forget the line before: what comes next is from another place of the file."""
        self.from_start = from_start
        self.lines = np.array([-1, 0, 0, 0, 0], dtype=np.int64)
        self.closed = np.zeros(len(self.file.contigs), dtype=np.bool_)

    def add(self, text: np.ndarray, size: int, place: tuple[int, int, int] = _ANYWHERE) -> int:
        """Count the fragments of a block that start at a place (chromosome, from, to); return how many it holds."""
        n_lines = int(np.count_nonzero(text[:size] == kernel.NEWLINE))
        if self.parsed.shape[1] < n_lines:
            self.parsed = np.empty((4, n_lines + n_lines // 8), dtype=np.int32)
        table = self.barcodes
        if self.learn:
            table.make_room(n_lines, size)
        parts = table.text, table.ends, table.slots, table.n
        n, table.n = parse_block(text, size, *self.contigs, *parts, self.learn, self.lines, self.closed, self.parsed)
        if self.lines[kernel.FAULT]:
            self._fail(text)
        if self.per_cell.size < table.n:
            self.per_cell = np.concatenate([self.per_cell, np.zeros(2 * table.n - self.per_cell.size, dtype=np.int64)])
        np.maximum.at(self.reached, *self._ends(n))
        where = self.regions.start, self.regions.end, self.regions.reach, self.regions.bounds
        how = self.insertions, *place, self.only_regions
        done = 0
        while True:
            done, found = count_block(
                self.parsed, done, n, *where, *how, self.per_cell, self.state, self.hits[self.held :]
            )
            self.held += found
            if done == n:
                return n
            self.flush()

    def _ends(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the chromosomes of a block, which come one after the other, and the furthest end on each."""
        chrom, end = self.parsed[0, :n], self.parsed[2, :n]
        first = np.concatenate([[0], np.flatnonzero(np.diff(chrom)) + 1]) if n else np.zeros(0, dtype=np.int64)
        return chrom[first], np.maximum.reduceat(end, first) if n else end

    def flush(self) -> None:
        """Tally the hits that are held."""
        if self.held:
            self.parts.append(tally(self.hits[: self.held]))
            self.held = 0

    def _fail(self, text: np.ndarray) -> None:
        place, fault = int(self.lines[kernel.PLACE]), int(self.lines[kernel.FAULT])
        shown = text[place : place + 100].tobytes().split(b"\n")[0].decode(errors="replace")
        number = f"line {self.lines[kernel.LINE]}" if self.from_start else "a line"
        mend = ""
        if fault in {kernel.UNSORTED, kernel.RETURNED}:
            mend = " Sort it by chromosome and start (`sort -k1,1 -k2,2n`), then `bgzip` and `tabix -p bed`."
        elif fault == kernel.UNKNOWN:
            mend = f" Make the index anew: `tabix -f -p bed {self.file.path.name}`."
        msg = f"{self.file.path}, {number} ({shown!r}): {kernel.FAULTS[fault]}.{mend}"
        raise ValueError(msg)

    def result(self) -> FragmentCounts:
        """Put everything together."""
        self.flush()
        n_cells, n_regions = self.barcodes.n, max(self.regions.order.size, 1)
        keys = np.concatenate([keys for keys, _ in self.parts] or [np.zeros(0, dtype=np.int64)])
        values = np.concatenate([values for _, values in self.parts] or [np.zeros(0, dtype=np.int32)])
        self.parts.clear()
        cell = (keys // n_regions).astype(np.int32)
        region = self.regions.order[keys % n_regions].astype(np.int32) if keys.size else cell
        del keys
        names: list[str] = []
        per_cell = self.per_cell[:n_cells]
        if self.learn:
            names = self.barcodes.names()
            kept = np.array([i for i in sorted(range(n_cells), key=names.__getitem__) if per_cell[i]], dtype=np.int64)
            place = np.zeros(n_cells, dtype=np.int32)
            place[kept] = np.arange(kept.size)
            cell, per_cell, names, n_cells = place[cell], per_cell[kept], [names[i] for i in kept], kept.size
        counts = sparse.csr_matrix((values, (cell, region)), shape=(n_cells, self.n_regions), dtype=np.int32)
        counts.sum_duplicates()
        return FragmentCounts(counts, names, per_cell, self.reached, *(int(x) for x in self.state[:3]))


def count_in_regions(
    file: FragmentFile,
    where: tuple[np.ndarray, np.ndarray, np.ndarray],
    cells: list[str] | None,
    *,
    insertions: bool,
    only_regions: bool,
) -> FragmentCounts:
    """Count the fragments of a file.

    Parameters
    ----------
    file
        The file.
    where
        Code of the chromosome among ``file.contigs`` (-1: on none of them), start and end of each region.
    cells
        Barcodes, all different; `None` for every one with a fragment, sorted.
    insertions
        Count both ends of a fragment; otherwise the fragment, once in each region that it overlaps.
    only_regions
        Read only the places of the regions, and take note only of fragments that overlap one.

    Returns
    -------
    The counts.
    """
    counter = _Counter(file, where, cells, insertions=insertions, only_regions=only_regions)
    if only_regions:
        _add_stretches(counter)
    else:
        with progress_bar(file.path.stat().st_size, file.path.name, unit="B") as tick:
            for text, size in file.blocks(tick=tick):
                counter.add(text, size)
    return counter.result()


def _add_stretches(counter: _Counter) -> None:
    """Read the places of the regions only."""
    offsets = counter.file.offsets()
    counter.reached[:] = [windows.size << 14 for windows in offsets]
    for chrom, windows in enumerate(offsets):
        floor = 0
        for low, high in _stretches(counter.regions, chrom):
            window = window_of(low)
            if window >= windows.size:
                break
            counter.begin(from_start=False)
            for text, size in counter.file.blocks(int(windows[window]), SMALL_BLOCK):
                # a fragment that reaches from one stretch into the next was counted with the first
                n = counter.add(text, size, (chrom, floor, high))
                chroms, starts = counter.parsed[0, :n], counter.parsed[1, :n]
                if n and (chroms[-1] != chrom or starts[-1] >= high):
                    break
            floor = high


def _stretches(regions: SortedRegions, chrom: int) -> Iterator[tuple[int, int]]:
    """Yield where the regions of a chromosome lie, those near to one another as one."""
    a, b = regions.bounds[chrom : chrom + 2]
    if a == b:
        return
    cut = np.flatnonzero(regions.start[a + 1 : b].astype(np.int64) - regions.reach[a : b - 1] > NEAR)
    first, last = np.concatenate([[0], cut + 1]) + a, np.concatenate([cut, [b - a - 1]]) + a
    yield from zip(regions.start[first].tolist(), regions.reach[last].tolist(), strict=True)


def accounts(found: FragmentCounts, *, insertions: bool) -> dict[str, Any]:
    """Say how much of what was read went where; what is read is the sum of what it is split into."""
    units = found.n_in_cells * (2 if insertions else 1)
    return {
        "n_fragments": found.n_read,
        "n_fragments_in_cells": found.n_in_cells,
        "n_fragments_other_barcodes": found.n_read - found.n_in_cells,
        "n_in_cells": units,
        "n_in_regions": found.n_units_in,
        "n_outside_regions": units - found.n_units_in,
        "n_counts": int(found.counts.sum(dtype=np.int64)),
    }


def check_cells(file: FragmentFile, barcodes: list[str], per_cell: np.ndarray, *, only_regions: bool = False) -> None:
    """Raise when no cell was found in a file, and log how many were not.

    Parameters
    ----------
    file
        The file.
    barcodes
        Names of the cells.
    per_cell
        What was found of each.
    only_regions
        Whether only some places of the file were read, so that cells may well be missed.

    Raises
    ------
    ValueError
        Shows names of both sides, and how they differ.
    """
    n_found = int((per_cell > 0).sum())
    if not n_found:
        theirs = file.first_barcodes()
        msg = (
            f"None of the {len(barcodes)} barcodes of cells has a fragment among those read from {file.path.name}. "
            f"The cells are named like {listed(barcodes, 3)}, those of the file like {listed(theirs, 3)}."
            f"{_difference(barcodes, theirs)}"
        )
        raise ValueError(msg)
    if n_found < len(barcodes):
        share = n_found / len(barcodes)
        missing = [name for name, n in zip(barcodes, per_cell, strict=True) if not n]
        logger.log(
            logging.WARNING if share < 0.5 and not only_regions else logging.INFO,
            "%d of %d cells (%.0f %%) have fragments%s; without: %s",
            *(n_found, len(barcodes), 100 * share, " that overlap a region" if only_regions else " in the file"),
            listed(missing, 3),
        )


def _difference(ours: list[str], theirs: list[str]) -> str:
    """Say what stands before and after the sequence in the names of both sides."""
    found = [_SEQUENCE.search(names[0]) if names else None for names in (ours, theirs)]
    if None in found:
        return ""
    (a, b), (c, d) = ((m.string[: m.start()], m.string[m.end() :]) for m in found if m is not None)
    if (a, b) == (c, d):
        return " Are they of the same sample?"
    return (
        f" The cells have {a!r} before and {b!r} after the sequence, the file {c!r} and {d!r}: name the cells as in the file, "
        "and rename them afterwards (obs_names)."
    )
