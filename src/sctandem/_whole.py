"""Files and folders that are written whole or not at all, and what the disk says when it does not take them."""

from __future__ import annotations

import errno
import os
import re
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from sctandem._sync import sync

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEPT = "nothing was written, and what was there is as it was"
#: How HDF5 tells what the system said.
_HDF5 = re.compile(r"errno = (\d+)")


@contextmanager
def disk_errors(target: Path, hint: str = _KEPT) -> Iterator[None]:
    """Say of what fails on the disk while something is written where it was to be, and what became of it.

    Parameters
    ----------
    target
        What is written within: a file or a folder.
    hint
        What is left of it.

    Raises
    ------
    OSError
        Of the kind that the system means (PermissionError, ...), with the number that it gave; names `target`. Packages that write files
        by themselves (torch, HDF5) raise a RuntimeError instead, which becomes one.
    """
    try:
        yield
    except FileExistsError:
        raise
    except (OSError, RuntimeError) as error:
        if not isinstance(error, OSError) and type(error) is not RuntimeError:
            raise
        number = _number(error) or _asked(target)
        said = os.strerror(number) if number else str(error) or type(error).__name__
        raise OSError(number or errno.EIO, f"{said}; {hint}", str(target)) from error


def _number(error: BaseException | None) -> int | None:
    """Find the number that the system gave, in an error or in what led to it."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        if isinstance(error, OSError) and error.errno:
            return error.errno
        if found := _HDF5.search(str(error)):
            return int(found[1])
        seen.append(error)
        error = error.__cause__ or error.__context__
    return None


def _asked(target: Path) -> int | None:
    """Ask the disk by a small file why it does not take another, where who wrote that did not say."""
    folder = next((parent for parent in target.absolute().parents if parent.is_dir()), Path())
    path = folder / f".{uuid4().hex}.part"
    try:
        path.write_bytes(bytes(1 << 20))
    except OSError as error:
        return error.errno
    finally:
        path.unlink(missing_ok=True)
    return None


@contextmanager
def whole_file(path: Path, part: Path | None = None) -> Iterator[Path]:
    """Yield where to write a file, which comes to its place when it is complete and on the disk.

    Parameters
    ----------
    path
        Its place; a file that is there is replaced, and stays as it was after an error.
    part
        Where to write it; `None` for a new name. A process that is killed leaves this file, so that who writes again and again names it.

    Yields
    ------
    A path in the same folder.

    Raises
    ------
    OSError
        When the disk does not take it; names `path`.
    """
    part = part or path.with_name(f".{path.name[:200]}.{uuid4().hex}.part")
    with disk_errors(path):
        try:
            yield part
            sync(part)
            part.replace(path)
            sync(path.absolute().parent)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def whole_folder(target: Path, *, last: str) -> Iterator[Path]:
    """Yield a folder to write files to, which come to their place when all are complete and on the disk.

    Parameters
    ----------
    target
        Their folder; it is made when it does not exist. Files of the same names are replaced in it, others stay.
    last
        Name of the file that comes there after all others.

    Yields
    ------
    A folder on the same disk.

    Raises
    ------
    OSError
        When the disk does not take them; names `target`.
    """
    exists = target.is_dir()
    inside = target if exists else target.absolute().parent
    folder = inside / f".{target.name}.{uuid4().hex}.part"
    with disk_errors(target):
        inside.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
        try:
            yield folder
            files = sorted(folder.iterdir(), key=lambda path: (path.name == last, path.name))
            for path in files:
                sync(path)
            sync(folder)
            if exists:
                for path in files:
                    path.replace(target / path.name)
                sync(target)
            else:
                folder.rename(target)
            sync(inside)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def check_room(target: Path, n_bytes: int) -> None:
    """Check that a disk has room before anything is written to it.

    Parameters
    ----------
    target
        What is to be written.
    n_bytes
        What it takes at the least.

    Raises
    ------
    OSError
        When there is less; names `target`.
    """
    folder = next(parent for parent in (target, *target.absolute().parents) if parent.is_dir())
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        said = f"{os.strerror(errno.ENOSPC)}: {n_bytes / 1e6:,.1f} MB are to be written, {free / 1e6:,.1f} MB are free"
        raise OSError(errno.ENOSPC, f"{said}; {_KEPT}", str(target))
