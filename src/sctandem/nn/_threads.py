"""Run compiled kernels on fixed blocks of rows, on as many threads as torch uses."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event, Lock
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_MAX_BLOCKS = 32
_MIN_ROWS = 16

_pool: ThreadPoolExecutor | None = None
_pool_size = 0
_lock = Lock()
_n_holding, _default = 0, 1
_n_workers: ContextVar[int | None] = ContextVar("n_workers", default=None)


def _forget_pool() -> None:
    """Drop the pool in a forked child, whose threads do not exist."""
    global _pool, _pool_size, _lock, _n_holding
    _pool, _pool_size, _lock, _n_holding = None, 0, Lock(), 0


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_pool)


def _get_pool(size: int) -> ThreadPoolExecutor:
    """Return the shared pool, at least `size` threads wide."""
    global _pool, _pool_size
    with _lock:
        if _pool is None or _pool_size < size:
            # the old pool is left to finish what it holds; its threads end when nobody refers to it
            # torch gives each thread a number of its own threads when it first asks: 1 here, where the pool is used
            _pool = ThreadPoolExecutor(size, thread_name_prefix="sctandem", initializer=torch.get_num_threads)
            _pool_size = size
        return _pool


@contextmanager
def torch_on_one_thread() -> Iterator[None]:
    """Hold torch to one thread, and leave the others to `run_blocks`.

    After each of its operations torch's own threads go on spinning for milliseconds, and take the processors from the
    blocks; small operations gain little from them. A thread that uses torch for the first time meanwhile also gets one.
    """
    global _n_holding, _default
    before = torch.get_num_threads()
    with _lock:
        if _n_holding == 0:
            _default = before
        _n_holding += 1
    token = None
    try:
        token = _n_workers.set(_n_workers.get() or before)
        torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(before)
        if token is not None:
            _n_workers.reset(token)
        with _lock:
            _n_holding -= 1
            # what this thread found may be what another one held torch to
            if _n_holding == 0 and before != _default:
                torch.set_num_threads(_default)


def row_blocks(n_rows: int) -> list[tuple[int, int]]:
    """Cut rows into blocks that depend on their number only, so that sums over blocks are the same on any machine.

    Parameters
    ----------
    n_rows
        Number of rows.

    Returns
    -------
    Pairs of first row and one past the last.
    """
    n_blocks = max(1, min(_MAX_BLOCKS, n_rows // _MIN_ROWS))
    edges = [n_rows * i // n_blocks for i in range(n_blocks + 1)]
    return list(zip(edges[:-1], edges[1:], strict=True))


def run_blocks(task: Callable[[int, int, int], None], blocks: Sequence[tuple[int, int]]) -> None:
    """Call `task(i, start, stop)` for every block, on as many threads as torch has (or had before it was held to one).

    Parameters
    ----------
    task
        Releases the interpreter lock (a numba kernel compiled with `nogil`, or operations of torch) and writes to memory of
        its block only. No graph is kept of what it does on other threads.
    blocks
        First row and one past the last of each block.

    Raises
    ------
    BaseException
        What a task raised; blocks that had not begun are then left out. An interruption of the caller comes first.
    """
    n_workers = min(_n_workers.get() or torch.get_num_threads(), len(blocks))
    if n_workers == 1:
        for i, (start, stop) in enumerate(blocks):
            task(i, start, stop)
        return
    left = enumerate(blocks)  # one `next` of it is whole, whatever the threads
    stopped = Event()

    def work() -> None:
        try:
            for i, (start, stop) in left:
                if stopped.is_set():
                    return
                task(i, start, stop)
        except BaseException:
            stopped.set()
            raise

    inference = torch.is_inference_mode_enabled()

    def work_elsewhere() -> None:
        with torch.inference_mode(inference), torch.no_grad():
            work()

    with torch_on_one_thread():
        pool = _get_pool(n_workers - 1)
        others = [pool.submit(work_elsewhere) for _ in range(n_workers - 1)]
        try:
            work()
        finally:
            wait(others)
        for other in others:
            other.result()
