"""Errors of files that are not there, damaged or of another kind, said with the name of the file."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from contextlib import contextmanager
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
