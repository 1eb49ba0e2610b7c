"""The examples in the docstrings and in the README run, and print what they say."""

from __future__ import annotations

import doctest
import re
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import matplotlib.figure
import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = [
    "_compat",
    "_lazy",
    "_random",
    *[
        "data",
        "datasets",
        "genome",
        "get",
        "io",
        "kernels",
        "model",
        "model.base",
        "module.base",
        "nn",
        "pl",
        "pp",
        "tl",
        "train",
    ],
]
#: Sub-packages whose examples train a model.
TRAINING = {"get", "model", "pl", "tl"}


def examples() -> list:
    found = {}
    for package in PACKAGES:
        module = import_module(f"sctandem.{package}")
        names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
        for name in names:
            try:
                value = getattr(module, name)
            except ImportError:  # test_package_structure tells
                continue
            if not getattr(value, "__module__", "").startswith("sctandem"):
                continue
            for test in doctest.DocTestFinder(recurse=isinstance(value, type)).find(value, name):
                if test.examples:
                    marks = [pytest.mark.slow] if package in TRAINING else []
                    found.setdefault(id(value), []).append(pytest.param(test, id=f"{package}.{test.name}", marks=marks))
    return [case for cases in found.values() for case in cases]


@pytest.mark.parametrize("test", examples())
def test_example(test, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    result = runner.run(test, out=report.append, clear_globs=False)
    assert result.failed == 0, "".join(report)


def readme_blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.MULTILINE | re.DOTALL)


def test_readme_example_is_twelve_lines_and_has_its_pictures():
    block = readme_blocks()[0]
    assert len([line for line in block.splitlines() if line.strip()]) <= 12
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert pictures == ["docs/_static/story.png", "docs/_static/links.png"]
    assert all((ROOT / picture).is_file() for picture in pictures)


def test_picture_of_the_story_is_that_of_its_notebook():
    spec = spec_from_file_location("readme_picture", ROOT / "tools" / "readme_picture.py")
    tool = module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert (ROOT / "docs" / "_static" / "story.png").read_bytes() == tool.story_picture()


@pytest.mark.slow
def test_readme_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the example saves its figure
    (block,) = readme_blocks()
    small = block.replace("simulate_multiome(rng=0)", "simulate_multiome(300, 60, 600, rng=0)")
    assert small != block
    quick = small.replace("model.train(train_size=0.8, rng=0)", "model.train(3, train_size=0.8, rng=0)")
    assert quick != small
    scope: dict = {}
    exec(quick, scope)
    assert (tmp_path / "links.png").stat().st_size > 0
    import matplotlib.pyplot as plt

    assert plt.get_fignums()
    assert isinstance(plt.gcf(), matplotlib.figure.Figure)
