from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from benchmarks import _capsules_report, _capsules_runs, _capsules_targets, _results, capsules


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
    rows.append(label_row("lr_median", 0.85, 0.75, 0.2))
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


def test_own_rows_of_several_states_of_the_code_are_named():
    rows = [row | {"commit": "old" if row["seed"] else "new"} for row in novelty_rows(sets=("zheng",))]
    rows += [row | {"commit": "old", "seed": 1} for row in novelty_rows(sets=("zheng", "symphony"))]
    rows += [row | {"commit": "peer"} for row in novelty_rows("lr")]
    assert _capsules_report.states_of_code(rows) == (
        "Commit new: zheng, CapsuleNet (seed 0). Commit old: zheng, CapsuleNet (seed 1); symphony, CapsuleNet (seed 1). "
        "Rows of several commits are of several states of the code."
    )


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
    assert _capsules_report.costs(rows)[1]["seconds"] == "160.0"


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
def test_what_is_there_is_not_measured_again(monkeypatch):
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
    monkeypatch.setattr(capsules, "_cells", lambda _: SimpleNamespace(labels=["b", "a", "b"]))
    command = ["--part", "novelty", "--sets", "zheng", "--methods", "knn", "--seeds", "0"]
    capsules.main(command)
    assert asked == [("knn", 0, "a"), ("knn", 0, "b")]
    capsules.main(command)
    assert len(asked) == 2
    capsules.main([*command, "--again"])
    assert len(asked) == 4


def test_the_time_of_all_epochs_is_read_off_a_line():
    before = [{"seconds": 2.0 + 0.5 * n} for n in (1, 1 + _capsules_runs.EPOCHS)]
    after = [{"seconds": 3.0 + 0.7 * n} for n in (1, 1 + _capsules_runs.EPOCHS)]
    assert _capsules_runs.whole(before, after, "seconds", 400) == pytest.approx(2.5 + 0.6 * 400)
