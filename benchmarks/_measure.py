"""Seconds and peak memory of one function, run in a process of its own."""

from __future__ import annotations

import multiprocessing
import pickle
import resource
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Measured:
    """What a function gave, what it took and the most memory its process held."""

    value: Any
    seconds: float
    peak_mb: float


def measure(function: Callable[..., Any], *arguments: Any) -> Measured:
    """Run a function in a fresh process, so that its peak memory is its own.

    The function and its arguments must be picklable. The seconds leave out the start of the process.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.pickle"
        process = multiprocessing.get_context("spawn").Process(target=_child, args=(answer, function, arguments))
        process.start()
        try:
            process.join()
        finally:  # an interrupted benchmark leaves no process behind
            process.kill()
        if not answer.exists():
            msg = f"{function.__name__} ended its process with code {process.exitcode} and gave nothing"
            raise RuntimeError(msg)
        measured, error = pickle.loads(answer.read_bytes())
    if error is not None:
        msg = f"{function.__name__} failed in its process:\n{error}"
        raise RuntimeError(msg)
    return measured


def peak_memory_mb() -> float:
    """Give the most memory that this process has held, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss of a spawned process starts at what its parent held
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1e3
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def _child(answer: Path, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Run in the new process: call, time, and leave the answer in a file."""
    try:
        start = time.perf_counter()
        value = function(*arguments)
        seconds = time.perf_counter() - start
        content = (Measured(value, seconds, peak_memory_mb()), None)
    except Exception:  # noqa: BLE001 - every error is handed to the parent, which raises it
        content = (None, traceback.format_exc())
    partial = answer.with_suffix(".partial")
    partial.write_bytes(pickle.dumps(content))
    partial.replace(answer)
