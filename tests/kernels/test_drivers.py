from __future__ import annotations

from dataclasses import replace
from math import comb

import numpy as np
import pytest
import statsmodels.api as sm

from sctandem.kernels._composition import expected_expression, relative_depth
from sctandem.kernels._decomposition import contrast_of, decompose
from sctandem.kernels._driver_model import BulkModel, model_bulk
from sctandem.kernels._driver_patterns import name_candidates, name_patterns
from sctandem.kernels._driver_types import CHANGE, SLACK, _Block, assess_types, credible, single_type
from sctandem.kernels._drivers import assess_genes, permutations_of

GROUP = np.repeat([0.0, 1.0], 6)


def made(seed: int = 0, *, n_genes: int = 150, error: float = 0.3, signature: np.ndarray | None = None) -> BulkModel:
    """A model of 12 noisy samples of 3 types, with a covariate, some unknown share and errors of the signature as given."""
    rng = np.random.default_rng(seed)
    theta = rng.gamma(1, 100, (n_genes, 3)) + 5 if signature is None else signature
    n_genes = len(theta)
    shares = rng.dirichlet([6, 4, 4], 12) * (1 - 0.1 * rng.random(12))[:, None]
    rate = shares @ theta.T * np.exp(rng.normal(0, 0.2, (12, n_genes)))
    covariate = rng.normal(size=(12, 1))
    model = model_bulk(rng.poisson(rate).astype(float), shares, theta, GROUP, covariates=covariate, counts=True)
    some = np.full(n_genes, error)
    return replace(model, own_error=some, shared_error=0.5 * some)


def covariance(model: BulkModel, gene: int) -> np.ndarray:
    """The covariance of the ratios of a gene as the text says it, up to a factor."""
    theta, level = model.signature[gene], model.expected.level[:, gene]
    found = np.diag(model.variance[:, gene]) + np.outer(model.unknown, model.unknown)
    for t in range(3):
        scale = (
            np.hypot(model.own_error[gene] * theta[t], model.shared_error[gene] * theta.mean()) * model.type_error[t]
        )
        shift = model.shares[:, t] * scale / level
        found += np.outer(shift, shift)
    return found


def test_expected_expression_is_the_mixture():
    shares, theta = np.array([[0.25, 0.75], [1, 0]]), np.array([[4.0, 8], [10, 2]])
    found = expected_expression(shares, theta)
    np.testing.assert_allclose(found.level, [[7, 4], [4, 10]])
    np.testing.assert_allclose(found.parts[0], [[1 / 7, 6 / 7], [2.5 / 4, 1.5 / 4]])
    np.testing.assert_allclose(found.with_constant(1).parts[0, 0], [1 / 8, 6 / 8])
    np.testing.assert_allclose(found.grown(np.log([[2.0, 1], [1, 3]])), np.log([[8 / 7, 7 / 4], [2, 1]]))


def test_depth_is_that_of_genes_that_follow_the_composition():
    rng = np.random.default_rng(0)
    expected, depth = rng.gamma(2, 50, (8, 200)) + 1, np.exp(rng.normal(0, 1, 8))
    observed = expected * depth[:, None] * rng.gamma(4, 0.25, 200)  # a factor of each gene
    np.testing.assert_allclose(
        relative_depth(observed, expected), depth * (relative_depth(observed, expected) / depth)[0]
    )
    observed[4:, :60] *= 8  # in half of the samples 60 genes of 200 change
    found = relative_depth(observed, expected) / depth
    np.testing.assert_allclose(found, found[0], rtol=1e-6)


def test_whitening_turns_the_covariance_into_the_identity():
    model = made()
    white = next(model.blocks())[1]
    for gene in (0, 70, 149):
        true = covariance(model, gene)
        root = white.of(np.array([gene])).whiten(np.eye(12)[None])[0]
        np.testing.assert_allclose(root @ true @ root.T, np.eye(12), atol=1e-9)
        information = model.fixed.T @ np.linalg.inv(true) @ model.fixed
        log = 0.5 * (np.linalg.slogdet(true)[1] + np.linalg.slogdet(information)[1])
        assert white.log_determinant[gene] == pytest.approx(log)


def test_effects_are_those_of_generalised_least_squares():
    model = made()
    test = assess_genes(model, n_permutations=20, rng=np.random.default_rng(0))
    for gene in (3, 100):
        design = np.column_stack([model.fixed, GROUP])
        theirs = sm.GLS(model.ratio[:, gene], design, sigma=covariance(model, gene)).fit()
        assert test.effect[gene] == pytest.approx(theirs.params[-1])
        moderated = (test.prior_df * test.prior_variance[gene] + theirs.scale * 9) / (test.prior_df + 9)
        assert test.statistic[gene] == pytest.approx(theirs.tvalues[-1] * np.sqrt(theirs.scale / moderated))


def test_a_type_is_tested_with_the_others_at_random():
    model = made()
    test = assess_genes(model, n_permutations=20, rng=np.random.default_rng(0))
    block = _Block(model, test, np.arange(150), next(model.blocks())[1])
    linear, gene = block.linear(np.zeros((150, 3))), 42
    columns = model.expected.parts[:, gene] * GROUP[:, None]
    errors = SLACK * model.errors(slice(0, 150))[:, gene, :3] * GROUP[:, None]
    for t in range(3):
        found = block.score(t, *linear)[gene]
        precision = np.concatenate([np.full(3, 1 / CHANGE**2), np.where(np.arange(3) == t, 1e12, 1 / CHANGE**2)])
        scale = block._posterior(*linear, block.prior, precision)[2][gene]
        others = np.delete(np.concatenate([columns, errors], axis=1), [t, 3 + t], axis=1)
        sigma = scale * covariance(model, gene) + CHANGE**2 * others @ others.T
        design = np.column_stack([model.fixed, columns[:, t]])
        inverse = np.linalg.inv(sigma)
        cov = np.linalg.inv(design.T @ inverse @ design)
        beta = cov @ design.T @ inverse @ model.ratio[:, gene]
        assert found == pytest.approx(beta[-1] / np.sqrt(cov[-1, -1]), rel=0.02)  # the scale is one step behind


@pytest.mark.parametrize(("n", "inside"), [(8, 4), (7, 3)])
def test_few_ways_to_divide_samples_are_all_taken_once(n, inside):
    group = np.repeat([1.0, 0], [inside, n - inside])
    orders, exact = permutations_of(group, 1000, np.random.default_rng(0))
    assert exact
    assert len(orders) == comb(n, inside) - 1
    assert all(sorted(order) == list(range(n)) for order in orders)
    ways = {tuple(sorted(order[:inside])) for order in orders}
    assert len(ways) == len(orders)
    assert tuple(range(inside)) not in ways


def test_many_ways_are_drawn():
    orders, exact = permutations_of(GROUP, 100, np.random.default_rng(3))
    assert not exact
    assert orders.shape == (100, 12)
    np.testing.assert_array_equal(orders, permutations_of(GROUP, 100, np.random.default_rng(3))[0])


@pytest.mark.parametrize("seed", range(3))
def test_p_values_of_a_null_with_errors_of_the_signature(seed):
    """The composition differs between the groups, and the signature is off: half as large or twice as large is common."""
    rng = np.random.default_rng(seed)
    theta = rng.gamma(1, 200, (1500, 3)) + 5
    shares = np.array([rng.dirichlet(30 * row) for row in np.where(GROUP[:, None], [0.3, 0.2, 0.5], [0.5, 0.3, 0.2])])
    rate = shares @ theta.T * np.exp(rng.normal(0, 0.2, (12, 1500)))
    counts = rng.poisson(rate).astype(float)
    given = theta * np.exp(rng.normal(0, 0.7, theta.shape))
    options = {"covariates": np.empty((12, 0)), "counts": True}
    model = model_bulk(counts, shares, given, GROUP, **options)
    found = assess_genes(model, n_permutations=100, rng=rng)
    assert 0.03 < (found.p_value < 0.05).mean() < 0.075
    assert (found.p_value < 0.01).mean() < 0.02
    # taken at its word, the wrong signature makes many genes change
    some = np.zeros(1500)
    trusting = assess_genes(replace(model, own_error=some, shared_error=some), n_permutations=100, rng=rng)
    assert (trusting.p_value < 0.01).mean() > 0.03


def test_candidates_are_the_types_that_could_make_the_change():
    rng = np.random.default_rng(1)
    theta = np.full((80, 3), 300.0)
    theta[:40] = [300.0, 0.5, 0.5]  # one type has all of the first genes
    model = made(signature=theta, error=0.0)
    ratio = model.ratio - model.ratio.mean(0) + rng.normal(0, 0.05, model.ratio.shape)
    ratio[GROUP > 0] += np.log(0.4)  # more than any one of three equal types can take away
    ratio[GROUP > 0, 40:] += np.log(0.8) - np.log(0.4)
    model = replace(model, ratio=ratio)
    test = assess_genes(model, n_permutations=20, rng=rng)
    chance = single_type(model, test, np.array([0, 39, 40, 79]))
    np.testing.assert_allclose(chance.sum(1), 1)
    found = credible(chance)
    assert found[:2].tolist() == [[True, False, False]] * 2
    assert (found[2:].sum(1) >= 2).all()
    types = assess_types(model, test, np.ones(80, dtype=bool))
    assert np.abs(types.statistic[:40, 0]).min() > 4
    assert np.quantile(np.abs(types.statistic[40:]), 0.95) < 2.5
    assert types.effect[:40, 0].mean() == pytest.approx(np.log(0.4), abs=0.06)
    assert np.abs(types.effect[:40, 0] - np.log(0.4)).max() < 0.45  # four standard errors


def test_decomposition_adds_up_and_favours_no_group():
    rng = np.random.default_rng(0)
    theta = rng.gamma(1, 100, (30, 3)) + 20
    change = rng.normal(0, 0.5, (30, 3))
    shares = rng.dirichlet([3, 3, 3], 12)
    log = np.log(np.einsum("st,gt,sgt->sg", shares, theta, np.exp(GROUP[:, None, None] * change)))
    contrast = contrast_of(np.ones((12, 1)), GROUP)
    np.testing.assert_allclose(contrast, np.where(GROUP > 0, 1, -1) / 6)
    found = decompose(log, expected_expression(shares, theta), change, contrast)
    np.testing.assert_allclose(found.composition + found.expression, found.total)
    before, after = np.log(shares @ theta.T), np.log(shares @ (theta * np.exp(change)).T)
    by_hand = 0.5 * ((before[6:].mean(0) - before[:6].mean(0)) + (after[6:].mean(0) - after[:6].mean(0)))
    np.testing.assert_allclose(found.composition, by_hand)
    # seen from the other group all signs turn, and nothing else
    back = decompose(log, expected_expression(shares, theta * np.exp(change)), -change, -contrast)
    np.testing.assert_allclose(back.composition, -found.composition)
    np.testing.assert_allclose(back.expression, -found.expression)


def test_credible_types_are_the_fewest_that_reach_95_percent():
    chance = np.array([[0.96, 0.03, 0.01], [0.1, 0.6, 0.3], [0.34, 0.02, 0.64], [0.94, 0.0, 0.06]])
    assert credible(chance).tolist() == [
        [True, False, False],
        [True, True, True],
        [True, False, True],
        [True, False, True],
    ]


def test_names():
    called = np.array([[1, 0, -1], [0, 0, 0], [0, 0, 0], [1, 1, 0], [1, 0, 0]])
    names = name_patterns(np.array([1, 1, 1, 1, 0], dtype=bool), np.array([1.0, -1, 1, 1, 1]), called, ["B", "NK", "T"])
    assert names == ["B up, T down", "undetermined down", "undetermined up", "B up, NK up", "none"]
    assert name_candidates(np.array([[1, 0, 1], [0, 0, 0]], dtype=bool), ["B", "NK", "T"]) == ["B | T", ""]
