"""Blocks of rows on several threads."""

from __future__ import annotations

import multiprocessing
import threading
import time

import pytest
import torch

from sctandem.nn import _threads
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


@pytest.mark.usefixtures("three_threads")
def test_an_interruption_comes_before_the_error_of_another_thread():
    main = threading.get_ident()
    together = threading.Barrier(3, timeout=30)
    begun = []

    def task(i, start, stop):
        begun.append(i)
        if i < 3:
            together.wait()
        if threading.get_ident() == main:
            raise KeyboardInterrupt("stopped by hand")  # noqa: EM101
        msg = "broken elsewhere"
        raise RuntimeError(msg)

    with pytest.raises(KeyboardInterrupt, match="stopped by hand"):
        run_blocks(task, [(i, i + 1) for i in range(50)])
    assert len(begun) < 50  # what had not begun was left out
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_holds_of_several_threads_leave_the_default_as_it_was():
    main_holds, main_let_go = threading.Event(), threading.Event()

    def other():
        main_holds.wait(30)
        with torch_on_one_thread():  # begins within that of the main thread, ends after it
            main_let_go.wait(30)

    thread = threading.Thread(target=other)
    thread.start()
    with torch_on_one_thread():
        main_holds.set()
        while thread.is_alive() and _threads._n_holding < 2:
            time.sleep(0.001)
    main_let_go.set()
    thread.join(30)
    found = []
    late = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    late.start()
    late.join(30)
    assert found == [3]
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_blocks_run_in_the_mode_of_the_caller_without_a_graph(mode):
    together = threading.Barrier(3, timeout=30)
    weight = torch.ones(3, requires_grad=True)
    seen = []

    with mode():
        target = torch.zeros(3)

        def task(i, start, stop):
            together.wait()
            if threading.get_ident() != main:
                target[i] = (weight.detach() * 2).sum()
                seen.append((torch.is_grad_enabled(), torch.is_inference_mode_enabled()))

        main = threading.get_ident()
        run_blocks(task, [(0, 1), (1, 2), (2, 3)])
    assert seen == [(False, mode is torch.inference_mode)] * 2
    assert sorted(target.tolist()) == [0, 6, 6]
