from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from benchmarks import peers
from benchmarks.peers import _embedding, _smoothers, _tuning
from benchmarks.peers._common import log1p_cp10k
from benchmarks.peers._tuning import Cells, tune_and_predict
from scipy import sparse

from sctandem.kernels import pearson

N_TRAIN, N_TEST, N_GENES, N_PEAKS = 240, 60, 12, 90
RNA_PEERS = [
    "MeanPerGene",
    "NearestNeighbours",
    "RidgeOnLSI",
    "LinearKernelAllPeaks",
    "KernelRidge",
    "GeneScore",
    "AverageOfRegressions",
]
FAST = {
    "NearestNeighbours": {"components": (5, 10)},
    "RidgeOnLSI": {"components": (5, 10)},
    "KernelRidge": {"components": (5, 10)},
}


def make(name: str) -> peers.Peer:
    if name == "AverageOfRegressions":
        return peers.AverageOfRegressions(
            members=(make("RidgeOnLSI"), make("KernelRidge"), make("LinearKernelAllPeaks"))
        )
    return getattr(peers, name)(**FAST.get(name, {}))


def make_world(n_train, n_test, n_genes, n_peaks):
    """Three programmes open peaks, and the peaks at a gene drive it: every peer but the mean can see it."""
    rng = np.random.default_rng(0)
    n_cells = n_train + n_test
    programmes = rng.normal(size=(n_cells, 3))
    peak_loadings = rng.normal(size=(3, n_peaks))
    openness = programmes @ peak_loadings
    atac = rng.poisson(np.exp(0.8 * openness - 0.8))
    owner = np.arange(n_peaks) % n_genes
    drive = np.stack([openness[:, owner == gene].mean(axis=1) for gene in range(n_genes)], axis=1)
    counts = rng.poisson(8 * np.exp(0.6 * drive))
    genes = pd.Index([f"g{i}" for i in range(n_genes)])
    peaks = pd.Index([f"p{i}" for i in range(n_peaks)])
    pairs = pd.DataFrame({"gene": genes[owner], "peak": peaks, "distance": rng.integers(-3000, 3000, n_peaks)})
    library = np.full(n_cells, 1000.0)
    train = peers.TrainData(
        sparse.csr_matrix(counts[:n_train]),
        sparse.csr_matrix(atac[:n_train]),
        library[:n_train],
        genes,
        peaks,
        pairs.assign(gene_length=5000),
    )
    truth = log1p_cp10k(sparse.csr_matrix(counts[n_train:]), library[n_train:])
    return train, sparse.csr_matrix(atac[n_train:]), truth


@pytest.fixture(name="world", scope="module")
def fixture_world():
    return make_world(N_TRAIN, N_TEST, N_GENES, N_PEAKS)


def test_log1p_cp10k_follows_its_formula():
    counts = np.array([[0, 3, 5], [1, 0, 0]])
    expected = np.log1p(counts / np.array([[200.0], [50.0]]) * 1e4)
    np.testing.assert_allclose(log1p_cp10k(sparse.csr_matrix(counts), np.array([200.0, 50.0])), expected, rtol=1e-6)


@pytest.mark.parametrize("name", RNA_PEERS[1:])
def test_peers_recover_what_chromatin_drives(world, name):
    train, atac_test, truth = world
    prediction = make(name).fit_predict(train, atac_test, seed=0)
    mean = peers.MeanPerGene().fit_predict(train, atac_test, seed=0)
    skill = np.nan_to_num(pearson(truth, prediction.values)).mean()
    assert skill > (0.2 if name == "GeneScore" else 0.5), prediction.settings
    assert np.mean((truth - prediction.values) ** 2) < np.mean((truth - mean.values) ** 2)


def test_average_is_the_mean_of_its_members(world):
    train, atac_test, _ = world
    average = make("AverageOfRegressions")
    each = [member.fit_predict(train, atac_test, seed=1).values for member in average.members]
    np.testing.assert_allclose(average.fit_predict(train, atac_test, seed=1).values, np.mean(each, axis=0), rtol=1e-5)


def test_mean_per_gene_is_the_mean(world):
    train, atac_test, _ = world
    values = peers.MeanPerGene().fit_predict(train, atac_test, seed=0).values
    np.testing.assert_allclose(values, np.tile(train.rna.mean(axis=0), (N_TEST, 1)), rtol=1e-6)


@pytest.mark.parametrize("name", RNA_PEERS)
def test_same_seed_same_prediction_and_chosen_settings(world, name):
    train, atac_test, _ = world
    first, second = (make(name).fit_predict(train, atac_test, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.values, second.values)
    assert first.settings == second.settings
    assert first.values.shape == (N_TEST, N_GENES)
    assert first.values.dtype == np.float32


@pytest.mark.parametrize("name", RNA_PEERS[1:])
def test_order_of_the_test_cells_does_not_matter(world, name):
    train, atac_test, _ = world
    order = np.random.default_rng(0).permutation(N_TEST)
    straight = make(name).fit_predict(train, atac_test, seed=0).values
    shuffled = make(name).fit_predict(train, atac_test[order], seed=0).values
    # the SVD starts from random vectors, so that components agree to its accuracy only
    assert np.corrcoef(straight[order].ravel(), shuffled.ravel())[0, 1] > 0.995


def test_ridge_equals_sklearn():
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)
    features, targets = rng.normal(size=(50, 4)), rng.normal(size=(40, 3))
    targets -= targets.mean(axis=0)
    solve = _smoothers.RidgeOnLSI()._solve
    ((settings, predicted),) = solve(
        features, Cells(np.arange(40), np.arange(40, 50)), targets, seed=0, chosen={"alpha": 2.0}
    )
    expected = Ridge(alpha=2.0).fit(features[:40], targets).predict(features[40:])
    assert settings == {"alpha": 2.0}
    np.testing.assert_allclose(predicted, expected, atol=1e-10)


def test_kernel_ridge_on_halves_equals_sklearn():
    from sklearn.kernel_ridge import KernelRidge

    rng = np.random.default_rng(0)
    cells = _embedding.unit_rows(rng.normal(size=(30, 4)))
    targets = rng.normal(size=(20, 3))
    kernel = _smoothers._radial(cells, cells[:20], 1.5)
    ((alpha, predicted),) = _smoothers._averaged_halves(kernel, targets, (0.7,), 1, seed=5)
    order = np.random.default_rng(5).permutation(20)
    model = KernelRidge(alpha=0.7, kernel="rbf", gamma=1 / (2 * 1.5**2))
    fits = [model.fit(cells[half], targets[half]).predict(cells[20:]) for half in (order[:10], order[10:])]
    assert alpha == 0.7
    np.testing.assert_allclose(predicted, np.mean(fits, axis=0), atol=1e-10)


def test_neighbours_equal_sklearn():
    from sklearn.neighbors import KNeighborsRegressor

    rng = np.random.default_rng(0)
    cells, targets = _embedding.unit_rows(rng.normal(size=(50, 4))), rng.normal(size=(40, 3))
    solve = _smoothers.NearestNeighbours(neighbours=(5, 100))._solve
    ((settings, predicted),) = solve(cells, Cells(np.arange(40), np.arange(40, 50)), targets, seed=0)
    expected = KNeighborsRegressor(5, metric="cosine").fit(cells[:40], targets).predict(cells[40:])
    assert settings == {"neighbours": 5}
    np.testing.assert_allclose(predicted, expected, atol=1e-10)


def test_linear_kernel_is_ridge_on_all_peaks():
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)
    features = sparse.csr_matrix(rng.random((30, 8)))
    kernel = _smoothers._gram(features)
    centred = features.toarray() - features.toarray().mean(axis=0)
    centred /= np.sqrt(np.mean(np.sum(centred**2, axis=1)))
    np.testing.assert_allclose(kernel, centred @ centred.T, atol=1e-12)
    targets = rng.normal(size=(20, 2))
    ((_, predicted),) = _smoothers._averaged_halves(kernel[:, :20], targets, (0.5,), 1, seed=1)
    order = np.random.default_rng(1).permutation(20)
    model = Ridge(alpha=0.5, fit_intercept=False)
    fits = [model.fit(centred[half], targets[half]).predict(centred[20:]) for half in (order[:10], order[10:])]
    np.testing.assert_allclose(predicted, np.mean(fits, axis=0), atol=1e-10)


def test_the_scale_of_deviations_mends_a_smoother_that_shrinks(rng):
    def solve(features, cells, targets, *, seed, chosen=None):
        del seed, chosen
        coefficients = np.linalg.lstsq(features[cells.fit], targets, rcond=None)[0]
        yield {"only": 1}, 0.1 * features[cells.query] @ coefficients

    features = rng.normal(size=(60, 4))
    expression = 3.0 + features[:50] @ rng.normal(size=(4, 6))
    prediction = tune_and_predict(solve, {"all": features}, expression, n_test=10, seed=0)
    assert prediction.settings["features"] == "all"
    assert prediction.settings["scale"] == pytest.approx(10.0, rel=0.1)


def test_the_rank_of_the_targets_is_chosen(rng):
    """Expression of rank three under noise: few directions predict best."""
    hidden = rng.normal(size=(150, 3))
    expression = 2 * hidden[:120] @ rng.normal(size=(3, 40)) + rng.normal(size=(120, 40))
    features = {"hidden": _embedding.unit_rows(hidden)}
    peer = _smoothers.RidgeOnLSI(alphas=(1.0,))
    prediction = tune_and_predict(peer._solve, features, expression, n_test=30, seed=0)
    assert prediction.settings["rank"] in {3, 5}


def test_scores_from_moments_are_those_of_the_predictions(rng):
    expression, truth, targets = rng.normal(size=(30, 7)), rng.normal(size=(20, 7)), rng.normal(size=(20, 7))
    basis = _tuning._Basis.of(expression)
    for rank, (skill, product, square) in basis.score(targets, truth).items():
        predicted = basis.expression(targets, rank)
        assert skill == pytest.approx(pearson(truth, predicted).mean())
        assert product == pytest.approx(np.vdot(predicted, truth - expression.mean(axis=0)))
        assert square == pytest.approx(np.vdot(predicted, predicted))
    np.testing.assert_allclose(basis.expression(basis.targets, 7), expression - expression.mean(axis=0), atol=1e-12)


def test_tf_idf_follows_its_formula():
    counts = sparse.csr_matrix(np.array([[0, 4, 1], [2, 0, 0], [0, 0, 0], [1, 1, 1]]))
    weighted = _embedding.tf_idf(counts).toarray()
    binary = counts.toarray() > 0
    share = binary / np.maximum(binary.sum(axis=1, keepdims=True), 1)
    np.testing.assert_allclose(weighted, np.log1p(1e4 * share * 4 / binary.sum(axis=0)), rtol=1e-5)
    np.testing.assert_allclose(
        np.linalg.norm(_embedding.unit_tf_idf(counts).toarray(), axis=1), [1, 1, 0, 1], rtol=1e-5
    )


def test_gene_score_weights():
    pairs = pd.DataFrame({"distance": [-20_000, -4_000, 0, 900, 3_000], "gene_length": 1_000})
    score = peers.GeneScore()
    tss = score.weights(pairs, model="tss", length=1e3)
    np.testing.assert_allclose(tss, np.exp([-20, -4, 0, -0.9, -3]))
    body = score.weights(pairs, model="body", length=5e3)
    np.testing.assert_allclose(body[1:4], 1.0)
    offset = np.exp(-1)
    np.testing.assert_allclose(body[[0, 4]], (np.exp([-3.0, -0.4]) + offset) / (1 + offset))


def test_gene_score_needs_pairs(world):
    from dataclasses import replace

    train, atac_test, _ = world
    with pytest.raises(ValueError, match="needs the pairs"):
        peers.GeneScore().fit_predict(replace(train, pairs=None), atac_test, seed=0)


@pytest.mark.slow
def test_multivi_imputes_what_chromatin_drives():
    # on the small world of the other peers its latent space collapses, whatever the number of epochs
    train, atac_test, truth = make_world(1500, 300, 100, 400)
    prediction = peers.MultiVI(max_epochs=80).fit_predict(train, atac_test, seed=0)
    mean = peers.MeanPerGene().fit_predict(train, atac_test, seed=0)
    assert prediction.settings["epochs"] == 80
    assert np.nan_to_num(pearson(truth, prediction.values)).mean() > 0.08, prediction.settings
    assert np.mean((truth - prediction.values) ** 2) < np.mean((truth - mean.values) ** 2)
