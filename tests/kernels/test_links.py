from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from sctandem.kernels._links import adjust, link_evidence, unexplained, unit_rows

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
    pvalue = evidence(draw(rng)).pvalue
    assert stats.kstest(pvalue, "uniform").pvalue > 0.01
    assert pvalue.min() > 0
    assert (adjust(pvalue) < 0.05).sum() == 0


def test_planted_links_are_found_and_agree(rng):
    problem = draw(rng, planted=60)
    found = evidence(problem)
    planted = np.arange(0, 180, 3)
    others = np.arange(180, N_PEAKS)
    assert np.median(found.pvalue[planted]) < 0.02
    hits = adjust(found.pvalue) < 0.2
    assert hits[planted].mean() > 0.3
    assert hits[others].sum() <= 0.3 * hits.sum()
    assert np.median(found.agreement[planted]) > 1.5


def test_a_pair_is_asked_about_what_the_others_leave_unexplained(rng):
    # each gene is the sum of its three peaks: with the two others taken away each peak stands out, and not before
    problem = draw(rng)
    weight, response = problem["weight"], problem["response"]
    profile = np.zeros((N_GENES, N_FUNCTIONS))
    np.add.at(profile, problem["gene"], weight[:, None] * response)
    found = evidence({**problem, "profile": profile + 0.3 * rng.normal(size=profile.shape)})
    strong = np.abs(weight) > 1
    assert np.median(found.pvalue[strong]) < 0.01
    left, effect = unexplained(
        weight, response, profile - profile.mean(0), peak=problem["peak"], gene=problem["gene"], known=problem["known"]
    )
    np.testing.assert_allclose(left, 0, atol=1e-9)
    np.testing.assert_allclose(effect, weight[:, None] * response)


def test_agreement_is_the_formula(rng):
    # windows explain about half of each profile: what genes leave unexplained is far from what they are
    problem = draw(rng)
    explained = np.zeros((N_GENES, N_FUNCTIONS))
    for pair, gene in enumerate(problem["gene"]):
        explained[gene] += problem["weight"][pair] * problem["response"][pair]
    problem["profile"] = explained + explained.std() * problem["profile"]
    problem["profile"] -= problem["profile"].mean(0)
    found = evidence(problem)
    explained -= explained.mean(0)
    scale = max(0, (explained * problem["profile"]).sum() / (explained**2).sum())
    left = problem["profile"] - scale * explained
    assert (left**2).sum() / (problem["profile"] ** 2).sum() == pytest.approx(0.5, abs=0.05)
    for pair in (0, 17, 899):
        response, weight, side = problem["response"][pair], problem["weight"][pair], np.sign(problem["weight"][pair])
        aim = left[pair // 3] + scale * weight * response
        cosine = side * (response @ aim) / np.linalg.norm(response) / np.linalg.norm(aim)
        others = left[np.arange(N_GENES) % 10 != pair // 3 % 10]
        null = side * others @ response / np.linalg.norm(others, axis=1) / np.linalg.norm(response)
        assert found.agreement[pair] == pytest.approx((cosine - null.mean()) / null.std())
        assert found.importance[pair] == pytest.approx(abs(weight) * np.linalg.norm(response))
        assert found.pvalue[pair] == pytest.approx((null >= cosine).mean(), abs=0.06)


def test_blocks_of_pairs_do_not_matter(rng, monkeypatch):
    problem = draw(rng)
    expected = evidence(problem)
    monkeypatch.setattr("sctandem.kernels._links.BLOCK", 100)
    again = evidence(problem)
    np.testing.assert_allclose(again.agreement, expected.agreement)
    np.testing.assert_allclose(again.pvalue, expected.pvalue)


def test_genes_that_are_not_known_have_no_pvalue_and_are_not_compared_with(rng):
    problem = draw(rng)
    problem["known"][::2] = False
    found = evidence(problem)
    unknown = ~problem["known"][problem["gene"]]
    assert np.isnan(found.pvalue[unknown]).all()
    assert (found.agreement[unknown] == 0).all()
    assert not np.isnan(found.pvalue[~unknown]).any()
    assert np.isfinite(found.importance).all()
    changed = {**problem, "profile": np.where(problem["known"][:, None], problem["profile"], 1e9)}
    np.testing.assert_array_equal(evidence(changed).pvalue, found.pvalue)


def test_one_chromosome_leaves_nothing_to_compare_with(rng):
    problem = {**draw(rng), "chromosome": np.zeros(N_GENES, dtype=int)}
    assert np.isnan(evidence(problem).pvalue).all()


def test_peaks_without_any_response_are_not_tested(rng):
    problem = draw(rng)
    problem["response"][:3] = 0
    found = evidence(problem)
    assert (found.importance[:3] == 0).all()
    assert np.isnan(found.pvalue[:3]).all()
    np.testing.assert_array_equal(unit_rows(np.zeros((2, 3))), 0)


def test_fewer_permutations_are_drawn_by_the_seed(rng):
    problem = {**draw(rng), "n_permutations": 50}
    first, again, other = (evidence(problem, seed).pvalue for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.corrcoef(first, evidence({**problem, "n_permutations": 1000}).pvalue)[0, 1] > 0.95


def test_weights_move_discoveries_and_keep_the_error_rate(rng):
    wrong, total = 0, 0
    for _ in range(200):
        real = np.arange(200) < 40
        pvalue = stats.norm.sf(rng.normal(size=200) + 3.0 * real)
        hits = adjust(pvalue, np.where(real, 3.0, 0.5)) < 0.1
        wrong, total = wrong + (hits & ~real).sum() / max(1, hits.sum()), total + hits[real].sum()
        equal = adjust(pvalue, np.ones(200))
        np.testing.assert_allclose(equal, adjust(pvalue))
    assert wrong / 200 < 0.1
    assert total / 200 > 30


def test_adjusted_pvalues_equal_statsmodels(rng):
    pvalue = rng.uniform(size=200) ** 2
    pvalue[::7] = np.nan
    tested = ~np.isnan(pvalue)
    adjusted = adjust(pvalue)
    np.testing.assert_allclose(adjusted[tested], multipletests(pvalue[tested], method="fdr_bh")[1])
    assert np.isnan(adjusted[~tested]).all()
    assert np.isnan(adjust(np.full(3, np.nan))).all()
