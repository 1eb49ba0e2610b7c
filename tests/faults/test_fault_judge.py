"""The judge of malformed cases says no where it should: to errors of others, to changes, to floods, and to results that say nothing."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from fault_documented import documented_errors, step
from fault_messages import names_a_place
from fault_numbers import barren, gaps
from fault_objects import small
from fault_slots import fingerprint, hashes
from fault_trial import Valid, _read, judge
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
    "writes one NaN": ('adata.uns["new"] = {"x": {"auc": float("nan")}}', "gives no number in adata.uns['new']['x']['auc']"),
    "writes a column of nothing": (
        'adata.obs["new"] = [None] * 3\nadata.obs["new"] = adata.obs["new"].astype(object)',
        "gives no number in adata.obs['new']",
    ),
    "writes words for nobody": (
        'adata.obs["new"] = adata.obs["type"].where(adata.obs["type"] == "c")', "gives no number in adata.obs['new']"
    ),
    "writes an empty table": ('adata.uns["new"] = adata.to_df()[:0]', "gives no number in adata.uns['new']"),
    "wrecks raw counts": ("adata.raw.X[:] = 0", "changes adata.raw.X"),
    "takes raw counts": ("del adata.raw", "changes adata.raw.X, adata.raw.var_names, adata.raw.var['name']"),
    "wrecks a column that is named as another": (
        "adata.obs.isetitem(2, [7, 8, 9])", "changes adata.obs['twice']#1"
    ),
    "writes NaN for NaN": ('adata.X[0, 0] = float("nan")', "changes adata.X"),
    "writes": ('adata.obs["new"] = 1\nadata.layers["new"] = adata.X', None),
    "a few": ('import logging\nlogging.getLogger("sctandem.made").warning("one")', None),
}  # fmt: skip


@pytest.mark.parametrize("kind", JUDGED)
def test_the_judge_on_functions_of_the_package(kind, inside):
    """A judge that cannot say no holds nothing: one function a branch."""
    body, problem = JUDGED[kind]
    outcome = judge("", inside(body), {"adata": _with_all()})
    assert outcome.problem == problem, outcome


def _with_all() -> AnnData:
    """An object with raw counts, and two columns that are named alike."""
    adata = small()
    adata.raw = small()
    adata.raw.var["name"] = "same"
    adata.obs["twice"], adata.obs["again"] = [1, 2, 3], [4, 5, 6]
    adata.obs.columns = ["type", "twice", "twice"]
    return adata


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
    for name, errors, problem in (
        ("ValueError", (ValueError,), None),
        ("FileNotFoundError", (OSError,), None),
        ("TypeError", (ValueError, KeyError), "error that the documentation does not name: TypeError"),
        ("ValueError", (), "error that the documentation does not name: ValueError"),
        ("system", (ValueError, KeyError), "error that the documentation does not name: FileNotFoundError"),
        ("system", (PermissionError,), "error that the documentation does not name: FileNotFoundError"),
        ("system", (FileNotFoundError,), None),
    ):
        raises = inside('open("/nowhere/adata")' if name == "system" else f'raise {name}("adata is wrong")')
        assert judge("", raises, {"adata": small()}, Valid(errors=errors)).problem == problem


def test_of_several_calls_the_one_that_fails_is_asked(inside):
    """What training documents excuses no error of what is set up before it."""
    fails = inside('raise KeyError("adata is wrong")')

    def setup(adata):
        """Raises
        ------
        ValueError
        """

    def train(adata):
        """Raises
        ------
        KeyError
        """

    def of(which):
        def both(adata):
            with step(train), step(which):  # the inner one counts
                fails(adata)

        return both

    valid = Valid(errors=documented_errors(setup, train))
    assert judge("", of(train), {"adata": small()}, valid).problem is None
    problem = judge("", of(setup), {"adata": small()}, valid).problem
    assert problem == "error that the documentation does not name: KeyError"


def test_files_that_are_read_are_watched(tmp_path):
    """Whatever the argument is called, and however the call ends; what is written to is not."""

    def makes(name, body):
        space: dict[str, Any] = {}
        exec(f"def made({name}, other=None):\n    {body}", space)
        return space["made"]

    for name in ("path", "out", "dir_path", "fasta"):
        for given in (tmp_path / "file", tmp_path):
            for spell in (given, str(given)):
                file = tmp_path / "file"
                file.write_text("before")
                writes = makes(name, f"open({str(file)!r}, 'w').write('after')")
                assert judge("", writes, {name: spell}).problem == f"changes {name}", (name, spell)
                file.write_text("before")
                assert judge("", writes, {name: spell}, Valid(outputs=[name])).problem is None
    (tmp_path / "file").write_text("before")
    assert judge("", makes("path", "return 1"), {"path": tmp_path / "file"}).problem is None
    takes = makes("path", "path.unlink()")
    assert judge("", takes, {"path": tmp_path / "file"}).problem == "changes path"


def test_tables_that_are_given_are_watched():
    def sorts(adata, genes):
        genes.sort_index(inplace=True)

    genes = pd.DataFrame({"a": [1, 2]}, index=["y", "x"])
    assert judge("", sorts, {"adata": small(), "genes": genes}).problem == "changes genes"


@dataclass(frozen=True)
class _Given:
    auc: Any


def test_what_says_nothing_is_found_however_deep():
    nan, one = float("nan"), np.array([1.0, *[np.nan] * 26])
    for value in (
        nan,
        np.float32("inf"),
        [nan, nan],
        (np.full(2, nan), "a"),
        _Given(np.full(2, nan)),
        [_Given({"a": nan})],
        {"a": {"b": (nan,)}},
        pd.DataFrame({"a": [nan]}, dtype=object),
        pd.Series([None, None]),
        pd.Series(pd.Categorical([None], categories=["a"])),
        pd.Series([pd.NA], dtype="Float64"),
        np.array([(nan, 1.0)], dtype=[("a", float), ("b", float)]),
        sparse.csr_matrix([[nan]]),
        np.zeros((0, 3)),
        pd.DataFrame({"a": []}),
        sparse.csr_matrix((0, 3)),
    ):
        assert len(list(barren(value, "it"))) == 1, value
    for value in (1.0, 3, "a", None, [], {}, _Given(None), [1.0, nan], one, pd.Series(["a", None]), np.array(["a"]),
                  sparse.csr_matrix((2, 2)), pd.Series([1.0, pd.NA], dtype="Float64"), np.array([1])):  # fmt: skip
        assert not list(barren(value, "it")), value
    for value in (one, [*one], pd.DataFrame({"a": one}), {"a": [one]}, pd.Series(["a", None, None])):
        assert len(list(barren(value, "it", 0.5))) == 1, value
    for value in (np.array([1.0, nan]), pd.Series(["a", None]), sparse.csr_matrix([[nan, 0.0]])):
        assert not list(barren(value, "it", 0.5)), value


def test_what_is_read_may_miss_what_is_missing_there():
    """A function that returns what an object holds is asked for numbers where the object is that of the valid call."""

    def reads(adata, n=0):
        return adata.uns["scores"] if n == 0 else np.full(3, np.nan)

    adata = small()
    adata.uns["scores"] = np.ones(3)
    valid = Valid(reads_only=True, read=_read({"adata": adata, "n": 0}))
    assert judge("", reads, {"adata": adata, "n": 0}, valid).problem is None
    assert judge("", reads, {"adata": adata, "n": 1}, valid).problem == "gives no number in what is returned"
    adata.uns["scores"] = np.full(3, np.nan)
    assert judge("", reads, {"adata": adata, "n": 0}, valid).problem is None


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
    for name, may, problem in (("fdr", True, None), ("fdr", False, wrong), ("dr", True, wrong)):
        valid = Valid(blank={name: lambda given, may=may: may and "adata" in given})
        assert judge("", blank, {"adata": small()}, valid).problem == problem
    with_gaps = [small() for _ in range(4)]
    with_gaps[0].X[0, 0] = np.nan
    with_gaps[1].obsm["gap"] = np.array([[0.0], [1.0], [np.inf]])
    with_gaps[2].obs["gap"] = [None, "a", "b"]
    with_gaps[3].layers["gap"] = sparse.csr_matrix([[np.nan, 1.0]] * 3)
    for adata in with_gaps:
        assert judge("", blank, {"adata": adata.copy()}).problem is None
        assert judge("", blank, {"adata": adata}, Valid(gaps=gaps({"adata": adata}))).problem == wrong


def test_a_message_names_where_something_is_wrong():
    arguments = {"adata": small(), "n_genes": 3, "key": "leiden", "genes": ["MYC"], "path": Path("/a/cells.h5ad")}

    def function(adata, *, max_q=1.0, **options):
        pass

    for said in (
        "adata.X holds NaN", "n_genes=3 is too few", "there is no 'leiden'", "data.obs lacks a column", "no gene 'MYC'",
        "layers['counts'] holds NaN", "obs['x'] is missing", "layer='counts' is missing", "max_q must be positive",
        "cells.h5ad is no file", "mdata['rna'].X is empty", "'X' is empty", "obs_names are not unique", "obs.index is odd",
    ):  # fmt: skip
        assert names_a_place(ValueError(said), arguments, function), said
    for said in (
        "something is wrong", "3", "invalid value", "adatas are wrong", "the cells are bad", "a row", "", "X is wrong",
        "the layer is wrong", "var is wrong", "no such obs", "uns.", "leiden is wrong", "MYC is wrong", "options are wrong",
        "at least 3", "chromosome X is missing", "max_q2",
    ):  # fmt: skip
        assert not names_a_place(ValueError(said), arguments, function), said
    assert not names_a_place(ValueError("max_q must be positive"), arguments)


def test_columns_that_are_named_alike_are_told_apart():
    before, after = _with_all(), _with_all()
    after.obs = after.obs.iloc[:, [0, 2, 1]]
    assert {slot for slot, held in hashes(before).items() if hashes(after)[slot] != held} == {
        "obs['twice']", "obs['twice']#1"
    }  # fmt: skip


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
