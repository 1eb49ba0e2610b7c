from __future__ import annotations

import pytest
from benchmarks import _activity_function as part

CALLS = {"called_0.05": [5, 5], "silent_0.05": [40, 1], "called_0.1": [10, 9], "silent_0.1": [50, 2]}


def rows(**changed):
    names = tuple(part.METHODS)
    real = {
        "seed": 0,
        "name": "default",
        "auprc": dict(zip(names, (0.5, 0.45, 0.42, 0.4, 0.3, 0.2), strict=True)),
        **CALLS,
        **changed,
    }
    real["sign"] = dict.fromkeys(("score", "smoothed", "correlation"), 0.8)
    null = {"seed": 0, "name": "null", **CALLS, "called_0.1": [0, 0]}
    return [real, null]


def test_table_has_the_baselines_beside():
    table = part.table(rows())
    assert [line["method"] for line in table] == [*part.METHODS.values(), part.METHODS["score"]]
    assert table[0]["average precision"] == "0.500"
    assert table[0]["called at 0.1 (false)"] == "10 (0.100)"
    assert table[0]["silent at 0.1 (false)"] == "50 (0.040)"
    assert table[-1]["called at 0.1 (false)"] == "0"


def test_targets_can_be_missed():
    assert {row["met"] for row in part.targets(rows())} == {"yes"}
    missed = rows(**{"called_0.1": [10, 8], "silent_0.1": [50, 6]})
    missed[0]["auprc"]["distance"] = 0.6
    missed[1]["called_0.1"] = [3, 0]
    assert {row["met"] for row in part.targets(missed)} == {"no"}
    # each world is judged by itself: what is gained in one does not pay for another
    other = rows()[0] | {"name": "no_grammar", "auprc": dict.fromkeys(part.METHODS, 0.6) | {"score": 0.55}}
    judged = {row["target"]: row["met"] for row in part.targets([*rows(), other])}
    assert judged["average precision above every baseline, default"] == "yes"
    assert judged["average precision above every baseline, no_grammar"] == "no"
    assert part.targets([])[0]["met"] == "not measured"
    assert part.data() == []


@pytest.mark.slow
def test_a_simulation_is_measured():
    found = part.measure(0)
    assert [row["name"] for row in found] == list(part.WORLDS)
    assert found[0]["auprc"]["score"] > found[0]["auprc"]["smoothed"]
