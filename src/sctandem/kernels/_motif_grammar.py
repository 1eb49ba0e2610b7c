"""Grammar of motifs within peaks: which lie together, in which order, and how far apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binom, norm

from sctandem._compat import cached_njit

if TYPE_CHECKING:
    from sctandem.kernels._motif_sites import MotifSites

#: Widths, in bp, of the windows in which a preferred spacing is looked for.
SPACING_WINDOWS = (1, 3)
#: How often the hits of one motif are exchanged between peaks for the spacings that chance gives.
N_EXCHANGES = 100
#: Least expected number of peaks with both motifs.
LEAST_EXPECTED = 5.0
#: Motifs that share more of their sites than this are two names of one, and are not held against independence.
MOST_SHARED = 0.05
#: Gaps on both sides of a window that are its neighbourhood, and those next to it that are not, bp.
NEAR_GAPS, NEXT_GAPS = 10, 2


@dataclass(frozen=True, slots=True)
class Together:
    """Two-by-two tables of all pairs of motifs over peaks, added up over strata; each is motifs x motifs.

    Attributes
    ----------
    observed, expected
        Peaks with both motifs at places that do not overlap; what independence within strata leads to expect.
    log_odds, variance
        Logarithm of the Mantel-Haenszel odds ratio and its variance.
    first, n_peaks
        Peaks with the row's motif (its sites that the column's motif does not take), and all peaks.
    shared
        Peaks where the two only lie on top of each other, as a share of those with the rarer of the two.
    """

    observed: np.ndarray
    expected: np.ndarray
    log_odds: np.ndarray
    variance: np.ndarray
    first: np.ndarray
    n_peaks: int
    shared: np.ndarray


def together(sites: MotifSites, peaks: np.ndarray, stratum: np.ndarray) -> Together:
    """Count in how many peaks two motifs lie together, within strata of like peaks [Robins86]_.

    Parameters
    ----------
    sites
        The places.
    peaks
        Positions of the peaks, (peaks,).
    stratum
        Code of the stratum of each of these, (peaks,).

    Returns
    -------
    The tables. A peak where the two motifs only lie on top of each other has one site, which goes to the motif that it fits better.

    References
    ----------
    .. [Robins86] Robins, Breslow & Greenland, Estimators of the Mantel-Haenszel variance consistent in both sparse data and
       large-strata limiting models, Biometrics 42 (1986).
    """
    n = sites.width.size
    observed, expected, first = np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n))
    r, s, pr, mixed, qs, on_top = (np.zeros((n, n)) for _ in range(6))
    holding = np.zeros(n)
    for code in np.unique(stratum):
        here = peaks[stratum == code]
        both, lost, alone = _count_pairs(
            here, sites.first, sites.motif, sites.start, quality=sites.quality, width=sites.width
        )
        size = here.size
        np.fill_diagonal(both, alone)  # of no use, but no negative number of peaks either
        # a motif has the peaks that hold it, but for those where the site is the other motif's
        a = alone[:, None] - lost
        b = a.T
        n10, n01, n00 = a - both, b - both, size - a - b + both
        observed += both
        expected += a * b / size
        first += a
        on_top += lost + lost.T
        holding += alone
        ok, cross = both * n00 / size, n10 * n01 / size
        p, q = (both + n00) / size, (n10 + n01) / size
        r += ok
        s += cross
        pr += p * ok
        mixed += p * cross + q * ok
        qs += q * cross
    # a half in each cell of one more table keeps empty cells finite
    r, s = r + 0.125, s + 0.125
    variance = (pr + 0.0625) / (2 * r**2) + (mixed + 0.125) / (2 * r * s) + (qs + 0.0625) / (2 * s**2)
    shared = on_top / np.maximum(np.minimum.outer(holding, holding), 1)
    return Together(observed, expected, np.log(r / s), variance, first, peaks.size, shared)


@dataclass(frozen=True, slots=True)
class Cooccurrence:
    """Whether two motifs lie together more often than in the background; each is motifs x motifs, NaN where too rare.

    Attributes
    ----------
    observed, expected
        Peaks of the group with both; what each motif's own frequency in the group and the odds ratio of the background lead to expect.
    effect
        Log2 of the ratio of the odds ratios.
    pvalue
        One-sided.
    """

    observed: np.ndarray
    expected: np.ndarray
    effect: np.ndarray
    pvalue: np.ndarray


def cooccurrence(group: Together, background: Together | None) -> Cooccurrence:
    """Compare the odds ratios of a group with those of its background, or with 1 where there is none.

    Parameters
    ----------
    group, background
        From `together`.

    Returns
    -------
    The comparison. How often each of the motifs occurs does not matter to the odds ratio: a motif that is enriched in the group by itself gives
    no interaction. Without a background, motifs that share sites are not compared.
    """
    enough = group.expected >= LEAST_EXPECTED
    change, variance, expected = group.log_odds, group.variance, group.expected
    if background is None:
        # two sites of one family in a peak read as one of each: twice the odds of chance for a motif and its copy
        enough &= group.shared <= MOST_SHARED
    else:
        enough &= background.expected >= LEAST_EXPECTED
        change, variance = change - background.log_odds, variance + background.variance
        expected = expected + _both(group, background.log_odds) - _both(group, np.zeros_like(expected))
    np.fill_diagonal(enough, val=False)
    pvalue = np.where(enough, norm.sf(change / np.sqrt(variance)), np.nan)
    return Cooccurrence(group.observed, expected, np.where(enough, change / np.log(2), np.nan), pvalue)


def _both(tables: Together, log_odds: np.ndarray) -> np.ndarray:
    """Return how many peaks have both motifs at given odds ratios, over all strata together."""
    a, b, n = tables.first, tables.first.T, tables.n_peaks
    excess = np.exp(np.clip(log_odds, -20, 20)) - 1
    linear = n + (a + b) * excess
    root = np.sqrt(np.maximum(linear**2 - 4 * excess * (excess + 1) * a * b, 0.0))
    near = np.abs(excess) < 1e-6
    return np.where(near, a * b / n, (linear - root) / np.where(near, 1.0, 2 * excess))


def order(sites: MotifSites, peaks: np.ndarray, *, least: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count how often one motif lies downstream of another, in the direction of the latter.

    Parameters
    ----------
    sites
        The places.
    peaks
        Positions of the peaks, (peaks,).
    least
        Least number of peaks that tell.

    Returns
    -------
    Peaks that tell, those with the second motif downstream of the first, and two-sided p-values of the exact binomial test (NaN
    below `least`); each motifs x motifs, first x second. In each peak the nearest pair that does not overlap tells.
    """
    n, ahead = _count_orders(peaks, sites.first, sites.motif, sites.start, strand=sites.strand, width=sites.width)
    tail = np.minimum(ahead, n - ahead)
    pvalue = np.minimum(2 * binom.cdf(tail, n, 0.5), 1.0)
    return n, ahead, np.where(n >= max(least, 1), pvalue, np.nan)


@dataclass(frozen=True, slots=True)
class Spacing:
    """The preferred spacing of one pair of motifs.

    Attributes
    ----------
    n_peaks
        Peaks in which the two lie within reach of each other.
    gap, width
        The preferred gap (bp between the motifs; the middle of the window) and the width of the window.
    observed, expected
        Peaks with that gap, and what exchanged peaks lead to expect.
    pvalue
        Of the most unusual window, for all windows that were looked at.
    """

    n_peaks: int
    gap: int
    width: int
    observed: int
    expected: float
    pvalue: float


def spacing(
    sites: MotifSites,
    peaks: np.ndarray,
    pair: tuple[int, int],
    *,
    middle: np.ndarray,
    reach: int,
    least: int,
) -> Spacing | None:
    """Look for a gap between two motifs that is more frequent than chance.

    Parameters
    ----------
    sites
        The places.
    peaks
        Positions of the peaks, (peaks,).
    pair
        Positions of the motifs.
    middle
        Middle of every peak, bp from its start, (all peaks,).
    reach
        Gaps below this are looked at, bp.
    least
        Least number of peaks with such a gap.

    Returns
    -------
    The preferred gap; `None` for too few peaks. The chance of each gap comes from the same peaks with the places of the second motif
    exchanged between them, relative to the middle of the peak: where motifs lie in peaks is kept, how they lie to each other is not.
    Or from the gaps around it, where these are more frequent than exchanged peaks have them: motifs of like composition lie near
    each other, at no gap in particular.
    Counts are binomial, and the smallest p-value is corrected for all windows [Sidak67]_.

    References
    ----------
    .. [Sidak67] Sidak, Rectangular confidence regions for the means of multivariate normal distributions, JASA 62 (1967).
    """
    a, b = pair
    rows_a, rows_b = sites.rows(peaks, a), sites.rows(peaks, b)
    shared = np.intersect1d(sites.peak[rows_a], sites.peak[rows_b])
    if shared.size < max(least, 2):
        return None
    place, bound = [], []
    for candidates in (rows_a, rows_b):
        rows = candidates[np.isin(sites.peak[candidates], shared)]
        place.append(sites.start[rows] - middle[sites.peak[rows]])
        bound.append(np.searchsorted(sites.peak[rows], np.append(shared, shared[-1] + 1)))
    n_shifts = min(shared.size - 1, N_EXCHANGES)
    shifts = np.unique(np.linspace(1, shared.size - 1, n_shifts).astype(np.int64))
    widths = int(sites.width[a]), int(sites.width[b])
    found = _count_gaps(*place, *bound, np.zeros(1, dtype=np.int64), np.array(widths), reach)
    n_peaks = int(found.sum())
    if n_peaks < max(least, 1):
        return None
    chance = _count_gaps(*place, *bound, shifts, np.array(widths), reach) + 0.5
    # neighbouring gaps have like chances: a running mean takes off the noise of the exchanges
    chance = np.convolve(np.pad(chance, 2, mode="edge"), np.ones(5) / 5, mode="valid")
    chance /= chance.sum()
    best, n_windows = None, 0
    for width in SPACING_WINDOWS:
        if width > reach:
            continue
        count = np.convolve(found, np.ones(width, dtype=np.int64), mode="valid")
        share = np.minimum(np.convolve(chance, np.ones(width), mode="valid"), 1.0)
        share = np.maximum(share, np.minimum(_neighbourhood(found, width), 1.0))
        pvalue = binom.sf(count - 1, n_peaks, share)
        n_windows += pvalue.size
        i = int(np.argmin(pvalue))
        if best is None or pvalue[i] < best[0]:
            best = (float(pvalue[i]), i + width // 2, width, int(count[i]), float(n_peaks * share[i]))
    if best is None:
        return None
    corrected = float(-np.expm1(n_windows * np.log1p(-min(best[0], 1 - 1e-16))))
    return Spacing(n_peaks, best[1], best[2], best[3], best[4], corrected)


def _neighbourhood(found: np.ndarray, width: int) -> np.ndarray:
    """Return what the gaps around each window lead to expect of it, as a share of all."""
    total = np.concatenate([[0], np.cumsum(found)])
    start = np.arange(found.size - width + 1)
    near, far = (
        (np.maximum(start - margin, 0), np.minimum(start + width + margin, found.size))
        for margin in (NEXT_GAPS, NEXT_GAPS + NEAR_GAPS)
    )
    count = (total[far[1]] - total[far[0]]) - (total[near[1]] - total[near[0]])
    size = (far[1] - far[0]) - (near[1] - near[0])
    return width * count / np.maximum(size, 1) / max(total[-1], 1)


@cached_njit(nogil=True)
def _run_end(motif, first, end):  # type: ignore[no-untyped-def]
    """Return where the hits of one motif that begin at `first` end."""
    last = first
    while last < end and motif[last] == motif[first]:
        last += 1
    return last


@cached_njit(nogil=True)
def _count_pairs(peaks, first, motif, start, quality, width):  # type: ignore[no-untyped-def]
    """Count peaks with two motifs apart from each other, those where a motif loses its only place to the other, and with each."""
    n = width.size
    both, lost, alone = np.zeros((n, n)), np.zeros((n, n)), np.zeros(n)
    for peak in peaks:
        i = first[peak]
        end = first[peak + 1]
        while i < end:
            i_end = _run_end(motif, i, end)
            a = motif[i]
            alone[a] += 1
            j = i_end
            while j < end:
                j_end = _run_end(motif, j, end)
                b = motif[j]
                apart, best_a, best_b = False, 0.0, 0.0
                for x in range(i, i_end):
                    best_a = max(best_a, quality[x])
                    for y in range(j, j_end):
                        if start[x] + width[a] <= start[y] or start[y] + width[b] <= start[x]:
                            apart = True
                for y in range(j, j_end):
                    best_b = max(best_b, quality[y])
                if apart:
                    both[a, b] += 1
                    both[b, a] += 1
                elif best_a >= best_b:
                    lost[b, a] += 1
                else:
                    lost[a, b] += 1
                j = j_end
            i = i_end
    return both, lost, alone


@cached_njit(nogil=True)
def _count_orders(peaks, first, motif, start, strand, width):  # type: ignore[no-untyped-def]
    """Count peaks that tell an order, and those with the second motif downstream of the first; ties of distance tell nothing."""
    n = width.size
    told, ahead = np.zeros((n, n), dtype=np.int64), np.zeros((n, n), dtype=np.int64)
    for peak in peaks:
        i = first[peak]
        end = first[peak + 1]
        while i < end:
            i_end = _run_end(motif, i, end)
            a = motif[i]
            j = first[peak]
            while j < end:
                j_end = _run_end(motif, j, end)
                b = motif[j]
                nearest, side = np.int64(1 << 60), 0
                if b != a:
                    for x in range(i, i_end):
                        for y in range(j, j_end):
                            right = start[y] - start[x] - width[a]
                            left = start[x] - start[y] - width[b]
                            gap = max(right, left)
                            if gap < 0 or gap > nearest:
                                continue
                            here = strand[x] if right >= 0 else -strand[x]
                            side = 0 if gap == nearest and here != side else here
                            nearest = gap
                if side != 0:
                    told[a, b] += 1
                    if side > 0:
                        ahead[a, b] += 1
                j = j_end
            i = i_end
    return told, ahead


@cached_njit(nogil=True)
def _count_gaps(place_a, place_b, bound_a, bound_b, shifts, widths, reach):  # type: ignore[no-untyped-def]
    """Count nearest gaps below `reach` between the first motif of each peak and the second of the peak `shift` further on."""
    out = np.zeros(reach, dtype=np.int64)
    n = bound_a.size - 1
    for shift in shifts:
        for i in range(n):
            k = (i + shift) % n
            nearest = reach
            for x in range(bound_a[i], bound_a[i + 1]):
                for y in range(bound_b[k], bound_b[k + 1]):
                    gap = max(place_b[y] - place_a[x] - widths[0], place_a[x] - place_b[y] - widths[1])
                    if 0 <= gap < nearest:
                        nearest = gap
            if nearest < reach:
                out[nearest] += 1
    return out
