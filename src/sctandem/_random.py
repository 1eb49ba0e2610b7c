"""Randomness: `rng` in, numpy and torch generators out, children spawned. No global seed is read or set."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

#: What every public function takes as `rng`.
RNG = int | np.random.Generator | None


def as_generator(rng: RNG = None) -> np.random.Generator:
    """Turn what the user gave into a numpy generator.

    Parameters
    ----------
    rng
        A seed, a generator (used as it is, and advanced), or `None` for fresh entropy.

    Returns
    -------
    The generator.

    Examples
    --------
    >>> from sctandem._random import as_generator
    >>> int(as_generator(0).integers(100)) == int(as_generator(0).integers(100))
    True
    """
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, (bool, np.bool_)) or not (rng is None or isinstance(rng, (int, np.integer))):
        msg = f"rng must be a seed (int), a numpy.random.Generator or None, got {type(rng).__name__}: {rng!r}"
        raise TypeError(msg)
    if rng is not None and rng < 0:
        msg = f"rng must be a non-negative seed, got {rng}"
        raise ValueError(msg)
    return np.random.default_rng(rng)


def spawn(rng: RNG, n: int) -> list[np.random.Generator]:
    """Spawn independent children: the i-th stays the same whoever runs it and in whatever order.

    Parameters
    ----------
    rng
        A seed, a generator or `None`.
    n
        Number of children.

    Returns
    -------
    The children, each with a stream of its own.

    Examples
    --------
    >>> from sctandem._random import spawn
    >>> len(spawn(0, 3))
    3
    """
    return as_generator(rng).spawn(n)


def draw_seed(rng: RNG = None) -> int:
    """Draw a seed in [0, 2**31) for a library that wants an integer; an integer that fits is passed on unchanged.

    Parameters
    ----------
    rng
        A seed, a generator or `None`.

    Returns
    -------
    The seed; record it in `uns` where a result depends on it.

    Examples
    --------
    >>> from sctandem._random import draw_seed
    >>> draw_seed(7)
    7
    """
    generator = as_generator(rng)
    if isinstance(rng, (int, np.integer)) and rng < 2**31:
        return int(rng)
    return int(generator.integers(2**31))


def torch_generator(rng: RNG = None, *, device: str | torch.device = "cpu") -> torch.Generator:
    """Make a torch generator from the same `rng`.

    Parameters
    ----------
    rng
        A seed, a generator or `None`.
    device
        Where the generator lives.

    Returns
    -------
    A seeded generator.

    Examples
    --------
    >>> from sctandem._random import torch_generator
    >>> torch_generator(3).initial_seed()
    3
    """
    import torch

    return torch.Generator(device=device).manual_seed(draw_seed(rng))


@contextmanager
def torch_seeded(rng: RNG = None) -> Iterator[int]:
    """Seed torch inside a block (weights are drawn from its global generator) and put its state back after.

    Parameters
    ----------
    rng
        A seed, a generator or `None`.

    Yields
    ------
    The seed that was set.

    Examples
    --------
    >>> import torch
    >>> from sctandem._random import torch_seeded
    >>> with torch_seeded(0):
    ...     first = torch.rand(1)
    >>> with torch_seeded(0):
    ...     bool(first == torch.rand(1))
    True
    """
    import torch

    seed = draw_seed(rng)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield seed
