"""Progress of long work: a bar in a terminal or notebook, and nowhere else."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def wants_progress(progress: bool | None = None) -> bool:  # noqa: FBT001
    """Whether to show a bar: as told, or in a terminal or notebook."""
    return progress if progress is not None else sys.stderr.isatty() or _in_notebook()


def _in_notebook() -> bool:
    """Whether a notebook runs this; it is not enough that something has imported what runs notebooks."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


@contextmanager
def progress_bar(total: int, what: str, *, unit: str = "step") -> Iterator[Callable[[int], None]]:
    """Show how far long work is, while the context lasts.

    Parameters
    ----------
    total
        How many units there are.
    what
        What is done.
    unit
        What is counted; `"B"` for bytes.

    Yields
    ------
    A function to be called with how many units are done since the last call.

    Notes
    -----
    The bar disappears when the work is done, or fails.
    """
    from tqdm import tqdm

    with tqdm(
        total=total, desc=what, unit=unit, unit_scale=unit == "B", leave=False, disable=not wants_progress()
    ) as bar:

        def tick(n: int) -> None:
            bar.update(n)

        yield tick
