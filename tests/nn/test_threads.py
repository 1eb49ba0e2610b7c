"""Blocks of rows on several threads."""

from __future__ import annotations

import multiprocessing
import threading

import pytest
import torch

from sctandem.nn._threads import row_blocks, run_blocks, torch_on_one_thread


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("n_rows", [0, 1, 15, 16, 100, 1000, 100_000])
def test_blocks_cover_the_rows_once(n_rows):
    blocks = row_blocks(n_rows)
    assert blocks[0][0] == 0
    assert blocks[-1][1] == n_rows
    assert all(a[1] == b[0] for a, b in zip(blocks, blocks[1:], strict=False))
    assert len(blocks) <= 32


@pytest.mark.usefixtures("three_threads")
def test_every_block_runs_once_and_side_by_side():
    together = threading.Barrier(3, timeout=30)
    seen = []

    def task(i, start, stop):
        if i < 3:
            together.wait()  # passes only when three blocks run at the same time
        seen.append((i, start, stop))

    blocks = [(10 * i, 10 * i + 10) for i in range(8)]
    run_blocks(task, blocks)
    assert sorted(seen) == [(i, *block) for i, block in enumerate(blocks)]


@pytest.mark.usefixtures("three_threads")
def test_errors_reach_the_caller():
    def task(i, start, stop):
        if i == 5:
            msg = "block 5 is broken"
            raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="block 5 is broken"):
        run_blocks(task, [(i, i + 1) for i in range(8)])


def _in_child(queue):
    seen = []
    run_blocks(lambda i, start, stop: seen.append(i), [(0, 1), (1, 2), (2, 3)])
    queue.put(sorted(seen))


@pytest.mark.usefixtures("three_threads")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_makes_its_own_threads():
    run_blocks(lambda i, start, stop: None, [(0, 1), (1, 2), (2, 3)])
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue,))
    child.start()
    assert queue.get(timeout=30) == [0, 1, 2]
    child.join(timeout=30)


@pytest.mark.usefixtures("three_threads")
def test_torch_is_held_to_one_thread_and_the_blocks_keep_theirs():
    together = threading.Barrier(3, timeout=30)
    held = []

    def task(i, start, stop):
        together.wait()  # passes only when three blocks run at the same time
        held.append(torch.get_num_threads())

    with torch_on_one_thread(), torch_on_one_thread():
        assert torch.get_num_threads() == 1
        run_blocks(task, [(0, 1), (1, 2), (2, 3)])
    assert held == [1, 1, 1]
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_torch_gets_its_threads_back_after_an_error():
    def task(i, start, stop):
        msg = "broken"
        raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="broken"), torch_on_one_thread():
        run_blocks(task, [(0, 1), (1, 2), (2, 3)])
    assert torch.get_num_threads() == 3
