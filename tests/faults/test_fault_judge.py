"""The judge of malformed cases says no where it should: to errors of others, to changes, to floods, and to results that say nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from fault_calls import CALLS, documented
from fault_documented import errors_in
from fault_objects import small
from fault_slots import fingerprint, gaps
from fault_trial import Valid, judge, names_a_place
from scipy import sparse

import sctandem as td

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData


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


def test_the_judge_asks_the_documentation(inside):
    """A type that other functions document is none of this one; what is raised of a kind that is named may be more special."""
    raises = {
        name: inside(f'raise {name}("adata is wrong")') for name in ("ValueError", "FileNotFoundError", "TypeError")
    }
    for name, errors, problem in (
        ("ValueError", (ValueError,), None),
        ("FileNotFoundError", (OSError,), None),
        ("TypeError", (ValueError, KeyError), "error that the documentation does not name: TypeError"),
        ("ValueError", (), "error that the documentation does not name: ValueError"),
    ):
        assert judge("", raises[name], {"adata": small()}, Valid(errors=errors)).problem == problem


def test_what_a_docstring_says_is_raised():
    text = """One.

    Parameters
    ----------
    KeyError
        No error.

    Raises
    ------
    ValueError
        When it is wrong:
        KeyError is another.
    TypeError, SourceError
        Both.

    Notes
    -----
    OSError
    """
    assert errors_in(text) == {ValueError, TypeError, td.data.SourceError}
    assert errors_in("One.\n\nRaises\n------\nKeyError\n    At the end.") == {KeyError}
    assert errors_in("One.") == set()


def test_documentation_of_what_stands_behind_a_call():
    assert documented("get.similar") == (KeyError, TypeError, ValueError)
    assert set(documented("model.TAPE.train")) == set(documented("model.TAPE.made")) | errors_in(
        td.model.TAPE.train.__doc__
    )
    assert set(documented("model.TAPE.made")) == errors_in(td.model.TAPE.__doc__) | errors_in(
        td.model.TAPE.setup_mudata.__doc__
    )
    assert all(documented(name) for name in CALLS if name != "datasets.list_datasets")


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
