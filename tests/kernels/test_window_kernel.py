from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from sctandem.kernels import Windows
from sctandem.kernels._links import adjust, link_evidence
from sctandem.kernels._window_kernel import PENALTIES, kernel_weights, pair_places, place_kernel

N_GENES, N_PEAKS, N_FUNCTIONS, PER_GENE = 240, 600, 5, 8
INFORMATION = 50.0


@pytest.fixture(autouse=True)
def few_landmarks(monkeypatch):
    monkeypatch.setattr("sctandem.kernels._window_kernel.LANDMARKS", 120)


def draw(
    rng, rule=None, *, noise: float = 0.1, n_genes: int = N_GENES, n_functions: int = N_FUNCTIONS
) -> SimpleNamespace:
    """Genes with peaks of three kinds; `rule(kind, windows)` gives the true weight of every pair."""
    kind = rng.integers(0, 3, N_PEAKS)
    response = 2 * np.eye(3, n_functions)[kind] + 0.3 * rng.normal(size=(N_PEAKS, n_functions))
    response[kind == 2] *= 0.1
    gene = np.repeat(np.arange(n_genes), PER_GENE)
    peak = np.concatenate([rng.choice(N_PEAKS, PER_GENE, replace=False) for _ in range(n_genes)])
    distance = rng.integers(-90_000, 90_000, gene.size)
    windows = Windows.build(gene, peak, distance=distance, width=np.full(gene.size, 500), n_genes=n_genes)
    weight = np.zeros(gene.size) if rule is None else rule(kind[windows.peak], windows)
    target = noise * rng.normal(size=(n_genes, n_functions))
    np.add.at(target, windows.gene, weight[:, None] * response[windows.peak])
    places = pair_places(windows, response, np.where(kind == 2, 1.0, 0.3) * rng.uniform(0.8, 1.2, N_PEAKS))
    return SimpleNamespace(windows=windows, places=places, response=response, target=target, weight=weight)


def fit(problem, fold=None, seed=0):
    n_genes = problem.windows.n_genes
    fold = np.arange(n_genes) % 4 if fold is None else fold
    return kernel_weights(
        problem.windows,
        problem.places,
        response=problem.response,
        target=problem.target,
        information=np.full(n_genes, INFORMATION),
        fold=fold,
        rng=np.random.default_rng(seed),
    )


def open_upstream(kind, windows):
    """Peaks of kind 0 raise, those of kind 1 lower the rate, from upstream alone."""
    return np.array([0.3, -0.3, 0.0])[kind] * (windows.distance < 0)


def not_behind_a_boundary(kind, windows):
    """Peaks of kind 0 raise, those of kind 1 lower the rate, unless one of kind 2 lies between them and the gene."""
    return np.array([0.3, -0.3, 0.0])[kind] * (between(windows, kind == 2) == 0)


def between(windows, counted):
    """Count the marked pairs of the same gene that lie on the same side and nearer, one pair at a time."""
    out = np.zeros(windows.gene.size)
    for pair, (gene, distance) in enumerate(zip(windows.gene, windows.distance, strict=True)):
        same = (windows.gene == gene) & ((windows.distance > 0) == (distance > 0))
        out[pair] = (counted & same & (np.abs(windows.distance) < abs(distance))).sum()
    return out


def test_what_lies_between_is_counted_on_the_side_of_the_peak(rng):
    problem = draw(rng)
    passed = problem.places[1][:, 0]
    expected = between(problem.windows, np.ones(passed.size, dtype=bool))
    np.testing.assert_allclose(passed / passed.std(), expected / expected.std())
    assert (expected == 0).any()


def test_the_mirrored_window_has_the_mirrored_places(rng):
    problem = draw(rng)
    windows = problem.windows
    mirrored = Windows.build(
        windows.gene, windows.peak, distance=-windows.distance, width=windows.width, n_genes=N_GENES
    )
    level = np.random.default_rng(1).uniform(0.2, 1.0, N_PEAKS)
    (own, passed), (other_own, other_passed) = (pair_places(w, problem.response, level) for w in (windows, mirrored))
    order = np.lexsort((-windows.distance, windows.gene))
    np.testing.assert_allclose(other_passed, passed[order])
    side = N_FUNCTIONS
    np.testing.assert_allclose(other_own[:, side], -own[order, side])
    np.testing.assert_allclose(np.delete(other_own, side, 1), np.delete(own[order], side, 1))


@pytest.mark.parametrize(("rule", "least"), [(open_upstream, 0.8), (not_behind_a_boundary, 0.7)])
def test_genes_teach_the_weights_of_genes_that_were_not_seen(rng, rule, least):
    problem = draw(rng, rule)
    for weight in fit(problem):
        assert np.corrcoef(weight, problem.weight)[0, 1] > least


def test_peaks_behind_a_boundary_weigh_less(rng):
    kinds = []

    def rule(kind, windows):
        kinds.append(kind)
        return not_behind_a_boundary(kind, windows)

    problem = draw(rng, rule, n_genes=400)
    size = np.abs(fit(problem)[1])
    blocked = (kinds[0] < 2) & (problem.weight == 0)
    assert size[problem.weight != 0].mean() > 1.15 * size[blocked].mean()


def test_equals_the_gaussian_process_where_every_pair_is_a_landmark(rng, monkeypatch):
    problem = draw(rng, open_upstream, n_genes=40)
    windows, penalty = problem.windows, 30.0
    monkeypatch.setattr("sctandem.kernels._window_kernel.LANDMARKS", windows.gene.size)
    monkeypatch.setattr("sctandem.kernels._window_kernel.PENALTIES", np.array([penalty]))
    seen, _ = fit(problem, np.zeros(40, dtype=int))
    covariance = place_kernel(problem.places, problem.places) / penalty
    design = np.zeros((40, N_FUNCTIONS, windows.gene.size))
    pairs = np.arange(windows.gene.size)
    design[windows.gene, :, pairs] = problem.response[windows.peak]
    design = design.reshape(-1, windows.gene.size)
    marginal = design @ covariance @ design.T + np.eye(len(design)) / INFORMATION
    special = problem.target - problem.target.mean(axis=0)
    expected = covariance @ design.T @ np.linalg.solve(marginal, special.ravel())
    np.testing.assert_allclose(seen, expected, atol=1e-4 * np.abs(expected).max())


def test_what_all_genes_share_teaches_nothing(rng):
    problem = draw(rng, open_upstream)
    before = fit(problem)
    problem.target = problem.target + rng.normal(size=N_FUNCTIONS)
    for one, other in zip(fit(problem), before, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-8 * np.abs(other).max())


def test_weights_of_a_gene_do_not_know_its_own_fold(rng):
    problem = draw(rng, open_upstream)
    fold = np.arange(N_GENES) % 4
    before = fit(problem)
    changed = SimpleNamespace(**vars(problem))
    changed.target = np.where(fold[:, None] == 2, rng.normal(size=problem.target.shape), problem.target)
    after = fit(changed)
    mine = fold[problem.windows.gene] == 2
    np.testing.assert_array_equal(after[1][mine], before[1][mine])
    assert not np.allclose(after[1][~mine], before[1][~mine])
    assert not np.allclose(after[0][mine], before[0][mine])


def test_genes_that_are_not_learned_from_do_not_matter_and_are_weighed(rng):
    problem = draw(rng, open_upstream)
    fold = np.where(np.arange(N_GENES) < 200, np.arange(N_GENES) % 4, -1)
    changed = SimpleNamespace(**vars(problem))
    changed.target = np.where(fold[:, None] < 0, 1e6, problem.target)
    for one, other in zip(fit(problem, fold), fit(changed, fold), strict=True):
        np.testing.assert_array_equal(one, other)
    new = fold[problem.windows.gene] < 0
    assert np.corrcoef(fit(problem, fold)[0][new], problem.weight[new])[0, 1] > 0.8


def test_profiles_that_follow_no_peak_teach_little_or_nothing():
    silent = 0
    for seed in range(10):
        problem = draw(np.random.default_rng(seed), noise=1 / np.sqrt(INFORMATION))
        seen, unseen = fit(problem)
        silent += not seen.any()
        assert unseen.std() < 0.02  # a tenth of the weights above
    assert silent >= 3


def test_one_fold_leaves_nothing_unseen_and_no_gene_no_weight(rng):
    problem = draw(rng, open_upstream)
    seen, unseen = fit(problem, np.zeros(N_GENES, dtype=int))
    assert seen.any()
    assert not unseen.any()
    assert not np.any(fit(problem, np.full(N_GENES, -1)))
    assert (np.diff(PENALTIES) > 0).all()


def test_no_discoveries_where_no_gene_follows_its_window():
    found = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        problem = draw(rng, noise=1.0, n_functions=40)  # far noisier than `information` says
        evidence = link_evidence(
            fit(problem)[1],
            problem.response,
            problem.target,
            peak=problem.windows.peak,
            gene=problem.windows.gene,
            chromosome=np.arange(N_GENES) % 6,
            known=np.ones(N_GENES, dtype=bool),
            n_permutations=1000,
            rng=rng,
        )
        discoveries = (adjust(evidence.pvalue, evidence.importance**2) < 0.2).sum()
        found.append(((evidence.pvalue < 0.05).mean(), discoveries))
    share, discoveries = np.array(found).T
    assert abs(share.mean() - 0.05) < 0.01
    assert (discoveries > 0).sum() <= 3
