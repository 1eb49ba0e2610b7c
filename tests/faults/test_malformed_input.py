"""Every public function on malformed input: success or an error that the package means, the input unchanged, no hang, no flood."""

from __future__ import annotations

from importlib import import_module

import conventions
import fault_objects
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from fault_calls import CALLS, NOT_CALLED, public
from fault_known import KNOWN
from fault_models import MODEL_CALLS, MODEL_NOT_CALLED
from fault_mutations import TYPES
from fault_trial import fingerprint, judge, names_a_place, run_case, run_type

import sctandem as td

PACKAGES = ["pp", "tl", "pl", "get", "io", "genome", "datasets", "data"]
#: Cases of a function in the slow suite, and of one whose valid call takes long.
CASES, COSTLY_CASES = 24, 12


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
    assert sum(COSTLY_CASES if call.costly else CASES for call in CALLS.values()) >= 2000


def test_known_failures_name_cases_and_reasons():
    assert {case.split("[")[0] for case in KNOWN} <= set(CALLS)
    assert all(KNOWN.values())


def check(name, number, folder):
    case = f"{name}[{number}]"
    outcome = run_case(name, number, folder)
    if case in KNOWN and outcome.problem:
        return f"{case}: {KNOWN[case]}"
    assert outcome.problem is None, f"{outcome.case}: {outcome.problem}. {outcome.detail}"
    return None


#: The multiome with all results takes longest to make; the slow suite has its cases.
QUICK = [
    name for name, call in CALLS.items() if not call.costly and fault_objects.multiome not in call.arguments.values()
]


@pytest.mark.parametrize("number", range(2))
@pytest.mark.parametrize("name", QUICK)
def test_two_cases(name, number, tmp_path):
    if reason := check(name, number, tmp_path):
        pytest.xfail(reason)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(CASES))
@pytest.mark.parametrize("name", CALLS)
def test_many_cases(name, number, tmp_path):
    if CALLS[name].costly and number >= COSTLY_CASES:
        pytest.skip("fewer cases of what takes long")
    if reason := check(name, number, tmp_path):
        pytest.xfail(reason)


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
    found = public(name)(**arguments)
    assert found is not None or fingerprint(arguments) != before


def small() -> AnnData:
    return AnnData(np.ones((3, 2), dtype=np.float32), uns={"table": {"t": pd.DataFrame({"a": ["x", None]})}})


def accident(adata):
    return adata.uns["missing"]


def test_the_judge_sees_what_is_wrong():
    """A judge that cannot say no holds nothing; these functions stand outside the package, so even a `raise` is refused."""

    def writes(adata):
        adata.obs["new"] = 1
        adata.uns["table"]["t"].loc[0, "a"] = "y"

    def floods(adata):
        import warnings

        for i in range(30):
            warnings.warn(f"{i}", stacklevel=1)

    def stranger(adata):
        raise ZeroDivisionError

    assert judge("", accident, {"adata": small()}).problem == "error from inside a dependency"
    assert judge("", stranger, {"adata": small()}).problem == "error of type ZeroDivisionError"
    assert judge("", floods, {"adata": small()}).problem == "flood of warnings"
    assert judge("", writes, {"adata": small()}).problem is None
    assert judge("", writes, {"adata": small()}, reads_only=True).problem == "changes adata"
    assert judge("", td.get.de, {"adata": small()}).detail == "KeyError"


def test_a_message_names_where_something_is_wrong():
    arguments = {"adata": small(), "n_genes": 3, "key": "leiden"}
    for said in ("adata.X holds NaN", "n_genes=3 is too few", "there is no 'leiden'", "the column is missing"):
        assert names_a_place(ValueError(said), arguments), said
    for said in ("something is wrong", "3", "invalid value", "adatas are wrong", ""):
        assert not names_a_place(ValueError(said), arguments), said


def test_a_hang_is_stopped(monkeypatch):
    monkeypatch.setattr("fault_trial.LIMIT_SECONDS", 1)

    def hangs(adata):
        while True:
            adata.n_obs  # noqa: B018

    assert judge("", hangs, {"adata": small()}).problem == "hangs"


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

    hashes = [fingerprint(adata) for adata in variants()]
    assert len(set(hashes)) == len(hashes)
    assert fingerprint(small()) == fingerprint(small().copy())
