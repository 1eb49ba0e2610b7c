from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import Ridge

from sctandem.kernels import _activity_fit, _learned_activity, pearson
from sctandem.kernels._activity_features import WindowPairs, window_sums
from sctandem.kernels._activity_fit import chromosome_folds
from sctandem.kernels._learned_activity import LearnedWeights, learn

N_CELLS, N_GENES, PER_GENE = 300, 80, 4


def world(seed: int = 0, n_cells: int = N_CELLS, sign: float = 1.0):
    """Peaks that open with one of four factors, of which one lowers the genes near it (for `sign` -1) and one does nothing."""
    rng = np.random.default_rng(seed)
    n_peaks = N_GENES * PER_GENE
    gene = np.repeat(np.arange(N_GENES), PER_GENE)
    factor = rng.integers(0, 4, n_peaks)
    factors = rng.normal(size=(n_cells, 4))
    counts = sparse.csr_matrix(rng.poisson(0.5 * np.exp(1.2 * factors[:, factor])))
    distance = np.where(rng.random(n_peaks) < 0.5, -1, 1) * rng.uniform(100, 90_000, n_peaks)
    effect = np.array([1.0, 1.0, sign, 0.0])[factor] * np.exp(-np.abs(distance) / 50_000)
    rate = np.stack([factors[:, factor[gene == g]] @ effect[gene == g] for g in range(N_GENES)], axis=1)
    expression = rate + 0.5 * rng.normal(size=rate.shape)
    pairs = WindowPairs(
        gene=gene,
        peak=np.arange(n_peaks),
        distance=distance,
        length=np.full(n_peaks, 10_000.0),
        between=np.zeros(n_peaks, dtype=int),
        width=np.full(n_peaks, 500.0),
        n_genes=N_GENES,
    )
    chromosome = np.array([f"chr{i % 8}" for i in range(N_GENES)])
    return counts, expression, pairs, chromosome


def of_genes(pairs: WindowPairs, genes: np.ndarray) -> WindowPairs:
    """Keep the pairs of some genes, numbered anew."""
    number = np.full(pairs.n_genes, -1)
    number[genes] = np.arange(len(genes))
    kept = number[pairs.gene] >= 0
    parts = {name: getattr(pairs, name)[kept] for name in ("peak", "distance", "length", "between")}
    return replace(pairs, gene=number[pairs.gene[kept]], **parts, n_genes=len(genes))


def held_out(counts, expression, pairs, chromosome) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Learn on some chromosomes in some cells; give truth, scores and those of a fixed kernel for the others in other cells."""
    cells = np.arange(len(expression)) < 0.7 * len(expression)
    test = np.isin(chromosome, ["chr6", "chr7"])
    seen, rest = np.flatnonzero(~test), np.flatnonzero(test)
    weights = learn(counts[cells], expression[cells][:, seen], of_genes(pairs, seen), chromosome=chromosome[seen])
    asked = of_genes(pairs, rest)
    fixed = next(window_sums(asked, weights.state, [np.exp(-np.abs(asked.distance) / 50_000)]))
    smoothed = weights.state.coordinates(counts[~cells]) @ fixed.T
    return expression[~cells][:, rest], weights.scores(counts[~cells], asked), smoothed


def mean_pearson(truth: np.ndarray, scores: np.ndarray) -> float:
    return float(np.nan_to_num(pearson(truth, scores)).mean())


@pytest.fixture(name="fitted", scope="module")
def fixture_fitted():
    counts, expression, pairs, chromosome = world(sign=-1.0)
    return learn(counts, expression, pairs, chromosome=chromosome), counts, pairs


def test_unseen_genes_in_unseen_cells_follow_their_scores():
    truth, scores, _ = held_out(*world())
    assert mean_pearson(truth, scores) > 0.4


def test_repressors_are_told_from_activators(fitted):
    truth, scores, fixed = held_out(*world(sign=-1.0))
    assert mean_pearson(truth, scores) > mean_pearson(truth, fixed) + 0.1
    weights, _, pairs = fitted
    factor = np.random.default_rng(0).integers(0, 4, len(pairs.peak))
    values = weights.weights(pairs)
    near = np.abs(pairs.distance) < 30_000
    mean = [values[near & (factor == f)].mean() for f in range(4)]
    assert min(mean[0], mean[1]) > 3 * abs(mean[3])
    assert mean[2] < -3 * abs(mean[3])


def test_windows_of_other_genes_give_no_skill():
    skills = []
    for seed in range(6):
        counts, expression, pairs, chromosome = world(seed)
        other = expression[:, np.random.default_rng(seed).permutation(N_GENES)]
        skills.append(mean_pearson(*held_out(counts, other, pairs, chromosome)[:2]))
    assert abs(np.mean(skills)) < 0.08


def test_expression_of_other_cells_gives_next_to_no_scores():
    counts, expression, pairs, chromosome = world()
    real = held_out(counts, expression, pairs, chromosome)[1]
    other = expression[np.random.default_rng(1).permutation(N_CELLS)]
    assert held_out(counts, other, pairs, chromosome)[1].std() < 0.25 * real.std()


def test_planted_coefficients_are_recovered(monkeypatch):
    rng = np.random.default_rng(0)
    sums = rng.normal(size=(200, 6, 4)) * np.array([1.0, 10.0, 0.1, 1.0])
    coefficients, components = np.array([0.5, 0.02, -3.0, 0.0]), np.array([2.0, 1.0, 1.0, 0.5, 0.3, 0.0])
    target = (sums @ coefficients) * components + rng.normal(size=6)  # the same in all genes: taken out
    monkeypatch.setattr(_activity_fit, "FEATURE_PENALTY", 0.0)
    monkeypatch.setattr(_activity_fit, "COMPONENT_PENALTY", 0.0)
    monkeypatch.setattr(_activity_fit, "N_ROUNDS", 20)
    base = _activity_fit.fit_features(sums, target)
    found = np.outer(base.coefficients, base.components)
    np.testing.assert_allclose(found, np.outer(coefficients, components), atol=1e-3)


def test_components_that_predict_the_opposite_get_no_weight():
    rng = np.random.default_rng(0)
    sums = rng.normal(size=(200, 3, 1))
    base = _activity_fit.fit_features(sums, sums[..., 0] * np.array([1.0, 1.0, -1.0]))
    assert base.components[2] == 0
    assert (base.components[:2] > 0).all()


def test_maps_are_those_of_ridge_regression():
    rng = np.random.default_rng(0)
    sums, outer, target = rng.normal(size=(40, 7, 2)), rng.normal(size=(2, 40, 7)), rng.normal(size=(40, 7))
    base = _activity_fit.fit_features(sums, target)
    found, offset = _activity_fit.fit_maps(base, sums, outer, target)
    blocks = np.concatenate([(sums @ base.coefficients)[None], outer]) - offset[:, None]
    np.testing.assert_allclose(blocks.mean(1), 0, atol=1e-12)
    left = (target - target.mean(0) - blocks[0] * base.components)[:, :5]
    scale = np.sqrt((blocks[:, :, :5] ** 2).mean((1, 2)))
    design = np.concatenate(list(blocks[:, :, :5] / scale[:, None, None]), axis=1)
    for j, penalty in ((2, 1.0), (4, 10.0)):
        alpha = penalty * (design**2).sum() / 15
        expected = Ridge(alpha=alpha, fit_intercept=False).fit(design, left).coef_.T
        found_here = np.concatenate(list(found[0, j][:, :5, :5] * scale[:, None, None]))
        np.testing.assert_allclose(found_here, expected, atol=1e-8)
        assert (found[0, j][:, 5:] == 0).all()
        assert (found[0, j][:, :, 5:] == 0).all()
    assert (found[1, len(_activity_fit.PENALTIES) - 1] == 0).all()


def test_targets_are_correlations_and_what_genes_share():
    rng = np.random.default_rng(0)
    design = rng.normal(size=(500, 3))
    design = (design - design.mean(0)) / design.std(0)
    expression = np.column_stack([design @ [1.0, 0.5, 0.2], rng.normal(size=500), np.ones(500)])
    target, shared = _learned_activity._targets(expression, design)
    assert target.shape == (3, 2)
    expected = np.corrcoef(expression[:, :2].T, design.T)[:2, 2:4]
    np.testing.assert_allclose(target[:2], expected, atol=1e-12)
    assert (target[2] == 0).all()
    standard = (expression[:, :2] - expression[:, :2].mean(0)) / expression[:, :2].std(0)
    np.testing.assert_allclose(shared, np.linalg.lstsq(design, standard.mean(1))[0], atol=1e-4)
    sparse_target, _ = _learned_activity._targets(sparse.csr_matrix(expression), design)
    np.testing.assert_allclose(sparse_target, target, atol=1e-12)


def test_scores_are_linear_in_the_peaks_with_the_weights_of_pairs(fitted):
    weights, counts, pairs = fitted
    state = weights.state
    all_pairs = (state.weight[:, None] * state.loadings / state.spread) @ weights.profiles(pairs).T
    np.testing.assert_allclose(weights.weights(pairs), all_pairs[pairs.peak, pairs.gene])
    opened = (counts.toarray() > 0).astype(float)
    n = opened.sum(1, keepdims=True)
    signal = (opened - n * (state.mean / state.weight)) * np.sqrt(state.depth / n)
    expected = signal @ all_pairs
    found = weights.scores(counts, pairs)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found - found.mean(0), expected - expected.mean(0), atol=1e-3)


def test_what_genes_share_is_the_same_for_all(fitted):
    weights, counts, pairs = fitted
    added = weights.scores(counts, pairs, shared=True) - weights.scores(counts, pairs)
    np.testing.assert_allclose(added, np.repeat(added[:, :1], N_GENES, axis=1), atol=1e-5)
    assert added.std() > 0


def test_order_of_cells_genes_and_peaks_does_not_matter():
    counts, expression, pairs, chromosome = world(1)
    base = learn(counts, expression, pairs, chromosome=chromosome).scores(counts, pairs)
    rng = np.random.default_rng(0)
    cells, genes, peaks = rng.permutation(N_CELLS), rng.permutation(N_GENES), rng.permutation(len(pairs.width))
    moved = of_genes(pairs, genes)
    place = np.argsort(peaks)
    moved = replace(moved, peak=place[moved.peak], width=moved.width[peaks])
    shuffled = rng.permutation(len(moved.gene))
    parts = {name: getattr(moved, name)[shuffled] for name in ("gene", "peak", "distance", "length", "between")}
    moved = replace(moved, **parts)
    other = counts[cells][:, peaks]
    found = learn(other, expression[cells][:, genes], moved, chromosome=chromosome[genes]).scores(other, moved)
    np.testing.assert_allclose(found, base[np.ix_(cells, genes)], atol=0.01 * base.std())


def test_every_cell_twice_changes_nothing():
    counts, expression, pairs, chromosome = world(2)
    once = learn(counts, expression, pairs, chromosome=chromosome)
    twice = learn(sparse.vstack([counts, counts]).tocsr(), np.vstack([expression] * 2), pairs, chromosome=chromosome)
    a, b = once.scores(counts, pairs), twice.scores(counts, pairs)
    np.testing.assert_allclose(a, b, atol=0.01 * a.std())
    np.testing.assert_allclose(once.skill, twice.skill, atol=1e-3)


def test_same_seed_same_weights():
    counts, expression, pairs, chromosome = world(3)
    a, b = (learn(counts, expression, pairs, chromosome=chromosome, rng=5).weights(pairs) for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_genes_without_pairs_score_nothing(fitted):
    weights, counts, pairs = fitted
    more = replace(pairs, n_genes=N_GENES + 2)
    scores = weights.scores(counts, more)
    assert (scores[:, N_GENES:] == 0).all()
    np.testing.assert_allclose(scores[:, :N_GENES], weights.scores(counts, pairs), atol=1e-5)


def test_profiles_of_the_genes_learned_from_differ_around_nothing(fitted):
    weights, _, pairs = fitted
    profiles = weights.profiles(pairs)
    assert np.abs(profiles.mean(0)).max() < 1e-9
    assert profiles.std() > 1e-3


def test_nothing_is_learned_from_constant_genes_and_genes_without_pairs():
    counts, expression, pairs, chromosome = world()
    base = learn(counts, expression, pairs, chromosome=chromosome)
    genes = np.arange(N_GENES) + 2
    more = replace(pairs, gene=genes[pairs.gene], n_genes=N_GENES + 2)
    more = replace(
        more, gene=np.where(more.gene == 2, 0, more.gene)
    )  # the pairs of gene 2 now are those of a constant gene
    values = np.column_stack([np.ones(N_CELLS), expression[:, 0], expression])
    found = learn(counts, values, more, chromosome=np.append(["chr0", "chr0"], chromosome))
    part = of_genes(pairs, np.arange(1, N_GENES))
    alone = learn(counts, expression[:, 1:], part, chromosome=chromosome[1:])
    assert not np.allclose(base.components, alone.components)
    np.testing.assert_allclose(found.components, alone.components, rtol=0.05, atol=0.05)


def test_weights_survive_a_file(fitted, tmp_path):
    import anndata as ad

    weights, counts, pairs = fitted
    adata = ad.AnnData(np.zeros((2, 2), dtype=np.float32), uns={"weights": weights.as_arrays()})
    adata.write_h5ad(tmp_path / "a.h5ad")
    again = LearnedWeights.from_arrays(ad.read_h5ad(tmp_path / "a.h5ad").uns["weights"])
    np.testing.assert_array_equal(again.scores(counts, pairs), weights.scores(counts, pairs))
    np.testing.assert_array_equal(again.penalties, weights.penalties)


def test_weights_of_other_features_are_refused(fitted):
    arrays = fitted[0].as_arrays()
    arrays["features"] = np.array(["distance"], dtype=object)
    with pytest.raises(ValueError, match=r"learned with other features \(distance\): learn them again"):
        LearnedWeights.from_arrays(arrays)


def test_weights_apply_to_the_same_peaks_elsewhere(fitted):
    weights, counts, pairs = fitted
    order = np.random.default_rng(0).permutation(len(pairs.width))
    moved = replace(pairs, peak=np.argsort(order)[pairs.peak], width=pairs.width[order])
    scores = weights.select_peaks(order).scores(counts[:, order], moved)
    np.testing.assert_allclose(scores, weights.scores(counts, pairs), atol=1e-3)


@pytest.mark.parametrize(
    ("n_genes", "chromosomes", "problem"),
    [(9, 3, "only 9 genes, on 3 chromosomes"), (40, 1, "only 40 genes, on 1 chromosomes")],
)
def test_too_little_to_learn_from(n_genes, chromosomes, problem):
    counts, expression, pairs, _ = world()
    chromosome = np.array([f"chr{i % chromosomes}" for i in range(n_genes)])
    with pytest.raises(ValueError, match=problem):
        learn(counts, expression[:, :n_genes], of_genes(pairs, np.arange(n_genes)), chromosome=chromosome)


@pytest.mark.parametrize("value", [0, 1])
def test_cells_that_do_not_differ(value):
    counts, expression, pairs, chromosome = world()
    alike = sparse.csr_matrix(np.full(counts.shape, value))
    with pytest.raises(ValueError, match="the 300 cells do not differ in which of the 320 peaks are open"):
        learn(alike, expression, pairs, chromosome=chromosome)


def test_too_few_cells():
    counts, expression, pairs, chromosome = world()
    with pytest.raises(ValueError, match="only 19 cells: weights can be learned from at least 20"):
        learn(counts[:19], expression[:19], pairs, chromosome=chromosome)
    few = learn(counts[:20], expression[:20], pairs, chromosome=chromosome)
    assert np.isfinite(few.scores(counts, pairs)).all()


def test_folds_hold_whole_chromosomes_and_do_not_depend_on_the_order():
    chromosome = np.repeat(["a", "b", "c", "d", "e"], [10, 4, 3, 2, 1])
    fold = chromosome_folds(chromosome, 2)
    assert [len(set(fold[chromosome == name])) for name in "abcde"] == [1] * 5
    assert np.bincount(fold).tolist() == [10, 10]
    order = np.random.default_rng(0).permutation(20)
    np.testing.assert_array_equal(chromosome_folds(chromosome[order], 2), fold[order])
    assert chromosome_folds(np.array(["a", "a"]), 4).tolist() == [0, 0]
    rising = np.repeat(["a", "b", "c"], [2, 3, 5])  # the largest goes first, or folds of 7 and 3 would come out
    assert np.bincount(chromosome_folds(rising, 2)).tolist() == [5, 5]


def test_maps_are_the_mean_over_ranks(monkeypatch):
    data = world()
    whole = learn(*data[:3], chromosome=data[3])
    alone = []
    for rank in _activity_fit.RANKS:
        monkeypatch.setattr(_activity_fit, "RANKS", (rank,))
        alone.append(learn(*data[:3], chromosome=data[3]))
    np.testing.assert_allclose(whole.maps, np.mean([each.maps for each in alone], axis=0), atol=1e-12)
    np.testing.assert_allclose(whole.penalties, [each.penalties[0] for each in alone])
    assert np.isfinite(whole.penalties).sum() > 1  # or the mean would say nothing
