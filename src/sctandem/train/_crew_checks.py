"""What has to hold before several processes are started, since afterwards the model is another."""

from __future__ import annotations

import pickle
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import sparse

if TYPE_CHECKING:
    from sctandem.train._loop import EpochLoop

#: Fewest cells that a process takes of a batch: batch normalisation needs more than one.
_LEAST = 2


def check_crew(loop: EpochLoop, n_processes: int) -> None:
    """Check that several processes can run a loop.

    Parameters
    ----------
    loop
        The loop.
    n_processes
        How many.

    Raises
    ------
    ValueError
        When a process would get too few cells of a batch, there are too few GPUs, or a part of the loop is defined where other
        processes do not find it.
    """
    check_shares(loop.n_cells, len(loop.loader), n_processes)
    check_gpus(loop.device, n_processes)
    check_importable(loop, n_processes)


def check_shares(n_cells: int, n_batches: int, n_processes: int) -> None:
    """Check that each process gets enough cells of each batch."""
    smallest = n_cells // max(1, n_batches) // n_processes
    if smallest < _LEAST:
        msg = f"devices={n_processes} leave {smallest} cells of a batch for a process; each needs {_LEAST}: take fewer, or a larger batch_size."
        raise ValueError(msg)


def check_gpus(device: torch.device, n_processes: int) -> None:
    """Check that there is a GPU for each process, where they train on these."""
    if device.type == "cuda" and torch.cuda.device_count() < n_processes:
        msg = f"devices={n_processes}, but there are {torch.cuda.device_count()} GPUs."
        raise ValueError(msg)


def check_importable(value: Any, n_processes: int) -> None:
    """Check that other processes find the classes and functions that a value is made of.

    Parameters
    ----------
    value
        Goes to them by pickle, which names these and does not hold them.
    n_processes
        For the message.

    Raises
    ------
    ValueError
        Names one that is defined in the script or notebook, or within a function.
    """
    try:
        _Names().dump(value)
    except _NotFoundError as error:
        name, place = error.args
        msg = (
            f"devices={n_processes}: {name} is defined {place}, where other processes do not find it; define it in an importable module "
            "(a file beside it will do), or leave devices out."
        )
        raise ValueError(msg) from None


class _NotFoundError(Exception):
    """Name and place of what would not be found."""


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, part: bytes) -> int:
        return len(part)


class _Names(pickle.Pickler):
    """Pickle to nowhere, and look at all that is named on the way."""

    def __init__(self) -> None:
        super().__init__(_Nowhere(), protocol=torch.serialization.DEFAULT_PROTOCOL)

    def reducer_override(self, value: Any) -> Any:
        """Look at a class or function; leave out what holds nothing but numbers."""
        if isinstance(value, torch.Tensor | np.ndarray | sparse.spmatrix | sparse.sparray):
            return int, ()
        if isinstance(value, type | FunctionType):
            if "<locals>" in value.__qualname__:
                raise _NotFoundError(value.__name__, "within a function")
            if value.__module__ == "__main__":
                raise _NotFoundError(value.__name__, "in the script or notebook")
        return NotImplemented
