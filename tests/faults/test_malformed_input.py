"""Every public function on malformed input: success or an error that the package means, the input unchanged, no hang, no flood."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import conventions
import fault_objects
import numpy as np
import pytest
from anndata import AnnData
from fault_call import Call
from fault_calls import CALLS, NOT_CALLED, own_name, public
from fault_cases import run_cases
from fault_conditions import LETS
from fault_models import MODEL_CALLS, MODEL_NOT_CALLED
from fault_mutations import TYPES
from fault_objects import small
from fault_slots import fingerprint
from fault_trial import TookTooLongError, Valid, judge, run_type

import sctandem as td

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGES = ["pp", "tl", "pl", "get", "io", "genome", "datasets", "data"]
#: Cases of a function in the slow suite, and of one whose valid call takes long.
CASES, COSTLY_CASES = 24, 12
#: How much of the numbers that a valid call gives must be there.
SHARE = 0.5
#: There are no more than these, and all are run.
FEWER_CASES = {"datasets.list_datasets": 1}


def n_cases(name: str) -> int:
    return FEWER_CASES.get(name, COSTLY_CASES if CALLS[name].costly else CASES)


def public_names() -> set[str]:
    return {f"{package}.{name}" for package in PACKAGES for name in import_module(f"sctandem.{package}").__all__}


def test_every_public_name_is_in_the_table_or_has_a_reason():
    assert public_names() == {own_name(name) for name in (set(CALLS) | set(NOT_CALLED)) - set(MODEL_CALLS)}
    assert not set(CALLS) & set(NOT_CALLED)
    assert all(NOT_CALLED.values())


@pytest.mark.parametrize("name", td.model.__all__)
def test_every_method_of_a_model_is_in_the_table_or_has_a_reason(name):
    methods = {method for method, _ in conventions.own_methods(getattr(td.model, name))}
    called = {method for method in methods if f"model.{name}.{method}" in MODEL_CALLS}
    assert called
    left_out = methods - called
    assert all(MODEL_NOT_CALLED.get(method) or MODEL_NOT_CALLED.get(f"{name}.{method}") for method in left_out), (
        left_out
    )


def test_there_are_enough_cases():
    """Each of them is held to be run where they are run."""
    assert sum(map(n_cases, CALLS)) >= 2000


#: The multiome with all results takes longest to make; the slow suite has its cases.
QUICK = [
    name for name, call in CALLS.items() if not call.costly and fault_objects.multiome not in call.arguments.values()
]


@pytest.mark.parametrize("name", QUICK)
def test_a_few_cases(name, tmp_path):
    """The first is always that the first argument is None: two more are drawn."""
    assert len(run_cases(name, 3, tmp_path)) == min(3, n_cases(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_many_cases(name, tmp_path):
    """All are different from one another and from the valid call, and as many as were counted on."""
    assert len(run_cases(name, n_cases(name), tmp_path)) == n_cases(name)


#: Functions that take an object of cells.
WITH_CELLS = [name for name, call in CALLS.items() if any(key in {"adata", "mdata", "data"} for key in call.arguments)]


def check_type(name, kind, folder):
    outcome = run_type(name, kind, folder)
    assert outcome.problem is None, f"{outcome.case}: {outcome.problem}. {outcome.detail}"


@pytest.mark.parametrize("kind", ["integers", "mixed"])
@pytest.mark.parametrize("name", [name for name in WITH_CELLS if name in QUICK])
def test_two_types_of_columns(name, kind, tmp_path):
    check_type(name, kind, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", WITH_CELLS)
def test_types_of_columns(name, kind, tmp_path):
    check_type(name, kind, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_the_valid_call_succeeds(name, tmp_path):
    """Otherwise every case would end in an error, and say nothing: it returns something, or what it was given has changed."""
    arguments = CALLS[name].build() | CALLS[name].build_fixed(tmp_path)
    before = fingerprint(arguments)
    found = []

    def called(**given: Any) -> Any:
        found.append(public(name)(**given))
        return found[0]

    outcome = judge(name, called, arguments, replace(Valid.of(name, arguments), share=SHARE))
    assert outcome.problem is None, f"{outcome.problem}. {outcome.detail}"
    assert outcome.error is None
    assert found[0] is not None or fingerprint(arguments) != before


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if call.blank or call.few])
def test_every_exception_is_needed(name, tmp_path):
    """What may be missing is missing with the arguments that let it: otherwise nothing is excepted."""
    call = CALLS[name]
    for blank in call.blank:
        arguments = call.build() | call.build_fixed(tmp_path) | LETS.get((name, blank), {})
        if not call.blank[blank](arguments):
            assert blank in call.few  # and in no valid call
            continue
        valid = Valid.of(name, arguments)
        others = {key: may for key, may in call.blank.items() if key != blank}
        problem = judge(name, public(name), arguments, replace(valid, blank=others)).problem
        assert problem is not None
        assert problem.startswith("gives no number in ")
        assert f"[{blank!r}]" in problem or blank in problem
    for name_of_few in call.few:
        arguments = call.build() | call.build_fixed(tmp_path)
        others = {key: reason for key, reason in call.few.items() if key != name_of_few}
        problem = judge(
            name, public(name), arguments, replace(Valid.of(name, arguments), few=others, share=SHARE)
        ).problem
        assert problem is not None
        assert f"[{name_of_few!r}]" in problem


@pytest.fixture
def in_the_table(monkeypatch) -> Callable[[Any], str]:
    """Enter a function of `adata` and `n` into the table, and return its name there."""

    def enter(function: Any) -> str:
        monkeypatch.setitem(CALLS, "test.function", Call({"adata": small, "n": 3}, {}, function=function))
        return "test.function"

    return enter


def test_a_failing_case_is_made_as_simple_as_it_can_be(in_the_table, tmp_path):
    """Whatever else is drawn at first, what is told at last is the fault alone."""

    def breaks(adata, n):
        if isinstance(adata, AnnData) and isinstance(adata.X, np.ndarray) and np.isinf(adata.X).any():
            raise ZeroDivisionError

    with pytest.raises(AssertionError, match="adata: is X with infinity at 0 at 0 at 0: error of type") as found:
        run_cases(in_the_table(breaks), 200, tmp_path)
    assert "another argument" not in str(found.value)


def test_cases_that_are_no_faults_are_not_counted(in_the_table, tmp_path, monkeypatch):
    """What is as it was is drawn anew; another form of valid data is tried, and does not count."""
    ways = {"as it was": lambda a, d, f: a, "X csc": lambda a, d, f: 3, "none": lambda a, d, f: None}
    monkeypatch.setattr("fault_mutations.ANNDATA", ways)
    called = []
    cases = run_cases(in_the_table(lambda adata, n: called.append(type(adata).__name__)), 12, tmp_path)
    assert len(cases) == 12
    assert not any(case in {"adata: is X csc", "adata: is as it was"} for case in cases)
    assert {"int", "NoneType"} <= set(called)


def test_the_cases_are_the_same_whatever_is_loaded(in_the_table, tmp_path, monkeypatch):
    """Of itself, hypothesis also draws numbers that stand in the modules at hand."""
    name = in_the_table(lambda adata, n: None)
    cases = run_cases(name, 60, tmp_path)
    assert len(cases) == 60
    (tmp_path / "more.py").write_text(f"NUMBERS = {list(range(200))}")
    monkeypatch.syspath_prepend(tmp_path)
    import_module("more")
    assert run_cases(name, 60, tmp_path) == cases


def test_a_case_that_hangs_ends_the_run(in_the_table, tmp_path, monkeypatch):
    monkeypatch.setattr("fault_trial.LIMIT_SECONDS", 0.1)
    n_calls = 0

    def hangs(adata, n):
        nonlocal n_calls
        n_calls += 1
        while isinstance(adata, AnnData):
            pass

    with pytest.raises(TookTooLongError, match="^test.function of"):
        run_cases(in_the_table(hangs), 20, tmp_path)
    assert n_calls <= 3
