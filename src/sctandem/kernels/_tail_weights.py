"""Weights of points over clusters within clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Form = Literal["share", "inverse", "effective"]


def tree_weights(
    levels: NDArray[np.integer], form: Form = "inverse", *, strength: float = 1.0, beta: float = 0.999
) -> NDArray[np.float64]:
    r"""Weigh points by the sizes of their clusters.

    Parameters
    ----------
    levels
        Cluster of each point, levels x points.
    form
        Of the weight of a point in a cluster of :math:`n` of :math:`N` points: `"share"` :math:`n / N`, `"inverse"` :math:`N / n`, `"effective"`
        :math:`(1 - \beta) / (1 - \beta^n)`.
    strength
        Power to which it is raised, 0 for equal weights.
    beta
        Of the effective number.

    Returns
    -------
    With mean 1, (points,).

    Notes
    -----
    The mean over levels, at each of which weights have mean 1. With `"inverse"` who draws a point draws a level, a cluster of it (all alike), and a point of
    that. Where the first level is the root, one cluster, no weight is below 1 / levels: sums that are corrected by dividing by the weights have at most as
    many times the variance (defensive mixtures).

    References
    ----------
    Cui et al., Class-balanced loss based on effective number of samples, CVPR (2019); Hesterberg, Weighted average importance sampling and defensive
    mixture distributions, Technometrics 37 (1995).
    """
    n = levels.shape[1]
    weights = np.zeros(n)
    for codes in levels:
        size = np.maximum(np.bincount(codes), 1)
        value = {
            "share": lambda size: size / n,
            "inverse": lambda size: n / size,
            "effective": lambda size: (1 - beta) / -np.expm1(size * np.log(beta)),
        }[form](size)
        here = value[codes] ** strength
        weights += here / here.mean()
    return weights / weights.mean()
