"""Run compiled kernels on fixed blocks of rows, on as many threads as torch uses."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_MAX_BLOCKS = 32
_MIN_ROWS = 16

_pool: ThreadPoolExecutor | None = None
_pool_size = 0
_lock = Lock()
_n_workers: ContextVar[int | None] = ContextVar("n_workers", default=None)


def _forget_pool() -> None:
    """Drop the pool in a forked child, whose threads do not exist."""
    global _pool, _pool_size, _lock
    _pool, _pool_size, _lock = None, 0, Lock()


os.register_at_fork(after_in_child=_forget_pool)


def _get_pool(size: int) -> ThreadPoolExecutor:
    """Return the shared pool, at least `size` threads wide."""
    global _pool, _pool_size
    with _lock:
        if _pool is None or _pool_size < size:
            # the old pool is left to finish what it holds; its threads end when nobody refers to it
            # asking for the number of threads fixes it for the new one: 1, as its pool is made where torch is held to it
            _pool = ThreadPoolExecutor(size, thread_name_prefix="sctandem", initializer=torch.get_num_threads)
            _pool_size = size
        return _pool


@contextmanager
def torch_on_one_thread() -> Iterator[None]:
    """Hold torch to one thread, and leave the others to `run_blocks`.

    After each of its operations torch's own threads go on spinning for milliseconds, and take the processors from the
    blocks; small operations gain little from them.
    """
    before = torch.get_num_threads()
    token = _n_workers.set(_n_workers.get() or before)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _n_workers.reset(token)


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
        its block only.
    blocks
        First row and one past the last of each block.
    """
    n_workers = min(_n_workers.get() or torch.get_num_threads(), len(blocks))
    if n_workers == 1:
        for i, (start, stop) in enumerate(blocks):
            task(i, start, stop)
        return
    left = iter(list(enumerate(blocks)))
    take = Lock()

    def work() -> None:
        while True:
            with take:
                item = next(left, None)
            if item is None:
                return
            i, (start, stop) = item
            task(i, start, stop)

    with torch_on_one_thread():
        pool = _get_pool(n_workers - 1)
        others = [pool.submit(work) for _ in range(n_workers - 1)]
        try:
            work()
        finally:
            for other in others:
                other.result()
