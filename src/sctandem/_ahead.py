"""Read the next part while the last one is used."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


def ahead(read: Callable[[], Any]) -> Generator[Any]:
    """Yield what calls return until one returns nothing; the next is under way while the result of the last is used.

    Parameters
    ----------
    read
        Called in one thread, again and again, until it returns `None`.

    Yields
    ------
    Its results, in order; what it raises is raised here.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="sctandem-reader") as pool:
        pending = pool.submit(read)
        while (result := pending.result()) is not None:
            pending = pool.submit(read)
            yield result
