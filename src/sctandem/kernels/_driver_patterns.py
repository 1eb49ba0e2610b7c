"""Names for how a gene changes over types."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Pattern of a gene that is no driver.
NONE = "none"
#: What stands in for the type where several would explain the change as well.
UNDETERMINED = "undetermined"
#: What joins the names of types that a change could be in.
OR = " | "


def name_patterns(driver: np.ndarray, effect: np.ndarray, called: np.ndarray, types: Sequence[str]) -> list[str]:
    """Name the pattern of each gene.

    Parameters
    ----------
    driver
        Whether the gene changes beyond composition, (genes,).
    effect
        Its change, positive for a rise, (genes,).
    called
        -1, 0 or 1: the sign of the change in each type where one was found, genes x types.
    types
        Names of the types.

    Returns
    -------
    Such as ``"B up"``, ``"B up, NK down"`` (rises first), ``"undetermined up"``, ``"none"``.
    """
    names = []
    for is_driver, total, signs in zip(driver, effect, called, strict=True):
        found = [
            f"{types[int(t)]} {word}" for sign, word in ((1, "up"), (-1, "down")) for t in np.flatnonzero(signs == sign)
        ]
        if not is_driver:
            names.append(NONE)
        elif found:
            names.append(", ".join(found))
        else:
            names.append(f"{UNDETERMINED} {'up' if total > 0 else 'down'}")
    return names


def name_candidates(possible: np.ndarray, types: Sequence[str]) -> list[str]:
    """Write the types that each gene may change in.

    Parameters
    ----------
    possible
        Genes x types.
    types
        Names of the types.

    Returns
    -------
    Such as ``"CD4 T | CD8 T"``; an empty text for none.
    """
    return [OR.join(types[int(t)] for t in np.flatnonzero(row)) for row in possible]
