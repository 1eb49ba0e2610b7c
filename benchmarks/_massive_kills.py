"""Builds and trainings that are killed at random moments and resumed, against those that were left alone."""

from __future__ import annotations

import hashlib
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.synchronize import Event

    Work = Callable[[Path, Path, Event], None]

N_KILLS, EPOCHS, BATCH = 10, 3, 1024


def killed_builds(sources: Path, whole: Path) -> dict[str, Any]:
    """Kill ten builds, resume each, and count those with the checksums of the one that was not killed."""
    expected = _checksums(whole)
    return _killed(_build, sources, lambda folder: _checksums(folder / "out") == expected)


def killed_trainings(collection: Path) -> dict[str, Any]:
    """Kill ten trainings, resume each, and count those with the parameters and losses of the one that was not killed."""
    with tempfile.TemporaryDirectory(dir=collection.parent) as work:
        _run(_train, collection, Path(work))
        expected = (Path(work) / "result").read_text()
    return _killed(_train, collection, lambda folder: (folder / "result").read_text() == expected)


def _killed(work: Work, given: Path, same: Callable[[Path], bool]) -> dict[str, Any]:
    """Time one that is left alone, then kill as many as asked for at uniformly drawn moments of it."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=given.parent) as first:
        seconds = _run(work, given, Path(first))
    moments: list[float] = []
    n_same = 0
    while len(moments) < N_KILLS:
        moment = rng.uniform(0, seconds)
        with tempfile.TemporaryDirectory(dir=given.parent) as name:
            folder = Path(name)
            if not _kill(work, given, folder, moment):
                continue  # it was over before
            _run(work, given, folder)
            moments.append(round(moment / seconds, 3))
            n_same += same(folder)
    return {"killed": N_KILLS, "same": n_same, "moments": moments, "left_alone_seconds": seconds}


def _start(work: Work, given: Path, folder: Path) -> Any:
    """Start the work in a process of its own, and come back when it has loaded its libraries."""
    context = multiprocessing.get_context("spawn")
    begun = context.Event()
    process = context.Process(target=work, args=(given, folder, begun))
    process.start()
    while not begun.wait(0.2):
        if not process.is_alive():
            msg = f"{work.__name__} ended with code {process.exitcode} before it began"
            raise RuntimeError(msg)
    return process


def _run(work: Work, given: Path, folder: Path) -> float:
    """Do the work, begun or not, and give its seconds."""
    process = _start(work, given, folder)
    start = time.perf_counter()
    process.join()
    if process.exitcode:
        msg = f"{work.__name__} ended with code {process.exitcode}"
        raise RuntimeError(msg)
    return time.perf_counter() - start


def _kill(work: Work, given: Path, folder: Path, moment: float) -> bool:
    """Begin the work and kill it, so many seconds later; whether it was killed before it had ended."""
    process = _start(work, given, folder)
    process.join(moment)
    process.kill()
    process.join()
    return bool(process.exitcode)


def _build(sources: Path, folder: Path, begun: Event) -> None:
    import sctandem as td

    begun.set()
    td.data.build_collection(sources, folder / "out", organism="human", rng=0, resume=True)


def _train(collection: Path, folder: Path, begun: Event) -> None:
    import torch

    import sctandem as td
    from sctandem.model.base import CountVAEModel

    torch.set_num_threads(1)
    opened = td.data.open_collection(collection)
    CountVAEModel.setup_collection(opened, batch_key="source")
    model = CountVAEModel(opened, rng=0)
    begun.set()
    model.train(EPOCHS, batch_size=BATCH, rng=0, progress=False, checkpoint=folder / "checkpoint")
    digest = hashlib.sha256()
    for name, value in model.module.state_dict().items():
        digest.update(name.encode() + value.numpy().tobytes())
    losses = model.history["train_loss"].to_numpy().ravel().tolist()
    (folder / "result").write_text(f"{digest.hexdigest()} {losses}")


def _checksums(collection: Path) -> dict[str, Any]:
    import sctandem as td

    return dict(td.data.open_collection(collection).manifest["files"])
