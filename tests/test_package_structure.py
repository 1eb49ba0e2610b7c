"""The conventions of the package, held for every file and every public name. The checks are in `support/conventions.py`."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import conventions
import pytest
import yaml

import sctandem as td

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent
SOURCE = Path(td.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
TEST_FILES = sorted((ROOT / "tests").rglob("*.py"))
#: Sub-packages whose names users call; each has a page of the API.
USER_PACKAGES = ["datasets", "genome", "get", "io", "model", "pl", "pp", "tl"]
#: Sub-packages whose names are for authors of models.
AUTHOR_PACKAGES = ["data", "kernels", "module", "nn", "train"]


def public_callables(packages: list[str]) -> list[tuple[str, str, Callable]]:
    found = []
    for package in packages:
        module = import_module(f"sctandem.{package}")
        for name in module.__all__:
            with suppress(ImportError):  # what cannot be imported fails in test_every_name_of_all_resolves
                found.append((package, name, getattr(module, name)))
    return [(package, name, value) for package, name, value in found if callable(value)]


def parameters(packages: list[str]) -> list:
    return [pytest.param(package, value, id=f"{package}.{name}") for package, name, value in public_callables(packages)]


def methods(packages: list[str]) -> list:
    return [
        pytest.param(function, id=f"{package}.{name}.{method}")
        for package, name, value in public_callables(packages)
        if isinstance(value, type)
        for method, function in conventions.own_methods(value)
    ]


def layer(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def package_of(path: Path) -> str:
    return ".".join(["sctandem", *path.relative_to(SOURCE).parts[:-1]])


def by_path(files: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "path", files, ids=lambda path: path.relative_to(ROOT).as_posix() if ROOT in path.parents else path.name
    )


@pytest.mark.parametrize("package", USER_PACKAGES + AUTHOR_PACKAGES)
def test_every_name_of_all_resolves(package):
    module = import_module(f"sctandem.{package}")
    assert all(getattr(module, name) is not None for name in module.__all__)


@pytest.mark.parametrize(("package", "value"), parameters(USER_PACKAGES))
def test_signature(package, value):
    if isinstance(value, type):  # its methods are checked below; a model's own arguments come after the data
        value = value.__init__
        package = "method"
    assert conventions.signature_problems(value, package) == []


@pytest.mark.parametrize(("package", "value"), parameters(["pp", "tl"]))
def test_names_of_results_are_checked(package, value):
    assert conventions.key_added_problems(value) == []


@pytest.mark.parametrize("function", methods(USER_PACKAGES))
def test_method_signature(function):
    assert conventions.signature_problems(function, "method") == []


@pytest.mark.parametrize(("package", "value"), parameters(USER_PACKAGES))
def test_docstring(package, value):
    assert conventions.docstring_problems(value) == []


@pytest.mark.parametrize(("package", "value"), parameters(AUTHOR_PACKAGES))
def test_docstring_of_what_authors_use(package, value):
    assert conventions.docstring_problems(value, example=False) == []


@pytest.mark.parametrize("function", methods(USER_PACKAGES))
def test_method_docstring(function):
    assert conventions.docstring_problems(function, example=False) == []


@pytest.mark.parametrize("package", USER_PACKAGES + AUTHOR_PACKAGES)
def test_api_page_lists_all(package):
    page = (ROOT / "docs" / "api" / f"{package}.md").read_text()
    assert conventions.page_problems(page, import_module(f"sctandem.{package}").__all__) == [], (
        "python tools/api_pages.py writes the pages anew"
    )


@by_path([path for path in FILES if layer(path) in conventions.LAYERS])
def test_imports_run_one_way(path):
    assert conventions.layer_problems(path.read_text(), package_of(path), layer(path)) == []


def test_every_sub_package_has_a_layer():
    folders = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert folders <= set(conventions.LAYERS)


@by_path([path for path in FILES if path.name != "_compat.py"])
def test_private_names_of_others_only_in_compat(path):
    assert conventions.private_upstream_problems(path.read_text(), package_of(path)) == []


@by_path(FILES + TEST_FILES)
def test_sizes(path):
    assert conventions.size_problems(path.read_text()) == []


@by_path(FILES)
def test_source(path):
    assert conventions.source_problems(path.read_text()) == []


@by_path([path for path in FILES if path.name != "_keys.py"])
def test_slot_names_only_in_keys(path):
    assert conventions.slot_problems(path.read_text()) == []


@by_path(TEST_FILES)
def test_expected_errors_are_named(path):
    assert conventions.raises_problems(path.read_text()) == []


def test_addresses_agree():
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    assert set(urls) == {"Documentation", "Homepage", "Issues", "Source"}
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["url"], citation["repository-code"]) == (urls["Documentation"], urls["Source"])
    assert urls["Issues"] == urls["Source"] + "/issues"


IMPORT = """
import sys, time
start = time.process_time()
{before}
between = time.process_time()
import sctandem
end = time.process_time()
loaded = {{name.split(".")[0] for name in sys.modules}}
print(end - start, end - between, *sorted(loaded & {{"torch", "scvi", "scanpy", "lightning", "matplotlib", "sklearn", "numba"}}))
"""


def import_seconds(before: str = "") -> tuple[float, float, list[str]]:
    """Seconds of processor time (others may be busy) of the import, without and with what came before it; heavy packages."""
    output = subprocess.run(
        [sys.executable, "-c", IMPORT.format(before=before)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ).stdout.split()
    return float(output[1]), float(output[0]), output[2:]


def test_import_is_light():
    """anndata and mudata may load one of these themselves: mudata 0.4 loads numba."""
    assert import_seconds()[2] == import_seconds("import sys, anndata, mudata; sys.modules['sctandem'] = anndata")[2]


def test_import_takes_less_than_a_second():
    best = min(import_seconds()[0] for _ in range(3))
    attempts = 3
    while best >= 1 and attempts < 6:  # a busy machine gets more attempts
        best = min(best, import_seconds()[0])
        attempts += 1
    # A slow machine needs the second for anndata and mudata alone, which are not ours to make quicker. Our own share is
    # then judged within one process (the next test): times of different processes there differ by a third.
    slow = min(everything - own for own, everything, _ in (import_seconds("import anndata, mudata") for _ in range(3)))
    assert best < 1 or slow > 0.75


def test_import_adds_next_to_nothing_to_that_of_anndata_and_mudata():
    own, everything, _ = min(import_seconds("import anndata, mudata") for _ in range(3))
    assert own < 0.1 * everything
