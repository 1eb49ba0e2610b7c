from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from sctandem.kernels._activity_features import (
    FEATURES,
    PeakState,
    WindowPairs,
    activity_features,
    co_accessibility,
    fixed_kernels,
    sides,
    starts_between,
    window_sums,
)


@pytest.fixture(name="counts")
def fixture_counts(rng) -> sparse.csr_matrix:
    rate = np.exp(rng.normal(size=(80, 2)) @ rng.normal(size=(2, 30)) - 1)
    return sparse.csr_matrix(rng.poisson(rate))


@pytest.fixture(name="pairs")
def fixture_pairs(rng) -> WindowPairs:
    gene, peak = np.divmod(np.sort(rng.choice(6 * 30, 50, replace=False)), 30)
    return WindowPairs(
        gene=gene,
        peak=peak,
        distance=np.where(rng.random(50) < 0.5, -1, 1) * 10 ** rng.uniform(1, 5, 50),
        length=rng.uniform(500, 40_000, 6)[gene],
        between=rng.integers(0, 3, 50),
        width=rng.uniform(200, 2000, 30),
        n_genes=7,
    )


def test_starts_between_as_counted_one_by_one(rng):
    all_chrom, all_tss = np.repeat(["1", "2"], 12), rng.integers(0, 40, 24)
    own = rng.integers(0, 24, 60)
    chrom, tss, middle = all_chrom[own], all_tss[own], rng.integers(0, 40, 60)
    expected = [
        len({t for c, t in zip(all_chrom, all_tss, strict=True) if c == a and t != s and min(m, s) <= t <= max(m, s)})
        for a, m, s in zip(chrom, middle, tss, strict=True)
    ]
    found = starts_between(chrom, middle, tss, all_chrom=all_chrom, all_tss=all_tss)
    assert found.tolist() == expected
    assert max(expected) > 3


def test_fixed_kernels_as_by_their_rules(pairs):
    archr, body = fixed_kernels(pairs)
    for i in range(50):
        d, length = pairs.distance[i], pairs.length[i]
        inside = -5000 <= d <= length
        gap = 0 if inside else (-d - 5000 if d < 0 else d - length)
        crossed = pairs.between[i] > 0 and not inside
        assert archr[i] == pytest.approx(0 if crossed else np.exp(-gap / 5000) + np.exp(-1))
        assert body[i] == (-2000 <= d <= length)
    up, down = sides(pairs)
    np.testing.assert_allclose(up + down, np.exp(-np.abs(pairs.distance) / 50_000))
    assert ((up > 0) == (pairs.distance < 0)).all()
    assert ((down > 0) == (pairs.distance >= 0)).all()


def test_components_are_those_of_the_residuals(counts):
    state = PeakState.fit(counts, 5)
    opened = (counts.toarray() > 0).astype(float)
    n, share = opened.sum(1, keepdims=True), opened.sum(0) / opened.sum()
    m = np.median(n)
    residual = (opened - n * share) * np.sqrt(m / n) / np.sqrt(m * share + 0.01)
    cells = state.coordinates(counts)
    np.testing.assert_allclose(
        cells * state.spread, (residual - residual.mean(0)) @ state.loadings, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(state.loadings.T @ state.loadings, np.eye(5), atol=1e-8)
    np.testing.assert_allclose(np.cov(cells.T, bias=True), np.eye(5), atol=1e-5)
    np.testing.assert_allclose(cells.mean(0), 0, atol=1e-5)
    assert (np.diff(state.spread) <= 0).all()
    largest = np.linalg.svd(residual - residual.mean(0), compute_uv=False)[:2] / np.sqrt(80)
    np.testing.assert_allclose(state.spread[:2], largest, rtol=0.02)


def test_twice_the_depth_is_no_component():
    # cells of one kind that differ in depth alone: the first component of counts would be the depth
    rng = np.random.default_rng(0)
    depth = np.exp(rng.normal(0, 0.5, 300))
    counts = sparse.csr_matrix(rng.poisson(depth[:, None] * rng.uniform(0.02, 0.2, 200)))
    cells = PeakState.fit(counts, 5).coordinates(counts)
    n = np.asarray((counts > 0).sum(1)).ravel()
    assert np.abs(np.corrcoef(cells.T, np.log(n + 1.0))[-1, :-1]).max() < 0.35


def test_features_by_name(pairs, counts):
    state = PeakState.fit(counts, 4)
    columns, scales = activity_features(pairs, state)
    assert len(columns) == len(FEATURES)
    by_name = dict(zip(FEATURES, columns, strict=True))
    archr, body = fixed_kernels(pairs)
    far = np.exp(-np.abs(pairs.distance) / 50_000)
    np.testing.assert_allclose(by_name["ArchR"], archr)
    np.testing.assert_allclose(by_name["gene body"], body)
    np.testing.assert_allclose(by_name["side"], np.sign(pairs.distance) * far)
    np.testing.assert_allclose(by_name["boundary between"], far * (pairs.between > 0))
    opened = np.log(counts.toarray().mean(0) + 1e-3)[pairs.peak]
    np.testing.assert_allclose(by_name["openness, far"], far * (opened - opened.mean()) / opened.std())
    np.testing.assert_allclose(by_name["openness, ArchR"], archr * (opened - opened.mean()) / opened.std())
    together = co_accessibility(pairs, state)
    np.testing.assert_allclose(by_name["co-accessibility, far"], far * (together - scales[2, 0]) / scales[2, 1])
    width = np.log(pairs.width[pairs.peak] + 1)
    np.testing.assert_allclose(by_name["width"], far * (width - width.mean()) / width.std())
    for name, centre in zip(FEATURES[:5], (100, 562.34, 3162.3, 17783, 100_000), strict=True):
        bump = np.exp(-0.5 * ((np.log10(np.abs(pairs.distance) + 100) - np.log10(centre)) / 0.5) ** 2)
        np.testing.assert_allclose(by_name[name], bump, rtol=1e-4)


def test_scales_are_kept_for_other_pairs(pairs, counts):
    state = PeakState.fit(counts, 4)
    columns, scales = activity_features(pairs, state)
    few = np.flatnonzero(pairs.gene == 2)
    part = replace(
        pairs, **{name: getattr(pairs, name)[few] for name in ("gene", "peak", "distance", "length", "between")}
    )
    again, same = activity_features(part, state, scales=scales)
    assert same is scales
    for one, other in zip(columns, again, strict=True):
        np.testing.assert_allclose(one[few], other)


def test_co_accessibility_as_in_loops(pairs, counts):
    state = PeakState.fit(counts, 4)
    opening = state.loadings * state.spread
    found = co_accessibility(pairs, state)
    for i in range(50):
        here = pairs.gene == pairs.gene[i]
        promoter = (np.exp(-np.abs(pairs.distance[here]) / 3000)[:, None] * opening[pairs.peak[here]]).sum(0)
        own = opening[pairs.peak[i]]
        assert found[i] == pytest.approx(promoter @ own / np.linalg.norm(promoter) / np.linalg.norm(own))


def test_window_sums_as_in_loops(pairs, counts, rng):
    state = PeakState.fit(counts, 4)
    weight = rng.normal(size=50)
    (total,) = window_sums(pairs, state, [weight])
    expected = np.zeros((7, 4))
    for g, p, w in zip(pairs.gene, pairs.peak, weight, strict=True):
        expected[g] += w * state.loadings[p] * state.spread
    np.testing.assert_allclose(total, expected)


def test_selected_peaks(counts):
    state = PeakState.fit(counts, 4)
    order = np.random.default_rng(0).permutation(30)
    moved = state.select(order)
    np.testing.assert_allclose(moved.coordinates(counts[:, order]), state.coordinates(counts), atol=1e-5)
    some = state.select(np.array([3, -1, 5]))
    assert some.loadings[1].tolist() == [0, 0, 0, 0]
    assert some.weight[1] == some.mean[1] == 0
    assert some.openness[1] == state.openness.min()
    np.testing.assert_array_equal(some.loadings[[0, 2]], state.loadings[[3, 5]])
