"""Ways to spoil a file: a copy with other bytes, lines or fields."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    Spoiler = Callable[[Any, np.random.Generator, Path], Any]


def _bytes(change: Callable[[bytes, np.random.Generator], bytes], name: str | None = None) -> Spoiler:
    """Write a copy of a file (and the index that lies beside it) with other bytes."""

    def spoiler(path: Path, rng: np.random.Generator, folder: Path) -> Path:
        path = Path(path)
        if path.is_dir():
            new = folder / path.name
            shutil.copytree(path, new)
            files = sorted(file for file in new.rglob("*") if file.is_file())
            file = files[rng.integers(len(files))]
            file.write_bytes(change(file.read_bytes(), rng))
            return new
        new = folder / (name or path.name)
        new.write_bytes(change(path.read_bytes() if path.exists() else b"text\n", rng))
        for index in path.parent.glob(path.name + ".*"):
            shutil.copy(index, folder / (new.name + index.name.removeprefix(path.name)))
        return new

    return spoiler


def _lines(change: Callable[[list[bytes], np.random.Generator], list[bytes]]) -> Spoiler:
    def on_bytes(content: bytes, rng: np.random.Generator) -> bytes:
        packed = content[:2] == b"\x1f\x8b"
        plain = gzip.decompress(content) if packed else content
        new = b"".join(change(plain.splitlines(keepends=True), rng))
        return gzip.compress(new) if packed else new

    return _bytes(on_bytes)


def _field(lines: list[bytes], rng: np.random.Generator) -> list[bytes]:
    """Spoil one field of a few lines."""
    odd = [b"", b"-7", b"1.5", b"NaN", b"99999999999999999999", b"x", "é".encode(), b"\x00", b"\xff\xfe"]
    for _ in range(3):
        i = int(rng.integers(len(lines)))
        fields = lines[i].rstrip(b"\n").split(b"\t")
        fields[rng.integers(len(fields))] = odd[rng.integers(len(odd))]
        lines[i] = b"\t".join(fields) + b"\n"
    return lines


FILE: dict[str, Spoiler] = {
    "missing file": lambda p, r, d: d / "not_there" / Path(p).name,
    "empty file": _bytes(lambda c, r: b""),
    "truncated": _bytes(lambda c, r: c[: int(len(c) * r.uniform(0.05, 0.95))]),
    "noise": _bytes(lambda c, r: r.bytes(500)),
    "zeros": _bytes(lambda c, r: bytes(500)),
    "text": _bytes(lambda c, r: b"this is not what was asked for\n" * 5),
    "flipped bytes": _bytes(lambda c, r: b"".join([c[: len(c) // 3], r.bytes(20), c[len(c) // 3 + 20 :]])),
    "lines shuffled": _lines(lambda x, r: [x[i] for i in r.permutation(len(x))]),
    "lines doubled": _lines(lambda x, r: x + x),
    "fields spoiled": _lines(_field),
    "fields cut": _lines(lambda x, r: [b"\t".join(y.split(b"\t")[:2]).rstrip(b"\n") + b"\n" for y in x]),
    "windows line ends": _lines(lambda x, r: [y.rstrip(b"\n") + b"\r\n" for y in x]),
    "lower case": _lines(lambda x, r: [y.lower() for y in x]),
    "no last line end": _lines(lambda x, r: [*x[:-1], x[-1].rstrip(b"\n")] if x else x),
    "a folder": lambda p, r, d: d,
    "odd name": _bytes(lambda c, r: c, name="é odd name.txt"),
    "not a path": lambda p, r, d: [None, 3, [], {}, b"bytes", object][r.integers(6)],
}
