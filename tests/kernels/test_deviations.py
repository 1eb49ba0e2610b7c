"""Deviations against chromVAR's own steps, written out plainly, and against draws of background peaks."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from scipy import sparse
from scipy.stats import chi2, norm

from sctandem.kernels import _deviations
from sctandem.kernels._background import peak_background
from sctandem.kernels._deviations import expected_deviations, sampled_deviations, variability
from sctandem.kernels._match_sums import add_bins, add_matches, pack_matches

N_CELLS, N_PEAKS, N_FEATURES = 40, 400, 21


@pytest.fixture(scope="module")
def peaks():
    """Counts, matches and GC content; matches are more likely in peaks rich in GC, which are also more open."""
    rng = np.random.default_rng(0)
    gc = rng.beta(8, 8, N_PEAKS)
    rate = rng.lognormal(-1, 0.8, N_PEAKS) * np.exp(2 * (gc - 0.5))
    share = np.linspace(0.02, 0.6, N_FEATURES) * np.exp(2 * (gc - 0.5))[:, None]
    matches = rng.random((N_PEAKS, N_FEATURES)) < share
    activity = rng.normal(0, 0.4, (N_CELLS, N_FEATURES)) * (np.arange(N_FEATURES) % 3 == 0)
    counts = rng.poisson(np.exp(activity @ matches.T) * rate * rng.lognormal(0, 0.5, (N_CELLS, 1)))
    counts[0] += counts.sum(axis=0) == 0
    return sparse.csr_matrix(counts.astype(np.int32)), sparse.csr_matrix(matches.astype(np.int16)), gc


def totals_of(counts):
    return np.asarray(counts.sum(axis=0)).ravel()


def chromvar_probabilities(totals, gc, n_bins, width):
    """Probability of each background peak (column) for each peak (row), as chromVAR's R code lays it out."""
    both = np.column_stack([np.log10(totals), gc])
    upper = np.linalg.cholesky(np.cov(both.T)).T
    white = np.linalg.solve(upper.T, both.T).T
    axes = [np.linspace(column.min(), column.max(), n_bins) for column in white.T]
    grid = np.array([(a, b) for a in axes[0] for b in axes[1]])
    nearest = np.array([((grid - point) ** 2).sum(axis=1).argmin() for point in white])
    density = np.bincount(nearest, minlength=len(grid))
    found = np.empty((len(totals), len(totals)))
    for i, here in enumerate(nearest):
        distance = np.sqrt(((grid - grid[here]) ** 2).sum(axis=1))
        p = norm.pdf(distance, 0, width)[nearest] / density[nearest]
        found[i] = p / p.sum()
    return found


def of_peaks(background):
    """The same from the package's result."""
    return (background.weights.toarray() / background.size)[np.ix_(background.bins, background.bins)]


def chromvar_deviations(counts, matches, drawn, exchange):
    """The definition, cell by cell and draw by draw."""
    x, m = counts.toarray().astype(float), matches.toarray() > 0
    share = x.sum(axis=0) / x.sum()
    deviations, z = np.empty((2, x.shape[0], m.shape[1]))
    for c, row in enumerate(x):
        for k in range(m.shape[1]):
            held = np.flatnonzero(m[:, k])
            raw = row[held].sum() / (row.sum() * share[held].sum()) - 1
            sampled = []
            for b in drawn.T:
                if exchange == "counts":
                    y, e = row[b[held]].sum(), share[b[held]].sum()
                else:
                    y, e = row[m[b, k]].sum(), share[m[b, k]].sum()
                sampled.append(y / (row.sum() * e) - 1)
            deviations[c, k] = raw - np.mean(sampled)
            z[c, k] = deviations[c, k] / np.std(sampled, ddof=1)
    return deviations, z


@pytest.mark.parametrize(("n_bins", "width"), [(50, 0.1), (7, 0.4)])
def test_the_background_is_that_of_chromvar(peaks, n_bins, width):
    counts, _, gc = peaks
    totals = totals_of(counts)
    expected = chromvar_probabilities(totals, gc, n_bins, width)
    found = of_peaks(peak_background(totals, gc, n_bins=n_bins, bandwidth=width))
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_draws_follow_the_background(peaks):
    counts, _, gc = peaks
    background = peak_background(totals_of(counts), gc, n_bins=8, bandwidth=0.5)
    drawn = background.draw(5000, np.random.default_rng(0))
    assert drawn.shape == (N_PEAKS, 5000)
    share = np.stack([np.bincount(row, minlength=N_PEAKS) for row in drawn[:40]]) / 5000
    expected = of_peaks(background)[:40]
    error = (share - expected) / np.sqrt(np.maximum(expected * (1 - expected), 1e-4) / 5000)
    assert abs(error).max() < 6
    assert abs(error.mean()) < 0.05


def test_peaks_without_counts_or_gc_take_no_part(peaks):
    counts, matches, gc = peaks
    alone = expected_deviations(counts, matches, peak_background(totals_of(counts), gc))
    rng = np.random.default_rng(1)
    extra = sparse.csr_matrix(rng.poisson(1.0, (N_CELLS, 30)).astype(np.int32))
    extra = sparse.hstack([extra, sparse.csr_matrix((N_CELLS, 20), dtype=np.int32)])
    wide = sparse.csr_matrix(sparse.hstack([counts, extra]))
    more = sparse.csr_matrix(sparse.vstack([matches, sparse.csr_matrix(np.ones((50, N_FEATURES), dtype=np.int16))]))
    background = peak_background(totals_of(wide), np.concatenate([gc, np.full(30, np.nan), np.full(20, 0.5)]))
    assert (background.bins[N_PEAKS:] == -1).all()
    drawn = background.draw(20, rng)
    assert drawn[:N_PEAKS].max() < N_PEAKS
    # counts of peaks without a GC content are in the sums of nothing
    found = expected_deviations(wide, more, background)
    np.testing.assert_allclose(found.z, alone.z, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.deviations, alone.deviations, rtol=1e-5, atol=1e-6)


def test_a_background_needs_peaks():
    with pytest.raises(ValueError, match="none of the 3 peaks has both counts and a GC content"):
        peak_background(np.array([0, 2, 0]), np.array([0.5, np.nan, 0.4]))


@pytest.mark.parametrize("gc", [np.full(6, 0.4), np.arange(6) / 10])
def test_peaks_that_do_not_differ_along_an_axis(gc):
    background = peak_background(10 ** np.arange(1, 7), gc)  # alike in GC, or GC follows from the counts
    assert np.isfinite(background.weights.data).all()
    np.testing.assert_allclose(np.asarray(background.weights.sum(axis=1)).ravel(), 1)
    assert len(background.size) == 6
    assert len(peak_background(np.full(6, 3), np.full(6, 0.4)).size) == 1


@pytest.mark.parametrize("exchange", ["counts", "matches"])
def test_draws_against_the_definition(peaks, exchange, monkeypatch):
    counts, matches, gc = peaks
    drawn = peak_background(totals_of(counts), gc).draw(15, np.random.default_rng(0))
    deviations, z = chromvar_deviations(counts, matches, drawn, exchange)
    for block in (1 << 28, 32 * N_FEATURES * 7):
        monkeypatch.setattr(_deviations, "_BYTES", block)
        found = sampled_deviations(counts, matches, drawn, exchange=exchange, min_expected=0)
        np.testing.assert_allclose(found.deviations, deviations, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.z, z, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("exchange", ["counts", "matches"])
def test_moments_against_all_background_peaks_one_by_one(peaks, exchange):
    counts, matches, gc = peaks
    x, m = counts.toarray().astype(float), (matches.toarray() > 0).astype(float)
    share, depth = x.sum(axis=0) / x.sum(), x.sum(axis=1)[:, None]
    background = peak_background(totals_of(counts), gc)
    p = of_peaks(background)
    if exchange == "counts":
        mean_x, mean_e = x @ p.T, p @ share
        y, e = mean_x @ m, mean_e @ m
        var_y, var_e = (x**2 @ p.T - mean_x**2) @ m, (p @ share**2 - mean_e**2) @ m
        cov = ((x * share) @ p.T - mean_x * mean_e) @ m
    else:
        coin = p @ m
        y, e = x @ coin, share @ coin
        var_y, var_e = x**2 @ (coin * (1 - coin)), share**2 @ (coin * (1 - coin))
        cov = (x * share) @ (coin * (1 - coin))
    rho = y / (depth * e)
    mean = rho * (1 + var_e / e**2) - cov / (depth * e**2) - 1
    variance = (var_y / depth**2 - 2 * rho * cov / depth + rho**2 * var_e) / e**2
    deviations = x @ m / (depth * (share @ m)) - 1 - mean
    found = expected_deviations(counts, matches, background, exchange=exchange, min_expected=0)
    np.testing.assert_allclose(found.deviations, deviations, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found.z, deviations / np.sqrt(variance), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("exchange", ["counts", "matches"])
def test_infinitely_many_draws_against_many(peaks, exchange):
    counts, matches, gc = peaks
    if exchange == "matches":  # of few matches a draw may leave hardly any to divide by, and the ratio's tail is long
        matches = matches[:, totals_of(matches) >= 20]
    background = peak_background(totals_of(counts), gc, bandwidth=0.3)
    n_draws = 3000
    drawn = sampled_deviations(
        counts, matches, background.draw(n_draws, np.random.default_rng(0)), exchange=exchange, min_expected=0
    )
    found = expected_deviations(counts, matches, background, exchange=exchange, min_expected=0)
    assert np.corrcoef(drawn.z.ravel(), found.z.ravel())[0, 1] > 0.999
    assert np.corrcoef(drawn.deviations.ravel(), found.deviations.ravel())[0, 1] > 0.999
    # the mean of so many draws is known to so much, and their standard deviation to a few percent
    spread = drawn.deviations / drawn.z
    off = (drawn.deviations - found.deviations) / spread * np.sqrt(n_draws)
    assert abs(np.sqrt(np.mean(off**2)) - 1) < 0.25
    ratio = (found.deviations / found.z) / spread
    assert abs(np.median(ratio) - 1) < (0.005 if exchange == "counts" else 0.02)
    assert np.quantile(abs(ratio - 1), 0.95) < 0.05


def test_chance_gives_z_scores_of_unit_variance():
    rng = np.random.default_rng(3)
    rate = rng.lognormal(-1, 1, 2000)
    counts = sparse.csr_matrix(rng.poisson(rate, (300, 2000)).astype(np.int32))
    matches = sparse.csr_matrix(rng.random((2000, 30)) < 0.05)
    found = expected_deviations(counts, matches, peak_background(totals_of(counts), rng.beta(8, 8, 2000)))
    spread, pvalue, _ = variability(found.z, np.isfinite(found.deviations))
    assert 0.9 < np.median(spread) < 1.1
    assert abs(found.z.mean()) < 0.05
    assert (pvalue > 0.001).all()


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_chance_among_cells_of_unequal_depth(share):
    """Exchanged counts are drawn with replacement, the peaks of a feature are not: common ones vary less by chance."""
    rng = np.random.default_rng(5)
    gc = rng.beta(8, 8, 2000)
    depth = rng.lognormal(0, 0.7, (300, 1))
    tilt = np.exp(rng.normal(0, 1, (300, 1)) * (gc - 0.5))  # a bias of GC of each cell, as amplification makes it
    counts = sparse.csr_matrix(rng.poisson(depth * tilt * rng.lognormal(-1, 1, 2000)).astype(np.int32))
    likelier = np.exp(rng.uniform(-4, 4, 30) * (gc - 0.5)[:, None])
    matches = sparse.csr_matrix(rng.random((2000, 30)) < share * likelier / likelier.mean(axis=0))
    background = peak_background(totals_of(counts), gc)
    for exchange, expected in (("matches", 1.0), ("counts", np.sqrt(1 - share))):
        found = expected_deviations(counts, matches, background, exchange=exchange)
        spread, pvalue, _ = variability(found.z, np.isfinite(found.deviations))
        assert np.median(spread) == pytest.approx(0.95 * expected, rel=0.06)
        assert abs(found.z.mean()) < 0.05
        assert np.corrcoef(found.z.mean(axis=1), np.log(depth[:, 0]))[0, 1] ** 2 < 0.1
        assert (pvalue > 0.001).all()


@pytest.mark.parametrize("exchange", ["counts", "matches"])
def test_neither_threads_nor_blocks_matter(peaks, exchange, monkeypatch):
    counts, matches, gc = peaks
    background = peak_background(totals_of(counts), gc)
    first = expected_deviations(counts, matches, background, exchange=exchange)
    monkeypatch.setattr(numba, "get_num_threads", lambda: 3)
    again = expected_deviations(counts, matches, background, exchange=exchange)
    np.testing.assert_array_equal(again.z, first.z)
    np.testing.assert_array_equal(again.deviations, first.deviations)
    monkeypatch.setattr(_deviations, "_CELLS", 7)
    monkeypatch.setattr(_deviations, "_BYTES", 8 * N_PEAKS)  # eight features at once
    blocks = expected_deviations(counts, matches, background, exchange=exchange)
    np.testing.assert_allclose(blocks.z, first.z, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(blocks.deviations, first.deviations, rtol=1e-4, atol=1e-5)


def test_where_nothing_is_said(peaks):
    counts, matches, gc = peaks
    counts = sparse.vstack([counts, sparse.csr_matrix((1, N_PEAKS), dtype=np.int32)], format="csr")
    table = matches.toarray()
    table[:, 0], table[:, 1] = 0, 1
    rare = totals_of(counts).argmin()
    table[:, 2] = np.arange(N_PEAKS) == rare
    matches = sparse.csr_matrix(table)
    background = peak_background(totals_of(counts), gc)
    for found in (
        expected_deviations(counts, matches, background),
        sampled_deviations(counts, matches, background.draw(9, np.random.default_rng(0))),
    ):
        known = np.isfinite(found.deviations)
        assert not known[:, :2].any()  # in no peak, in every peak
        assert not known[-1].any()  # no counts
        expected = counts.sum(axis=1) @ (totals_of(counts) / counts.sum() @ table)[None, :]
        np.testing.assert_array_equal(known[:-1, 2:], np.asarray(expected)[:-1, 2:] >= 1)
        assert not known[:, 2].all()
        assert (found.z[~known] == 0).all()
        assert np.isfinite(found.z).all()


def test_how_often_a_peak_holds_a_word_does_not_count(peaks):
    counts, matches, gc = peaks
    background = peak_background(totals_of(counts), gc)
    often = matches.copy()
    often.data = np.random.default_rng(0).integers(0, 4, often.nnz).astype(np.int16)  # stored zeros are no matches
    once = often.copy()
    once.data = np.minimum(once.data, 1)
    once.eliminate_zeros()
    draws = background.draw(5, np.random.default_rng(0))
    for function, given in ((expected_deviations, background), (sampled_deviations, draws)):
        np.testing.assert_allclose(function(counts, often, given).z, function(counts, once, given).z, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.int32, np.float32, np.uint8, np.float64])
def test_sums_of_matches_are_exact(dtype):
    rng = np.random.default_rng(0)
    table = rng.poisson(0.3, (50, 900)) * rng.choice([1, 1, 1, 9, 16, 17, 40], (50, 900))
    table[0] = 3  # bytes run over
    table[1] = 16
    if dtype != np.uint8:
        table[2, :20] = 100_000
    counts = sparse.csr_matrix(table.astype(dtype))
    matches = sparse.csr_matrix((rng.random((900, 29)) < 0.8).astype(np.int32))
    used = np.arange(900) != 4
    packed = pack_matches(matches, used, 3, 24)
    assert packed.shape == (900, 3)
    found = add_matches((counts.indptr, counts.indices, counts.data), 0, 50, packed, 21)
    np.testing.assert_array_equal(found, (table * used) @ matches.toarray()[:, 3:24])
    part = add_matches((counts.indptr, counts.indices, counts.data), 5, 9, packed, 21)
    np.testing.assert_array_equal(part, found[5:9])


def test_sums_by_bin():
    rng = np.random.default_rng(0)
    table = rng.poisson(1.0, (9, 40))
    counts = sparse.csr_matrix(table)
    bins, rates = rng.integers(-1, 5, 40), rng.random(40)
    inside = (bins[:, None] == np.arange(5)).astype(float)
    found = add_bins((counts.indptr, counts.indices, counts.data), 2, 7, bins, rates, 5)
    expected = [table @ inside, table**2 @ inside, (table * rates) @ inside]
    np.testing.assert_allclose(found, np.stack(expected)[:, 2:7])


def test_variability():
    rng = np.random.default_rng(0)
    z = rng.normal(0, [1.0, 2.0, 1.1, 1.0], (200, 4)).astype(np.float32)
    known = np.ones(z.shape, dtype=bool)
    known[50:, 2] = False
    known[1:, 3] = False
    spread, pvalue, fdr = variability(z, known)
    np.testing.assert_allclose(spread[:3], [z[:, 0].std(ddof=1), z[:, 1].std(ddof=1), z[:50, 2].std(ddof=1)], rtol=1e-5)
    np.testing.assert_allclose(pvalue[2], chi2.sf(49 * spread[2] ** 2, 49))
    assert np.isnan([spread[3], pvalue[3], fdr[3]]).all()
    order = np.argsort(pvalue[:3])
    np.testing.assert_allclose(fdr[order[0]], pvalue[order[0]] * 3)
    assert pvalue[1] < 1e-10 < 0.05 < pvalue[0]
