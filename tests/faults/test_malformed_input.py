"""Every public function on malformed input: success or an error that the package means, the input unchanged, no hang, no flood."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import conventions
import fault_objects
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from fault_call import Call
from fault_calls import CALLS, NOT_CALLED, public
from fault_cases import run_cases
from fault_models import MODEL_CALLS, MODEL_NOT_CALLED
from fault_mutations import TYPES
from fault_slots import fingerprint, gaps
from fault_trial import TookTooLongError, Valid, judge, names_a_place, run_type
from scipy import sparse

import sctandem as td

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGES = ["pp", "tl", "pl", "get", "io", "genome", "datasets", "data"]
#: Cases of a function in the slow suite, and of one whose valid call takes long.
CASES, COSTLY_CASES = 24, 12
#: There are no more than these, and all are run.
FEWER_CASES = {"datasets.list_datasets": 1}


def n_cases(name: str) -> int:
    return FEWER_CASES.get(name, COSTLY_CASES if CALLS[name].costly else CASES)


def public_names() -> set[str]:
    return {f"{package}.{name}" for package in PACKAGES for name in import_module(f"sctandem.{package}").__all__}


def test_every_public_name_is_in_the_table_or_has_a_reason():
    assert public_names() == (set(CALLS) | set(NOT_CALLED)) - set(MODEL_CALLS)
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

    outcome = judge(name, called, arguments, Valid.of(name, arguments))
    assert outcome.problem is None, f"{outcome.problem}. {outcome.detail}"
    assert outcome.error is None
    assert found[0] is not None or fingerprint(arguments) != before


def small() -> AnnData:
    adata = AnnData(np.ones((3, 2), dtype=np.float32), uns={"table": {"t": pd.DataFrame({"a": ["x", None]})}})
    adata.obs["type"] = pd.Categorical(["a", "b", "b"], categories=["a", "b", "c"])
    return adata


@pytest.fixture
def inside(tmp_path, monkeypatch) -> Callable[[str], Any]:
    """Write a function of `adata` into a file that the judge takes for one of the package."""
    monkeypatch.setattr("fault_trial.SOURCE", str(tmp_path))

    def make(body: str) -> Any:
        path = tmp_path / "made.py"
        path.write_text("def made(adata):\n" + "".join(f"    {line}\n" for line in body.split("\n")))
        space: dict[str, Any] = {}
        exec(compile(path.read_text(), path, "exec"), space)
        return space["made"]

    return make


#: What a function of the package does, and what the judge says of it.
JUDGED = {
    "meant": ('raise ValueError("adata.X holds NaN")', None),
    "of the system": ('open("/nowhere/adata")', None),
    "names no place": ('raise ValueError("something is wrong")', "names neither an argument nor a slot"),
    "by accident": ('return {}["adata"]', "error by accident"),
    "of a dependency": ('return adata.obs["missing"]', "error from inside a dependency"),
    "of another type": ('raise ZeroDivisionError("adata")', "error of type ZeroDivisionError"),
    "bytes that are no text": ('raise UnicodeError("adata")', "error of type UnicodeError"),
    "pickled": ('import pickle\nraise pickle.UnpicklingError("adata")', "error of type UnpicklingError"),
    "changes": ('adata.obs["new"] = 1\nraise ValueError("adata is wrong")', "changes adata"),
    "warns": ('import warnings\nfor i in range(30):\n    warnings.warn(f"{i}")', "flood of warnings"),
    "logs": (
        'import logging\nfor i in range(30):\n    logging.getLogger("sctandem.made").warning(i)', "flood of warnings"
    ),
    "wrecks values": ("adata.X[:] = 0", "changes adata.X"),
    "wrecks a column": ('adata.obs["type"] = "same"', "changes adata.obs['type']"),
    "takes a column": ('del adata.obs["type"]', "changes adata.obs['type']"),
    "wrecks a result": ('adata.uns["table"]["t"].loc[0, "a"] = "y"', "changes adata.uns['table']"),
    "takes a result": ('del adata.uns["table"]', "changes adata.uns['table']"),
    "writes NaN": ('adata.obsm["new"] = adata.X * float("nan")', "gives no number in adata.obsm['new']"),
    "writes NaN to a column": (
        'adata.uns["new"] = {"t": adata.to_df().assign(b=float("inf"))}', "gives no number in adata.uns['new']['t']['b']"
    ),
    "returns NaN": ('return {"a": [], "b": adata.X[0] * float("nan")}', "gives no number in what is returned['b']"),
    "writes some NaN": ('adata.obs["new"] = [float("nan"), 1.0, 2.0]', None),
    "writes NaN for NaN": ('adata.X[0, 0] = float("nan")', "changes adata.X"),
    "writes": ('adata.obs["new"] = 1\nadata.layers["new"] = adata.X', None),
    "a few": ('import logging\nlogging.getLogger("sctandem.made").warning("one")', None),
}  # fmt: skip


@pytest.mark.parametrize("kind", JUDGED)
def test_the_judge_on_functions_of_the_package(kind, inside):
    """A judge that cannot say no holds nothing: one function a branch."""
    body, problem = JUDGED[kind]
    outcome = judge("", inside(body), {"adata": small()})
    assert outcome.problem == problem, outcome


def test_the_judge_on_functions_of_others():
    """Even what is raised there is no error of the package."""

    def raises(adata):
        raise ValueError(adata.n_obs)

    def writes(adata):
        adata.obs["new"] = 1
        adata.uns["other"] = {"t": pd.DataFrame({"a": ["y"]})}

    assert judge("", raises, {"adata": small()}).problem == "error from inside a dependency"
    assert judge("", writes, {"adata": small()}).problem is None
    assert judge("", writes, {"adata": small()}, Valid(reads_only=True)).problem == "changes adata"
    assert judge("", td.get.de, {"adata": small()}).detail == "KeyError"


def test_a_function_may_replace_results_under_its_own_key():
    def replaces(adata, key_added="none"):
        adata.uns["table"] = adata.uns["table_of"] = {}
        adata.obsm["X_table"] = adata.X

    def with_results() -> AnnData:
        adata = small()
        adata.uns["table_of"], adata.obsm["X_table"] = {"a": 1}, np.zeros((3, 2))
        return adata

    for own, given in ((["table"], {}), ([], {"key_added": "table"})):
        assert judge("", replaces, {"adata": with_results(), **given}, Valid(writes=own)).problem is None
    for own, given in ((["tab"], {}), ([], {"key_added": "other"}), (["X_table", "table_of"], {})):
        problem = judge("", replaces, {"adata": with_results(), **given}, Valid(writes=own)).problem
        assert problem.startswith("changes adata."), problem


def test_numbers_may_be_missing_where_the_input_misses_some_or_the_documentation_says_so():
    def blank(adata):
        adata.uns["new"] = {"fdr": adata.X[0] * float("nan")}

    wrong = "gives no number in adata.uns['new']['fdr']"
    assert judge("", blank, {"adata": small()}).problem == wrong
    assert judge("", blank, {"adata": small()}, Valid(blank=["fdr"])).problem is None
    assert judge("", blank, {"adata": small()}, Valid(blank=["dr"])).problem == wrong
    with_gaps = [small() for _ in range(4)]
    with_gaps[0].X[0, 0] = np.nan
    with_gaps[1].obsm["gap"] = np.array([[0.0], [1.0], [np.inf]])
    with_gaps[2].obs["gap"] = [None, "a", "b"]
    with_gaps[3].layers["gap"] = sparse.csr_matrix([[np.nan, 1.0]] * 3)
    for adata in with_gaps:
        assert judge("", blank, {"adata": adata.copy()}).problem is None
        assert judge("", blank, {"adata": adata}, Valid(gaps=gaps({"adata": adata}))).problem == wrong


def test_a_message_names_where_something_is_wrong():
    arguments = {"adata": small(), "n_genes": 3, "key": "leiden"}
    for said in ("adata.X holds NaN", "n_genes=3 is too few", "there is no 'leiden'", "adata.obs lacks a column"):
        assert names_a_place(ValueError(said), arguments), said
    for said in ("something is wrong", "3", "invalid value", "adatas are wrong", "the cells are bad", "a row", ""):
        assert not names_a_place(ValueError(said), arguments), said


def test_a_hang_is_stopped(monkeypatch):
    monkeypatch.setattr("fault_trial.LIMIT_SECONDS", 0.1)

    def hangs(adata):
        while True:
            adata.n_obs  # noqa: B018

    assert judge("", hangs, {"adata": small()}).problem == "hangs"


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


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is set on Linux alone")
def test_a_call_that_asks_for_much_memory_fails_alone(monkeypatch):
    monkeypatch.setattr("fault_trial.LIMIT_BYTES", 2**28)

    def greedy(adata):
        return np.empty(2**30, dtype=np.int8)

    assert judge("", greedy, {"adata": small()}).problem.endswith("MemoryError")
    assert np.empty(2**30, dtype=np.int8).size == 2**30


def test_fingerprint_sees_every_slot():
    def variants():
        yield small()
        for slot in ("obsm", "varm", "layers", "uns", "obsp"):
            adata = small()
            n = 2 if slot == "varm" else 3
            getattr(adata, slot)["x"] = np.zeros((n, 2 if slot == "layers" else n))
            yield adata
        adata = small()
        adata.X[1, 1] = 2
        yield adata
        adata = small()
        adata.obs_names = ["a", "b", "c"]
        yield adata
        adata = small()
        adata.uns["table"]["t"].loc[0, "a"] = "y"
        yield adata
        adata = small()
        adata.raw = small()
        yield adata
        for names in (["a", "b"], ["a", "b", "d"], ["c", "b", "a"]):
            adata = small()
            adata.obs["type"] = adata.obs["type"].cat.set_categories(names)
            yield adata
        adata = small()
        adata.obs["type"] = adata.obs["type"].cat.as_ordered()
        yield adata
        for part in ("obs", "var"):
            adata = small()
            getattr(adata, part).index.name = "name"
            yield adata

    hashes = [fingerprint(adata) for adata in variants()]
    assert len(set(hashes)) == len(hashes)
    assert fingerprint(small()) == fingerprint(small().copy())
