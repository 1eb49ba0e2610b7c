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
    """Kill ten builds, resume each, and count those with the files of the one that was not killed."""
    expected = _checksums(whole)
    return _killed(_build, sources, "out", lambda folder: _checksums(folder / "out") == expected)


def killed_trainings(collection: Path) -> dict[str, Any]:
    """Kill ten trainings, resume each, and count those with the parameters and losses of the one that was not killed."""
    with tempfile.TemporaryDirectory(dir=collection.parent) as work:
        _run(_train, collection, Path(work))
        expected = (Path(work) / "result").read_text()
    return _killed(_train, collection, "result", lambda folder: (folder / "result").read_text() == expected)


def _killed(work: Work, given: Path, result: str, same: Callable[[Path], bool]) -> dict[str, Any]:
    """Time one that is left alone, then kill as many as asked for at uniformly drawn moments of it."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=given.parent) as first:
        seconds = _run(work, given, Path(first))
    kills: list[dict[str, Any]] = []
    while len(kills) < N_KILLS:
        moment = rng.uniform(0, seconds)
        with tempfile.TemporaryDirectory(dir=given.parent) as name:
            folder = Path(name)
            _kill(work, given, folder, moment)
            if (folder / result).exists():
                continue  # it was over before
            left = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            resumed = _run(work, given, folder)
            kills.append(
                {"moment": moment / seconds, "left_bytes": left, "resumed_seconds": resumed, "same": same(folder)}
            )
    return {
        "killed": N_KILLS,
        "same": sum(kill["same"] for kill in kills),
        "with_work_left": sum(kill["left_bytes"] > 0 for kill in kills),
        "left_alone_seconds": seconds,
        "kills": kills,
    }


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


def _kill(work: Work, given: Path, folder: Path, moment: float) -> None:
    """Begin the work and kill it, so many seconds later."""
    process = _start(work, given, folder)
    process.join(moment)
    process.kill()
    process.join()


def _build(sources: Path, folder: Path, begun: Event) -> None:
    import sctandem as td

    build = td.data.build_collection  # loads what it needs
    begun.set()
    build(sources, folder / "out", organism="human", rng=0, resume=True)


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
    """Give the checksums of a collection whose files have them."""
    import sctandem as td

    opened = td.data.open_collection(collection)
    if wrong := opened.verify():
        msg = f"{collection}: {wrong}"
        raise RuntimeError(msg)
    return dict(opened.manifest["files"])
