"""The change of associations between conditions: against a closed form, and on simulated samples."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import sparse, stats

from sctandem.kernels._association_change import SampleCovariances, assess_change, sample_covariances
from sctandem.kernels._count_scores import CountScores, fit_count_model
from sctandem.kernels._moderation import moderate, natural_spline

N_SAMPLES = 8
CONDITION = np.arange(N_SAMPLES) % 2
DESIGN = np.column_stack([np.ones(N_SAMPLES), CONDITION])


def draw(seed: int, *, lost: bool, n_cells: int = 150, n_genes: int = 60):
    """Samples that differ in condition by levels and depth; two modules, of which the first may be lost in one condition."""
    rng = np.random.default_rng(seed)
    loadings = np.zeros((n_genes, 2))
    loadings[:12, 0], loadings[12:24, 1] = rng.uniform(0.4, 0.7, 12), rng.uniform(0.4, 0.7, 12)
    base, effect = rng.normal(0.5, 0.7, n_genes), rng.normal(0, 0.7, n_genes)
    counts = []
    for condition in CONDITION:
        own = loadings * np.exp(rng.normal(0, 0.1, (1, 2)))
        own[:, 0] *= 0 if lost and condition else 1
        log = base + effect * condition + rng.normal(0, 0.2, n_genes) + rng.normal(size=(n_cells, 2)) @ own.T
        depth = np.exp(rng.normal(0, 0.4, (n_cells, 1))) * (2 if condition else 1)
        counts.append(rng.poisson(np.exp(log) * depth * rng.gamma(4, 0.25, log.shape)))
    return np.vstack(counts), np.repeat(np.arange(N_SAMPLES), n_cells), loadings


def covariances(counts, strata, pairs):
    matrix = sparse.csr_matrix(counts.astype(float))
    scores = CountScores(matrix, fit_count_model(matrix, strata), np.arange(counts.shape[1]))
    return sample_covariances(scores, np.arange(N_SAMPLES), pairs)


def within(genes) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.triu_indices(len(genes), 1)
    return np.asarray(genes)[a], np.asarray(genes)[b]


def test_covariances_are_those_of_the_log_rates_at_any_depth():
    counts, strata, loadings = draw(0, lost=False, n_cells=1500)
    pairs = within(range(24))
    found = covariances(counts, strata, pairs)
    true = (loadings @ loadings.T)[pairs]
    shallow = found.covariance[CONDITION == 0].mean(0)
    deep = found.covariance[CONDITION == 1].mean(0)
    for one in (shallow, deep):
        assert np.corrcoef(one, true)[0, 1] > 0.95
    assert np.polyfit(shallow, deep, 1)[0] == pytest.approx(1, abs=0.12)
    assert np.polyfit(true, deep, 1)[0] == pytest.approx(0.85, abs=0.25)  # to first order: rates vary a good deal


def test_covariances_of_a_panel_of_few_genes_are_not_negative():
    """Independent genes that tell the depth themselves: what one gains the others seem to lose, by a known amount."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(4.0 * rng.gamma(4, 0.25, (N_SAMPLES * 300, 10)))
    pairs = within(range(10))
    found = covariances(counts, np.repeat(np.arange(N_SAMPLES), 300), pairs)
    z = (found.covariance * np.sqrt(found.precision)).mean()
    assert z == pytest.approx(0, abs=0.3)  # -1.7 without what is known


def test_levels_and_depth_change_nothing():
    small = []
    for seed in range(8):
        counts, strata, _ = draw(seed, lost=False)
        pairs = within(range(24))
        p = assess_change(covariances(counts, strata, pairs), DESIGN, 1).p_value
        small.append([(p < 0.05).mean(), (p < 0.001).mean()])
    assert np.mean(small, axis=0)[0] < 0.09  # pairs of one module change together: a few seeds decide
    assert np.mean(small, axis=0)[1] < 0.005


def test_a_module_that_is_lost_is_found():
    counts, strata, _ = draw(1, lost=True, n_cells=300)
    first, second = within(range(12)), within(range(12, 24))
    pairs = tuple(np.concatenate(both) for both in zip(first, second, strict=True))
    found = assess_change(covariances(counts, strata, pairs), DESIGN, 1)
    lost = np.arange(len(pairs[0])) < len(first[0])
    assert (found.p_value[lost] < 0.05).mean() > 0.8
    assert (found.effect[lost] < 0).all()
    assert (found.p_value[~lost] < 0.05).mean() < 0.2


def test_a_few_pairs_with_equal_variances_give_a_weighted_regression():
    """With one pair the prior rests on that pair: the effect is the weighted difference of means, by hand."""
    rng = np.random.default_rng(0)
    value, weight = rng.normal(size=(N_SAMPLES, 1)), rng.uniform(1, 3, (N_SAMPLES, 1))
    found = assess_change(SampleCovariances(value, weight), DESIGN, 1)
    means = [np.average(value[c == CONDITION, 0], weights=weight[c == CONDITION, 0]) for c in (0, 1)]
    assert found.effect[0] == pytest.approx(means[1] - means[0])


def test_the_test_is_a_weighted_regression_with_moderated_variances():
    rng = np.random.default_rng(1)
    value, weight = rng.normal(size=(N_SAMPLES, 40)), rng.uniform(1, 3, (N_SAMPLES, 40))
    fits = [sm.WLS(value[:, j], DESIGN, weights=weight[:, j]).fit() for j in range(40)]
    variance, width = (
        np.array([one.scale for one in fits]),
        np.array([one.normalized_cov_params[1, 1] for one in fits]),
    )
    effect = np.array([one.params[1] for one in fits])
    found = assess_change(SampleCovariances(value, weight), DESIGN, 1)
    np.testing.assert_allclose(found.effect, effect)
    moderated = moderate(variance, N_SAMPLES - 2, natural_spline(np.log(weight.mean(0))))
    np.testing.assert_allclose(found.p_value, moderated.tail(effect / np.sqrt(width)))
    plain = 2 * stats.t.sf(np.abs(effect) / np.sqrt(width * variance), N_SAMPLES - 2)
    quiet = variance < np.quantile(variance, 0.2)
    assert (found.p_value[quiet] > plain[quiet]).all()  # those that vary little by chance are not taken at their word


def test_many_pairs_without_a_change_give_uniform_p_values():
    rng = np.random.default_rng(0)
    weight = rng.uniform(50, 200, (N_SAMPLES, 1)) * np.ones((1, 3000))
    value = rng.normal(size=(N_SAMPLES, 3000)) / np.sqrt(weight) * np.sqrt(8 / rng.chisquare(8, 3000))
    found = assess_change(SampleCovariances(value, weight), DESIGN, 1)
    assert stats.kstest(found.p_value, "uniform").pvalue > 1e-3
    assert (found.p_value < 0.01).mean() == pytest.approx(0.01, abs=0.005)


def test_pairs_of_which_a_sample_says_nothing_are_not_tested():
    weight = np.ones((N_SAMPLES, 2))
    weight[3, 1] = 0
    found = assess_change(SampleCovariances(np.random.default_rng(0).normal(size=(N_SAMPLES, 2)), weight), DESIGN, 1)
    assert np.isfinite(found.p_value[0])
    assert np.isnan(found.p_value[1])
    assert np.isnan(found.effect[1])
