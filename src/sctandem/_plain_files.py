"""Files of plain data: written whole or not at all, and read without running anything that they name."""

from __future__ import annotations

import re
import warnings
from contextlib import contextmanager
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import torch

from sctandem._check_files import check_archive
from sctandem._whole import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

#: What reading a file that is not whole, or whose content is of another shape, raises.
DAMAGED = (RuntimeError, EOFError, OSError, BadZipFile, ValueError, TypeError, KeyError, IndexError, AttributeError)


@contextmanager
def _nothing_allowed() -> Iterator[None]:
    """Suspend what others in this process have allowed torch to unpickle, and its notices about foreign files."""
    allowed = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        torch.serialization.add_safe_globals(allowed)


def read_plain(path: Path, what: str, wanted: Sequence[str]) -> dict[str, Any]:
    """Read a file that :func:`torch.save` has written as plain data.

    Parameters
    ----------
    path
        The file.
    what
        What it should be, in messages.
    wanted
        Keys that its dictionary has.

    Returns
    -------
    The dictionary.

    Raises
    ------
    ValueError
        When the file is damaged, another one, or asks for a function or class; nothing of it was run.
    """
    check_archive(path, f"a {what}")
    try:
        with _nothing_allowed():
            raw = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        if named is None:
            msg = f"{path} is damaged, or not a {what}: {str(error).splitlines()[-1]}"
        else:
            msg = (
                f"{path} was not loaded: it asks for {named[1]}, and a {what} holds plain data only. It was made by "
                "another program, or to run code on your machine. Nothing of it was run."
            )
        raise ValueError(msg) from None
    except DAMAGED as error:
        msg = f"{path} is damaged, or not a {what} ({type(error).__name__})."
        raise ValueError(msg) from error
    if not isinstance(raw, dict) or any(key not in raw for key in wanted):
        msg = f"{path} is not a {what}: it lacks {', '.join(wanted)}."
        raise ValueError(msg)
    return raw


def part_file(path: Path) -> Path:
    """Return where a file is written before it takes its place; one that was killed in between leaves it."""
    return path.with_name(f".{path.name}.part")


def write_plain(path: Path, content: dict[str, Any]) -> None:
    """Write plain data to a file, in the place of one that is there.

    Parameters
    ----------
    path
        The file; its folder is there.
    content
        What :func:`~sctandem._plain.to_plain` gives.

    Raises
    ------
    OSError
        When the disk does not take it; a file that was there is as it was.
    """
    with whole_file(path, part_file(path)) as part:
        torch.save(content, part)
