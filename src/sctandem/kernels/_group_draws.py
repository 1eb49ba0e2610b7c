"""Draws of rows in which every group is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def draw_within_groups(
    group: NDArray[np.integer], n: int, rng: np.random.Generator, *, least: int = 100
) -> NDArray[np.intp]:
    """Draw rows, of each group by its share but no fewer than some.

    Parameters
    ----------
    group
        Of each row, integers from 0.
    n
        Rows to draw, at most; what small groups have beyond their share is taken off the others.
    rng
        Draws the rows; not asked where there are no more than `n`.
    least
        Rows of a group that are drawn at the least, where it has so many and there are not too many groups for it.

    Returns
    -------
    Positions of the rows, in order.

    Examples
    --------
    >>> import numpy as np
    >>> from sctandem.kernels._group_draws import draw_within_groups
    >>> group = np.repeat([0, 1], [900, 10])
    >>> np.bincount(group[draw_within_groups(group, 91, np.random.default_rng(0), least=5)])
    array([90,  5])
    """
    if len(group) <= n:
        return np.arange(len(group))
    order = np.argsort(group, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(group))[:-1])
    least = min(least, max(1, n // len(groups)))
    sizes = np.array([len(rows) for rows in groups])
    floors = np.minimum(sizes, least)
    taken = np.clip(np.round(n * sizes / len(group)).astype(int), floors, sizes)
    if (surplus := taken.sum() - n) > 0:  # what small groups have beyond their share, the large ones go without
        above = taken - floors
        taken = floors + (above * max(above.sum() - surplus, 0) // max(above.sum(), 1))
    drawn = [rng.choice(rows, k, replace=False) for rows, k in zip(groups, taken.tolist(), strict=True)]
    return np.sort(np.concatenate(drawn))
