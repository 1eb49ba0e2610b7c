"""The file from which an interrupted training goes on."""

from __future__ import annotations

import time
from contextlib import contextmanager, nullcontext, suppress
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from sctandem._alone import alone
from sctandem._check_files import check_format
from sctandem._plain import from_plain, to_plain
from sctandem._plain_files import DAMAGED, part_file, read_plain, write_plain
from sctandem._sync import sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

_KIND = "checkpoint"
#: Version of what the file holds.
_FORMAT = 1
_KEYS = ("sctandem_checkpoint", "about", "seed", "before", "once", "parts")
#: Most of the time that goes to writing, beside the ends of parts; quick epochs are not all written.
MOST_SHARE = 0.1


class Checkpoint:
    """A file that holds how far a training is; it is made at once, so that a folder that cannot be written to is found before the training.

    Parameters
    ----------
    path
        The file.
    about
        What the training is of, by the names that messages use; the values are numbers and text.
    seed
        Of all that is random in the training; of a training that goes on, the one in the file counts.
    before
        The history of the model before the training.

    Raises
    ------
    FileNotFoundError
        When there is no such folder.
    ValueError
        When the file belongs to another training, is damaged, or asks for more than plain data.
    FileExistsError
        When another process is writing it.
    OSError
        When it cannot be written.
    """

    def __init__(self, path: Path, about: Mapping[str, Any], *, seed: int, before: Any = None) -> None:
        self.path = path
        self._ended, self._took = 0.0, 0.0
        self._is_alone = False
        self.fault: OSError | None = None
        #: Whether this process writes the file: of several only the first.
        self.is_written = True
        if path.is_dir() or not path.parent.is_dir():
            fault = "is a folder" if path.is_dir() else f"lies in a folder that is not there: {path.parent}"
            msg = f"checkpoint={str(path)!r} {fault}; name a file in a folder that exists."
            raise IsADirectoryError(msg) if path.is_dir() else FileNotFoundError(msg)
        self.is_resumed = path.exists()
        if self.is_resumed:
            with self.alone():
                self.read_again()
            self._check_same(dict(about))
        else:
            plain = to_plain({"about": dict(about), "before": before}, "the checkpoint")
            self._content = {_KEYS[0]: _FORMAT, "seed": int(seed), "once": {}, "parts": {}, **plain}
            self._write("before the training began")

    def _check_same(self, about: dict[str, Any]) -> None:
        """Refuse a file of another training, and say what differs."""
        found = self._content["about"]
        names = [name for name in {**found, **about} if found.get(name) != about.get(name)]
        if names:
            different = "; ".join(f"{name} is {found.get(name)!r} in it and {about.get(name)!r} here" for name in names)
            msg = (
                f"{self.path} is the checkpoint of another training: {different}. Train as it was begun, or delete the file (or name "
                "another one) to begin anew."
            )
            raise ValueError(msg)

    @property
    def seed(self) -> int:
        """Seed of all that is random."""
        return int(self._content["seed"])

    @property
    def before(self) -> Any:
        """The history of the model before the training."""
        with self.reading():
            before = from_plain(self._content["before"])
            if before is not None and not all(isinstance(table, pd.DataFrame) for table in before.values()):
                msg = "its history is none"
                raise ValueError(msg)
        return before

    def part(self, number: int) -> TrainingPart:
        """Return one of the parts of the training.

        Parameters
        ----------
        number
            From 0.

        Returns
        -------
        The part.
        """
        return TrainingPart(self, number)

    def check(self) -> None:
        """Raise what kept a part from being written, once the model is in order.

        Raises
        ------
        OSError
            Says what happened, and that the model can be used.
        """
        if self.fault is not None:
            msg = (
                f"{self.fault.strerror} Training has ended there, and the model can be used and saved as it is. To go on once there is room, "
                "train a new one by the same call: it begins where the file was last written."
            )
            raise OSError(self.fault.errno, msg) from self.fault

    def read_again(self) -> None:
        """Take over what is in the file, such as another process has written it."""
        content = read_plain(self.path, _KIND, _KEYS)
        check_format(content[_KEYS[0]], _FORMAT, str(self.path))
        with self.reading():
            for key, kind in (("about", dict), ("seed", int), ("once", dict), ("parts", dict)):
                if type(content[key]) is not kind:
                    msg = f"{key!r} is of the kind {type(content[key]).__name__}"
                    raise ValueError(msg)
            if any(not isinstance(value, str | int | float | None) for value in content["about"].values()):
                msg = "it does not say what it is of"
                raise ValueError(msg)
            if not 0 <= content["seed"] < 1 << 63:
                msg = f"its seed is {content['seed']}"
                raise ValueError(msg)
        self._content = content

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Tell what does not fit in the content as a fault of the file.

        Raises
        ------
        ValueError
            Names the file.
        """
        try:
            yield
        except torch.OutOfMemoryError:  # it may fit elsewhere
            raise
        except DAMAGED as error:
            msg = f"{self.path} is damaged: {error or type(error).__name__}. Delete the file to begin anew."
            raise ValueError(msg) from error

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep others from writing the file; two would write to the same place beside it.

        Raises
        ------
        FileExistsError
            When another process is writing it.
        """
        if self._is_alone or not self.is_written:
            yield
            return
        told = f"Another process is training with the checkpoint {self.path}: wait for it, or name another file."
        with alone(self.path.with_name(f".{self.path.name}.lock"), told):
            self._is_alone = True
            try:
                yield
            finally:
                self._is_alone = False

    def remove(self) -> None:
        """Delete the file: the training has ended."""
        self.path.unlink(missing_ok=True)
        with suppress(OSError):
            part_file(self.path).unlink(missing_ok=True)
            sync(self.path.parent)

    def _write(self, when: str) -> None:
        """Write the file, whole or not at all."""
        start = time.monotonic()
        try:
            with self.alone():
                write_plain(self.path, self._content)
        except FileExistsError:
            raise
        except OSError as error:
            msg = f"the checkpoint {self.path} could not be written {when}: {error}."
            raise OSError(error.errno, msg) from error
        self._ended = time.monotonic()
        self._took = self._ended - start

    def _is_time(self) -> bool:
        """Whether another writing keeps to its share of the time."""
        return time.monotonic() - self._ended >= self._took * (1 / MOST_SHARE - 1)


class TrainingPart:
    """One loop over epochs of a training; without a checkpoint nothing is kept of it.

    Parameters
    ----------
    checkpoint
        Where it is kept; `None` for nowhere.
    number
        Which part of the training it is, from 0.
    """

    def __init__(self, checkpoint: Checkpoint | None = None, number: int = 0) -> None:
        self.checkpoint, self.number = checkpoint, number
        #: Whether a step before the epochs was found, and not done again.
        self.has_found = False

    @property
    def state(self) -> dict[str, Any] | None:
        """How far it is; `None` where nothing of it is kept."""
        if self.checkpoint is None or (kept := self.checkpoint._content["parts"].get(self.number)) is None:
            return None
        with self.checkpoint.reading():
            state = from_plain(kept)
            if not isinstance(state, dict):
                msg = f"part {self.number} is of the kind {type(state).__name__}"
                raise ValueError(msg)
        return state

    @contextmanager
    def reading_once(self) -> Iterator[None]:
        """Tell what does not fit in what `once` found as a fault of the file."""
        try:
            yield
        except DAMAGED:
            if not self.has_found:
                raise
            with self.reading():
                raise

    def reading(self) -> AbstractContextManager[None]:
        """Tell what does not fit in the state as a fault of the file."""
        return nullcontext() if self.checkpoint is None else self.checkpoint.reading()

    def alone(self) -> AbstractContextManager[None]:
        """Keep others from writing the file for as long as the loop runs."""
        return nullcontext() if self.checkpoint is None else self.checkpoint.alone()

    def keep(self, state: Callable[[], dict[str, Any]], *, when: str, finished: bool = False) -> bool:
        """Write how far it is, when the last writing is long enough ago.

        Parameters
        ----------
        state
            Gives it.
        when
            For messages, such as `"after epoch 3"`.
        finished
            Whether this is the end of the part, which is always written.

        Returns
        -------
        Whether to go on. When the file cannot be written, the loop is to end and to leave the model as it is; `check` then raises. The file that was
        there is as it was.
        """
        kept = self.checkpoint
        if kept is None or not kept.is_written or not (finished or kept._is_time()):
            return True
        # copied: the weights go on changing
        kept._content["parts"][self.number] = deepcopy(to_plain(state(), "the state of the training"))
        try:
            kept._write(when)
        except OSError as error:
            kept.fault = error
        return kept.fault is None

    def once(self, name: str, compute: Callable[[], Any], kinds: tuple[type, ...] = ()) -> Any:
        """Return what a step before the epochs gives; one that was kept is not done again.

        Parameters
        ----------
        name
            Of the step.
        compute
            Does it; its result is plain data, arrays and `kinds`.
        kinds
            Dataclasses in the result.

        Returns
        -------
        The result.
        """
        if self.checkpoint is None:
            return compute()
        done, name = self.checkpoint._content["once"], f"{self.number} {name}"
        if name in done:
            with self.checkpoint.reading():
                result = from_plain(done[name], kinds)
                if kinds and not isinstance(result, kinds):
                    msg = f"{name} is of the kind {type(result).__name__}"
                    raise ValueError(msg)
            self.has_found = True
            return result
        result = compute()
        done[name] = deepcopy(to_plain(result, name))
        self.checkpoint._write(f"after {name}")
        return result
