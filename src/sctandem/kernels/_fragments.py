"""Lines of a fragment file to numbers, barcodes to cells, and fragments to counts of regions."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sctandem._compat import cached_njit

TAB, NEWLINE, RETURN, HASH, ZERO = 9, 10, 13, 35, 48
MAX_POSITION = 2**31 - 1
#: What may be wrong with a line, by the code that `parse_block` leaves in its state.
FAULTS = (
    "",
    "it has fewer than the 4 columns chrom, start, end and barcode, separated by tabs",
    "its start or end is no whole number from 0 to 2147483647",
    "it does not end after its start",
    "it starts before the line above it: the file is not sorted",
    "its chromosome ended further up: the file is not sorted",
    "its chromosome is not in the index, which belongs to another file or an older state of it",
)
FIELDS, NUMBER, INVERTED, UNSORTED, RETURNED, UNKNOWN = range(1, 7)
#: Places in the state of `parse_block`.
CHROM, START, LINE, FAULT, PLACE = range(5)
#: Places in the state of `count_block`.
READ, IN_CELLS, UNITS_IN, NEAREST = range(4)


def pack(names: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Put names one after the other: their bytes, and where each begins and the last one ends."""
    ends = np.concatenate([[0], np.cumsum([len(name) for name in names])]).astype(np.int64)
    return np.frombuffer(b"".join(names) or b"\0", dtype=np.uint8).copy(), ends


@dataclass(slots=True)
class Barcodes:
    """A hash table from the bytes of a barcode to its number, in order of arrival.

    Attributes
    ----------
    text, ends
        The barcodes one after the other, and where each begins.
    slots
        Number of the barcode at each place of the table, -1 where there is none.
    n
        Barcodes held.
    """

    text: np.ndarray = field(default_factory=lambda: np.zeros(1024, dtype=np.uint8))
    ends: np.ndarray = field(default_factory=lambda: np.zeros(64, dtype=np.int64))
    slots: np.ndarray = field(default_factory=lambda: np.full(128, -1, dtype=np.int32))
    n: int = 0

    @classmethod
    def of(cls, names: list[bytes]) -> Barcodes:
        """Hold these, which differ from one another, numbered as they come."""
        table = cls()
        table.make_room(len(names), sum(map(len, names)))
        text, ends = pack(names)
        table.text[: text.size], table.ends[: ends.size], table.n = text, ends, len(names)
        _fill(table.text, table.ends, table.n, table.slots)
        return table

    def make_room(self, n_more: int, bytes_more: int) -> None:
        """Grow so that as many more barcodes fit, with at most half of the table taken."""
        used = int(self.ends[self.n])
        if used + bytes_more > self.text.size:
            self.text = np.concatenate([self.text[:used], np.zeros(used + bytes_more, dtype=np.uint8)])
        if self.n + n_more + 1 > self.ends.size:
            self.ends = np.concatenate([self.ends[: self.n + 1], np.zeros(self.n + n_more, dtype=np.int64)])
        if 2 * (self.n + n_more) > self.slots.size:
            self.slots = np.full(1 << int(2 * (self.n + n_more)).bit_length(), -1, dtype=np.int32)
            _fill(self.text, self.ends, self.n, self.slots)

    def names(self) -> list[str]:
        """Return the barcodes in order of their numbers."""
        data = self.text.tobytes()
        return [data[a:b].decode() for a, b in zip(self.ends[: self.n], self.ends[1 : self.n + 1], strict=True)]


@cached_njit(nogil=True)
def _same(block, start, stop, text, first, last):
    """Say whether two stretches of bytes are equal."""
    if stop - start != last - first:
        return False
    i = 0
    while i < stop - start and block[start + i] == text[first + i]:
        i += 1
    return i == stop - start


@cached_njit(nogil=True)
def _find(data, start, stop, text, ends, slots):
    """Return the place in the table where these bytes are, or the empty one where they belong."""
    value = np.uint64(14695981039346656037)  # FNV-1a
    for i in range(start, stop):
        value = (value ^ np.uint64(data[i])) * np.uint64(1099511628211)
    mask = np.uint64(slots.size - 1)
    place = (value ^ (value >> np.uint64(32))) & mask
    while True:
        number = slots[place]
        if number < 0 or _same(data, start, stop, text, ends[number], ends[number + 1]):
            return place
        place = (place + np.uint64(1)) & mask


@cached_njit(nogil=True)
def _fill(text, ends, n, slots):
    """Enter `n` barcodes into an empty table."""
    for number in range(n):
        slots[_find(text, ends[number], ends[number + 1], text, ends, slots)] = number


@cached_njit(nogil=True)
def _number(block, at):
    """Read digits up to a tab or line end; return the number, or -1, and where it ended."""
    first, value = at, 0
    while ZERO <= block[at] <= ZERO + 9:
        value = value * 10 + (block[at] - ZERO)
        if value > MAX_POSITION:
            return -1, at
        at += 1
    return (value if at > first else -1), at


@cached_njit(nogil=True)
def _chromosome(block, start, stop, contigs, contig_ends, state, closed):
    """Find the code of a line's chromosome and keep it in the state; return what is wrong with it."""
    current = state[CHROM]
    if current >= 0 and _same(block, start, stop, contigs, contig_ends[current], contig_ends[current + 1]):
        return 0
    if current >= 0:
        closed[current] = True
    for code in range(contig_ends.size - 1):
        if _same(block, start, stop, contigs, contig_ends[code], contig_ends[code + 1]):
            state[CHROM], state[START] = code, 0
            return RETURNED if closed[code] else 0
    return UNKNOWN


@cached_njit(nogil=True)
def _positions(block, at, previous):
    """Read start and end of a line; return what is wrong with them, both, and where the barcode begins."""
    start, at = _number(block, at)
    if start < 0 or block[at] != TAB:
        return NUMBER, start, start, at
    end, at = _number(block, at + 1)
    if end < 0 or block[at] != TAB:
        short = end >= 0 and (block[at] == NEWLINE or block[at] == RETURN)
        return FIELDS if short else NUMBER, start, end, at
    if end <= start:
        return INVERTED, start, end, at
    return UNSORTED if start < previous else 0, start, end, at + 1


@cached_njit(nogil=True)
def parse_block(block, size, contigs, contig_ends, text, ends, slots, n_barcodes, learn, state, closed, out):
    """Read whole lines, the last of which ends with a line feed.

    Parameters
    ----------
    block, size
        Bytes, and how many of them to read.
    contigs, contig_ends
        Names of the chromosomes, from `pack`.
    text, ends, slots, n_barcodes
        The parts of a `Barcodes` that has room for all barcodes of the block.
    learn
        Enter barcodes that are not in the table; otherwise their cell is -1.
    state
        Code of the chromosome and start of the last line, number of lines read, fault of the line at `PLACE`, and `PLACE`:
        carried from block to block.
    closed
        Whether each chromosome has ended.
    out
        Filled with chromosome, start, end and cell of each fragment, 4 x lines.

    Returns
    -------
    Number of fragments and of barcodes. It stops at the first line that is wrong, see `FAULTS`.
    """
    n, at = 0, 0
    while at < size:
        state[LINE] += 1
        if block[at] != HASH:
            line, fault, start, end = at, 0, 0, 0
            while block[at] != TAB and block[at] != NEWLINE:
                at += 1
            if block[at] == NEWLINE or at == line:
                fault = FIELDS
            else:
                fault = _chromosome(block, line, at, contigs, contig_ends, state, closed)
            if fault == 0:
                fault, start, end, at = _positions(block, at + 1, state[START])
            first = at
            while block[at] != TAB and block[at] != NEWLINE and block[at] != RETURN:
                at += 1
            if fault == 0 and at == first:
                fault = FIELDS
            if fault != 0:
                state[FAULT], state[PLACE] = fault, line
                return n, n_barcodes
            place = _find(block, first, at, text, ends, slots)
            cell = slots[place]
            if cell < 0 and learn:
                cell = n_barcodes
                slots[place] = cell
                used = ends[cell]
                for i in range(at - first):
                    text[used + i] = block[first + i]
                ends[cell + 1] = used + at - first
                n_barcodes += 1
            state[START] = start
            out[0, n], out[1, n], out[2, n], out[3, n] = state[CHROM], start, end, cell
            n += 1
        while block[at] != NEWLINE:
            at += 1
        at += 1
    return n, n_barcodes


@dataclass(frozen=True, slots=True)
class SortedRegions:
    """Regions ordered by chromosome and start.

    Attributes
    ----------
    start, end
        Where they lie, int32.
    reach
        The furthest end of this and all earlier regions of the chromosome.
    bounds
        Where the regions of each chromosome begin and the last ones end.
    order
        Which of the regions as given each one is.
    """

    start: np.ndarray
    end: np.ndarray
    reach: np.ndarray
    bounds: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, chrom: np.ndarray, start: np.ndarray, end: np.ndarray, n_chromosomes: int) -> SortedRegions:
        """Order regions; those whose chromosome has the code -1 are left out."""
        kept = np.flatnonzero(chrom >= 0)
        order = kept[np.lexsort((end[kept], start[kept], chrom[kept]))]
        bounds = np.searchsorted(chrom[order], np.arange(n_chromosomes + 1))
        first, last = (np.minimum(values[order], MAX_POSITION).astype(np.int32) for values in (start, end))
        reach = last.copy()
        for a, b in zip(bounds[:-1], bounds[1:], strict=True):
            reach[a:b] = np.maximum.accumulate(last[a:b])
        return cls(first, last, reach, bounds.astype(np.int64), order)


@cached_njit(nogil=True)
def _hit(first, last, cell, hint, low, high, start, end, reach, hits, n):
    """Note the regions that overlap `first` to `last`; return how many are noted, and where the search came to."""
    while hint + 1 < high and start[hint + 1] < last:
        hint += 1
    while hint >= low and start[hint] >= last:
        hint -= 1
    at = hint
    while at >= low and reach[at] > first:
        if end[at] > first:
            if cell >= 0:
                hits[n] = np.int64(cell) * start.size + at
            n += 1
        at -= 1
    return n, hint


@cached_njit(nogil=True)
def count_block(
    parsed,
    first,
    n,
    start,
    end,
    reach,
    bounds,
    insertions,
    chromosome,
    floor,
    ceiling,
    only_regions,
    per_cell,
    state,
    hits,
):
    """Find the regions of fragments.

    Parameters
    ----------
    parsed, first, n
        What `parse_block` has filled, the fragment to begin with, and how many there are.
    start, end, reach, bounds
        Of `SortedRegions`.
    insertions
        Count both ends of a fragment where they lie; otherwise the fragment, once in each region that it overlaps.
    chromosome, floor, ceiling
        Only fragments on this chromosome (-1: on any) that start at the floor or later, and before the ceiling.
    only_regions
        Leave fragments out altogether that overlap no region.
    per_cell
        Fragments of each cell, added to.
    state
        Fragments read, those in cells, and the units (ends or fragments) of cells in at least one region, added to; the
        region near which the last fragment was.
    hits
        Filled with cell x number of regions + region.

    Returns
    -------
    The fragment to go on with once the hits have been taken, and the number of hits. Room for twice the regions of a
    chromosome is needed to go on.
    """
    found = 0
    for i in range(first, n):
        chrom, begin, stop, cell = parsed[0, i], parsed[1, i], parsed[2, i], parsed[3, i]
        low, high = bounds[chrom], bounds[chrom + 1]
        if 2 * (high - low) > hits.size - found:
            return i, found
        if begin < floor or begin >= ceiling or (chromosome >= 0 and chrom != chromosome):
            continue
        hint = min(max(state[NEAREST], low), high - 1)
        if only_regions:
            near, hint = _hit(begin, stop, -1, hint, low, high, start, end, reach, hits, found)
            if near == found:
                state[NEAREST] = max(hint, low)
                continue
        state[READ] += 1
        if cell < 0:
            continue
        state[IN_CELLS] += 1
        per_cell[cell] += 1
        if high == low:
            continue
        if insertions:
            now, hint = _hit(begin, begin + 1, cell, hint, low, high, start, end, reach, hits, found)
            state[UNITS_IN] += now > found
            state[NEAREST] = max(hint, low)
            found, _ = _hit(stop - 1, stop, cell, hint, low, high, start, end, reach, hits, now)
            state[UNITS_IN] += found > now
        else:
            now, hint = _hit(begin, stop, cell, hint, low, high, start, end, reach, hits, found)
            state[UNITS_IN] += now > found
            state[NEAREST] = max(hint, low)
            found = now
    return n, found


@cached_njit(nogil=True)
def _runs(values, out, counts):
    """Write each value of a sorted array once, and how often it occurs; return how many there are."""
    n = 0
    for value in values:
        if n and out[n - 1] == value:
            counts[n - 1] += 1
        else:
            out[n], counts[n] = value, 1
            n += 1
    return n


def tally(hits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct hits in order, and how often each occurs (int32). Sorts its argument."""
    hits.sort()
    values, counts = np.empty_like(hits), np.empty(hits.size, dtype=np.int32)
    n = _runs(hits, values, counts)
    return values[:n].copy(), counts[:n].copy()
