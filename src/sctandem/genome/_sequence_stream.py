from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sctandem._check_files import existing_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

_BLOCK = 1 << 23
"""Bytes that are read at once."""
_WRONG = 5
_CODES = bytearray([_WRONG]) * 256
for _letter in "RYSWKMBDHVN":
    _CODES[ord(_letter)] = _CODES[ord(_letter.lower())] = 4
for _code, _letters in enumerate(("Aa", "Cc", "Gg", "TtUu")):
    for _letter in _letters:
        _CODES[ord(_letter)] = _code
_TABLE = bytes(_CODES)
_BLANKS = b"\r\n \t"


_KINDS = {
    b"BZh": "bzip2; unpack it",
    b"PK": "a zip archive; unpack it",
    b"\xfd7z": "xz; unpack it",
    b"\x28\xb5": "zstd; unpack it",
    b"\x43\x27": "2bit; convert it (twoBitToFa)",
    b"\x1a\x41": "2bit; convert it (twoBitToFa)",
    b"@": "FASTQ, which holds reads and no genome",
}
"""What other files start with, and what to do with them."""


def not_fasta(path: Path, start: bytes) -> ValueError:
    """Make the error for a file whose content does not start as FASTA does."""
    kind = next((f" It looks like {told}." for magic, told in _KINDS.items() if start.startswith(magic)), "")
    return ValueError(f"{path} is no FASTA file: it does not start with '>'.{kind}")


class Stretch(NamedTuple):
    """A part of a sequence, with what lies around it.

    Attributes
    ----------
    name
        First word of the header.
    codes
        Bases as 0 to 3 for A, C, G, T (either case; U counts as T) and 4 for all others, uint8.
    offset
        Position of the first of `codes` in the sequence.
    begin, stop
        The part that is this stretch's own, as positions in `codes`.
    """

    name: str
    codes: np.ndarray
    offset: int
    begin: int
    stop: int


def stretches(fasta: str | Path, *, before: int, after: int, size: int) -> Iterator[Stretch]:
    """Read a FASTA file in stretches that overlap.

    Each position of a sequence is one stretch's own, except for the first `before`. Plain text, gzip and bgzip are told
    apart by their content.

    Parameters
    ----------
    fasta
        The file.
    before, after
        How many bases before and after its own part a stretch shows; `after` fewer at the end of the sequence.
    size
        Length of the part of its own.

    Yields
    ------
    The stretches, in the order of the file.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is no FASTA file, holds no sequence, a name repeats, or a sequence has letters that stand for no base.
    """
    path = existing_file(fasta, "fasta")
    with path.open("rb") as handle:
        zipped = handle.read(2) == b"\x1f\x8b"
    seen: set[str] = set()
    name, parts, held, offset = "", [b""], 0, 0
    with gzip.open(path, "rb") if zipped else path.open("rb") as handle:
        for header, codes in _pieces(handle, path):
            if header is not None:
                if seen:
                    yield from _last(name, b"".join(parts), offset, before)
                if header in seen:
                    msg = f"{path} has two sequences named {header!r}; give each a name of its own."
                    raise ValueError(msg)
                seen.add(header)
                name, parts, held, offset = header, [b""], 0, 0
                continue
            parts.append(codes)
            held += len(codes)
            while held >= before + size + after:
                whole = b"".join(parts)
                shown = np.frombuffer(whole, dtype=np.uint8, count=before + size + after)
                yield Stretch(name, shown, offset, before, before + size)
                parts, held, offset = [whole[size:]], held - size, offset + size
    if not seen:
        msg = f"{path} holds no sequence."
        raise ValueError(msg)
    yield from _last(name, b"".join(parts), offset, before)


def _last(name: str, codes: bytes, offset: int, before: int) -> Iterator[Stretch]:
    if len(codes) > before:
        yield Stretch(name, np.frombuffer(codes, dtype=np.uint8), offset, before, len(codes))


def _pieces(handle: IO[bytes] | gzip.GzipFile, path: Path) -> Iterator[tuple[str | None, bytes]]:
    """Yield the names of sequences as they begin, and in between pieces of their bases as codes."""
    header: bytes | None = None
    name: str | None = None
    starts_line = True
    for block in _blocks(handle, path):
        at = 0
        while at < len(block):
            if header is not None:
                end = block.find(b"\n", at)
                header += block[at : end if end >= 0 else len(block)]
                if end < 0:
                    break
                words = header.split()
                name = words[0].decode(errors="replace") if words else ""
                yield name, b""
                header, at, starts_line = None, end + 1, True
                continue
            if starts_line and block[at : at + 1] == b">":
                header, at = b"", at + 1
                continue
            end = block.find(b"\n>", at)
            piece = block[at : end if end >= 0 else len(block)]
            codes = piece.translate(_TABLE, _BLANKS)
            if name is None and codes:
                raise not_fasta(path, piece)
            if _WRONG in codes:
                letter = next(chr(byte) for byte in piece if _TABLE[byte] == _WRONG and byte not in _BLANKS)
                msg = f"{path}: the sequence {name!r} holds {letter!r}, which stands for no base. Is it DNA?"
                raise ValueError(msg)
            if codes:
                yield None, codes
            at = end + 1 if end >= 0 else len(block)
            starts_line = end >= 0 or block.endswith(b"\n")
    if header is not None:  # a header without a line after it
        words = header.split()
        yield words[0].decode(errors="replace") if words else "", b""


def _blocks(handle: IO[bytes] | gzip.GzipFile, path: Path) -> Iterator[bytes]:
    """Read a file block by block."""
    try:
        while block := handle.read(_BLOCK):
            yield block
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        msg = f"{path} is compressed, but cut short or damaged ({error}). Copy or download it again."
        raise ValueError(msg) from error
