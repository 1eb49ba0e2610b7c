"""Which activities part two sides of a branch point more than smoothness along the manifold alone would make them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Draws of the null.
N_DRAWS = 9999
#: Smooth patterns in the first band of the null; every further band has twice as many.
FIRST_BAND = 4
#: Values in one block of draws.
_VALUES = 20_000_000


@dataclass(frozen=True, slots=True)
class Drivers:
    """What parts two sides of a branch point.

    Attributes
    ----------
    effect
        Change of each activity from one side to the other, at the same pseudotime.
    correlation
        Its correlation with the side, at the same pseudotime.
    p_value
        Two-sided, against patterns as smooth as the activity.
    """

    effect: np.ndarray
    correlation: np.ndarray
    p_value: np.ndarray


def smooth_bands(affinity: np.ndarray) -> list[np.ndarray]:
    """Give orthonormal patterns over waypoints in bands, from smooth to rough.

    Parameters
    ----------
    affinity
        Symmetric affinities between waypoints.

    Returns
    -------
    A matrix a band, waypoints x patterns; all patterns have mean 0.
    """
    n = len(affinity)
    degree = np.sqrt(affinity.sum(axis=1))
    near = affinity / degree[:, None] / degree
    centred = near - near.mean(axis=0) - near.mean(axis=1)[:, None] + near.mean()
    # the constant pattern is put last, behind all that vary
    vectors = np.linalg.eigh(centred - 3 * np.full((n, n), 1 / n))[1][:, ::-1][:, : n - 1]
    edges, size = [0], FIRST_BAND
    while edges[-1] < n - 1:
        edges.append(min(edges[-1] + size, n - 1))
        size *= 2
    return [vectors[:, a:b] for a, b in zip(edges[:-1], edges[1:], strict=True)]


def branch_drivers(
    values: np.ndarray,
    side: np.ndarray,
    time: np.ndarray,
    weight: np.ndarray,
    bands: list[np.ndarray],
    *,
    rng: np.random.Generator,
) -> Drivers:
    """Test which activities differ between the sides of a branch point.

    Parameters
    ----------
    values
        Waypoints x activities.
    side
        From -1, surely right, to 1, surely left.
    time
        Pseudotime, whose linear effect is taken out.
    weight
        What a waypoint counts, at least 0.
    bands
        As `smooth_bands` gives them. In the null an activity keeps what it varies by in each band, and points anywhere in it.
    rng
        Draws the null.

    Returns
    -------
    A value for each activity; a p-value of 1 where one does not vary.
    """
    design = np.column_stack([np.ones_like(time), time])
    contrast = side - _fitted(design, side[:, None], weight)[:, 0]
    pull = weight * contrast
    centred = values - values.mean(axis=0)
    statistic = pull @ centred
    spread = np.einsum("i,ij->j", weight, np.square(values - _fitted(design, values, weight)))
    power = float(pull @ contrast)
    n_values = values.shape[1]
    if power <= 1e-12:
        return Drivers(np.zeros(n_values), np.zeros(n_values), np.ones(n_values))
    varies = spread > 1e-12 * max(float(spread.max()), 1e-300)
    correlation = np.divide(statistic, np.sqrt(spread * power), out=np.zeros(n_values), where=varies)
    scale = np.stack([np.linalg.norm(pull @ band) * np.linalg.norm(band.T @ centred, axis=0) for band in bands])
    beaten = np.zeros(n_values)
    step = max(_VALUES // max(n_values, 1), 1)
    for start in range(0, N_DRAWS, step):
        n = min(step, N_DRAWS - start)
        # the cosine of a random direction with a given one, in as many dimensions as the band has
        cosine = np.stack([_cosines(band.shape[1], n, rng) for band in bands], axis=1)
        beaten += (np.abs(cosine @ scale) >= np.abs(statistic) * (1 - 1e-12)).sum(axis=0)
    p_value = np.where(varies, (1 + beaten) / (1 + N_DRAWS), 1.0)
    return Drivers(2 * statistic / power, correlation, p_value)


def _fitted(design: np.ndarray, values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted least squares."""
    root = np.sqrt(weight)[:, None]
    return design @ np.linalg.lstsq(root * design, root * values, rcond=None)[0]


def _cosines(n_dimensions: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw cosines between a fixed and random directions."""
    sign = rng.choice(np.array([-1.0, 1.0]), n)
    if n_dimensions == 1:
        return sign
    return sign * np.sqrt(rng.beta(0.5, (n_dimensions - 1) / 2, n))
