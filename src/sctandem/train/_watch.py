"""End a process when the one that started it has ended, however that did: no process trains on for nobody."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds between looks.
_EVERY = 0.5


def end_with(parent: int, end: Callable[[], None]) -> None:
    """Look from a thread whether the parent is still there, and call `end` once when it is not.

    Parameters
    ----------
    parent
        Number of the process that started this one, as it says: asked here, it may have ended already.
    end
        What to do then, in that thread.
    """

    def watch() -> None:
        while os.getppid() == parent:  # who is left alone gets another parent, on Linux and macOS alike
            time.sleep(_EVERY)
        end()

    threading.Thread(target=watch, daemon=True).start()
