"""Whether the lesser of two overlapping clusters is one of its own where no valley is left between them: a shoulder."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from sctandem.kernels._annealing_evidence import SURE, left_out_scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points: TypeAlias = NDArray[np.floating]

WORTH = 0.1
"""Likely dip of the density below a chord from which a shoulder is looked for."""
LEAST_GAIN = 10.0
"""Nats that two normals have to gain on held-out points."""
FEWEST = 40
"""Points that either side needs: a few in a heavy tail look like a cluster of their own."""
WIDEST = 2.4
"""Most that one normal may be wider than the other: a plateau or a tail beside a peak is fitted by a wide one."""
_BANDWIDTH = 0.6
"""Of a log-concave density, in Silverman's: concavity smooths as well."""
_BEYOND = 0.5
"""Standard deviations beyond the means to which points count, so that tails say nothing."""
_ROUNDS = 30
"""Steps of expectation and maximisation."""
_MOST = 2.0
"""Nats that a point may gain or lose at most."""
_STEPS, _BINS = 3, (64, 1024)
"""Steps of the grid in a bandwidth, and their least and largest number."""


class Shoulder(NamedTuple):
    """What two normals gain over one log-concave density on points that neither has seen."""

    gain: float
    """In nats."""
    error: float
    """Its standard error."""
    widths: float
    """Standard deviation of the wider normal over that of the other."""

    def is_sure(self) -> bool:
        """Say whether the gain parts the two."""
        return self.widths <= WIDEST and self.gain >= LEAST_GAIN and self.gain >= SURE * self.error


def shoulder(scores: NDArray[np.float64], second: NDArray[np.bool_]) -> Shoulder:
    """Hold two normals against one log-concave density, between the means of two groups.

    Parameters
    ----------
    scores
        One value a point.
    second
        Whether a point is of the second group. The groups give where the normals begin, the stretch that is looked at, and the
        bandwidth; which point is of which is not used further.

    Returns
    -------
    The gain.

    Notes
    -----
    Two normals of one variance are not log-concave together once their means are more than two standard deviations apart,
    whatever their masses, while even, falling and skewed clouds are. Both densities are fitted to one half of the points, every
    other of them, and judged by the other half, and the reverse: the normals by expectation and maximisation from the groups'
    means, the log-concave one as the least concave majorant of the logarithm of a kernel density. Both are scaled to the
    stretch between the means and half a standard deviation beyond. Cost: a sort of the points and a few steps on a grid.
    """
    first, last = float(scores[~second].mean()), float(scores[second].mean())
    if first > last:
        scores, first, last = -scores, -first, -last
    spread = min(scores[~second].std(), scores[second].std(), 1.5)
    width = max(_BANDWIDTH * spread * min(second.sum(), (~second).sum()) ** -0.2, 0.05)
    low, high = np.quantile(scores, [0.001, 0.999])
    low, high = min(low, first - 4 * _BEYOND), max(high, last + 4 * _BEYOND)
    edges = np.linspace(low, high, int(np.clip(_STEPS * (high - low) / width, *_BINS)) + 1)
    middle = (edges[1:] + edges[:-1]) / 2
    between = (middle >= first - _BEYOND) & (middle <= last + _BEYOND)
    odd = np.arange(len(scores)) % 2 == 1
    counts = [np.histogram(np.clip(scores[half], low, high), edges)[0].astype(np.float64) for half in (odd, ~odd)]
    means, start = np.array([first, last]), np.array([1 - second.mean(), second.mean()])
    gain = variance = widths = 0.0
    for seen, held_out in (counts, counts[::-1]):
        density = _kernel_density(seen, width / (edges[1] - edges[0]))
        two, ratio = _two_normals(middle, density, means, max(spread, 0.2) ** 2, start)
        one = np.exp(concave_majorant(middle[between], np.log(density[between] + 0.01)))
        each = np.clip(np.log(two[between] / two[between].sum()) - np.log(one / one.sum()), -_MOST, _MOST)
        here = held_out[between]
        gain += float(here @ each)
        variance += float(here @ each**2 - (here @ each) ** 2 / max(here.sum(), 1))
        widths = max(widths, ratio)
    return Shoulder(gain, float(np.sqrt(max(variance, 0.0))), widths)


def has_shoulder(points: Points, second: NDArray[np.bool_]) -> bool:
    """Say whether two groups of points are surely two clusters on their discriminant axis: see `shoulder` of `left_out_scores`.

    Parameters
    ----------
    points
        Points x dimensions.
    second
        Whether a point is of the second group.

    Returns
    -------
    Whether they are; not so where a side has fewer than `FEWEST` points.
    """
    if min(second.sum(), (~second).sum()) < FEWEST:
        return False
    return shoulder(left_out_scores(points, second), second).is_sure()


def concave_majorant(place: NDArray[np.float64], value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the least concave function that is nowhere below some values.

    Parameters
    ----------
    place
        Rising.
    value
        One a place.

    Returns
    -------
    Its values at the places.
    """
    corners: list[int] = []
    for i in range(len(place)):
        while len(corners) > 1:
            a, b = corners[-2:]
            if (value[b] - value[a]) * (place[i] - place[a]) > (value[i] - value[a]) * (place[b] - place[a]):
                break
            corners.pop()
        corners.append(i)
    return np.interp(place, place[corners], value[corners])


def _kernel_density(counts: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Smooth counts by a normal kernel whose width is given in bins."""
    reach = int(4 * width) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    return np.convolve(counts, kernel / kernel.sum(), mode="full")[reach : reach + len(counts)] + 1e-3


def _two_normals(
    place: NDArray[np.float64],
    weight: NDArray[np.float64],
    means: NDArray[np.float64],
    variance: float,
    masses: NDArray[np.float64],
) -> tuple[NDArray[np.float64], float]:
    """Fit two normals to weighted places; give their density up to a factor, and the ratio of their widths."""
    variances = np.full(2, variance)
    for _ in range(_ROUNDS):
        shares = _normals(place, means, variances, masses)
        shares *= (weight / shares.sum(axis=1))[:, None]
        total = shares.sum(axis=0)
        masses, means = total / total.sum(), place @ shares / total
        variances = np.maximum((shares * (place[:, None] - means) ** 2).sum(axis=0) / total, 0.05)
    return _normals(place, means, variances, masses).sum(axis=1), float(np.sqrt(variances.max() / variances.min()))


def _normals(
    place: NDArray[np.float64], means: NDArray[np.float64], variances: NDArray[np.float64], masses: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Give the densities of two normals, places x 2, up to a factor."""
    return masses / np.sqrt(variances) * np.exp(-0.5 * (place[:, None] - means) ** 2 / variances) + 1e-300
