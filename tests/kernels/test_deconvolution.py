from __future__ import annotations

import numpy as np
import pytest
from mixtures import bulk, compositions, profiles
from scipy import optimize, special, stats

from sctandem.kernels import _deconvolution
from sctandem.kernels._deconvolution import Composition, bulk_logs, fit_composition, level_terms, student

N_GENES = 400


def fit(values: np.ndarray, shares: np.ndarray, *, counts: bool = False, **options) -> Composition:
    options.setdefault("n_genes", shares.shape[1])
    return fit_composition(bulk_logs(values, counts=counts), shares, **options)


@pytest.fixture(scope="module")
def shares():
    return profiles(n_types=4, n_genes=N_GENES)


@pytest.fixture(scope="module")
def shifted(shares):
    """Ten samples with factors of genes as wide as between platforms."""
    return bulk(shares, compositions(10, 4), platform=1.0, noise=0.05)


@pytest.fixture(scope="module")
def fitted(shares, shifted):
    return fit(shifted.X, shares)


@pytest.mark.parametrize("n_samples", [1, 2, 3, 12])
def test_exact_mixtures_give_exact_fractions(shares, n_samples):
    rna = compositions(n_samples, 4)
    found = fit(bulk(shares, rna).X, shares)
    np.testing.assert_allclose(found.rna, rna, atol=0.005)
    np.testing.assert_allclose(found.rna.sum(1), 1)
    assert found.floor < 0.005
    assert np.median(np.abs(found.platform - np.median(found.platform))) < 0.02


def test_samples_of_one_type(shares):
    found = fit(bulk(shares, np.eye(4)).X, shares)
    np.testing.assert_allclose(found.rna, np.eye(4), atol=0.002)


def test_heavy_tailed_factors_are_recovered_and_fractions_with_them(shares, shifted, fitted):
    rna = shifted.obsm["true"]
    assert np.abs(fitted.rna - rna).max() < 0.02
    plain = np.array([optimize.nnls(shares.T, row)[0] for row in shifted.X])
    plain /= plain.sum(1, keepdims=True)
    assert np.abs(plain - rna).max() > 0.2  # what the factors do where nobody asks for them
    gap = fitted.platform - shifted.var["true"].to_numpy()
    assert np.median(np.abs(gap - np.median(gap))) < 0.03
    assert np.corrcoef(fitted.platform, shifted.var["true"])[0, 1] > 0.99
    assert fitted.tau == pytest.approx(1, rel=0.2)
    assert fitted.sigma == pytest.approx(0.05, rel=0.2)


def test_residuals_are_what_is_left(shares, shifted, fitted):
    expected = np.log(fitted.rna @ shares + fitted.floor / N_GENES) + fitted.size[:, None] + fitted.platform
    logs = bulk_logs(shifted.X, counts=False).values
    np.testing.assert_allclose(fitted.residuals, logs - expected, atol=1e-9)
    assert np.std(fitted.residuals) == pytest.approx(0.05, rel=0.2)


def test_a_floor_on_all_genes_is_told_from_types(shares):
    rna = compositions(6, 4)
    mean = rna @ shares + 0.1 / N_GENES
    found = fit(mean / mean.sum(1, keepdims=True), shares)
    assert found.floor == pytest.approx(0.1, rel=0.1)
    np.testing.assert_allclose(found.rna, rna, atol=0.01)


# --- invariances ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["genes", "samples", "library", "units", "types"])
def test_order_and_scale_do_not_matter(shares, shifted, fitted, change):
    rng = np.random.default_rng(3)
    values, expected = shifted.X, fitted.rna
    if change == "genes":
        order = rng.permutation(N_GENES)
        found = fit(values[:, order], shares[:, order]).rna
    elif change == "samples":
        order = rng.permutation(10)
        found, expected = fit(values[order], shares).rna, expected[order]
    elif change == "library":
        found = fit(values * np.exp(2 * rng.standard_normal(10))[:, None], shares).rna
    elif change == "units":
        found = fit(values / 1e6, shares).rna
    else:
        found, expected = fit(values, shares[::-1]).rna, expected[:, ::-1]
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_weights_are_duplication(shares, shifted):
    weights = 1 + (np.arange(N_GENES) % 3 == 0)
    twice = np.repeat(np.arange(N_GENES), weights)
    logs = bulk_logs(shifted.X, counts=False)
    # the level is laid out on the genes at hand: one round, and the terms of the genes with their copies in both
    start = fit(shifted.X, shares)
    options = {"n_genes": N_GENES, "start": start, "n_rounds": 1, "n_steps": 500}
    copied = {
        "n_genes": N_GENES,
        "start": start._replace(platform=start.platform[twice]),
        "n_rounds": 1,
        "n_steps": 500,
    }
    original = _deconvolution.level_terms
    terms = original(shares)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_deconvolution, "level_terms", lambda given: terms if given.shape[1] == N_GENES else terms[twice])
        weighted = fit_composition(logs, shares, weights=weights.astype(float), **options)
        repeated = fit_composition(logs.at(twice), shares[:, twice], **copied)
        plain = fit_composition(logs, shares, **options)
    np.testing.assert_allclose(weighted.rna, repeated.rna, atol=1e-3)
    np.testing.assert_allclose(weighted.platform[twice], repeated.platform, atol=0.02)
    assert np.abs(weighted.rna - plain.rna).max() > 2 * np.abs(weighted.rna - repeated.rna).max()


def test_a_prior_decides_where_genes_say_nothing():
    """With the same profile for all types only the prior is left: the mode of a Dirichlet."""
    shares = np.tile(profiles(n_types=1, n_genes=50), (3, 1))
    prior = np.array([[1.0, 2.0, 5.0], [4.0, 4.0, 8.0]])
    found = fit(shares[:2] * 1e6, shares, prior=prior)
    np.testing.assert_allclose(found.rna, prior / prior.sum(1, keepdims=True), atol=1e-3)


# --- derivatives ------------------------------------------------------------------------------------------------------


def test_gradient_is_the_numeric_one(shares, shifted, monkeypatch):
    caught = []

    def catch(function, start, **options):
        caught.append(function)
        return optimize.minimize(function, start, **options)

    monkeypatch.setattr(_deconvolution, "minimize", catch)
    logs = bulk_logs(np.round(shifted.X[:3] / 100), counts=True)
    weights = np.random.default_rng(1).exponential(size=N_GENES)
    fit_composition(logs, shares, n_genes=N_GENES, weights=weights, n_steps=5)
    n = 3 * 4 + 3 + N_GENES + 4 + 1
    point = 0.5 * np.random.default_rng(2).standard_normal(n)
    numeric = optimize.approx_fprime(point, lambda free: caught[-1](free)[0], 1e-7)
    np.testing.assert_allclose(caught[-1](point)[1], numeric, rtol=1e-3, atol=2e-3)


def test_loss_is_the_posterior_in_words(shares, shifted, monkeypatch):
    """Student residuals (4 degrees of freedom, counting on top) and factors (3) around their trend, a log-normal floor, a flat Dirichlet and a tenth."""
    caught = []

    def catch(function, start, **options):
        caught.append(function)
        return optimize.minimize(function, start, **options)

    monkeypatch.setattr(_deconvolution, "minimize", catch)
    logs = bulk_logs(np.round(shifted.X[:3] / 100), counts=True)
    weights = np.random.default_rng(1).exponential(size=N_GENES)
    found = fit_composition(logs, shares, n_genes=2 * N_GENES, weights=weights, n_steps=5)

    def density(free):
        logits, size, platform, trend, floor = np.split(free, np.cumsum([12, 3, N_GENES, 4]))
        rna = special.softmax(logits.reshape(3, 4), axis=1)
        middle = np.log(rna @ shares + np.exp(floor) / (2 * N_GENES)) + size[:, None] + platform
        total = (weights * stats.t.logpdf(logs.values - middle, 4, scale=np.sqrt(found.sigma**2 + logs.variance))).sum()
        total += (weights * stats.t.logpdf(platform - level_terms(shares) @ trend, 3, scale=found.tau)).sum()
        return total + stats.norm.logpdf(floor[0], np.log(0.02), 1.5) + 0.1 * np.log(rna).sum()

    rng = np.random.default_rng(2)
    first, second = 0.5 * rng.standard_normal((2, 12 + 3 + N_GENES + 4 + 1))
    first[-1], second[-1] = -2, -5
    loss = caught[-1]
    assert loss(first)[0] - loss(second)[0] == pytest.approx(density(second) - density(first), rel=1e-9)


def test_a_trend_of_the_factors_is_not_taken_for_composition(shares):
    """Two samples, whose factors follow the level of expression."""
    rna, rng = compositions(2, 4, seed=7), np.random.default_rng(2)
    level = level_terms(shares)[:, 0]
    logs = np.log(rna @ shares) + 0.8 * level + 0.3 * rng.standard_normal(N_GENES)
    found = fit(np.exp(logs + 0.05 * rng.standard_normal(logs.shape)), shares)
    assert found.tau < 0.35  # 0.8 in all where the trend is not known
    assert np.corrcoef(level_terms(shares) @ found.trend, level)[0, 1] > 0.9
    np.testing.assert_allclose(found.rna, rna, atol=0.03)


def test_student_is_that_of_scipy():
    rng = np.random.default_rng(0)
    error, variance, weights = rng.standard_normal((5, 7)), rng.gamma(2, 1, (5, 7)), rng.exponential(size=7)
    value, slope = student(error, variance, 4.0, weights)
    density = stats.t(4.0, scale=np.sqrt(variance))
    expected = (weights * (density.logpdf(0) - density.logpdf(error))).sum()
    assert value == pytest.approx(expected, rel=1e-12)
    by_hand = [
        (student(error + step, variance, 4.0, weights)[0] - student(error - step, variance, 4.0, weights)[0]) / 2e-6
        for step in 1e-6 * np.eye(35).reshape(35, 5, 7)
    ]
    np.testing.assert_allclose(slope.ravel(), by_hand, rtol=1e-6, atol=1e-8)


# --- small parts ------------------------------------------------------------------------------------------------------


def test_logs_of_counts_have_the_variance_of_counting():
    rng = np.random.default_rng(0)
    logs = bulk_logs(rng.poisson(40, (4000, 20)).astype(float), counts=True)
    assert logs.values.var(0).mean() == pytest.approx(logs.variance.mean(), rel=0.1)
    values = np.array([[0.0, 1.0, 3.0]])
    np.testing.assert_allclose(bulk_logs(values, counts=True).values, np.log([[0.125, 0.375, 0.875]]))
    np.testing.assert_allclose(bulk_logs(values, counts=False).values, np.log(np.array([[0, 0.25, 0.75]]) + 1e-6))
    assert (bulk_logs(values, counts=False).variance == 0).all()


def test_terms_of_the_level(shares):
    terms = level_terms(shares)
    level = stats.zscore(np.log(shares.mean(0)))
    np.testing.assert_allclose(terms[:, 0], level)
    np.testing.assert_allclose(terms[:, 1], level**2 - 1)
    np.testing.assert_allclose(terms[:, 2] + terms[:, 3], np.maximum(np.abs(level) - 0.7, 0) ** 2)
    np.testing.assert_array_equal(level_terms(np.ones((3, 9)))[:, 0], 0)  # all genes at one level
