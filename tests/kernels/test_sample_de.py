from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from sctandem.kernels._hidden_factors import shared_part
from sctandem.kernels._moderation import inverse_trigamma, moderate, natural_spline, variance_prior
from sctandem.kernels._nb_glm import PRIOR_COUNT, add_prior_counts, deviances, dispersion_trend, fit_nb, size_factors
from sctandem.kernels._sample_correlation import null_spread, sample_covariance
from sctandem.kernels._sample_de import LARGEST_SPREAD, assess_column, fit_state
from sctandem.kernels._shrink import shrink_effects

DESIGN = np.column_stack([np.ones(8), [0, 1, 0, 1, 0, 1, 0, 1], [0, 0, 0, 0, 1, 1, 1, 1]]).astype(float)


def donors(n_genes: int = 600, seed: int = 0, *, effect: float = 0, factor: float = 0, spread: float = 0.15):
    """Counts of 8 samples; the first tenth of the genes has an effect of the last column."""
    rng = np.random.default_rng(seed)
    level = np.exp(rng.uniform(1.5, 7, n_genes))
    shift = rng.normal(0, spread, (8, n_genes)) + factor * np.outer(rng.normal(size=8), rng.normal(size=n_genes))
    shift[:, : n_genes // 10] += effect * DESIGN[:, [2]] * rng.choice([-1, 1], n_genes // 10)
    return rng.poisson(level * np.exp(shift)).astype(float)


@pytest.mark.parametrize("dispersion", [0.01, 0.3])
def test_regression_agrees_with_statsmodels(dispersion):
    counts, depth = donors(12, effect=1), np.linspace(500, 4000, 8)
    ours = fit_nb(counts, DESIGN, depth, np.full(12, dispersion))
    for gene in range(12):
        family = sm.families.NegativeBinomial(alpha=dispersion)
        theirs = sm.GLM(counts[:, gene], DESIGN, family=family, offset=np.log(depth)).fit(tol=1e-14, maxiter=200)
        np.testing.assert_allclose(ours.coefficients[gene], theirs.params, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(ours.deviance[gene], theirs.deviance, rtol=1e-6)
        np.testing.assert_allclose(ours.covariance[gene], theirs.cov_params(), rtol=1e-5)


def test_group_means_in_closed_form():
    design = np.column_stack([np.ones(6), [0, 0, 0, 1, 1, 1]])
    counts = np.array([[3.0, 5, 4, 10, 14, 12]]).T
    fit = fit_nb(counts, design, np.ones(6), np.array([0.2]))
    np.testing.assert_allclose(fit.coefficients[0], [np.log(4), np.log(3)], rtol=1e-9)


def test_a_group_without_counts_does_no_harm():
    counts = np.array([[0.0, 0, 0, 0, 5, 9, 7, 8]]).T
    design = DESIGN[:, [0, 2]]
    fit = fit_nb(counts, design, np.ones(8), np.array([0.1]))
    assert np.isfinite(fit.coefficients).all()
    assert fit.deviance[0] == pytest.approx(
        deviances(counts[4:], np.full((4, 1), 7.25), np.array([0.1])).sum(), rel=1e-4
    )


#: What edgeR prints for `glmFit` in its own tests (tests/edgeR-Tests.Rout.save of Bioconductor 3.8): a slope over three samples at
#: a dispersion of 0.1 and a prior count of 1/6, and two groups of two at 0.210292 and 1/8.
EDGER_COUNTS = np.array([[0.0, 30, 110], [2, 2, 0], [3, 6, 2], [2, 4, 6], [1, 1, 9]]).T
EDGER_OFFSET = np.array([8.295172, 8.338525, 8.284484])
EDGER_DEVIANCE = [6.38037545, 1.46644913, 1.38532340, 0.01593969, 1.03894513]
EDGER_PLAIN = [
    [-7.437763, 2.0412762], [-7.373370, -0.8796273], [-6.870127, -0.1465014], [-7.552642, 0.5410832], [-8.972372, 1.3929679],
]  # fmt: skip
EDGER_PRIOR = [
    [-7.391745, 2.0149958], [-7.318483, -0.7611895], [-6.831702, -0.1399478], [-7.480255, 0.5172002], [-8.747793, 1.2870467],
]  # fmt: skip


def test_regression_is_that_of_edger(monkeypatch):
    design, depth = np.column_stack([np.ones(3), [0.0, 1, 2]]), np.exp(EDGER_OFFSET)
    plain = fit_nb(EDGER_COUNTS, design, depth, np.full(5, 0.1))
    np.testing.assert_allclose(plain.coefficients, EDGER_PLAIN, atol=5e-5)
    np.testing.assert_allclose(plain.deviance, EDGER_DEVIANCE, rtol=2e-6, atol=1e-6)
    monkeypatch.setattr("sctandem.kernels._nb_glm.PRIOR_COUNT", 1 / 6)
    prior = fit_nb(add_prior_counts(EDGER_COUNTS, depth), design, depth, np.full(5, 0.1))
    # edgeR also adds twice the prior to the depths, which all of them share here: only the intercept moves, and hardly
    np.testing.assert_allclose(prior.coefficients, EDGER_PRIOR, atol=1e-4)


def test_a_group_without_counts_has_the_fold_change_and_the_test_of_edger():
    counts, depth = np.array([[0.0, 0, 2, 2]]).T, np.arange(1001.0, 1005)
    design, dispersion = np.column_stack([np.ones(4), [0.0, 0, 1, 1]]), np.array([0.210292])
    change = fit_nb(add_prior_counts(counts, depth), design, depth, dispersion).coefficients[0, 1] / np.log(2)
    assert change == pytest.approx(4.0861092, abs=1e-3)  # 29 and more without a prior count
    ratio = (
        fit_nb(counts, design[:, :1], depth, dispersion).deviance - fit_nb(counts, design, depth, dispersion).deviance
    )
    assert ratio[0] == pytest.approx(4.8400340, abs=2e-5)


@pytest.mark.parametrize("factor", [0, 0.3])
def test_fold_changes_of_genes_absent_in_a_condition_are_bounded(factor):
    counts = donors(400, factor=factor)
    counts[4:, :20] = 0
    counts[:4, 20:40] = 0
    design = DESIGN[:, [0, 2]]
    state = fit_state(counts, design)
    mean = (counts * (state.depth.mean() / state.depth)[:, None]).max(0)
    bound = np.log1p(mean / PRIOR_COUNT)
    assert (np.abs(state.reported.coefficients[:, 1]) <= bound).all()
    test = assess_column(state, 1)
    assert (test.effect[:20] < 0).all()
    assert (test.effect[20:40] > 0).all()
    assert (np.abs(test.effect) < 1.3 * bound).all()  # hidden factors are taken off the coefficient; 6,000 before
    assert (np.abs(test.effect[:40]) > 0.7 * np.log1p(counts[:, :40].sum(0) / 4 / PRIOR_COUNT)).all()
    shrunken = shrink_effects(test.effect, test.error)
    assert (np.abs(shrunken.mean) <= np.abs(test.effect) + 1e-9).all()
    assert (np.abs(shrunken.mean[:40]) > 0.5 * np.abs(test.effect[:40])).all()
    assert np.median(np.abs(shrunken.mean[40:])) < 0.2


def test_size_factors_ignore_a_few_genes_that_change():
    counts = np.tile(np.linspace(20, 400, 300), (4, 1))
    counts[2] *= 3
    counts[3, :20] *= 30
    found = size_factors(counts)
    np.testing.assert_allclose(found / found[0], [1, 1, 3, 1], rtol=1e-6)


def test_dispersion_is_recovered():
    rng = np.random.default_rng(0)
    level = np.exp(rng.uniform(3, 6, 2000))
    counts = rng.poisson(level * rng.gamma(5, 0.2, (12, 2000))).astype(float)
    design = np.ones((12, 1))
    found = dispersion_trend(counts, design, np.ones(12))
    np.testing.assert_allclose(found, 0.2, rtol=0.15)


def test_inverse_trigamma():
    from scipy.special import polygamma

    for x in (0.01, 0.5, 3, 200):
        assert inverse_trigamma(float(polygamma(1, x))) == pytest.approx(x, rel=1e-6)


def test_prior_is_recovered():
    rng = np.random.default_rng(1)
    x = rng.normal(size=20_000)
    true = np.exp(0.5 * x) * 10 / rng.chisquare(10, 20_000)
    observed = true * rng.chisquare(6, 20_000) / 6
    prior_df, scale = variance_prior(observed, 6, np.column_stack([np.ones(20_000), x]))
    assert prior_df == pytest.approx(10, rel=0.1)
    np.testing.assert_allclose(scale, np.exp(0.5 * x), rtol=0.1)


def test_moderated_statistic_in_closed_form():
    rng = np.random.default_rng(2)
    observed = 10 / rng.chisquare(10, 5000) * rng.chisquare(6, 5000) / 6
    found = moderate(observed, 6, np.ones((5000, 1)))
    usual = found.variance[:, 1]
    _, scale = variance_prior(observed, 6, np.ones((5000, 1)))
    np.testing.assert_allclose(usual, (found.prior_df * scale + 6 * observed) / (found.prior_df + 6), rtol=1e-12)
    np.testing.assert_allclose(found.membership.sum(1), 1)
    t = 2.0 / np.sqrt(found.variance)
    expected = (found.membership * 2 * stats.t.sf(t, found.prior_df + 6)).sum(1)
    np.testing.assert_allclose(found.tail(np.full(5000, -2.0)), expected)
    assert 7 < found.prior_df < 16


def test_moderated_p_values_are_uniform_with_a_heavy_tail():
    rng = np.random.default_rng(3)
    true = 20 / rng.chisquare(20, 40_000) * np.where(rng.random(40_000) < 0.05, 9, 1)
    observed = true * rng.chisquare(6, 40_000) / 6
    p = moderate(observed, 6, np.ones((40_000, 1))).tail(rng.normal(size=40_000) * np.sqrt(true))
    for level in (0.05, 0.01, 0.001):
        assert (p < level).mean() == pytest.approx(level, rel=0.15 if level > 0.001 else 0.5)


def test_spline_holds_a_line():
    x = np.random.default_rng(0).normal(size=50)
    basis = natural_spline(x)
    for target in (np.ones(50), 3 * x + 2):
        np.testing.assert_allclose(basis @ np.linalg.lstsq(basis, target, rcond=None)[0], target, atol=1e-10)
    assert natural_spline(np.ones(5)).shape == (5, 1)


def test_covariance_of_samples_is_recovered():
    rng = np.random.default_rng(0)
    true = np.diag([3.0, 1, 1, 0.5, 0.3, 0.2])
    found = sample_covariance(rng.normal(size=(8000, 6)) @ np.sqrt(true), np.ones(8000))
    np.testing.assert_allclose(found, true, atol=0.12)
    np.testing.assert_allclose(sample_covariance(rng.normal(size=(8, 6)), np.ones(8)), np.eye(6), atol=0.25)


def test_shared_part_is_recovered_beside_effects():
    rng = np.random.default_rng(0)
    residual, true = rng.normal(size=(3000, 4)), np.array([0.5, -0.3, 0, 0.2])
    contrast = residual @ true + rng.normal(size=3000)
    contrast[:300] += rng.choice([-6, 6], 300)
    np.testing.assert_allclose(shared_part(contrast, residual), true, atol=0.06)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.8])
def test_shared_part_is_that_of_genes_without_an_effect(part):
    rng = np.random.default_rng(0)
    true, response = np.array([0.5, -0.3, 0, 0.2]), np.array([0, 0.3, -0.2, 0.1])
    residual = rng.normal(size=(3000, 4))
    contrast = residual @ true + rng.normal(size=3000)
    effect = rng.normal(0, 5, 3000) * (rng.random(3000) < part)
    found = shared_part(contrast + effect, residual + np.outer(effect, response))
    np.testing.assert_allclose(found, true, atol=0.08)


def test_a_wide_hidden_factor_is_no_effect():
    rng = np.random.default_rng(0)
    loading = rng.standard_t(3, 3000) * 2  # some genes follow it far more than others
    residual = rng.normal(size=(3000, 4)) + np.outer(loading, [0.9, -0.6, 0.5, 0.3])
    contrast = rng.normal(size=3000) + 0.5 * loading
    rest = contrast - residual @ shared_part(contrast, residual)
    assert np.std(rest) < 1.15  # 2.0 before


@pytest.mark.parametrize("true", [0.8, 1.0, 1.5])
def test_spread_of_null_statistics(true):
    rng = np.random.default_rng(0)
    scores = np.concatenate([true * rng.normal(size=9000), rng.choice([-5, 5], 1000) * true])
    assert null_spread(scores) == pytest.approx(true, rel=0.06)
    assert null_spread(scores[:20]) == pytest.approx(1, abs=0.15)


def test_a_spread_below_one_is_believed_less_than_one_above():
    scores = stats.norm.isf((np.arange(300) + 0.5) / 600)  # sizes without noise
    assert null_spread(scores) == pytest.approx(1, abs=0.01)
    below, above = np.log(null_spread(0.9 * scores)), np.log(null_spread(scores / 0.9))
    assert np.log(0.9) < below < 0 < above < -np.log(0.9)
    assert above > -1.3 * below  # alike before: what is too narrow in the middle of nulls is not so in their far tail


def test_far_tail_of_nulls():
    p = np.concatenate(
        [assess_column(fit_state(donors(800, seed), DESIGN[:, [0, 2]]), 1).p_value for seed in range(12)]
    )
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.01)
    assert (p < 0.001).mean() < 0.0019


def test_null_is_calibrated_with_hidden_factors():
    shares, plain = [], []
    for seed in range(8):
        state = fit_state(donors(800, seed, factor=0.25), DESIGN)
        shares.append((assess_column(state, 2).p_value < 0.05).mean())
        plain.append((assess_column(state, 2, hidden_factors=False).p_value < 0.05).mean())
    assert 0.03 < np.mean(shares) < 0.062  # rather too few: a spread below 1 is believed in part only
    assert np.max(shares) < 0.1
    assert np.max(plain) > 0.15  # without it a factor that follows the contrast is found in all genes


def test_hidden_factors_raise_the_power():
    found = {True: 0, False: 0}
    for seed in range(4):
        state = fit_state(donors(800, seed, effect=0.5, factor=0.25, spread=0.1), DESIGN)
        for hidden in found:
            p = assess_column(state, 2, hidden_factors=hidden).p_value
            found[hidden] += (p[:80] < np.quantile(p[80:], 0.01)).mean() / 4
    assert found[True] > found[False] + 0.1


def test_effects_are_recovered_and_agree_with_the_statistic():
    state = fit_state(donors(1000, effect=1.0), DESIGN)
    test = assess_column(state, 2)
    np.testing.assert_allclose(np.abs(test.effect[:100]), 1, atol=1.2)
    assert np.median(np.abs(test.effect[:100])) == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(test.effect / test.error, test.statistic, rtol=0.05, atol=0.05)
    covered = np.abs(np.abs(test.effect[:100]) - 1) < 1.96 * test.error[:100]
    assert covered.mean() > 0.85


def test_effects_of_most_genes_are_neither_hidden_nor_shrunken():
    rng = np.random.default_rng(5)
    true = rng.normal(0, 0.6, 1500) * (rng.random(1500) < 0.8)
    shift = rng.normal(0, 0.12, (8, 1500)) + DESIGN[:, [2]] * true
    counts = rng.poisson(np.exp(rng.uniform(4, 7, 1500) + shift)).astype(float)
    test = assess_column(fit_state(counts, DESIGN), 2)
    assert test.spread == LARGEST_SPREAD  # the middle of the scores is far wider: 80 % of the genes have an effect
    slope = np.polyfit(true, shrink_effects(test.effect, test.error).mean, 1)[0]
    assert 0.85 < slope < 1.05  # 0.5 with the spread that the middle of the scores has
    z = (test.effect - true) / test.error
    assert 0.7 < np.std(z) < 1.2
    found = stats.false_discovery_control(test.p_value) < 0.05
    assert found[np.abs(true) > 0.4].mean() > 0.9


@pytest.mark.parametrize(("n", "paired"), [(2, True), (4, False)])
def test_effects_that_donors_show_more_or_less_are_kept(n, paired):
    agreement, slopes = [], []
    donor, treated = np.tile(np.arange(n), 2), np.repeat([0.0, 1], n)
    own = [donor == k for k in range(1, n)] if paired else []
    design = np.column_stack([np.ones(2 * n), *own, treated]).astype(float)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        true = rng.normal(0, 0.7, 1200) * (rng.random(1200) < 0.8)
        shift = rng.normal(0, 0.15, (2 * n, 1200)) + np.outer(treated * np.linspace(0.7, 1.3, n)[donor], true)
        counts = rng.poisson(np.exp(rng.uniform(3, 7, 1200) + shift)).astype(float)
        effect = assess_column(fit_state(counts, design), design.shape[1] - 1).effect
        agreement.append(stats.spearmanr(effect, true).statistic)
        slopes.append(np.polyfit(true, effect, 1)[0])
    assert np.mean(agreement) > 0.9  # below 0.65 where the effect is taken for a hidden factor
    assert np.mean(slopes) == pytest.approx(1, abs=0.1)


def test_the_base_mean_is_that_at_the_average_depth():
    """Samples of any depth tell the share of a gene with the same weight."""
    depth = np.array([1, 1, 8, 1, 1, 1, 1, 2.0])
    share = np.linspace(20, 300, 80)
    counts = depth[:, None] * share
    counts[2, 5] *= 3  # the deep sample is the odd one
    means = assess_column(fit_state(counts, DESIGN), 2).base_mean
    expected = np.where(np.arange(80) == 5, 10 / 8, 1) * share * depth.mean()
    np.testing.assert_allclose(means, expected, rtol=1e-3)


def test_order_of_genes_and_samples_does_not_matter():
    counts = donors(400, effect=1)
    first = assess_column(fit_state(counts, DESIGN), 2)
    rng = np.random.default_rng(0)
    genes, samples = rng.permutation(400), rng.permutation(8)
    second = assess_column(fit_state(counts[np.ix_(samples, genes)], DESIGN[samples]), 2)
    np.testing.assert_allclose(second.statistic, first.statistic[genes], rtol=1e-3, atol=1e-3)


def test_shrinkage():
    rng = np.random.default_rng(0)
    true = np.where(rng.random(4000) < 0.2, rng.normal(0, 2, 4000), 0)
    error = rng.uniform(0.2, 0.6, 4000)
    effect = true + error * rng.normal(size=4000)
    found = shrink_effects(effect, error)
    assert ((found.mean - true) ** 2).mean() < 0.4 * ((effect - true) ** 2).mean()
    assert 0.94 < ((found.low <= true) & (true <= found.high)).mean() < 0.985
    large = np.abs(effect) > 8 * error
    np.testing.assert_allclose(found.mean[large], effect[large], rtol=0.1)
    mirrored = shrink_effects(-effect, error)
    np.testing.assert_allclose(mirrored.mean, -found.mean)
    np.testing.assert_allclose(mirrored.low, -found.high, atol=1e-6)


@pytest.mark.parametrize("absent", [0, 30])
def test_intervals_agree_with_q_values(absent):
    counts = donors(800, 3, effect=0.9, factor=0.1)
    counts[:4, 80 : 80 + absent] = 0
    test = assess_column(fit_state(counts, DESIGN[:, [0, 2]]), 1)
    found, q = shrink_effects(test.effect, test.error), stats.false_discovery_control(test.p_value)
    apart = (found.low > 0) | (found.high < 0)
    assert apart.sum() > 30 + absent
    assert not (apart & (q > 0.2)).any()
    assert (~apart & (q < 0.001)).sum() == 0
    assert (np.sign(found.mean) == np.sign(test.statistic))[apart].all()
    rest = np.r_[0:80, 80 + absent : 800]
    true = np.where(rest < 80, 0.9 * np.sign(test.effect[rest]), 0)
    covered = (np.abs(test.effect[rest] - true) < 1.96 * test.error[rest]).mean()
    assert 0.9 < covered < 0.98


def test_shrinkage_of_one_normal_prior_in_closed_form():
    rng = np.random.default_rng(1)
    effect = rng.normal(0, np.sqrt(4 + 0.25), 20_000)
    found = shrink_effects(effect, np.full(20_000, 0.5))
    np.testing.assert_allclose(found.mean, effect * 4 / 4.25, atol=0.25)
    np.testing.assert_allclose(np.median(found.sd), np.sqrt(4 * 0.25 / 4.25), rtol=0.05)


def test_any_contrast_is_a_column_of_another_layout():
    counts = donors(30, effect=0.5)
    group = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    first, turned = (np.column_stack([group == g for g in order]).astype(float) for order in ((0, 1, 2), (1, 0, 2)))
    first[:, 0] = turned[:, 0] = 1  # baselines: group 0, and group 1
    depth, dispersion = np.linspace(500, 4000, 8), np.full(30, 0.05)
    ours = fit_nb(counts, turned, depth, dispersion)
    merged = np.column_stack([np.ones(8), group == 0]).astype(float)
    drop = fit_nb(counts, merged, depth, dispersion).deviance - ours.deviance
    for gene in range(30):
        family = sm.families.NegativeBinomial(alpha=0.05)
        theirs = sm.GLM(counts[:, gene], first, family=family, offset=np.log(depth)).fit(tol=1e-14, maxiter=200)
        tested = theirs.t_test(np.array([0.0, -1.0, 1.0]))
        np.testing.assert_allclose(ours.coefficients[gene, 2], tested.effect, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(np.sqrt(ours.covariance[gene, 2, 2]), tested.sd.ravel(), rtol=1e-5)
        small = sm.GLM(counts[:, gene], merged, family=family, offset=np.log(depth)).fit(tol=1e-14, maxiter=200)
        np.testing.assert_allclose(drop[gene], small.deviance - theirs.deviance, rtol=1e-5, atol=1e-7)
