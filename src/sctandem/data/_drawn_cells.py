"""Some of the cells, drawn at random or evenly over groups, for what cannot read all."""

from __future__ import annotations

import numpy as np


def drawn_cells(
    n_cells: int, n_drawn: int, rng: np.random.Generator, *, groups: np.ndarray | None = None, block: int = 1
) -> np.ndarray:
    """Draw cells without replacement.

    Parameters
    ----------
    n_cells
        How many there are.
    n_drawn
        How many are wanted, at most.
    rng
        Decides which.
    groups
        Group of each cell, from 0: as many are drawn of each group, or all of those that have fewer. `None`: all cells are alike.
    block
        Cells that are drawn lie in few blocks of so many: for cells in random order on a disk, where what lies together is as random as
        any other, and is read in one go. 1 where the order says something.

    Returns
    -------
    Positions, ascending.
    """
    if n_drawn >= n_cells:
        return np.arange(n_cells)
    place = rng.permutation(-(-n_cells // block))[np.arange(n_cells) // block]
    order = np.argsort(place, kind="stable")
    if groups is None:
        return np.sort(order[:n_drawn])
    sizes = np.bincount(groups)
    order = order[np.argsort(groups[order], kind="stable")]
    starts = np.cumsum(sizes) - sizes
    wanted = even_sizes(sizes, n_drawn)
    return np.sort(np.concatenate([order[at : at + n] for at, n in zip(starts, wanted, strict=True)]))


def even_sizes(sizes: np.ndarray, total: int) -> np.ndarray:
    """Share out draws evenly over groups, of which small ones are taken whole.

    Parameters
    ----------
    sizes
        Cells of each group.
    total
        Draws; no more than there are cells.

    Returns
    -------
    Draws of each group, which add up to `total`; groups that are not taken whole differ by 1 at most.
    """
    found, left = np.zeros(len(sizes), dtype=np.int64), total
    order = np.argsort(sizes, kind="stable")
    for rank, group in enumerate(order):  # the smallest first: what it does not use is for the others
        found[group] = min(int(sizes[group]), left // (len(sizes) - rank))
        left -= found[group]
    return found
