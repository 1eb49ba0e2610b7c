from __future__ import annotations

import pytest
from benchmarks import _results, _tape_report, _tape_targets

ROW = {
    "pearson": 0.1,
    "rmse": 0.7,
    "auroc": 0.6,
    "fold_change_pearson": 0.9,
    "processor_seconds": 10.0,
    "peak_mb": 1000.0,
    "threads": 1,
    "settings": {"seconds_training": 100.0, "epochs": 5, "processor_seconds_per_epoch": 40.0},
}


def rows(*seeds: int, **changes) -> list[dict]:
    return [{**ROW, "seed": seed, **changes} for seed in seeds]


def targets(**cells) -> dict[str, dict[str, str]]:
    return {row["target"]: row for row in _tape_targets.rows({"cells": cells}, fresh=100)}


def of(table: dict[str, dict[str, str]], words: str) -> tuple[str, str]:
    (row,) = [row for target, row in table.items() if words in target]
    return row["measured"], row["met"]


def test_what_is_stored_and_printed_is_what_the_rows_give():
    stored = _results.read("tape")
    expected = _results._plain(_tape_report.document(stored["measured"]))
    for key in ("title", "text", "tables"):
        assert stored[key] == expected[key], "make the document again from its rows"


@pytest.mark.parametrize(("value", "met"), [(0.0899, "no"), (0.09, "yes")])
def test_pearson_is_the_mean_of_the_splits_that_helped_to_choose(value, met):
    found = targets(tape=[*rows(0, 1, pearson=value), *rows(100, pearson=0.5)])
    assert of(found, "A549, 2 splits: Pearson a gene >= 0.09") == (f"{value:.4f}", met)


@pytest.mark.parametrize(
    ("peer", "met"),
    [
        ({"pearson": 0.09, "rmse": 0.71, "auroc": 0.5}, "yes"),
        ({"pearson": 0.11, "rmse": 0.71, "auroc": 0.5}, "no"),
        ({"pearson": 0.09, "rmse": 0.69, "auroc": 0.5}, "no"),
        ({"pearson": 0.09, "rmse": 0.71, "auroc": 0.7}, "no"),
        ({"pearson": 0.1, "rmse": 0.71, "auroc": 0.5}, "no"),
    ],
)
def test_a_peer_is_beaten_in_all_three_or_not_at_all(peer, met):
    found = targets(tape=rows(0, 1), ridge=rows(0, 1, **peer))
    assert of(found, "better than ridge on LSI")[1] == met


def test_splits_won_are_counted_and_few_are_told():
    knn = [*rows(0, pearson=0.05, rmse=0.6), *rows(1, pearson=0.11, rmse=0.9)]
    found = targets(tape=rows(0, 1), knn=knn, multivi=rows(1, pearson=0.05), average=rows(0, 1, pearson=0.11))
    assert of(found, "kNN on LSI") == ("Pearson +0.0200 (1/2), RMSE -0.0500 (1/2), AUROC +0.0000 (0/2)", "no")
    assert of(found, "better than MultiVI, 1 of 2 splits, at its defaults")[0].startswith("Pearson +0.0500 (1/1)")
    assert of(found, "[A549: better than average of the three regressions]")[1] == "no"


@pytest.mark.parametrize(
    ("theirs", "met"),
    [((0.85, 0.85), "yes"), ((0.92, 0.86), "yes (a tie)"), ((0.95, 0.87), "no (a tie)"), ((0.95, 0.94), "no")],
)
def test_fold_changes_are_those_of_the_best_peer_on_all_splits(theirs, met):
    ridge = [*rows(0, fold_change_pearson=theirs[0]), *rows(1, fold_change_pearson=theirs[1])]
    worse, partial = rows(0, 1, fold_change_pearson=0.1), rows(0, fold_change_pearson=1.0)
    found = targets(tape=rows(0, 1), ridge=ridge, knn=worse, multivi=partial, mean=rows(0, 1, fold_change_pearson=None))
    measured, reached = of(found, "fold changes")
    assert "(ridge on LSI)" in measured
    assert reached == met


def test_time_and_memory_are_those_of_the_worst_split():
    slow = {**ROW["settings"], "seconds_training": 301.0}
    tape = [*rows(0), *rows(1, settings=slow, peak_mb=4001.0)]
    found = targets(tape=tape, multivi=rows(0))
    assert of(found, "training <= 5 minutes") == ("200 s, at most 301 s (wall-clock time on 1 thread)", "no")
    assert of(found, "memory") == ("4.00 GB", "no")
    assert of(found, "faster than MultiVI, at its defaults, 1 of 2 splits") == (
        "20 times (200 CPU s of training against 10 for all that TAPE does)",
        "yes",
    )
    found = targets(tape=rows(0, 1), multivi=rows(0, settings={"epochs": 1, "processor_seconds_per_epoch": 99.0}))
    assert of(found, "training <= 5 minutes")[1] == of(found, "memory")[1] == "yes"
    assert of(found, "faster")[1] == "no"
