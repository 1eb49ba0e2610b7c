"""The benchmark of growth misses no public function, and its exponents are those of the times."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks import _scaling_runs, scaling

import sctandem as td

GROUPS = ("pp", "tl", "data", "model")
SIZES = (1_000, 10_000, 40_000)


def public() -> set[str]:
    return {f"{group}.{name}" for group in GROUPS for name in getattr(td, group).__all__}


def row(name: str, exponent: float | None) -> dict:
    return {"name": name, "processor_s": [0.1, 1.0, 4.0], "peak_mb": [1.0, 2.0, 3.0], "exponent": exponent}


def test_every_public_function_is_measured_or_has_a_reason():
    measured, reasons = set(_scaling_runs.calls()), _scaling_runs.not_measured()
    assert measured | set(reasons) == public()
    assert not measured & set(reasons)
    assert all(reasons.values())


def test_groups_that_are_left_out_are_those_that_are_there():
    assert set(GROUPS) | set(_scaling_runs.GROUPS_NOT_MEASURED) == set(td.__all__)
    assert not set(GROUPS) & set(_scaling_runs.GROUPS_NOT_MEASURED)


def test_functions_said_to_be_linear_are_measured():
    assert set(scaling.LINEAR) | set(scaling.REASONS) <= set(_scaling_runs.calls())


def test_reasons_stand_beside_what_grows_faster():
    lines = scaling.report([row("tl.simulate", 1.3), row("tl.waypoints", 1.0)])["tables"][1]["rows"]
    assert [line["note"] for line in lines] == [scaling.REASONS["tl.simulate"], ""]


@pytest.mark.parametrize("fixed", [0.0, 0.5, 20.0])
def test_a_fixed_start_does_not_hide_in_the_exponent_of_a_line(fixed):
    seconds = [fixed + 1e-4 * n for n in SIZES]
    assert _scaling_runs.exponent(SIZES, seconds) == pytest.approx(1)


@pytest.mark.parametrize("power", [1.2, 1.5, 2.0])
def test_exponent_of_a_power(power):
    seconds = [3 * (n / 40_000) ** power for n in SIZES]
    assert _scaling_runs.exponent(SIZES, seconds) == pytest.approx(power)


def test_exponent_is_left_out_where_the_clock_says_nothing():
    assert _scaling_runs.exponent(SIZES, [0.001, 0.002, 0.09]) is None
    assert _scaling_runs.exponent(SIZES, [0.001, 0.002, 0.11]) is not None
    assert _scaling_runs.exponent(SIZES, [1.0, 1.01, 1.09]) is None
    assert _scaling_runs.exponent(SIZES, [1.0, 1.01, 1.5]) > 1.5  # little is not taken for none where much follows


def test_exponent_of_a_constant_time_is_none_of_growth():
    assert _scaling_runs.exponent(SIZES, [1.0, 1.0, 1.0]) == 0
    assert _scaling_runs.exponent(SIZES, [1.2, 1.0, 1.0]) < 0.1


def test_short_calls_are_repeated_and_the_best_is_taken(monkeypatch):
    answers = iter([(0.5, 10.0), (0.3, 12.0), (0.4, 11.0), (3.0, 9.0)])
    monkeypatch.setattr(_scaling_runs, "once", lambda *_: next(answers))
    assert _scaling_runs.best(None, None, None, 1) == (0.3, 12.0)
    assert _scaling_runs.best(None, None, None, 1) == (3.0, 9.0)


def test_targets_name_what_grows_faster():
    rows = [row(name, 1.0) for name in scaling.LINEAR[1:]] + [row(scaling.LINEAR[0], 1.31), row("tl.anneal", 1.5)]
    plain, beyond, _, others = scaling.targets(rows)
    assert plain["met"] == "yes"  # 1 s to 4 s in all of them
    assert beyond["met"] == "no"
    assert f"{scaling.LINEAR[0]} 1.31" in beyond["measured"]
    assert "tl.anneal 1.50" in others["measured"]
    assert scaling.targets(rows[:2])[0]["met"] == "not measured in full"
    whole = [row(name, 1.0) for name in scaling.LINEAR]
    assert scaling.targets(whole)[0]["met"] == "yes"


def test_the_exponent_is_that_of_the_whole_time():
    line = row(scaling.LINEAR[0], 1.0) | {"processor_s": [0.1, 1.0, 8.0]}
    plain, beyond, *_ = scaling.targets([line])
    assert f"{scaling.LINEAR[0]} 1.50" in plain["measured"]
    assert beyond["measured"] == "1 of 1"
    (shown,) = scaling.report([line])["tables"][1]["rows"]
    assert (shown["exponent"], shown["beyond the start"]) == ("1.50", "1.00")
    silent = scaling.report([line | {"processor_s": [0.0, 0.01, 0.04]}])["tables"][1]["rows"]
    assert silent[0]["exponent"] == "-"


def test_a_function_that_failed_is_said_so():
    failed = {"name": "tl.anneal", "error": "ValueError: no"}
    document = scaling.report([failed, row("tl.capsules", None)])
    lines = document["tables"][1]["rows"]
    assert lines[0]["note"] == "failed: ValueError: no"
    assert lines[1]["beyond the start"] == "-"
    assert scaling.targets([failed])[0]["met"] == "not measured in full"


def test_calls_take_a_folder_and_a_size(tmp_path):
    seen = []
    seconds, peak = _scaling_runs.once(lambda folder, n: (folder, n), seen.append, tmp_path, 7)
    assert seen == [(tmp_path, 7)]
    assert seconds >= 0
    assert np.isfinite(peak)
