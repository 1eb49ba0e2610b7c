"""Fragment files: bgzip-compressed lines, with an index that says where in the file a place of the genome is."""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sctandem._check_files import existing_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: Bytes of text that are held at once.
BLOCK = 1 << 22
_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
"""The empty block with which every bgzip file ends."""
_WINDOW = 14
"""Binary logarithm of the window of a tabix index, bp."""


@dataclass(frozen=True, slots=True)
class FragmentFile:
    """A fragment file that has been looked at.

    Attributes
    ----------
    path
        The file.
    contigs
        Names of its chromosomes, from the index.
    index
        The file of the index.
    """

    path: Path
    contigs: list[str]
    index: Path

    @classmethod
    def open(cls, path: Path) -> FragmentFile:
        """Check a file and its index.

        Raises
        ------
        FileNotFoundError
            When the file or its index is missing.
        ValueError
            When it is empty, not compressed by bgzip, cut off, or the index cannot be read.
        """
        import pysam

        existing_file(path, "fragments")
        _check_compression(path)
        index = next((p for end in (".tbi", ".csi") if (p := path.with_name(path.name + end)).is_file()), None)
        if index is None:
            msg = (
                f"{path} has no index {path.name}.tbi beside it. Make one: `tabix -p bed {path.name}`, or "
                f"`pysam.tabix_index({path.name!r}, preset='bed')`; of a file that is not sorted, sort it first "
                "(`sort -k1,1 -k2,2n`, then `bgzip`)."
            )
            raise FileNotFoundError(msg)
        before = pysam.set_verbosity(0)  # htslib writes to stderr by itself
        try:
            with pysam.TabixFile(str(path), index=str(index)) as file:
                contigs = list(file.contigs)
        except (OSError, ValueError) as error:
            msg = f"{index} cannot be read as an index ({error}). Make it anew: `tabix -f -p bed {path.name}`."
            raise ValueError(msg) from error
        finally:
            pysam.set_verbosity(before)
        return cls(path, contigs, index)

    def blocks(
        self, offset: int = 0, size: int | None = None, tick: Callable[[int], None] | None = None
    ) -> Iterator[tuple[np.ndarray, int]]:
        """Yield the text from an offset of the index on, whole lines at a time.

        Parameters
        ----------
        offset
            Where to begin: the compressed place, 16 bits shifted, and the place in the block there.
        size
            Bytes held at once.
        tick
            Called with how many bytes of the file were read since the last call.

        Yields
        ------
        The same array filled anew each time, and how many bytes of it are whole lines.
        """
        size = size or BLOCK
        space, held = bytearray(size + 1), 0  # one more for the line feed of the last line
        text = np.frombuffer(space, dtype=np.uint8)
        if offset >> 16 >= self.path.stat().st_size - len(_END):
            msg = f"{self.path} is truncated, or its index belongs to another file: it ends before a place that the index names."
            raise ValueError(msg)
        with self.path.open("rb") as raw:
            at = raw.seek(offset >> 16)
            with gzip.GzipFile(fileobj=raw) as file:
                try:
                    file.read(offset & 0xFFFF)
                    while n_read := file.readinto(memoryview(space)[held:size]):
                        held += n_read
                        if tick is not None:
                            tick(raw.tell() - at)
                            at = raw.tell()
                        whole = _last_line_feed(text, held)
                        if whole:
                            yield text, whole
                            text[: held - whole] = text[whole:held].copy()
                            held -= whole
                        elif held == size:
                            msg = f"{self.path} has no line end in {size} bytes: it is no fragment file."
                            raise ValueError(msg)
                except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                    msg = f"{self.path} is truncated or damaged: {error}. Copy or download it again."
                    raise ValueError(msg) from error
        if held:
            text[held] = ord("\n")
            yield text, held + 1

    def offsets(self) -> list[np.ndarray]:
        """Read from the index, for each chromosome, the offset of the first line that reaches each window of 16 kb.

        Raises
        ------
        ValueError
            When the index is of another kind than `.tbi`.
        """
        if self.index.suffix != ".tbi":
            msg = f"{self.index} has no offsets of places; make a .tbi index (`tabix -p bed`), or take read='file'."
            raise ValueError(msg)
        data, at, found = gzip.decompress(self.index.read_bytes()), 36, []
        n_contigs, n_names = struct.unpack_from("<i24xi", data, 4)
        at += n_names
        for _ in range(n_contigs):
            (n_bins,) = struct.unpack_from("<i", data, at)
            at += 4
            lowest = 1 << 62
            for _ in range(n_bins):
                number, n_chunks = struct.unpack_from("<Ii", data, at)
                chunks = np.frombuffer(data, dtype="<u8", count=2 * n_chunks, offset=at + 8)
                if number != 37450 and n_chunks:  # that one holds statistics
                    lowest = min(lowest, int(chunks[0::2].min()))
                at += 8 + 16 * n_chunks
            (n_windows,) = struct.unpack_from("<i", data, at)
            linear = np.frombuffer(data, dtype="<u8", count=n_windows, offset=at + 4).astype(np.int64)
            at += 4 + 8 * n_windows
            found.append(np.maximum(linear, lowest))
        return found

    def first_barcodes(self, n: int = 3) -> list[str]:
        """Return the barcodes of the first fragments, for messages."""
        for text, size in self.blocks(size=1 << 16):
            lines = [line.split(b"\t") for line in text[:size].tobytes().splitlines() if not line.startswith(b"#")]
            found = dict.fromkeys(fields[3].decode(errors="replace") for fields in lines if len(fields) > 3)
            if found:
                return list(found)[:n]
        return []


def window_of(position: int) -> int:
    """Return the window of the index in which a position lies."""
    return position >> _WINDOW


def _last_line_feed(text: np.ndarray, held: int) -> int:
    """Return how many bytes there are up to and with the last line feed."""
    step = 4096
    for stop in range(held, 0, -step):
        first = max(stop - step, 0)
        feeds = np.flatnonzero(text[first:stop] == ord("\n"))
        if feeds.size:
            return first + int(feeds[-1]) + 1
    return 0


def _check_compression(path: Path) -> None:
    """Raise for a file that is empty, not gzip, not bgzip, or cut off."""
    with path.open("rb") as raw:
        head = raw.read(18)
        raw.seek(-min(len(_END), path.stat().st_size), 2)
        tail = raw.read()
    if not head:
        msg = f"{path} is empty (0 bytes)."
        raise ValueError(msg)
    if head[:2] != b"\x1f\x8b":
        msg = (
            f"{path} is not compressed (it starts with {head[:12]!r}). Fragment files are: sort it by chromosome and start, "
            "then `bgzip` and `tabix -p bed`; or pysam.tabix_compress and pysam.tabix_index."
        )
        raise ValueError(msg)
    if not (len(head) == 18 and head[3] & 4 and head[12:14] == b"BC"):
        msg = (
            f"{path} is compressed by gzip and not by bgzip, so that no index can lead into it. "
            f"`gunzip -c {path.name} | bgzip > fragments.tsv.gz; tabix -p bed fragments.tsv.gz` mends it."
        )
        raise ValueError(msg)
    if tail != _END:
        msg = f"{path} is truncated: the mark with which bgzip ends a file is missing. Copy or download it again."
        raise ValueError(msg)
