"""Ways to spoil a file: a copy with other bytes, lines or fields."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from fault_draw import Draw

    Spoiler = Callable[[Any, Draw, Path], Any]


def _bytes(change: Callable[[bytes, Draw], bytes], name: str | None = None) -> Spoiler:
    """Write a copy of a file (and the index that lies beside it) with other bytes."""

    def spoiler(path: Path, draw: Draw, folder: Path) -> Path:
        path = Path(path)
        if path.is_dir():
            new = folder / path.name
            shutil.copytree(path, new)
            files = sorted(file.relative_to(new).as_posix() for file in new.rglob("*") if file.is_file())
            file = new / draw.choice("of file", files)
            file.write_bytes(change(file.read_bytes(), draw))
            return new
        new = folder / (name or path.name)
        new.write_bytes(change(path.read_bytes() if path.exists() else b"text\n", draw))
        for index in path.parent.glob(path.name + ".*"):
            shutil.copy(index, folder / (new.name + index.name.removeprefix(path.name)))
        return new

    return spoiler


def _lines(change: Callable[[list[bytes], Draw], list[bytes]]) -> Spoiler:
    def on_bytes(content: bytes, draw: Draw) -> bytes:
        packed = content[:2] == b"\x1f\x8b"
        plain = gzip.decompress(content) if packed else content
        new = b"".join(change(plain.splitlines(keepends=True), draw))
        return gzip.compress(new) if packed else new

    return _bytes(on_bytes)


def _field(lines: list[bytes], draw: Draw) -> list[bytes]:
    """Spoil one field of a few lines."""
    odd = [b"", b"-7", b"1.5", b"NaN", b"99999999999999999999", b"x", "é".encode(), b"\x00", b"\xff\xfe"]
    for _ in range(3):
        i = draw.place("line", len(lines))
        fields = lines[i].rstrip(b"\n").split(b"\t")
        fields[draw.place("field", len(fields))] = draw.choice("as", odd)
        lines[i] = b"\t".join(fields) + b"\n"
    return lines


def _order(lines: list[bytes], draw: Draw) -> list[bytes]:
    return [lines[i] for i in draw.generator("order").permutation(len(lines))]


def _flip(content: bytes, draw: Draw) -> bytes:
    """Write noise over twenty bytes within."""
    place = len(content) // 3
    return b"".join([content[:place], draw.generator("noise").bytes(20), content[place + 20 :]])


#: The simplest first: a failing case shrinks towards it.
FILE: dict[str, Spoiler] = {
    "not a path": lambda p, d, _: d.choice("but", [None, 3, [], {}, b"bytes", object]),
    "missing file": lambda p, d, folder: folder / "not_there" / Path(p).name,
    "a folder": lambda p, d, folder: folder,
    "empty file": _bytes(lambda c, d: b""),
    "text": _bytes(lambda c, d: b"this is not what was asked for\n" * 5),
    "zeros": _bytes(lambda c, d: bytes(500)),
    "noise": _bytes(lambda c, d: d.generator("noise").bytes(500)),
    "truncated": _bytes(lambda c, d: c[: len(c) * (1 + d.place("after twentieth", 19)) // 20]),
    "flipped bytes": _bytes(_flip),
    "no last line end": _lines(lambda x, d: [*x[:-1], x[-1].rstrip(b"\n")] if x else x),
    "windows line ends": _lines(lambda x, d: [y.rstrip(b"\n") + b"\r\n" for y in x]),
    "lower case": _lines(lambda x, d: [y.lower() for y in x]),
    "lines doubled": _lines(lambda x, d: x + x),
    "lines shuffled": _lines(_order),
    "fields cut": _lines(lambda x, d: [b"\t".join(y.split(b"\t")[:2]).rstrip(b"\n") + b"\n" for y in x]),
    "fields spoiled": _lines(_field),
    "odd name": _bytes(lambda c, d: c, name="é odd name.txt"),
}
