"""Kernels kept as machine code: what is loaded is what was compiled, and is made anew when anything changes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event, Thread

import numba
import numpy as np
import pytest
import torch

from sctandem._compat import cached_njit, object_code
from sctandem.nn import SparseLinear, _code_files, _kernel, dense_to_csr, nb_linear_log_likelihood, zinb_log_likelihood
from sctandem.nn._kernel import Kernel


def weighted_sums(start, stop, matrix, weights, out):
    left, right = weights
    for i in range(start, stop):
        for j in range(matrix.shape[1]):
            out[i] += matrix[i, j] * (left[j] + np.exp(right[j]))


def counting(start, stop, out):
    for i in range(start, stop):
        out[i] = i + 1


def raising(start, stop, out):
    for i in range(start, stop):
        if out[i] < 0:
            raise ValueError
        out[i] = 1


def new(function) -> Kernel:
    """A kernel as a new process would have it: with nothing compiled yet."""
    return Kernel(function, {})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The only folder where code is kept."""
    monkeypatch.setattr(_code_files, "_folders", lambda: [tmp_path])
    return tmp_path


@pytest.fixture
def no_compiler(monkeypatch):
    """Nothing can be compiled; what is called with it says when."""

    def stop() -> None:
        def refuse(*_, **__):
            pytest.fail("the kernel was compiled")

        monkeypatch.setattr(_kernel, "object_code", refuse)
        monkeypatch.setattr(_kernel.numba, "njit", refuse)

    return stop


def arguments(rng, dtype):
    matrix, left, right = (rng.normal(size=size).astype(dtype) for size in [(7, 5), 5, 5])
    return matrix, (left, right)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_loaded_does_what_python_does(rng, folder, no_compiler, dtype):
    matrix, weights = arguments(rng, dtype)
    expected, compiled, loaded = (np.zeros(7, dtype) for _ in range(3))
    weighted_sums(2, 6, matrix, weights, expected)
    new(weighted_sums)(2, 6, matrix, weights, compiled)
    assert len(list(folder.iterdir())) == 1
    no_compiler()
    new(weighted_sums)(2, 6, matrix, weights, loaded)
    np.testing.assert_allclose(compiled, expected, rtol=1e-5 if dtype is np.float32 else 1e-12)
    assert np.array_equal(loaded, compiled)
    assert not loaded[:2].any()
    assert not loaded[6:].any()


def test_each_combination_of_types_has_its_code(rng, folder):
    kernel = new(weighted_sums)
    for dtype in (np.float32, np.float64, np.float32):
        matrix, weights = arguments(rng, dtype)
        out, expected = np.zeros(7, dtype), np.zeros(7, dtype)
        kernel(0, 7, matrix, weights, out)
        weighted_sums(0, 7, matrix, weights, expected)
        np.testing.assert_allclose(out, expected, rtol=1e-4)
    assert len(list(folder.iterdir())) == 2


def damaged(content: bytes) -> bytes:
    return content[:-9] + bytes(9)


CHANGES = {"damaged": damaged, "cut": lambda content: content[:200], "empty": lambda _: b"", "odd": lambda _: b"[]\n"}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_damaged_file_is_made_anew(rng, folder, change):
    matrix, weights = arguments(rng, np.float64)
    first, second = np.zeros(7), np.zeros(7)
    new(weighted_sums)(0, 7, matrix, weights, first)
    (path,) = folder.iterdir()
    name = path.name.rpartition("-")[0]
    path.write_bytes(change(path.read_bytes()))
    assert _code_files.read_code(name) is None
    new(weighted_sums)(0, 7, matrix, weights, second)
    assert np.array_equal(first, second)
    assert _code_files.read_code(name) is not None


@pytest.mark.parametrize(
    ("where", "what", "other"),
    [
        (_code_files, "_SOURCE", "another"),
        (_code_files, "processor", lambda: "another"),
        (_code_files, "version", lambda _: "0"),
        (numba, "__version__", "0"),
        (_code_files.llvmlite, "__version__", "0"),
    ],
    ids=["source", "processor", "sctandem", "numba", "llvmlite"],
)
def test_code_made_from_or_by_something_else_is_not_loaded(rng, folder, monkeypatch, where, what, other):
    matrix, weights = arguments(rng, np.float64)
    new(weighted_sums)(0, 7, matrix, weights, np.zeros(7))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    name = next(iter(before)).rpartition("-")[0]
    assert _code_files.read_code(name) is not None
    monkeypatch.setattr(where, what, other)
    assert _code_files.read_code(name) is None
    new(weighted_sums)(0, 7, matrix, weights, np.zeros(7))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} != before


def test_checksum_is_of_every_source_file_when_the_package_was_imported(tmp_path, monkeypatch):
    nn, package = Path(_code_files.__file__).parent, Path(_code_files.__file__).parents[1]
    assert _code_files.checksum(nn) + _code_files.checksum(package) == _code_files._SOURCE
    found = {_code_files.checksum(tmp_path)}
    for name, text in [("a.py", "1"), ("b.py", "1"), ("b.py", "2"), ("note.txt", "3")]:
        (tmp_path / name).write_text(text)
        found.add(_code_files.checksum(tmp_path))
    assert len(found) == 4
    assert "" in found  # where there is no source
    key = _code_files._key("a")
    monkeypatch.setattr(_code_files, "checksum", lambda _: "changed since")
    assert _code_files._key("a") == key


def test_nothing_is_kept_where_there_is_no_source(monkeypatch):
    assert list(_code_files._folders())
    monkeypatch.setattr(_code_files, "_SOURCE", "")
    assert list(_code_files._folders()) == []


def in_groups(start, stop, first, second):
    for i in range(start, stop):
        first[len(first) - 1][i] += 1
        second[len(second) - 1][i] += 10


def test_the_same_arrays_in_other_tuples_are_other_types(folder):
    first, second = np.zeros((3, 2)), np.zeros((3, 2))
    new(in_groups)(0, 2, (first[0],), (first[1], first[2]))
    new(in_groups)(0, 2, (second[0], second[1]), (second[2],))
    np.testing.assert_array_equal(first, [[1, 1], [0, 0], [10, 10]])
    np.testing.assert_array_equal(second, [[0, 0], [1, 1], [10, 10]])
    assert len(list(folder.iterdir())) == 2


def test_files_can_be_read_by_whom_the_folder_allows(rng, folder):
    matrix, weights = arguments(rng, np.float64)
    new(weighted_sums)(0, 7, matrix, weights, np.zeros(7))
    (folder / "any").write_text("as others are")
    modes = {path.stat().st_mode for path in folder.iterdir()}
    assert len(list(folder.iterdir())) == 2
    assert len(modes) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_a_thread_that_it_does_not_have(folder):
    held, done = Event(), Event()

    def hold() -> None:
        with _kernel._lock:
            held.set()
            done.wait()

    thread = Thread(target=hold)
    thread.start()
    held.wait()
    try:
        child = os.fork()
        if child == 0:
            signal.alarm(30)  # ends a child that waits
            out = np.zeros(3)
            new(counting)(0, 3, out)
            os._exit(0 if out.tolist() == [1, 2, 3] else 1)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        done.set()
        thread.join()


def test_numba_without_a_folder_compiles_all_the_same(monkeypatch):
    monkeypatch.setattr(numba.core.caching.CacheImpl, "_locator_classes", [])
    with pytest.raises(RuntimeError, match="no locator available"):
        numba.njit(cache=True)(counting)
    out = np.zeros(3)
    cached_njit(nogil=True)(counting)(0, 3, out)
    assert out.tolist() == [1, 2, 3]


def test_code_that_calls_what_the_process_lacks_is_not_loaded(rng, folder, monkeypatch):
    matrix, weights = arguments(rng, np.float64)
    new(weighted_sums)(0, 7, matrix, weights, np.zeros(7))
    read = _code_files.read_code

    def lacking(name):
        code = read(name)
        return type(code)(code.symbol, ("no_such_function",), code.code)

    monkeypatch.setattr(_kernel, "read_code", lacking)
    out, expected = np.zeros(7), np.zeros(7)
    new(weighted_sums)(0, 7, matrix, weights, out)
    weighted_sums(0, 7, matrix, weights, expected)
    np.testing.assert_allclose(out, expected)


def test_without_a_folder_it_runs_all_the_same(rng, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(_code_files, "_folders", lambda: [tmp_path / "file"])
    matrix, weights = arguments(rng, np.float64)
    out, expected = np.zeros(7), np.zeros(7)
    new(weighted_sums)(0, 7, matrix, weights, out)
    weighted_sums(0, 7, matrix, weights, expected)
    np.testing.assert_allclose(out, expected)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_numbas_own_way_where_its_object_files_cannot_be_taken(rng, folder, monkeypatch):
    monkeypatch.setattr(_kernel, "object_code", lambda *_: None)
    matrix, weights = arguments(rng, np.float32)
    out, expected = np.zeros(7, np.float32), np.zeros(7, np.float32)
    new(weighted_sums)(1, 7, matrix, weights, out)
    weighted_sums(1, 7, matrix, weights, expected)
    np.testing.assert_allclose(out, expected, rtol=1e-5)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("gone", ["serialize_using_object_code", "get_llvm_str"])
def test_a_numba_with_other_names_gives_no_object_file(monkeypatch, gone):
    arguments = numba.types.intp, numba.types.intp, numba.float64[::1]
    assert object_code(counting, arguments, {}) is not None
    monkeypatch.delattr(numba.core.codegen.CodeLibrary, gone, raising=False)
    monkeypatch.delattr(numba.core.codegen.CPUCodeLibrary, gone, raising=False)
    assert object_code(counting, arguments, {}) is None


def test_an_exception_is_not_lost(folder):
    kernel = new(raising)
    out = np.zeros(3)
    kernel(0, 3, out)
    assert out.tolist() == [1, 1, 1]
    with pytest.raises(RuntimeError, match="the compiled test_kernel.raising raised an exception"):
        kernel(0, 3, np.array([0.0, -1.0, 0.0]))


@pytest.mark.parametrize(
    "out",
    [np.zeros(8)[::2], np.zeros(4, ">f8"), np.zeros((4, 4)).T[:2]],
    ids=["strided", "swapped", "transposed"],
)
def test_arrays_that_do_not_lie_as_c_has_them(out):
    with pytest.raises(ValueError, match="C-contiguous, aligned and native"):
        new(counting)(0, 4, out)


def test_without_compiling(monkeypatch):
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)
    out = np.zeros(3)
    Kernel(raising, {})(0, 3, out)
    assert out.tolist() == [1, 1, 1]


def test_all_kernels_of_the_count_path_are_kept(rng):
    counts = torch.tensor(rng.poisson(1.0, (6, 4)), dtype=torch.float32)
    hidden = SparseLinear(4, 3)(dense_to_csr(counts))
    weight, zeros = torch.randn(4, 3, requires_grad=True), torch.zeros(4)
    nb_linear_log_likelihood(counts, hidden, zeros, weight=weight, bias=zeros).sum().backward()
    zinb_log_likelihood(counts, hidden @ weight.t(), zeros, dropout_logits=torch.zeros(6, 4)).sum().backward()
    modules = [sys.modules[f"sctandem.nn.{name}"] for name in ("_sparse", "_nb_kernels", "_numba_math")]
    kernels = {value for module in modules for value in vars(module).values() if isinstance(value, Kernel)}
    assert len(kernels) == 5
    assert all(kernel._found for kernel in kernels)
    assert all(None not in kernel._found.values() for kernel in kernels)  # numba's own way


SCRIPT = """
import sys, torch
from sctandem.nn import SparseLinear, dense_to_csr, nb_linear_log_likelihood
counts, zeros = torch.ones(6, 4), torch.zeros(4)
weight = torch.ones(4, 3, requires_grad=True)
hidden = SparseLinear(4, 3)(dense_to_csr(counts))
nb_linear_log_likelihood(counts, hidden, zeros, weight=weight, bias=zeros).sum().backward()
print(*[name for name in sys.modules if name in {"numba.np.polynomial", "numba.np.random.generator_core"}])
"""


@pytest.mark.slow
def test_a_process_that_finds_the_code_leaves_the_compiler_alone(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    said = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert said[0]  # what the compiler imports
    assert said[1] == []
