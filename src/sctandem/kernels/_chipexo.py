"""Borders that an exonuclease leaves beside a bound protein: tests of one strand, pairs of both, and how sure a pair is.

All positions are sorted and 0-based; `count` says how many 5' ends lie at each. One strand of one chromosome at a time.
"""

from __future__ import annotations

import numpy as np
from scipy.special import betainc, betaln, gammainc, gammaln
from scipy.stats import theilslopes

from sctandem._compat import cached_njit

PHI = np.concatenate([[0.0], np.logspace(-3, 2, 61)])
"""Dispersions that are tried; 0 is Poisson."""
GAIN = 2.0
"""A dispersion replaces Poisson when it raises the log-likelihood by more than that."""


def upper_tail(count: np.ndarray, mean: np.ndarray, dispersion: float = 0.0) -> np.ndarray:
    """Probability of at least `count` tags by chance.

    Parameters
    ----------
    count
        Tags in a window; 0 has probability 1.
    mean
        Expected by the background, above 0.
    dispersion
        Of a negative binomial with variance ``mean + dispersion * mean ** 2``; 0 for Poisson.

    Returns
    -------
    Probabilities, float64.
    """
    n = np.maximum(count, 1).astype(float)
    mean = np.asarray(mean, dtype=float)
    if dispersion > 0:
        size = 1 / dispersion
        tail = betainc(n, size, mean / (mean + size))
    else:
        tail = gammainc(n, mean)
    # below the smallest float a probability is not zero, only very small
    return np.where(np.asarray(count) > 0, np.maximum(tail, 1e-300), 1.0)


@cached_njit(nogil=True)
def ranks(position: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Find how many positions lie below each query, as `searchsorted`; quicker where queries are nearly in order."""
    out = np.empty(query.size, dtype=np.int64)
    j = 0
    for i in range(query.size):
        while j < position.size and position[j] < query[i]:
            j += 1
        while j > 0 and position[j - 1] >= query[i]:
            j -= 1
        out[i] = j
    return out


def tag_tail(count: np.ndarray, mean: np.ndarray, width: int, dispersion: float = 0.0) -> np.ndarray:
    """Bound the probability that a tag lies at a position and at least `count` tags in the window around it, by chance.

    Windows are only laid around tags. Of a Poisson process a tag meets as many others as any place does, so that this is the rate
    of tags times the probability of one tag less (Mecke's formula); of gamma-distributed rates the shape is one higher there.

    Parameters
    ----------
    count
        Tags in a window; 0 has probability 1.
    mean
        Expected in the window, above 0.
    width
        Positions of the window.
    dispersion
        As in `upper_tail`, which is never exceeded.

    Returns
    -------
    Probabilities, float64.
    """
    mean = np.asarray(mean, dtype=float)
    others = np.maximum(np.asarray(count) - 1, 0)
    # a shape higher by one, with the same odds: mean and dispersion of that distribution
    tail = upper_tail(others, mean * (1 + dispersion), dispersion / (1 + dispersion))
    joint = np.maximum(mean / width * tail, 1e-300)
    return np.where(np.asarray(count) > 0, np.minimum(joint, upper_tail(count, mean, dispersion)), 1.0)


def window_sums(position: np.ndarray, count: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Sum the counts at positions from `low` up to and without `high`."""
    total = np.concatenate([[0], np.cumsum(count)])
    return total[ranks(position, high)] - total[ranks(position, low)]


def local_mean(
    position: np.ndarray,
    count: np.ndarray,
    centre: np.ndarray,
    *,
    width: int,
    size: int,
    spans: tuple[int, ...],
    guard: int,
    masked: np.ndarray | None = None,
) -> np.ndarray:
    """Expect tags in windows by the largest of the rates around them and on the whole chromosome.

    Parameters
    ----------
    position, count
        Tags of one strand, those of sites taken out.
    centre
        Middles of the windows.
    width
        Their width, bp.
    size
        Length of the chromosome.
    spans
        Widths of the surroundings, bp.
    guard
        So many bp on both sides of the middle are left out of the surroundings: what is tested is not its own background.
    masked
        Sorted middles of windows of `width` whose tags were taken out; their length is taken out as well.

    Returns
    -------
    Expected tags of each window, above 0: at least half a tag is granted to the chromosome.
    """
    masked = np.empty(0, dtype=np.int64) if masked is None else masked

    def around(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        low, high = np.clip(low, 0, size), np.clip(high, 0, size)
        hidden = ranks(masked, high) - ranks(masked, low)
        return window_sums(position, count, low, high), np.maximum(high - low - width * hidden, 0)

    room = max(size - width * len(masked), size // 2, 1)
    rate = np.full(len(centre), max(float(count.sum()), 0.5) / room)
    for span in spans:
        outer, outer_length = around(centre - span // 2, centre + span // 2 + 1)
        inner, inner_length = around(centre - guard, centre + guard + 1)
        length = outer_length - inner_length
        found = (outer - inner) / np.maximum(length, 1)
        # what is left of a short surrounding says little about its rate
        rate = np.maximum(rate, np.where(length >= span // 4, found, 0.0))
    return rate * width


@cached_njit(nogil=True)
def smooth(position: np.ndarray, count: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Weigh the tags around each tag; `kernel[d]` is the weight at a distance of d bp."""
    out = np.zeros(position.size)
    reach, first = kernel.size - 1, 0
    for i in range(position.size):
        while position[i] - position[first] > reach:
            first += 1
        j = first
        while j < position.size and position[j] - position[i] <= reach:
            out[i] += count[j] * kernel[abs(position[j] - position[i])]
            j += 1
    return out


@cached_njit(nogil=True)
def local_maxima(position: np.ndarray, value: np.ndarray, reach: int) -> np.ndarray:
    """Find the positions that are above all others within `reach`; of equal ones the first."""
    keep = np.ones(position.size, dtype=np.bool_)
    for i in range(position.size):
        j = i - 1
        while j >= 0 and position[i] - position[j] <= reach and keep[i]:
            keep[i] = value[i] > value[j]
            j -= 1
        j = i + 1
        while j < position.size and position[j] - position[i] <= reach and keep[i]:
            keep[i] = value[i] >= value[j]
            j += 1
    return np.flatnonzero(keep)


@cached_njit(nogil=True)
def cross_correlation(
    plus: np.ndarray, n_plus: np.ndarray, minus: np.ndarray, n_minus: np.ndarray, top: int
) -> np.ndarray:
    """Sum the products of tags on + and of tags on - that lie 0 to `top` bp downstream of them."""
    out = np.zeros(top + 1)
    first = 0
    for i in range(plus.size):
        while first < minus.size and minus[first] < plus[i]:
            first += 1
        j = first
        while j < minus.size and minus[j] - plus[i] <= top:
            out[minus[j] - plus[i]] += n_plus[i] * n_minus[j]
            j += 1
    return out


@cached_njit(nogil=True)
def mean_profile(position: np.ndarray, count: np.ndarray, sites: np.ndarray, reach: int) -> np.ndarray:
    """Sum the tags at each distance from the sites, from -reach to reach."""
    out = np.zeros(2 * reach + 1)
    for site in sites:
        j = np.searchsorted(position, site - reach)
        while j < position.size and position[j] <= site + reach:
            out[position[j] - site + reach] += count[j]
            j += 1
    return out


def gaussian(sd: float) -> np.ndarray:
    """Weights at distances of 0, 1, ... bp, up to three standard deviations."""
    return np.exp(-0.5 * (np.arange(int(np.ceil(3 * sd)) + 1) / sd) ** 2)


def footprint_peak(curve: np.ndarray, low: int, high: int, sd: float = 1.5) -> tuple[int, float]:
    """Find the distance between the strands at which tags agree most.

    Parameters
    ----------
    curve
        As `cross_correlation` gives it.
    low, high
        Distances that are looked at, both included.
    sd
        The curve is smoothed by a Gaussian of so many bp.

    Returns
    -------
    The distance, and how far the curve stands out there: in robust standard deviations (at least those of counting)
    above the line (Theil and Sen's) through the rest.
    """
    half = gaussian(sd)
    kernel = np.concatenate([half[:0:-1], half])
    weight = np.convolve(np.ones(curve.size), kernel, "same")
    inside = (np.convolve(curve, kernel, "same") / weight)[low : high + 1]
    # stretches rich in tags on both strands tilt the curve
    slope, start = theilslopes(inside)[:2]
    level = start + slope * np.arange(inside.size)
    left = inside - level
    spread = 1.4826 * float(np.median(np.abs(left)))
    # a mean of products of counts varies at least as their number under the kernel does
    spread = max(spread, np.sqrt(max(float(np.median(level)), 1.0) / kernel.sum()), 1e-9)
    best = int(np.argmax(left))
    return low + best, float(left[best] / spread)


def centroids(position: np.ndarray, count: np.ndarray, centre: np.ndarray, half: int) -> np.ndarray:
    """Mean position of the tags within `half` bp of each centre; there has to be one."""
    low, high = centre - half, centre + half + 1
    weight = window_sums(position, count, low, high)
    return window_sums(position, count * position, low, high) / weight


@cached_njit(nogil=True)
def _greedy(left: np.ndarray, right: np.ndarray, n_left: int, n_right: int) -> np.ndarray:
    """Take pairs in order, each border once."""
    free_left, free_right = np.ones(n_left, dtype=np.bool_), np.ones(n_right, dtype=np.bool_)
    taken = np.zeros(left.size, dtype=np.bool_)
    for k in range(left.size):
        if free_left[left[k]] and free_right[right[k]]:
            taken[k] = True
            free_left[left[k]] = free_right[right[k]] = False
    return taken


def pair_borders(
    left: np.ndarray, left_p: np.ndarray, right: np.ndarray, right_p: np.ndarray, *, footprint: int, tolerance: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pair left borders with right borders at about the expected distance, the surest pairs first, each border once.

    Parameters
    ----------
    left, right
        Sorted positions of the borders on + and on -.
    left_p, right_p
        Their p-values.
    footprint
        Expected distance from the left border to the right one, bp.
    tolerance
        How far the distance may be off. Within that, a pair is judged by the product of its p-values and by a normal density of
        the distance, whose standard deviation is half the tolerance.

    Returns
    -------
    Positions in `left` and in `right` of the pairs, in the order of `left`.
    """
    first = np.searchsorted(right, left + footprint - tolerance)
    n = np.searchsorted(right, left + footprint + tolerance, side="right") - first
    i = np.repeat(np.arange(left.size), n)
    j = np.arange(i.size) - np.repeat(np.cumsum(n) - n, n) + np.repeat(first, n)
    off = (right[j] - left[i] - footprint) / max(tolerance / 2, 0.5)
    merit = -np.log(left_p[i]) - np.log(right_p[j]) - 0.5 * off**2
    order = np.lexsort((j, i, -merit))
    i, j = i[order], j[order]
    taken = _greedy(i, j, left.size, right.size)
    i, j = i[taken], j[taken]
    order = np.argsort(i)
    return i[order], j[order]


def adaptive_fdr(stronger: np.ndarray, weaker: np.ndarray, alone: np.ndarray) -> np.ndarray:
    """Give the false discovery rate of pairs of which both members have to be real [Wang22]_.

    The p-value of "both" is that of the weaker member. A pair can only be called at a threshold if its stronger member passes
    as well, so those whose stronger member passes are all that is tested there, and they are counted.

    Parameters
    ----------
    stronger, weaker
        The smaller and the larger p-value of each pair.
    alone
        P-values of what found no partner: tested, and in vain.

    Returns
    -------
    The rate at which each pair is called.

    References
    ----------
    .. [Wang22] Wang, Gui, Su, Sabatti & Owen, Detecting multiple replicating signals using adaptive filtering procedures,
       Annals of Statistics 50 (2022).
    """
    tested = np.sort(np.concatenate([stronger, alone]))
    order = np.argsort(weaker, kind="stable")
    threshold = weaker[order]
    # of equal p-values all are called together
    called = np.searchsorted(threshold, threshold, side="right")
    rate = threshold * np.searchsorted(tested, threshold, side="right") / np.maximum(called, 1)
    out = np.empty(weaker.size)
    out[order] = np.minimum(np.minimum.accumulate(rate[::-1])[::-1], 1.0)
    return out


def cluster_fdr(pvalue: np.ndarray, n_tests: int) -> np.ndarray:
    """Adjust the p-values of local maxima for all positions of which they are the maxima.

    Benjamini and Hochberg's rule, with every position counted as a test but every maximum as one discovery: positions beside a
    border pass with it and would each count as a success.

    Parameters
    ----------
    pvalue
        Of the maxima.
    n_tests
        Number of positions.

    Returns
    -------
    Adjusted p-values.
    """
    order = np.argsort(pvalue, kind="stable")
    rank = np.searchsorted(pvalue[order], pvalue[order], side="right")
    rate = pvalue[order] * n_tests / rank
    out = np.empty(pvalue.size)
    out[order] = np.minimum(np.minimum.accumulate(rate[::-1])[::-1], 1.0)
    return out


def fit_dispersion(count: np.ndarray, mean: np.ndarray, n_groups: int = 20) -> float:
    """Fit the dispersion of the background, from windows that hold few tags but not none.

    Windows with more tags than the 99th percentile of Poisson (and than 2) may belong to sites and are left out; the likelihood is
    that of a negative binomial cut off at both ends, so that nothing is assumed of them. Neither are the empty ones believed:
    stretches to which no read maps would look like dispersion.

    Parameters
    ----------
    count
        Tags of windows.
    mean
        Expected in each of them.
    n_groups
        Windows of like expectation are taken together, in so many groups.

    Returns
    -------
    One of `PHI`; 0 where Poisson does as well.
    """
    if count.size == 0:
        return 0.0
    likelihood = np.zeros(PHI.size)
    groups = np.searchsorted(np.quantile(mean, np.linspace(0, 1, n_groups + 1)[1:-1]), mean)
    for group in np.unique(groups):
        mu = float(mean[groups == group].mean())
        seen = count[groups == group]
        top = max(2, int(np.ceil(mu + 2.33 * np.sqrt(mu))))
        n = np.bincount(seen[(seen >= 1) & (seen <= top)].astype(np.int64), minlength=top + 1)[1:]
        log_p = np.stack([_log_mass(np.arange(1, top + 1), mu, phi) for phi in PHI])
        likelihood += (log_p - np.logaddexp.reduce(log_p, axis=1, keepdims=True)) @ n
    best = int(np.argmax(likelihood))
    return float(PHI[best]) if likelihood[best] - likelihood[0] > GAIN else 0.0


def _log_mass(n: np.ndarray, mu: float, phi: float) -> np.ndarray:
    """Logarithm of the probability of n tags."""
    if phi == 0:
        return n * np.log(mu) - mu - gammaln(n + 1)
    size = 1 / phi
    return -np.log(n) - betaln(n, size) + size * np.log(size / (size + mu)) + n * np.log(mu / (size + mu))
