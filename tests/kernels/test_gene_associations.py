"""Dependence of genes within strata: against closed forms, drawn permutations, and simulations with known truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse, stats

from sctandem.kernels._count_scores import CountScores, fit_count_model
from sctandem.kernels._gene_associations import dependence, pearson_tail
from sctandem.kernels._gene_modules import pair_weights, shared_structure, shrink_spikes
from sctandem.kernels._links import adjust

PAIRS = 15


def draw(seed: int, *, n_genes=90, n_strata=6, n_cells=120, modules=0, depth_sd=0.6, level=0.0):
    """Counts in strata with means, depths and dispersions of their own; the first genes follow hidden regulators."""
    rng = np.random.default_rng(seed)
    loadings = np.zeros((n_genes, max(modules, 1)))
    for k in range(modules):
        loadings[PAIRS * k : PAIRS * (k + 1), k] = rng.choice([-1, 1], PAIRS) * rng.uniform(0.4, 0.8, PAIRS)
    strata = np.repeat(np.arange(n_strata), n_cells)
    log = level + rng.normal(0, 1, n_genes) + rng.normal(0, 1, (n_strata, n_genes))[strata]
    log = log + rng.normal(size=(len(strata), loadings.shape[1])) @ loadings.T
    depth = np.exp(rng.normal(0, depth_sd, (len(strata), 1)))
    theta = rng.uniform(2, 8, n_genes)
    counts = rng.poisson(np.exp(log) * depth * rng.gamma(theta, 1 / theta, log.shape))
    module = np.where(np.arange(n_genes) < PAIRS * modules, np.arange(n_genes) // PAIRS, -1)
    return counts, strata, module, loadings


def find(counts: np.ndarray, strata: np.ndarray, genes: np.ndarray | None = None):
    matrix = sparse.csr_matrix(counts.astype(float))
    genes = np.arange(counts.shape[1]) if genes is None else genes
    return dependence(CountScores(matrix, fit_count_model(matrix, strata), genes))


def upper(matrix: np.ndarray) -> np.ndarray:
    return matrix[np.triu_indices(len(matrix), 1)]


def shuffled(counts: np.ndarray, strata: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    result = counts.copy()
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        for j in range(counts.shape[1]):
            result[rows, j] = counts[rng.permutation(rows), j]
    return result


def test_the_model_finds_depth_share_and_dispersion():
    rng = np.random.default_rng(0)
    strata = np.repeat([0, 1], 1500)
    share = rng.dirichlet(np.full(60, 2.0), 2)
    depth = rng.lognormal(np.log(600), 0.5, len(strata))
    dispersion = np.repeat([0.1, 0.5, 1.0], 20)
    mean = share[strata] * depth[:, None]
    counts = rng.poisson(mean * rng.gamma(1 / dispersion, dispersion, mean.shape))
    model = fit_count_model(sparse.csr_matrix(counts.astype(float)), strata)
    np.testing.assert_allclose(model.dispersion, dispersion, rtol=0.35)
    np.testing.assert_allclose(model.share / model.share.sum(1, keepdims=True), share, rtol=0.1)
    own = np.log(model.depth / depth)
    plain = np.log(counts.sum(1) / depth)
    assert own.std() < 0.97 * plain.std()  # closer to the truth than the total
    # by the information: the spread of the estimate around the truth is what the model says
    assert own.std() == pytest.approx(np.sqrt(1 / model.information).mean(), rel=0.1)


def test_scores_are_the_derivative_of_the_likelihood():
    counts, strata, *_ = draw(0, n_genes=8, n_strata=2)
    matrix = sparse.csr_matrix(counts.astype(float))
    model = fit_count_model(matrix, strata)
    scores = CountScores(matrix, model, np.arange(8))
    scores._slope[:] = 0
    for stratum, found, width in scores:
        cells = scores.cells[stratum]
        mean = model.depth[cells, None] * model.share[stratum]
        size = 1 / model.dispersion

        def likelihood(eta, mean=mean, cells=cells, size=size):
            return stats.nbinom.logpmf(counts[cells], size, size / (size + mean * np.exp(eta)))

        slope = (likelihood(1e-5) - likelihood(-1e-5)) / 2e-5
        kept = counts[cells] < mean + 1 + 6 * np.sqrt(mean * (1 + mean / size))
        slope, ours = slope - slope.mean(0), found
        whole = kept.all(0)
        assert whole.sum() >= 4
        np.testing.assert_allclose(ours[:, whole], slope[:, whole], atol=1e-5)
        np.testing.assert_allclose(width, mean / (1 + mean / size))


def test_moments_are_those_of_drawn_permutations():
    """Without differences of depth the null distribution is the plain permutation of cells within strata."""
    rng = np.random.default_rng(1)
    strata = np.repeat([0, 1, 2], 40)
    counts = rng.poisson(np.array([0.4, 1.5])[None] * np.ones((120, 2)))
    rest = rng.poisson(np.full((120, 400), 5.0))
    rest[:, -1] += 1000 - rest.sum(1)  # the same total in all cells
    found = find(np.hstack([counts, rest]), strata, np.arange(2))
    matrix = sparse.csr_matrix(np.hstack([counts, rest]).astype(float))
    scores = [score for _, score, _ in CountScores(matrix, fit_count_model(matrix, strata), np.arange(2))]
    drawn = np.array(
        [sum(float(one[rng.permutation(len(one)), 0] @ one[:, 1]) for one in scores) for _ in range(20_000)]
    )
    observed = sum(float(one[:, 0] @ one[:, 1]) for one in scores)
    scale = np.sqrt(np.prod([sum((one[:, j] ** 2).sum() for one in scores) for j in range(2)]))
    assert np.sqrt(found.variance[0, 1]) * scale == pytest.approx(drawn.std(), rel=0.05)
    tail = 2 * min((drawn >= observed).mean(), (drawn <= observed).mean())
    assert found.p_value[0, 1] == pytest.approx(tail, abs=0.05)


def test_pearson_tail():
    """Against the distribution itself on its heavy side, the normal one without skewness, and never below it on the light side."""
    z = np.linspace(-4, 6, 21)
    skew = np.full_like(z, 0.8)
    heavy = z > 0
    np.testing.assert_allclose(
        pearson_tail(z, skew)[heavy], np.minimum(2 * stats.pearson3.sf(z, 0.8)[heavy], 1), rtol=1e-9
    )
    np.testing.assert_allclose(pearson_tail(-z, -skew), pearson_tail(z, skew), rtol=1e-12)
    np.testing.assert_allclose(pearson_tail(z, np.zeros_like(z)), 2 * stats.norm.sf(np.abs(z)))
    assert (pearson_tail(z, skew)[~heavy] >= 2 * stats.norm.sf(np.abs(z[~heavy])) - 1e-12).all()


@pytest.mark.parametrize("level", [0.0, -2.0])
def test_p_values_are_uniform_without_associations(level):
    """Strata differ in all means and cells in depth: neither makes an association."""
    small, edges, scores = [], 0, []
    for seed in range(4):
        counts, strata, *_ = draw(seed, level=level)
        found = find(counts, strata)
        p = upper(found.p_value)
        p = p[np.isfinite(p)]
        small.append([(p < limit).mean() for limit in (0.5, 0.05, 0.01)])
        edges += (adjust(upper(found.p_value), upper(pair_weights(found, shared_structure(found)))) <= 0.05).sum()
        known = upper(found.variance) > 0
        scores.extend(upper(found.correlation)[known] / np.sqrt(upper(found.variance)[known]))
    half, twentieth, hundredth = np.mean(small, axis=0)
    assert 0.42 < half < 0.54
    assert 0.03 < twentieth < 0.056
    assert hundredth < 0.013
    assert np.std(scores) == pytest.approx(1, abs=0.05)
    assert abs(np.mean(scores)) < 0.05
    assert edges <= 1


def test_shuffled_counts_have_no_associations():
    counts, strata, module, _ = draw(5, modules=2)
    assert module.max() == 1
    found = find(counts, strata)
    mixed = find(shuffled(counts, strata, 0), strata)
    edges = [(adjust(upper(one.p_value)) <= 0.05).sum() for one in (found, mixed)]
    assert edges[0] > 100
    assert edges[1] == 0
    assert shared_structure(mixed).loadings.shape[1] == 0


def test_an_abundant_variable_gene_does_not_press_others_down():
    """Where totals stand for depth, what one gene gains all others lose."""
    rng = np.random.default_rng(3)
    strata = np.zeros(1500, dtype=int)
    mean = np.full(60, 3.0)
    mean[0] = 200
    shape = np.full(60, 8.0)
    shape[0] = 1.5
    counts = rng.poisson(mean * rng.gamma(shape, 1 / shape, (1500, 60)))
    found = find(counts, strata)
    z = found.correlation[0, 1:] / np.sqrt(found.variance[0, 1:])
    by_total = np.log1p(counts / counts.sum(1, keepdims=True) * 300)
    plain = np.corrcoef(by_total.T)[0, 1:] * np.sqrt(1500)
    assert plain.mean() < -5
    assert abs(z.mean()) < 0.7
    assert (found.p_value[0, 1:] < 0.05).mean() < 0.15


def test_true_modules_are_found():
    errors, found_pairs, signs, own = [], [], [], []
    for seed in range(3):
        counts, strata, module, loadings = draw(10 + seed, modules=3, level=0.5)
        found = find(counts, strata)
        shared = shared_structure(found)
        assert shared.loadings.shape[1] == 3
        q = adjust(upper(found.p_value), upper(pair_weights(found, shared)))
        true = upper((module[:, None] == module) & (module >= 0))
        chosen = q <= 0.05
        errors.append((chosen & ~true).sum() / chosen.sum())
        found_pairs.append((chosen & true).sum() / true.sum())
        own.append(((adjust(upper(found.p_value)) <= 0.05) & true).sum() / true.sum())
        signs.append(
            (np.sign(upper(shared.association)) == np.sign(upper(loadings @ loadings.T)))[chosen & true].mean()
        )
        largest = np.abs(shared.loadings).argmax(1)
        for k in range(3):
            assert (largest[module == k] == np.bincount(largest[module == k]).argmax()).mean() > 0.9
    assert np.mean(errors) <= 0.05
    assert np.mean(found_pairs) > np.mean(own)  # other pairs help
    assert np.mean(found_pairs) > 0.85
    assert np.mean(signs) > 0.99


@pytest.mark.parametrize("pair", [(0, 1), (3, 9), (16, 20), (3, 20), (2, 70)])
def test_what_other_pairs_lead_to_expect_does_not_know_the_pair(pair):
    """A little more correlation of one pair moves the factors, and hardly what the weight of this pair rests on."""
    counts, strata, *_ = draw(11, modules=3, level=0.5)
    found = find(counts, strata)
    step, moved = 0.2 * np.sqrt(found.variance[pair]), []
    for sign in (-1, 1):
        other = found.correlation.copy()
        other[pair] = other[pair[::-1]] = found.correlation[pair] + sign * step
        shared = shared_structure(replace(found, correlation=other))
        moved.append([shared.expected[pair], shared.loadings[pair[0]] @ shared.loadings[pair[1]]])
    own, smooth = (np.array(moved[1]) - moved[0]) / (2 * step)
    assert smooth > 0.04
    assert abs(own) < 0.25 * smooth


def test_a_panel_of_few_genes_has_no_negative_associations():
    """The depth is told by the genes themselves: with few of them what one gains the others seem to lose, by a known amount."""
    scores, small = [], []
    for seed in range(3):
        counts, strata, *_ = draw(seed, n_genes=12, n_strata=3, level=1.0)
        found = find(counts, strata)
        scores.append(upper(found.correlation / np.sqrt(found.variance)))
        small.append(upper(found.p_value) < 0.05)
    assert np.mean(scores) == pytest.approx(0, abs=0.25)  # -0.1
    assert np.mean(small) < 0.1  # 0.05, and 0.36 without what is known


def test_counts_that_do_not_follow_the_depth_make_no_association():
    rng = np.random.default_rng(0)
    depth = rng.normal(0, 0.7, 1500)
    slope = np.where(np.arange(200) < 6, 0.3, 1.0)  # six genes saturate
    counts = rng.poisson(3 * np.exp(np.outer(depth, slope)))
    found = find(counts, np.zeros(1500, dtype=int))
    among = found.correlation[:6, :6] / np.sqrt(found.variance[:6, :6])
    assert np.abs(upper(among)).mean() < 2  # 10 without a slope of their own


def test_counts_far_above_their_mean_are_cut():
    rng = np.random.default_rng(0)
    counts = rng.poisson(2.0, (600, 100))
    counts[0, 0], counts[1, 0] = 500, 0
    matrix = sparse.csr_matrix(counts.astype(float))
    model = fit_count_model(matrix, np.zeros(600, dtype=int))
    scores = CountScores(matrix, model, np.arange(100))
    scores._slope[:] = 0
    ((_, score, _),) = list(scores)
    mean = model.depth[:2] * model.share[0, 0]
    width = 1 + model.dispersion[0] * mean
    highest = mean[0] + 1 + 6 * np.sqrt(mean[0] * width[0])
    assert highest < 100
    assert score[0, 0] - score[1, 0] == pytest.approx((highest - mean[0]) / width[0] + mean[1] / width[1])


def test_order_of_genes_and_cells_does_not_matter():
    counts, strata, *_ = draw(2, modules=2)
    rng = np.random.default_rng(0)
    cells, genes = rng.permutation(len(counts)), rng.permutation(counts.shape[1])
    first = find(counts, strata)
    second = find(counts[np.ix_(cells, genes)], strata[cells])
    where = np.ix_(genes, genes)
    np.testing.assert_allclose(second.correlation, first.correlation[where], atol=1e-9)
    np.testing.assert_allclose(second.p_value, first.p_value[where], rtol=1e-6)
    turned = shared_structure(second).association
    np.testing.assert_allclose(turned, shared_structure(first).association[where], atol=1e-4)


def test_a_pair_on_its_own_is_kept():
    """Two genes that nobody else follows are no module, but an association."""
    counts, strata, *_ = draw(4, n_genes=60)
    rng = np.random.default_rng(0)
    both = np.exp(rng.normal(0, 1, len(counts)))
    counts[:, 0], counts[:, 1] = rng.poisson(3 * both), rng.poisson(3 * both)
    found = find(counts, strata)
    shared = shared_structure(found)
    assert found.p_value[0, 1] < 1e-20
    assert shared.association[0, 1] > 0.3


def test_spikes_are_shrunken_to_the_truth():
    """Eigenvalues of samples from a matrix with known ones."""
    rng = np.random.default_rng(0)
    n, p = 4000, 400
    true = np.array([5.0, 2.0, 1.0])
    vectors = np.linalg.qr(rng.normal(size=(p, 3)))[0]
    data = rng.normal(size=(n, p)) + (rng.normal(size=(n, 3)) * np.sqrt(true)) @ vectors.T
    values, basis = np.linalg.eigh(data.T @ data / n)
    kept, size = shrink_spikes(values, p / n)
    assert len(kept) == 3
    # the size is the spike times the squared cosine of its eigenvector with the true one
    cosine = ((basis[:, kept].T @ vectors) ** 2).max(1)
    np.testing.assert_allclose(size, true[::-1] * cosine, rtol=0.1)
    assert len(shrink_spikes(np.linalg.eigvalsh(np.cov(rng.normal(size=(p, n)))), p / n)[0]) == 0
