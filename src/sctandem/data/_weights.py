"""Draws of cells in proportion to weights."""

from __future__ import annotations

from typing import Literal

import numpy as np

#: What weights of cells do in a training; see `TrainConfig`.
WeightUse = Literal["sampler", "loss", "unbiased"]


def systematic_draw(weights: np.ndarray, offset: float) -> np.ndarray:
    """Draw as many positions as there are weights, in proportion to them.

    Parameters
    ----------
    weights
        0 or more, not all 0.
    offset
        Uniform in [0, 1).

    Returns
    -------
    Positions, ascending.

    Notes
    -----
    Systematic resampling: a position is drawn as often as its expected number, rounded down or up, so that equal weights draw each once and
    every number has its expectation.

    References
    ----------
    Kitagawa, Monte Carlo filter and smoother for non-Gaussian nonlinear state space models, JCGS 5 (1996).

    Examples
    --------
    >>> import numpy as np
    >>> from sctandem.data._weights import systematic_draw
    >>> systematic_draw(np.array([1.0, 0.0, 2.0]), 0.5).tolist()
    [0, 2, 2]
    """
    n = len(weights)
    ends = np.cumsum(weights, dtype=np.float64)
    ends *= n / ends[-1]
    found = np.searchsorted(ends, np.arange(n) + offset, side="right")
    return np.minimum(found, np.flatnonzero(weights)[-1])  # what rounding put past the end
