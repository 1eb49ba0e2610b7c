from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from benchmarks import (
    _capsules_own,
    _capsules_report,
    _capsules_runs,
    _capsules_targets,
    _label_methods,
    _label_tasks,
    _results,
    capsules,
)
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


METHODS = ["lr", "knn", "celltypist"]


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


def cluster_rows(values: dict[str, float], sets=_capsules_targets.ALL_SETS) -> list[dict]:
    return [
        {"set": name, "method": method, "seed": seed, "types": 5, "clusters": 5, "ari": value, "nmi": value}
        for name in sets
        for method, value in values.items()
        for seed in (0, 1)
    ]


def answers(table: list[dict]) -> dict[str, str]:
    return {row["target"]: row["met"] for row in table}


def test_targets_of_clusters():
    values = {"capsules": 0.6, "pca_leiden": 0.5, "scvi_leiden": 0.56}
    found = answers(_capsules_targets.clusters_above(cluster_rows(values), "capsules"))
    assert found == {
        "CapsuleNet: ARI and NMI above both peers": "yes",
        "CapsuleNet: mean ARI above PCA + Leiden": "yes",
        "CapsuleNet: mean ARI above scVI + Leiden": "no",
    }
    worse = [row | {"nmi": 0.1} if row["set"] in {"zheng", "worm"} else row for row in cluster_rows(values)]
    worse = [new if old["method"] == "capsules" else old for new, old in zip(worse, cluster_rows(values), strict=True)]
    (first, *_) = _capsules_targets.clusters_above(worse, "capsules")
    assert (first["met"], first["found"]) == ("no", "3 of 5 (ARI 5, NMI 3)")


def test_no_target_is_met_on_some_of_the_sets():
    values = {"capsules": 0.9, "pca_leiden": 0.5, "scvi_leiden": 0.5}
    found = _capsules_targets.clusters_above(cluster_rows(values, sets=("zheng", "worm")), "capsules")
    assert {row["met"] for row in found} == {"-"}
    assert {row["met"] for row in _capsules_targets.targets({})} == {"-"}
    assert {row["found"] for row in _capsules_targets.targets({})} == {"not measured"}


def label_row(method: str, accuracy: float, macro_f1: float, ece: float) -> dict:
    return {"set": "zheng", "method": method, "seed": 0, "accuracy": accuracy, "macro_f1": macro_f1, "ece": ece}


def test_targets_of_labels_ask_for_the_better_peer():
    rows = [label_row("capsules", 0.9, 0.8, 0.02), label_row("lr", 0.9, 0.7, 0.2), label_row("scanvi", 0.8, 0.81, 0.2)]
    found = answers(_capsules_targets.labels_above(rows, "capsules", "zheng"))
    assert list(found.values()) == ["yes", "no", "yes"]
    assert list(answers(_capsules_targets.labels_above(rows[:2], "capsules", "zheng")).values()) == ["-", "-", "yes"]


def novelty_rows(method: str = "capsules", sets=_capsules_targets.LABEL_SETS) -> list[dict]:
    scores = {"a": {"good": 0.9, "bad": 0.2}, "b": {"good": 0.8, "bad": 0.9}}
    return [
        {"set": name, "method": method, "seed": 0, "hidden": hidden, "cells": 9, "auroc": found}
        for name in sets
        for hidden, found in scores.items()
    ]


def test_the_score_that_is_best_on_average_is_taken():
    row = _capsules_targets.novelty_above(novelty_rows(), "capsules")
    assert row["found"].startswith("0.850")
    assert row["met"] == "yes"
    assert _capsules_targets.novelty_above(novelty_rows(sets=("zheng",)), "capsules")["met"] == "-"
    assert _capsules_report.novelty_sets(novelty_rows("lr"))[0] == {
        "set": "zheng",
        "method": "logistic regression",
        "score": "good",
        "mean AUROC": "0.850 ± 0.000",
        "lowest": "0.800 (b)",
        "types": 2,
        "seeds": 1,
    }
    assert _capsules_report.novelty_types(novelty_rows("lr"))[1]["logistic regression"] == "0.800"


def test_targets_of_costs_are_those_of_the_worst_set():
    shared = {"seed": 0, "threads": 2, "genes": 2000}
    rows = []
    for name, ours in (("zheng", 10.0), ("worm", 30.0)):
        figures = {"capsules": (100, ours), "scvi": (400, 160.0)}
        for method, (size, seconds) in figures.items():
            rows.append(shared | {"set": name, "method": method, "parameters": size})
            rows[-1] |= {"seconds": seconds, "processor_seconds": seconds / 2}
    table = _capsules_targets.costs_below(rows)
    assert [(row["found"], row["met"]) for row in table] == [
        ("0.250 (zheng)", "yes"),
        ("0.188 (worm)", "no"),
        ("0.188 (worm)", "no"),
    ]
    assert _capsules_report.costs(rows)[1]["seconds"] == "160.0 ± 0.0"


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A folder of results of its own, without the real data."""
    folder = tmp_path / "results"
    read, write = _results.read, _results.write
    monkeypatch.setattr(_results, "read", lambda name: read(name, folder=folder))
    monkeypatch.setattr(
        _results, "write", lambda name, document, **run: write(name, document, **run | {"data": ()}, folder=folder)
    )
    monkeypatch.setattr(capsules, "path", lambda entry: entry.file)
    return folder / "capsules.json"


def test_rows_take_the_place_of_older_ones_and_those_of_another_file_are_added(kept, tmp_path):
    old, new = cluster_rows({"pca_leiden": 0.5}, ("zheng",)), cluster_rows({"pca_leiden": 0.7}, ("zheng",))[:1]
    capsules._keep("clusters", *old)
    capsules._keep("clusters", *new)
    assert [row["ari"] for row in capsules._read()["clusters"]] == [0.7, 0.5]
    other = tmp_path / "other.json"
    rows = cluster_rows({"scvi_leiden": 0.4}, ("worm",))
    other.write_text(json.dumps({"measured": {"clusters": rows, "novelty": novelty_rows(sets=("zheng",))}}))
    capsules.main(["--take", str(other)])
    assert len(capsules._read()["clusters"]) == 4
    document = json.loads(kept.read_text())
    titles = [table["title"] for table in document["tables"]]
    assert titles[:3] == ["Targets", "Clusters: averages over the sets", "Clusters: each set"]
    assert document["run"]["seeds"] == [0, 1]


@pytest.mark.usefixtures("kept")
def test_what_is_there_is_not_measured_again(monkeypatch, cells):
    asked = []

    def fake(cells, method, seed, hidden, models):
        asked.append((method, seed, hidden))
        return {
            "set": "zheng",
            "method": method,
            "seed": seed,
            "hidden": hidden,
            "cells": 1,
            "auroc": {"distance": 0.5},
        }

    monkeypatch.setattr(_capsules_runs, "novelty", fake)
    monkeypatch.setattr(capsules, "_cells", lambda _: cells)
    command = ["--part", "novelty", "--sets", "zheng", "--methods", "knn", "--seeds", "0"]
    capsules.main(command)
    assert asked == [("knn", 0, kind) for kind in TYPES]
    capsules.main(command)
    assert len(asked) == 3
    capsules.main([*command, "--again"])
    assert len(asked) == 6


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
    np.testing.assert_allclose(
        _scvi_models.trained(task.cells, 0, tmp_path).model.get_latent_representation(), first, atol=1e-6
    )


class Quick:
    """Trains for thirty epochs, whatever the default is."""

    def __init__(self, train):
        self.train, self.epochs = train, []

    def __call__(self, model, max_epochs=None):
        self.epochs.append(30)
        return self.train(model, 30)
