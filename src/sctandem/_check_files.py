"""Errors of files that are not there, damaged or of another kind, said with the name of the file."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sctandem._check_arguments import check_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

#: What decoding and decompressing raise.
_DAMAGED = (EOFError, UnicodeDecodeError, gzip.BadGzipFile, zipfile.BadZipFile, zlib.error)
#: What HDF5 and anndata raise besides, where the tree of a file is not what it should be.
_NO_TREE = (AttributeError, IndexError, KeyError, NotImplementedError, OSError, RuntimeError, TypeError, ValueError)


def existing_file(path: Any, name: str) -> Path:
    """Return an argument that is the path of a file, which is there.

    Raises
    ------
    FileNotFoundError
        When it is not there.
    TypeError
        When the argument is no path.
    """
    check_path(path, name)
    file = Path(path)
    if not file.is_file():
        msg = f"{name}={str(path)!r} is not a file."
        raise FileNotFoundError(msg)
    return file


def check_format(found: Any, known: int, path: str) -> None:
    """Check that a file is of a layout that this version reads.

    Parameters
    ----------
    found
        Number of its layout.
    known
        The newest that is read here.
    path
        Names the file in the message.

    Raises
    ------
    ValueError
        When it is newer, or no number; says what to do.
    """
    try:
        number = int(found)
    except (TypeError, ValueError) as error:
        msg = f"{path} is damaged: the number of its format is {found!r:.40}."
        raise ValueError(msg) from error
    if number > known:
        msg = (
            f"{path} was made by a newer sctandem: it has the format {number}, and this version, {version('sctandem')}, reads "
            f"up to {known}. Update sctandem: `pip install --upgrade sctandem`."
        )
        raise ValueError(msg)


def check_archive(path: Path, what: str) -> None:
    """Check a zip archive against its checksums; what is no such archive, or not there, is left to its reader.

    Parameters
    ----------
    path
        The file.
    what
        What it should be, with its article, in the message.

    Raises
    ------
    ValueError
        When a part of it is not what was written; names it.
    """
    if not path.is_file() or not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (*_DAMAGED, *_NO_TREE) as error:
        msg = f"{path} is damaged, or not {what} ({type(error).__name__})."
        raise ValueError(msg) from error
    if bad is not None:
        msg = (
            f"{path} is damaged, or not {what}: {bad} is not what was written (its checksum is another). Copy it again."
        )
        raise ValueError(msg)


@contextmanager
def readable(path: str | PathLike[str], what: str, *, tree: bool = False) -> Iterator[None]:
    """Turn the errors of a damaged file into one that names it.

    Parameters
    ----------
    path
        The file that is read within.
    what
        What it should be, with its article, in the message.
    tree
        Whether nothing but a package that reads trees of arrays (HDF5, zarr) is called within: it raises what it likes.

    Raises
    ------
    ValueError
        Names the file, what it should be, and the fault.
    """
    faults = _DAMAGED + _NO_TREE if tree else _DAMAGED
    try:
        yield
    except faults as error:
        msg = f"{str(path)!r} cannot be read as {what}: it is damaged, cut short or of another kind ({type(error).__name__}: {error!s:.120})."
        raise ValueError(msg) from error
