from __future__ import annotations

import sys
from types import ModuleType

import pytest

import sctandem as td
from sctandem._lazy import attach


@pytest.fixture
def package(monkeypatch) -> ModuleType:
    """A package whose names are lazy: `greet` of a sub-module, and the sub-module `parts` itself."""
    module = ModuleType("lazy_example")
    parts = ModuleType("lazy_example.parts")
    parts.greet = lambda: "hello"
    monkeypatch.setitem(sys.modules, "lazy_example", module)
    monkeypatch.setitem(sys.modules, "lazy_example.parts", parts)
    module.__path__ = []
    module.__getattr__, module.__dir__, module.__all__ = attach("lazy_example", {"parts": None, "greet": ".parts"})
    return module


def test_names_arrive_when_asked_for(package):
    assert package.__all__ == ["greet", "parts"]
    assert "greet" not in vars(package)
    assert package.greet() == "hello"
    assert vars(package)["greet"] is package.greet
    assert package.parts is sys.modules["lazy_example.parts"]
    assert {"greet", "parts"} <= set(dir(package))


def test_unknown_name_lists_what_there_is(package):
    with pytest.raises(AttributeError, match=r"'lazy_example' has no attribute 'meet'; it offers greet, parts"):
        _ = package.meet


def test_star_import_and_dir_of_the_real_package():
    scope: dict[str, object] = {}
    exec("from sctandem import *", scope)
    assert set(td.__all__) <= set(scope)
    assert set(td.__all__) <= set(dir(td))
    with pytest.raises(AttributeError, match=r"it offers .*pl, pp, tl, train"):
        _ = td.tools


def test_version_is_the_installed_one():
    from importlib.metadata import version

    assert td.__version__ == version("sctandem")
