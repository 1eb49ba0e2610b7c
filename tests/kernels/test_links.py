from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from sctandem.kernels._links import adjust, link_evidence, unit_rows

N_GENES, N_PEAKS, N_FUNCTIONS = 300, 900, 6


def draw(rng, planted: int = 0):
    """Pairs of each gene with three peaks; the first peak of the first `planted` genes is what the gene follows."""
    response, profile = rng.normal(size=(N_PEAKS, N_FUNCTIONS)), rng.normal(size=(N_GENES, N_FUNCTIONS))
    gene = np.repeat(np.arange(N_GENES), 3)
    weight = rng.normal(size=gene.size)
    for i in range(planted):
        profile[i] = np.sign(weight[3 * i]) * response[3 * i] + 0.2 * rng.normal(size=N_FUNCTIONS)
    return {
        "weight": weight,
        "response": response,
        "profile": profile,
        "peak": np.arange(N_PEAKS),
        "gene": gene,
        "chromosome": np.arange(N_GENES) % 10,
        "known": np.ones(N_GENES, dtype=bool),
        "n_permutations": 1000,
    }


def evidence(problem, seed=0):
    arguments = dict(problem)
    arrays = [arguments.pop(name) for name in ("weight", "response", "profile")]
    return link_evidence(*arrays, **arguments, rng=np.random.default_rng(seed))


def test_pvalues_are_uniform_under_the_null(rng):
    pvalue = evidence(draw(rng))[1]
    assert stats.kstest(pvalue, "uniform").pvalue > 0.01
    assert pvalue.min() > 0
    assert (adjust(pvalue) < 0.05).sum() == 0


def test_planted_links_are_found_and_weigh_more(rng):
    problem = draw(rng, planted=60)
    importance, pvalue = evidence(problem)
    planted = np.arange(0, 180, 3)
    others = np.setdiff1d(np.arange(N_PEAKS), planted)
    assert np.median(pvalue[planted]) < 0.01
    found = adjust(pvalue) < 0.1
    assert found[planted].mean() > 0.6
    assert found[others].sum() <= 0.2 * found.sum()
    assert stats.kstest(pvalue[others], "uniform").pvalue > 0.01
    size = np.abs(problem["weight"]) * np.linalg.norm(problem["response"], axis=1)
    assert (importance[planted] > 1.5 * size[planted]).all()
    assert (importance <= 2 * size + 1e-9).all()


def test_importance_is_the_formula(rng):
    problem = draw(rng)
    importance, pvalue = evidence(problem)
    for pair in (0, 17, 899):
        response, profile = problem["response"][pair], problem["profile"][pair // 3]
        weight = problem["weight"][pair]
        cosine = np.sign(weight) * (response @ profile) / np.linalg.norm(response) / np.linalg.norm(profile)
        assert importance[pair] == pytest.approx(abs(weight) * np.linalg.norm(response) * (1 + cosine))
        others = problem["profile"][np.arange(N_GENES) % 10 != pair // 3 % 10]
        null = np.sign(weight) * others @ response / np.linalg.norm(others, axis=1) / np.linalg.norm(response)
        assert pvalue[pair] == pytest.approx((1 + (null >= cosine).sum()) / (1 + len(others)))


def test_size_of_profiles_and_blocks_of_pairs_do_not_matter(rng, monkeypatch):
    problem = draw(rng)
    expected = evidence(problem)
    monkeypatch.setattr("sctandem.kernels._links.BLOCK", 100)
    scaled = {**problem, "profile": problem["profile"] * rng.uniform(0.1, 10, (N_GENES, 1))}
    for values, wanted in zip(evidence(scaled), expected, strict=True):
        np.testing.assert_allclose(values, wanted)


def test_genes_that_are_not_known_have_no_pvalue_and_are_not_compared_with(rng):
    problem = draw(rng)
    problem["known"][::2] = False
    importance, pvalue = evidence(problem)
    unknown = ~problem["known"][problem["gene"]]
    assert np.isnan(pvalue[unknown]).all()
    assert not np.isnan(pvalue[~unknown]).any()
    assert np.isfinite(importance).all()
    changed = {**problem, "profile": np.where(problem["known"][:, None], problem["profile"], 1e9)}
    np.testing.assert_array_equal(evidence(changed)[1], pvalue)


def test_one_chromosome_leaves_nothing_to_compare_with(rng):
    problem = {**draw(rng), "chromosome": np.zeros(N_GENES, dtype=int)}
    assert np.isnan(evidence(problem)[1]).all()


def test_peaks_and_genes_without_any_response_are_no_links(rng):
    problem = draw(rng)
    problem["response"][:3], problem["profile"][5] = 0, 0
    importance, pvalue = evidence(problem)
    assert (importance[:3] == 0).all()
    assert (pvalue[:3] == 1).all()
    assert (pvalue[15:18] > 0.3).all()
    np.testing.assert_array_equal(unit_rows(np.zeros((2, 3))), 0)


def test_fewer_permutations_are_drawn_by_the_seed(rng):
    problem = {**draw(rng), "n_permutations": 50}
    first, again, other = (evidence(problem, seed)[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.min() >= 1 / 51
    assert np.corrcoef(first, evidence({**problem, "n_permutations": 1000})[1])[0, 1] > 0.95


def test_adjusted_pvalues_equal_statsmodels(rng):
    pvalue = rng.uniform(size=200) ** 2
    pvalue[::7] = np.nan
    tested = ~np.isnan(pvalue)
    adjusted = adjust(pvalue)
    np.testing.assert_allclose(adjusted[tested], multipletests(pvalue[tested], method="fdr_bh")[1])
    assert np.isnan(adjusted[~tested]).all()
    assert np.isnan(adjust(np.full(3, np.nan))).all()
