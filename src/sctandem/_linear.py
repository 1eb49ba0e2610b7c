"""Whether values of bulk samples are on the linear scale."""

from __future__ import annotations

from typing import Any

import numpy as np

from sctandem._blocks import value_blocks

#: Values above this are not logs.
LARGEST_LOG = 30.0


def check_linear(matrix: Any, slot: str) -> None:
    """Refuse values that are missing or negative, and those that look log-transformed: fractions that are all small.

    Parameters
    ----------
    matrix
        Sparse or dense, or backed by a file.
    slot
        The name of the matrix in messages.

    Raises
    ------
    ValueError
        Names the slot and one value, or says how logs are undone.
    """
    largest, whole = -np.inf, True
    for values in value_blocks(matrix):
        if not values.size:
            continue
        for fault, bad in (("values that are not finite", ~np.isfinite(values)), ("negative values", values < 0)):
            if bad.any():
                msg = (
                    f"{slot} contains {fault} (for example {values[bad][0]}). Counts or TPM are needed, not logarithms."
                )
                raise ValueError(msg)
        largest = max(largest, float(values.max()))
        whole = whole and bool(np.equal(np.floor(values), values).all())
    if not whole and largest < LARGEST_LOG:
        msg = (
            f"{slot} looks log-transformed (largest value {largest:.3g}): shares of types add up on the linear scale only. "
            "Give counts or TPM; np.expm1 undoes log1p, np.exp2(x) - 1 undoes log2(x + 1)."
        )
        raise ValueError(msg)
