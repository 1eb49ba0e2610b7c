"""Which of several clusterings of parts of the points to keep: the one that the others agree with most."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SCALES = 3
"""Ways of leaving a third out: by threes, by threes of threes, and so on."""
FEWEST = 100
"""Points below which two thirds are too few to find clusters on."""


def overlapping_parts(n: int) -> list[NDArray[np.intp]]:
    """Divide points into nine parts of two thirds that overlap.

    Parameters
    ----------
    n
        Points, at least `FEWEST`.

    Returns
    -------
    The points of each part, rising. Every point is in six.

    Notes
    -----
    A part leaves out the points of which one of the last three digits, to the base of three, has one value. Nothing is drawn at
    random, and neighbours in order are parted evenly, so that sorted points are no worse than shuffled ones.
    """
    digits = [np.arange(n) // 3**scale % 3 for scale in range(_SCALES)]
    return [np.flatnonzero(digit != left_out) for digit in digits for left_out in range(3)]


def most_agreed(labellings: Sequence[NDArray[np.intp]]) -> int:
    """Find the clustering that agrees most with the others.

    Parameters
    ----------
    labellings
        Clusters of the same points, of each clustering.

    Returns
    -------
    Which one has the largest sum of adjusted Rand indices with the others; the first of several.
    """
    from sklearn.metrics import adjusted_rand_score

    sums = np.zeros(len(labellings))
    for i, one in enumerate(labellings):
        for j, other in enumerate(labellings[:i]):
            sums[[i, j]] += adjusted_rand_score(one, other)
    return int(sums.argmax())
