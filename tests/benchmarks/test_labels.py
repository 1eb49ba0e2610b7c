from __future__ import annotations

from dataclasses import replace

import anndata
import numpy as np
import pandas as pd
import pytest
from benchmarks import _capsules_own, _capsules_runs, _label_methods, _label_tasks
from benchmarks._label_scores import calibration_error, cluster_scores, label_scores, uncertainty
from benchmarks._label_tasks import KNOWN, UNKNOWN, Cells, label_tasks, novelty_task
from benchmarks._labelled_sets import BATCH, LABEL, add_principal_components
from scipy import sparse

N_A_TYPE, N_GENES, TYPES = 40, 60, ("a", "b", "c")


def make_cells(*, batches: bool = False) -> Cells:
    """Three types, each with ten genes of its own."""
    from anndata import AnnData

    rng = np.random.default_rng(0)
    kinds = np.repeat(np.arange(3), N_A_TYPE)
    rates = np.ones((3, N_GENES))
    for kind in range(3):
        rates[kind, 10 * kind : 10 * kind + 10] = 6.0
    adata = AnnData(sparse.csr_matrix(rng.poisson(rates[kinds]).astype(np.float32)))
    adata.obs[LABEL] = pd.Categorical(np.array(TYPES)[kinds])
    if batches:
        adata.obs[BATCH] = pd.Categorical(np.array(["x", "y"])[np.arange(len(kinds)) % 2])
    add_principal_components(adata)
    return Cells("small", adata)


@pytest.fixture(scope="module")
def cells() -> Cells:
    return make_cells()


def test_calibration_error_equals_a_plain_loop(rng):
    confidence, correct = rng.random(400), rng.random(400) < 0.6
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence >= low) & (confidence < low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - correct[inside].mean())
    assert calibration_error(confidence, correct) == pytest.approx(expected)
    assert calibration_error(np.ones(10), np.arange(10) < 7) == pytest.approx(0.3)
    assert calibration_error(np.full(10, 0.7), np.arange(10) < 7) == pytest.approx(0.0)


def test_macro_f1_is_over_the_types_that_are_there():
    truth = np.array(["a", "a", "b", "b"])
    found = label_scores(truth, np.array(["a", "a", "b", "c"]), np.ones(4))
    assert found["accuracy"] == 0.75
    assert found["macro_f1"] == pytest.approx((1 + 2 / 3) / 2)


def test_cluster_scores_of_the_truth_and_of_one_cluster():
    truth = np.repeat(["a", "b"], 10)
    assert cluster_scores(truth, truth) == {"clusters": 2, "ari": 1.0, "nmi": pytest.approx(1.0)}
    assert cluster_scores(truth, np.zeros(20))["ari"] == 0.0


def test_scores_of_novelty_rise_where_no_label_stands_out():
    scores = uncertainty(np.array([[0.98, 0.01, 0.01], [0.5, 0.4, 0.1], [1 / 3, 1 / 3, 1 / 3]]))
    assert all((np.diff(values) > 0).all() for values in scores.values())
    assert scores["entropy"][2] == pytest.approx(np.log(3))
    assert scores["margin"][1] == pytest.approx(-0.1)


def test_rotated_features_give_the_same_regression(rng):
    from sklearn.linear_model import LogisticRegression

    features = sparse.csr_matrix(rng.poisson(1.0, (40, 90)).astype(float))
    labels = rng.integers(3, size=40)
    turned, back = _label_tasks.rotate(features)
    np.testing.assert_allclose(turned @ turned.T, (features @ features.T).toarray(), atol=1e-8)
    plain, fast = (LogisticRegression(tol=1e-8, max_iter=5000).fit(x[:30], labels[:30]) for x in (features, turned))
    np.testing.assert_allclose(fast.predict_proba(turned[30:]), plain.predict_proba(features[30:]), atol=1e-5)
    np.testing.assert_allclose(features.T @ (back @ fast.coef_.T), plain.coef_.T, atol=1e-5)


def test_one_against_rest_equals_sklearn(rng):
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    features = rng.normal(size=(50, 80))
    labels = np.array(["a", "b", "c"])[rng.integers(3, size=50)]
    ours = _label_methods.OneAgainstRest(C=1.0, solver="lbfgs", max_iter=1000, multi_class="ovr", n_jobs=None)
    ours.fit(features, labels)
    theirs = OneVsRestClassifier(LogisticRegression(tol=1e-6, max_iter=1000)).fit(features, labels)
    other = rng.normal(size=(20, 80))
    np.testing.assert_allclose(ours.decision_function(other), theirs.decision_function(other), atol=0.01)
    assert list(ours.classes_) == ["a", "b", "c"]


def test_every_cell_is_held_out_once_and_then_not_known(cells):
    for given, n_parts in ((cells, 5), (make_cells(batches=True), 2)):
        tasks = dict(label_tasks(given, seed=0))
        assert len(tasks) == n_parts
        assert sorted(np.concatenate([task.test for task in tasks.values()])) == list(range(3 * N_A_TYPE))
        for task in tasks.values():
            assert np.array_equal(np.flatnonzero(~task.known), task.test)
            assert task.new_batch == (n_parts == 2)
    for task in dict(label_tasks(make_cells(batches=True), 0)).values():
        assert len(set(task.cells.batches[task.test])) == 1
        assert not set(task.cells.batches[task.test]) & set(task.cells.batches[task.known])


def test_all_cells_of_the_hidden_type_and_a_fifth_of_the_others_are_to_be_told(cells):
    task = novelty_task(cells, "b", seed=0)
    labels = cells.labels[task.test]
    assert np.sum(labels == "b") == N_A_TYPE
    assert np.sum(labels == "a") == np.sum(labels == "c") == N_A_TYPE // 5
    assert set(task.shown) == {"a", "c"}


METHODS = ["lr", "knn", "knn_unlabelled", "celltypist"]


def run(method: str, task):
    if method == "celltypist":
        pytest.importorskip("celltypist")
    return _capsules_runs.LABELLERS[method].run(task)


@pytest.mark.parametrize("method", METHODS)
def test_peers_label_what_is_easy_and_do_not_see_the_hidden_labels(cells, method):
    _, task = next(label_tasks(cells, seed=0))
    answer = run(method, task)
    assert np.mean(answer.predicted == cells.labels[task.test]) >= 0.9
    other = cells.adata.copy()
    exchanged = cells.labels
    exchanged[task.test] = "c"
    other.obs[LABEL] = pd.Categorical(exchanged)
    blind = run(method, replace(task, cells=replace(cells, adata=other)))
    np.testing.assert_array_equal(blind.probabilities, answer.probabilities)


def test_the_penalty_with_the_least_loss_is_taken(cells):
    _, task = next(label_tasks(cells, seed=0))
    settings = _label_methods.logistic_regression(task).settings
    losses = settings["inner_log_loss"]
    assert str(settings["C"]) == min(losses, key=losses.__getitem__)
    assert len(losses) == len(_label_methods.PENALTIES)


def test_a_type_that_was_not_learned_costs_a_bounded_loss():
    probabilities = np.array([[0.8, 0.2], [0.5, 0.5]])
    found = _label_methods._log_loss(np.array(["a", "b"]), probabilities, np.array(["a", "z"]))
    assert found == pytest.approx(-np.log(0.8) - np.log(1e-6))


def test_distance_tells_a_hidden_type(cells):
    row = _capsules_runs.novelty(cells, "knn", seed=0, hidden="b", models=None)
    assert row["auroc"]["distance"] > 0.95
    assert (row["cells"], row["others"]) == (N_A_TYPE, 2 * N_A_TYPE // 5)


def test_neighbours_without_a_label_tell_a_hidden_type(cells):
    task = novelty_task(cells, "b", seed=0)
    found = _capsules_runs.LABELLERS["knn_unlabelled"].run(task).novelty["neighbours without a label"]
    points = cells.adata.obsm["X_pca"]
    for cell, share in list(zip(task.test, found, strict=True))[::5]:
        near = np.argsort(((points - points[cell]) ** 2).sum(axis=1))[1:31]
        assert share == pytest.approx(1 - task.known[near].mean())
    assert found[cells.labels[task.test] == "b"].min() > found[cells.labels[task.test] != "b"].max()
    assert "knn_unlabelled" not in _capsules_runs.METHODS["labels"]


def test_the_row_of_labels_is_of_all_cells_together(cells):
    row = _capsules_runs.labels(cells, "knn", seed=0, models=None)
    parts = row["parts"].values()
    assert row["accuracy"] == pytest.approx(np.average([part["accuracy"] for part in parts], weights=[24] * 5))
    assert sum(part["cells"] for part in parts) == 3 * N_A_TYPE


@pytest.mark.slow  # the first graph of neighbours is compiled
def test_clusters_of_principal_components(cells):
    (row,) = _capsules_runs.clusters(cells, "pca", seed=0, models=None)
    assert (row["method"], row["types"], row["clusters"]) == ("pca_leiden", 3, 3)
    assert row["ari"] > 0.9


class Recorder:
    """Stands in for CapsuleNet, and remembers which cells and labels it was given."""

    def __init__(self, counts, known):
        self.counts, self.classes = counts, sorted(set(known) - {UNKNOWN})

    def _cells(self, adata):
        return (self.counts if adata is None else adata).obs_names

    def train(self, **_):
        pass

    def predict(self, adata=None, *, soft=False):
        cells = self._cells(adata)
        if soft:
            return pd.DataFrame(0.5, index=cells, columns=[*self.classes, UNKNOWN])
        return pd.Series("a", index=cells, dtype="category")

    def get_typicality(self, adata=None):
        cells = self._cells(adata)
        return pd.Series(np.arange(len(cells)) / len(cells), index=cells)


@pytest.mark.parametrize("method", ["transductive", "inductive"])
@pytest.mark.parametrize("batches", [False, True])
def test_capsules_are_shown_the_known_labels_alone(monkeypatch, method, batches):
    given = {}

    def make(counts, seed, *, depth, batch, labels):
        given.update(counts=counts, seed=seed, batch=batch, labels=labels)
        return Recorder(counts, counts.obs[KNOWN])

    monkeypatch.setattr(_capsules_own, "make", make)
    task = list(dict(label_tasks(make_cells(batches=batches), seed=3)).values())[1]
    answer = getattr(_capsules_own, method)(task)
    names, known = task.cells.adata.obs_names, given["counts"].obs[KNOWN]
    assert (given["seed"], given["labels"]) == (3, True)
    if method == "inductive":
        assert list(given["counts"].obs_names) == list(names[task.known])
        assert given["batch"] is None
        assert UNKNOWN not in set(known)
    else:
        assert list(given["counts"].obs_names) == list(names)
        assert given["batch"] == (BATCH if batches else None)
        assert set(known[names[task.test]]) == {UNKNOWN}
    assert list(known[names[task.known]]) == list(task.shown)
    assert answer.probabilities.shape == (len(task.test), 3)
    n_asked = len(task.test) if method == "inductive" else len(names)
    where = np.arange(n_asked) if method == "inductive" else task.test
    np.testing.assert_allclose(answer.novelty["1 - typicality"], 1 - where / n_asked)


@pytest.mark.parametrize("method", ["transductive", "inductive"])
def test_genes_of_cells_that_are_not_seen_do_not_count(monkeypatch, method):
    """A gene that only the cells asked for have is known to the training that sees their counts, and to no other."""
    given = {}

    def make(counts, seed, **_):
        given["genes"] = set(counts.var_names)
        return Recorder(counts, counts.obs[KNOWN])

    monkeypatch.setattr(_capsules_own, "make", make)
    task = next(task for _, task in label_tasks(make_cells(), seed=0))
    counts = task.cells.adata.X.toarray()
    counts[task.known, 0] = 0
    adata = task.cells.adata.copy()
    adata.X = sparse.csr_matrix(counts)
    getattr(_capsules_own, method)(replace(task, cells=Cells("small", adata)))
    assert set(adata.var_names) - given["genes"] == ({adata.var_names[0]} if method == "inductive" else set())


@pytest.mark.slow
def test_a_last_batch_of_one_labelled_cell_is_left_out(monkeypatch):
    from benchmarks import _scvi_models

    monkeypatch.setattr(_scvi_models, "train", Quick(_scvi_models.train, n=1))
    cells = make_cells()
    task = novelty_task(cells, "b", 0)
    # of 143 labelled cells scANVI trains on 129: a batch of 128, and one of a single cell
    many = anndata.concat([cells.adata] * 3, index_unique="-")
    known = np.arange(many.n_obs) < 143
    add_principal_components(many)
    given = Cells("many", many)
    answer = _scvi_models.scanvi(replace(task, cells=given, known=known, test=np.arange(150, 160)))
    assert answer.settings["scanvi"]["datasplitter_kwargs"] == {"drop_last": True}
    np.testing.assert_allclose(answer.probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.slow
def test_scvi_is_trained_once_and_scanvi_labels_from_it(tmp_path, monkeypatch):
    from benchmarks import _scvi_models

    monkeypatch.setattr(_scvi_models, "train", quick := Quick(_scvi_models.train))
    task = next(task for _, task in label_tasks(make_cells(), 0, tmp_path))
    answer = _scvi_models.scanvi(task)
    assert quick.epochs == [30, 30]
    assert np.mean(answer.predicted == task.cells.labels[task.test]) > 0.8
    np.testing.assert_allclose(answer.probabilities.sum(axis=1), 1, atol=1e-5)
    first = _scvi_models.trained(task.cells, 0, tmp_path).model.get_latent_representation()
    assert len(quick.epochs) == 2
    exchanged = task.cells.labels
    exchanged[task.test] = "c"
    other = task.cells.adata.copy()
    other.obs[LABEL] = pd.Categorical(exchanged)
    blind = _scvi_models.scanvi(replace(task, cells=replace(task.cells, adata=other)))
    np.testing.assert_allclose(blind.probabilities, answer.probabilities, atol=1e-4)
    np.testing.assert_allclose(
        _scvi_models.trained(task.cells, 0, tmp_path).model.get_latent_representation(), first, atol=1e-6
    )


class Quick:
    """Trains for some epochs, whatever the default is."""

    def __init__(self, train, n=30):
        self.train, self.n, self.epochs = train, n, []

    def __call__(self, model, max_epochs=None, **options):
        self.epochs.append(self.n)
        return self.train(model, self.n, **options)
