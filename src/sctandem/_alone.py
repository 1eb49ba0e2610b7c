"""Let one process at a time write somewhere."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def alone(lock: Path, told: str) -> Iterator[None]:
    """Hold a lock, which the system takes back when the process ends, however it ends.

    Parameters
    ----------
    lock
        A file for nothing else, in a folder that is there; it is made, and deleted at the end. One that a killed process left holds nobody up.
    told
        Message for who finds it held.

    Yields
    ------
    Nothing; where the system or the disk knows no locks, at once.

    Raises
    ------
    FileExistsError
        When another holds it.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    while True:
        file = lock.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise FileExistsError(told) from None
        except OSError:  # a disk without locks
            break
        if os.fstat(file.fileno()).st_nlink:
            break
        file.close()  # who held it has just deleted it: the next one is another file
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        file.close()
