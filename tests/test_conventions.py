"""The checks of `support/conventions.py` on small examples, good and bad: a check that cannot fail holds nothing."""

from __future__ import annotations

import importlib

import conventions
import pytest

GOOD_TOOL = '''
def tool(mdata: MuData, key: str = "x", *, rng: int | None = None, copy: bool = False) -> MuData | None:
    """Do it.

    Parameters
    ----------
    mdata
        The object.
    key, rng
        Two at once.
    copy
        Whether to return a copy.

    Returns
    -------
    `None`, or the copy.

    Examples
    --------
    >>> tool(mdata)
    """
'''


def function_of(source: str):
    scope: dict = {}
    exec(compile("from __future__ import annotations\n" + source, "<example>", "exec"), scope)
    return next(value for name, value in scope.items() if name in {"tool", "Tool"})


def test_the_good_example_has_no_problem():
    tool = function_of(GOOD_TOOL)
    assert conventions.signature_problems(tool, "tl") == []
    assert conventions.docstring_problems(tool) == []


@pytest.mark.parametrize(
    ("group", "signature", "problem"),
    [
        ("tl", "(mdata: MuData, *, copy: bool = True) -> MuData | None", "copy must be keyword-only and False"),
        ("tl", "(mdata: MuData, copy: bool = False) -> MuData | None", "copy must be keyword-only and False"),
        ("tl", "(mdata: MuData) -> None", "has no copy parameter"),
        ("pp", "(mdata: MuData, *, copy: bool = False) -> MuData", "returns MuData, not MuData | None"),
        ("pp", "(x: MuData, *, copy: bool = False) -> MuData | None", "the first parameter is x"),
        ("pp", "(adata: MuData, *, copy: bool = False) -> MuData | None", "adata is annotated MuData, not AnnData"),
        ("get", "() -> DataFrame", "takes no object"),
        ("get", "(mdata: MuData, key) -> DataFrame", "key has no annotation"),
        ("get", "(mdata: MuData)", "the return has no annotation"),
        ("get", "(mdata: MuData, **kwargs: str) -> DataFrame", "kwargs: \\*args and \\*\\*kwargs hide"),
        ("get", "(mdata: MuData, *args: str) -> DataFrame", "args: \\*args and \\*\\*kwargs hide"),
        ("io", "(a: int, b: int, c: int, d: int) -> int", "4 positional parameters"),
        ("io", "(*, " + ", ".join(f"p{i}: int" for i in range(11)) + ") -> int", "11 parameters, at most 10"),
        (
            "tl",
            "(mdata: MuData, *, rng: RNG = 0, copy: bool = False) -> MuData | None",
            "rng must be keyword-only and None",
        ),
        ("method", "(self, rng: RNG = None) -> None", "rng must be keyword-only and None"),
        ("datasets", "(*, rng: RNG = None) -> MuData", "rng must be keyword-only and 0"),
        ("method", "(self, *, seed: int = 0) -> None", "seed: randomness is called rng"),
        ("pl", "(mdata: MuData, *, ax: Axes) -> Axes", "ax must default to None"),
        ("pl", "(mdata: MuData) -> None", "a plot returns Axes or a Figure"),
    ],
)
def test_bad_signatures(group, signature, problem):
    problems = conventions.signature_problems(function_of(f"def tool{signature}: ..."), group)
    assert len(problems) == 1
    with pytest.raises(AssertionError, match=problem):
        raise AssertionError(problems[0])


def test_a_function_that_makes_an_object_takes_none():
    maker = function_of("def tool(fragments: str, regions: str) -> AnnData: ...")
    assert len(conventions.signature_problems(maker, "pp")) == 2
    maker.__name__ = "count_fragments"
    assert conventions.signature_problems(maker, "pp") == []
    assert conventions.signature_problems(function_of("def tool(a) -> None: ..."), "io") == ["a has no annotation"]


def test_names_of_results_are_checked(tmp_path, monkeypatch):
    (tmp_path / "keyed.py").write_text(
        "def good(mdata, key_added='x', copy=False):\n    check_target(mdata, key_added, copy=copy)\n\n\n"
        "def bad(mdata, key_added='x'):\n    mdata[key_added] = 1\n\n\n"
        "def other(mdata):\n    return 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    keyed = importlib.import_module("keyed")
    assert conventions.key_added_problems(keyed.good) == []
    assert conventions.key_added_problems(keyed.other) == []
    assert conventions.key_added_problems(keyed.bad) == ["does not call check_target(data, key_added, copy=copy)"]


def test_self_is_not_a_parameter():
    tool = function_of("def tool(self, a: int, b: int, c: int) -> int: ...")
    assert conventions.signature_problems(tool, "method") == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (GOOD_TOOL[GOOD_TOOL.index('"""') : GOOD_TOOL.rindex('"""') + 3], "...", "has no docstring"),
        ("Parameters\n    ----------", "Arguments\n    ---------", "has no section Parameters"),
        ("key, rng\n        Two at once.\n    ", "", "does not document key"),
        ("    copy\n", "    copies\n", "documents copies, which it does not take"),
        ("    mdata\n", "    mdata : MuData\n", "writes a type in the docstring (mdata : MuData)"),
        ("Returns\n    -------", "Gives\n    -----", "has no section Returns"),
        (">>> tool", "tool", "has no runnable example"),
        ("The object.", "The %(object)s.", "%(object)s was not filled in"),
    ],
)
def test_bad_docstrings(old, new, problem):
    assert old in GOOD_TOOL
    assert problem in conventions.docstring_problems(function_of(GOOD_TOOL.replace(old, new)))


def test_a_class_needs_no_returns():
    source = 'class Tool:\n    """Hold it.\n\n    Parameters\n    ----------\n    a\n        It.\n    """\n'
    tool = function_of(source + "    def __init__(self, a: int) -> None: ...\n")
    assert conventions.docstring_problems(tool) == ["has no runnable example"]
    assert conventions.docstring_problems(tool, example=False) == []
    tool = function_of(
        source.replace("Parameters\n    ----------", "Attributes\n    ----------")
        + "    a: int\n    def __init__(self, a: int) -> None: ...\n"
    )
    assert conventions.docstring_problems(tool, example=False) == []


def test_sizes():
    docstring = '    """' + "A line.\n" * 200 + '"""\n'
    body = "    x = 1\n"
    assert conventions.size_problems("def f():\n" + docstring + body * 99) == []
    assert conventions.size_problems("def f():\n" + body * 100) == ["f has 101 lines, at most 100"]
    assert conventions.size_problems("x = 1\n" * 401) == ["401 lines, at most 400"]


@pytest.mark.parametrize(
    ("layer", "source", "problem"),
    [
        ("kernels", "from sctandem.nn import SparseLinear", "kernels must not import nn (sctandem.nn.SparseLinear)"),
        ("kernels", "import torch.nn", "kernels must not import torch"),
        ("module", "from ..model._tape import TAPE", "module must not import model (sctandem.model._tape.TAPE)"),
        ("nn", "def f():\n    import sctandem.tl._x", "nn must not import tl (sctandem.tl._x)"),
        ("model", "from sctandem import tl", "model must not import tl (sctandem.tl)"),
        (
            "pl",
            "if TYPE_CHECKING:\n    from sctandem.model import TAPE",
            "pl must not import model (sctandem.model.TAPE)",
        ),
        ("get", "import scvi", "get must not import scvi"),
    ],
)
def test_imports_upwards(layer, source, problem):
    assert conventions.layer_problems(source, f"sctandem.{layer}", layer) == [problem]


def test_imports_downwards_and_sideways():
    assert conventions.layer_problems("if TYPE_CHECKING:\n    import torch", "sctandem.kernels", "kernels") == []
    source = "from . import _other\nfrom ._other import x\nfrom .. import _keys\nfrom sctandem._checks import y\nimport numpy"
    assert conventions.layer_problems(source, "sctandem.kernels", "kernels") == []
    source = "from sctandem.kernels import k\nfrom ..nn._sparse import SparseLinear\nimport torch"
    assert conventions.layer_problems(source, "sctandem.module", "module") == []


def test_layers_have_no_circle():
    done: set[str] = set()
    while len(done) < len(conventions.LAYERS):
        ready = {layer for layer, below in conventions.LAYERS.items() if below <= done} - done
        assert ready, f"a circle among {set(conventions.LAYERS) - done}"
        done |= ready


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("from anndata._core.views import X", "imports anndata._core.views.X"),
        ("from scanpy import _utils", "imports scanpy._utils"),
        ("import scvi._settings", "imports scvi._settings"),
        ("import numpy as np\nnp.core._internal.f()", "line 2 reaches np.core._internal"),
    ],
)
def test_private_names_of_others(source, problem):
    assert conventions.private_upstream_problems(source, "sctandem.tl") == [problem]


def test_own_private_names_are_fine():
    source = "from sctandem._keys import K\nfrom ._x import y\nimport numpy as np\nself._z = np.__version__"
    assert conventions.private_upstream_problems(source, "sctandem.tl") == []


def test_slot_names():
    assert conventions.slot_problems('a.uns["tape"] = 1') == ["line 1 writes a slot name: a.uns['tape']"]
    assert conventions.slot_problems('x = mdata["rna"].layers["tape"]') != []
    assert conventions.slot_problems("a.uns[key] = a.obsm[keys.embedding]\nb['tape']") == []


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("assert x", "line 1 asserts"),
        ("print(x)", "line 1 prints"),
        ("# TO" + "DO later", "an open end: TO" + "DO"),
        ("def f():\n    pass", "f is a stub"),
        ('def f():\n    """Doc."""\n    raise NotImplementedError', "f is a stub"),
    ],
)
def test_source(source, problem):
    assert conventions.source_problems(source) == [problem]
    assert conventions.source_problems("@abstractmethod\ndef f():\n    ...\ndef g():\n    return 1") == []


def test_raises_without_match():
    assert conventions.raises_problems("pytest.raises(ValueError)") == ["line 1: pytest.raises without match"]
    assert conventions.raises_problems("with pytest.warns(UserWarning):\n    f()") != []
    assert conventions.raises_problems("pytest.raises(ValueError, match='x')") == []


PAGE = """# API

```{eval-rst}
.. currentmodule:: sctandem.tl

.. autosummary::
   :toctree: generated

   one
   two
```
"""


def test_pages():
    assert conventions.documented_names(PAGE) == {"one", "two"}
    assert conventions.page_problems(PAGE, ["one", "two"]) == []
    assert conventions.page_problems(PAGE, ["two", "three"]) == [
        "three is exported but not on the page",
        "one is on the page but not exported",
    ]
