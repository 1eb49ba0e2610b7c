from __future__ import annotations

import math
from bisect import bisect_left, bisect_right

import numpy as np
import pytest
from chipexo import simulate_chipexo
from scipy import stats

from sctandem.kernels import _chipexo as kernel
from sctandem.kernels._chipexo_scan import Scan, Strand, merge_strands


def strand_of(rng, n=400, size=6000, top=5) -> Strand:
    position = np.sort(rng.choice(size, n, replace=False)).astype(np.int64)
    return Strand(position, rng.integers(1, top, n))


# --- the statistic of a border, written a second time --------------------------------------------------------------------


def masses(n: int, mean: float, dispersion: float) -> list[tuple[int, float]]:
    """Probabilities of n, n + 1, ... tags, each from that of one tag less."""
    if dispersion == 0:
        mass = math.exp(-mean)
        step = lambda k: mean / (k + 1)  # noqa: E731
    else:
        r = 1 / dispersion
        mass = (1 + dispersion * mean) ** -r
        step = lambda k: (k + r) / (k + 1) * mean / (mean + r)  # noqa: E731
    out = []
    for k in range(n + 400):  # the upper tail itself: one minus the rest would lose small probabilities
        out.append((k, mass))
        mass *= step(k)
    return out[n:]


def chance_of_at_least(n: int, mean: float, dispersion: float, _width: int) -> float:
    """Sum of the probabilities of n and more tags."""
    return sum(mass for _, mass in masses(n, mean, dispersion)) if n else 1.0


def chance_of_a_tag_among(n: int, mean: float, dispersion: float, width: int) -> float:
    """Mean number of tags at one base of a window that has at least n in all, of which each base has the same share; no more than the chance of n."""
    at_base = sum(mass * k / width for k, mass in masses(n, mean, dispersion))
    return min(at_base, chance_of_at_least(n, mean, dispersion, width))


def border_p(chance, tags: list[int], x: int, *, scan: Scan, size: int, dispersion: float, hidden: list[int]) -> float:
    """A window of one base after the other, with every tag a list entry and background by walking over the bases."""
    half = scan.half
    bases = range(max(x - half, 0), x + half + 1)
    seen = sum(tags.count(base) for base in bases)
    dark = {base for h in hidden for base in range(h - half, h + half + 1)}
    light = [tag for tag in tags if tag not in dark]
    n_dark = len(hidden) * scan.width
    rates = [max(len(light), 0.5) / (size - n_dark)]
    for span in scan.spans:
        around = [b for b in range(x - span // 2, x + span // 2 + 1) if 0 <= b < size]
        guard = max(scan.footprint, half)
        outside = [b for b in around if abs(b - x) > guard]
        # windows that were taken out count by their middle
        gone = scan.width * sum(h in set(outside) for h in hidden)
        length = len(outside) - gone
        if length >= span // 4:
            rates.append(sum(light.count(b) for b in outside) / length)
    return chance(seen, max(rates) * scan.width, dispersion, scan.width)


@pytest.mark.parametrize("dispersion", [0.0, 0.7])
@pytest.mark.parametrize("chance", [chance_of_at_least, chance_of_a_tag_among])
def test_border_p_values_are_those_of_a_second_definition(rng, dispersion, chance):
    """Of windows at given places, and of the windows around tags by which sites are called."""
    strand = strand_of(rng, n=120, size=3000)
    tags = np.repeat(strand.position, strand.n).tolist()
    scan = Scan(footprint=20, tolerance=5, half=3, spans=(50, 200, 1000), fdr=0.05)  # 50 leaves too little
    hidden = [500, 1400, 1430]
    if chance is chance_of_at_least:
        found = scan.test(strand, strand.position, 3000, dispersion, np.array(hidden))
    else:
        found = scan.borders(strand, 3000, dispersion, np.array(hidden))
    expected = [
        border_p(chance, tags, int(x), scan=scan, size=3000, dispersion=dispersion, hidden=hidden)
        for x in found.position
    ]
    np.testing.assert_allclose(found.pvalue, expected, rtol=1e-9)
    assert len(set(np.round(expected, 6))) > 30


@pytest.mark.parametrize("dispersion", [0.0, 0.05, 3.0])
def test_upper_tail_is_that_of_scipy(dispersion):
    n, mean = (grid.ravel() for grid in np.meshgrid(np.arange(30), [0.01, 0.4, 3.0, 12.0]))
    expected = (
        stats.nbinom.sf(n - 1, 1 / dispersion, 1 / (1 + dispersion * mean))
        if dispersion
        else stats.poisson.sf(n - 1, mean)
    )
    np.testing.assert_allclose(kernel.upper_tail(n, mean, dispersion), expected, rtol=1e-7)


@pytest.mark.parametrize("dispersion", [0.0, 2.0])
def test_a_tag_with_so_many_around_it_is_as_rare_as_that(rng, dispersion):
    """Share of positions that have a tag and at least n tags in the window around it, in backgrounds drawn tag by tag."""
    width, rate, n_windows = 9, 0.03, 400_000
    mean = width * rate
    level = rng.gamma(1 / dispersion, dispersion, n_windows) if dispersion else np.ones(n_windows)
    counts = rng.poisson(rate * level[:, None], (n_windows, width))
    with_tag = counts[:, width // 2] > 0
    for n in (1, 2, 3):
        share = (with_tag & (counts.sum(1) >= n)).mean()
        bound = kernel.tag_tail(np.array([n]), np.array([mean]), width, dispersion)[0]
        # a bound, since several tags may lie at one position
        assert 0.85 * bound < share + 3 * np.sqrt(bound / n_windows)
        assert share < bound + 3 * np.sqrt(bound / n_windows)
    n = np.arange(40)
    assert (kernel.tag_tail(n, 0.5, width, dispersion) <= kernel.upper_tail(n, 0.5, dispersion)).all()
    assert (np.diff(kernel.tag_tail(n, 0.5, width, dispersion)) <= 0).all()


def test_upper_tail_stays_above_zero():
    assert kernel.upper_tail(np.array([100_000]), np.array([0.001]))[0] == 1e-300


def test_background_only_by_chance_passes(rng):
    """Share of positions (all of them, empty ones too) at or below a level is at most the level."""
    s = simulate_chipexo(n_sites=0, background=40, size=400_000, chroms=("c",), rng=rng)
    tags = s.tags[s.tags["strand"] == "+"].sort_values("position")
    strand = Strand(tags["position"].to_numpy(), tags["count"].to_numpy())
    scan = Scan(30, 5, 4, (1000, 5000), 0.05)
    p = scan.test(strand, np.arange(400_000), 400_000, 0.0, np.empty(0, dtype=np.int64)).pvalue
    for level in (0.02, 0.005, 0.001):
        assert 0.1 * level < (p <= level).mean() <= level


# --- the pieces ----------------------------------------------------------------------------------------------------------


def test_ranks_are_those_of_searchsorted(rng):
    position = np.sort(rng.integers(0, 100, 40))
    query = rng.integers(-5, 110, 300)
    np.testing.assert_array_equal(kernel.ranks(position, query), np.searchsorted(position, query))
    np.testing.assert_array_equal(kernel.ranks(position[:0], query), 0)


def test_smooth_and_local_maxima(rng):
    strand = strand_of(rng)
    weights = kernel.gaussian(2.0)
    smoothed = kernel.smooth(strand.position, strand.n.astype(float), weights)
    far = np.abs(strand.position[:, None] - strand.position)
    expected = np.where(far < len(weights), weights[np.minimum(far, len(weights) - 1)], 0) @ strand.n
    np.testing.assert_allclose(smoothed, expected)
    value = np.round(smoothed)  # with ties
    found = kernel.local_maxima(strand.position, value, 8)
    expected = [
        i
        for i in range(len(value))
        if all(value[i] > value[j] for j in range(i) if far[i, j] <= 8)
        and all(value[i] >= value[j] for j in range(i + 1, len(value)) if far[i, j] <= 8)
    ]
    np.testing.assert_array_equal(found, expected)
    assert 10 < len(found) < 300


def test_cross_correlation_and_profile(rng):
    plus, minus = strand_of(rng), strand_of(rng)
    found = kernel.cross_correlation(plus.position, plus.n.astype(float), minus.position, minus.n.astype(float), 40)
    dense = np.zeros((2, 6000 + 41))
    dense[0, plus.position], dense[1, minus.position] = plus.n, minus.n
    np.testing.assert_allclose(found, [dense[0, : 6041 - d] @ dense[1, d:] for d in range(41)])
    sites = np.array([10, 300, 301, 5990])
    profile = kernel.mean_profile(plus.position, plus.n, sites, 20)
    padded = np.pad(dense[0, :6000], 20)
    np.testing.assert_allclose(profile, sum(padded[s : s + 41] for s in sites))


def test_footprint_is_found_on_a_slope(rng):
    distance = np.arange(121)
    curve = rng.poisson(400 - 2.5 * distance + 200 * np.exp(-0.5 * ((distance - 47) / 2) ** 2)).astype(float)
    found, clear = kernel.footprint_peak(curve, 8, 100)
    assert abs(found - 47) <= 1
    assert clear > 8
    assert kernel.footprint_peak(rng.poisson(400 - 2.5 * distance).astype(float), 8, 100)[1] < 4.5


def test_near_and_merge(rng):
    strand = strand_of(rng)
    centre = np.sort(rng.integers(0, 6000, 60))
    expected = [any(abs(p - c) <= 7 for c in centre) for p in strand.position]
    np.testing.assert_array_equal(strand.near(centre, 7), expected)
    other = strand_of(rng)
    merged = merge_strands([(strand, other), (other, strand)])
    assert merged[0].n.sum() == strand.n.sum() + other.n.sum()
    np.testing.assert_array_equal(merged[0].position, np.union1d(strand.position, other.position))
    np.testing.assert_array_equal(merged[0].n, merged[1].n)
    at = int(strand.position[5])
    in_other = other.n[other.position == at].sum()
    assert merged[0].n[merged[0].position == at][0] == strand.n[5] + in_other


def test_centroids():
    position, count = np.array([10, 12, 40]), np.array([3, 1, 2])
    np.testing.assert_allclose(kernel.centroids(position, count, np.array([11, 40]), 4), [10.5, 40])


def test_pairs_are_the_surest_and_each_border_once(rng):
    left, right = (np.sort(rng.choice(3000, 150, replace=False)) for _ in range(2))
    left_p, right_p = 10 ** -rng.uniform(1, 9, (2, 150))
    i, j = kernel.pair_borders(left, left_p, right, right_p, footprint=30, tolerance=12)
    options = []
    for a, x in enumerate(left):
        for b in range(bisect_left(right, x + 18), bisect_right(right, x + 42)):
            off = (right[b] - x - 30) / 6
            options.append((math.log(left_p[a]) + math.log(right_p[b]) + off**2 / 2, a, b))
    expected: list[tuple[int, int]] = []
    for _, a, b in sorted(options):
        if a not in {x for x, _ in expected} and b not in {y for _, y in expected}:
            expected.append((a, b))
    assert list(zip(i.tolist(), j.tolist(), strict=True)) == sorted(expected)
    assert len(i) > 50
    assert kernel.pair_borders(left[:0], left_p[:0], right, right_p, footprint=30, tolerance=1)[0].size == 0


def test_adaptive_fdr_is_its_definition(rng):
    strong, weak = np.sort(np.round(rng.uniform(0, 1, (2, 60)) ** 3, 2), axis=0)
    alone = np.round(rng.uniform(0, 1, 40) ** 3, 2)
    found = kernel.adaptive_fdr(strong, weak, alone)
    for s, q in zip(weak, found, strict=True):
        rates = [t * (sum(strong <= t) + sum(alone <= t)) / max(sum(weak <= t), 1) for t in np.unique(weak) if t >= s]
        assert q == pytest.approx(min(1, *rates, 1))


def test_adaptive_fdr_holds_when_half_the_borders_are_single():
    """Pairs with one real border and one of chance, beside real ones: at 10 % at most about 10 % of the calls are false."""
    rng = np.random.default_rng(5)
    shares = []
    for _ in range(40):
        p = rng.uniform(size=(2, 3000))
        p[:, :300] = rng.beta(0.1, 20, (2, 300))
        p[0, 300:900] = rng.beta(0.1, 20, 600)
        called = kernel.adaptive_fdr(p.min(0), p.max(0), np.empty(0)) <= 0.1
        assert called[:300].mean() > 0.5
        shares.append(called[300:].sum() / max(called.sum(), 1))
    assert 0.02 < np.mean(shares) < 0.11


def test_cluster_fdr_counts_all_positions():
    p = np.array([1e-6, 2e-5, 1e-3, 1e-6])
    np.testing.assert_allclose(kernel.cluster_fdr(p, 10_000), [5e-3, 2e-1 / 3, 1.0, 5e-3])


def test_dispersion_is_recovered(rng):
    mean = rng.uniform(0.02, 0.2, 200_000)
    assert kernel.fit_dispersion(rng.poisson(mean), mean) == 0
    for phi in (1.0, 5.0):
        counts = rng.negative_binomial(1 / phi, 1 / (1 + phi * mean))
        found = kernel.fit_dispersion(counts, mean)
        assert phi / 1.6 < found < 1.6 * phi
        # neither sites nor stretches without reads are taken for it
        spoilt = np.concatenate([counts, np.full(500, 12), np.zeros(100_000, int)])
        assert kernel.fit_dispersion(spoilt, np.concatenate([mean, rng.uniform(0.02, 0.2, 100_500)])) == found
    assert kernel.fit_dispersion(np.empty(0, int), np.empty(0)) == 0


def test_dispersion_of_dense_background(rng):
    mean = rng.uniform(4, 9, 20_000)
    assert kernel.fit_dispersion(rng.poisson(mean), mean) < 0.03
    found = kernel.fit_dispersion(rng.negative_binomial(2, 1 / (1 + mean / 2)), mean)
    assert 0.3 < found < 0.8
