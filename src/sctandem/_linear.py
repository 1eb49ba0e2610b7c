"""Whether values of bulk samples are on the linear scale."""

from __future__ import annotations

from typing import Any

import numpy as np

from sctandem._blocks import value_blocks

#: Values above this are not logs.
LARGEST_LOG = 30.0


def check_linear(matrix: Any, slot: str) -> None:
    """Refuse values that look log-transformed: fractions that are all small.

    Parameters
    ----------
    matrix
        Sparse or dense, or backed by a file; finite.
    slot
        The name of the matrix in messages.

    Raises
    ------
    ValueError
        Says how logs are undone.
    """
    largest, whole = -np.inf, True
    for values in value_blocks(matrix):
        if not values.size:
            continue
        largest = max(largest, float(values.max()))
        if largest >= LARGEST_LOG:
            return
        whole = whole and bool(np.equal(np.floor(values), values).all())
    if not whole:
        msg = (
            f"{slot} looks log-transformed (largest value {largest:.3g}): shares of types add up on the linear scale only. "
            "Give counts or TPM; np.expm1 undoes log1p, np.exp2(x) - 1 undoes log2(x + 1)."
        )
        raise ValueError(msg)
