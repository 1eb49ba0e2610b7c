"""Time and peak memory of one function at all sizes, and how the time grows."""

from __future__ import annotations

import contextlib
import gc
import math
import resource
import time
import warnings
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._measure import peak_memory_mb
from benchmarks._scaling_data import SIZES

if TYPE_CHECKING:
    from collections.abc import Callable

    Call = tuple[Callable[[Path, int], Any], Callable[[Any], Any]]

#: Modules with `CALLS` (name to what prepares and what is timed) and `NOT_MEASURED` (name to the reason).
TABLES = ("pp", "tl", "collections", "model")
#: Sub-packages that are left out as wholes.
GROUPS_NOT_MEASURED = {
    "get": "reads tables that a tool has written",
    "pl": "draws what a tool has written",
    "io": "reads and writes files of one object",
    "genome": "takes no cells",
    "datasets": "makes or fetches the data",
    "kernels": "what the tools compute with, measured within them",
    "module": "what the models are made of, measured within them",
    "nn": "what the models are made of, measured within them",
    "train": "what the models are trained by, measured within them",
}
SHORT, REPEATS = 2.0, 3
#: Below this many seconds at the largest size, beyond the fixed start, the clock says nothing of growth.
TOO_SHORT = 0.1


def calls() -> dict[str, Call]:
    """Everything that is measured."""
    return {
        name: call for table in TABLES for name, call in import_module(f"benchmarks._scaling_{table}").CALLS.items()
    }


def not_measured() -> dict[str, str]:
    """What is not measured, with the reason."""
    modules = [import_module(f"benchmarks._scaling_{table}") for table in TABLES]
    return {name: reason for module in modules for name, reason in module.NOT_MEASURED.items()}


def run(name: str, folder: Path) -> dict[str, Any]:
    """Measure one function; to be called in a process of its own."""
    warnings.simplefilter("ignore")
    prepare, call = calls()[name]
    once(prepare, call, folder, SIZES[0])  # imports and compilation
    found = [best(prepare, call, folder, n) for n in SIZES]
    return {
        "processor_s": [seconds for seconds, _ in found],
        "peak_mb": [peak for _, peak in found],
        "exponent": exponent(SIZES, [seconds for seconds, _ in found]),
    }


def best(prepare: Callable, call: Callable, folder: Path, n: int) -> tuple[float, float]:
    """Give the least seconds and the most memory of up to three calls; long ones are timed once."""
    tries = [once(prepare, call, folder, n)]
    while tries[0][0] < SHORT and len(tries) < REPEATS:
        tries.append(once(prepare, call, folder, n))
    return min(seconds for seconds, _ in tries), max(peak for _, peak in tries)


def once(prepare: Callable, call: Callable, folder: Path, n: int) -> tuple[float, float]:
    """Give the processor seconds of a call, of its child processes as well, and the peak memory with its input."""
    given = prepare(folder, n)
    gc.collect()
    with contextlib.suppress(OSError):  # the peak of the preparation is forgotten where the system can do that
        Path("/proc/self/clear_refs").write_text("5")
    start = _processor_seconds()
    call(given)
    return _processor_seconds() - start, peak_memory_mb()


def exponent(sizes: tuple[int, ...], seconds: list[float]) -> float | None:
    """Give the exponent with which time grows between the last two sizes, without the fixed start.

    The fixed start is where the line through the first two sizes meets no cells, and never below zero nor above the time of
    the first. `a + b n` gives 1 and `b n^p` with `p >= 1` gives `p`. `None` where the times are too short to tell.
    """
    (n0, n1, n2), (t0, t1, t2) = sizes, seconds
    if t2 < TOO_SHORT:
        return None
    fixed = min(max(t0 - (t1 - t0) * n0 / (n1 - n0), 0.0), t0)
    if t1 <= fixed or t2 <= fixed:
        return 0.0
    if t2 - fixed < TOO_SHORT:
        return None
    return math.log((t2 - fixed) / (t1 - fixed)) / math.log(n2 / n1)


def _processor_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
