"""The conventions of the package as functions that return what is wrong, in words; an empty list where nothing is."""

from __future__ import annotations

import ast
import inspect
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 100
MAX_POSITIONAL = 3
MAX_PARAMETERS = 10
#: A design of samples is said with several arguments (covariates or a formula, the reference or contrasts), as everywhere it is.
#: A design of TALENs needs the data, the genome, the annotation and the architecture.
#: Annealing can be overruled in several ways (the number, the temperature, parts of the cells).
#: `train` of every model names the training modes, its checkpoint and the number of processes beside the settings of a run.
MORE_PARAMETERS = {"anneal": 11, "deconvolve": 11, "design_talens": 11, "differential_expression": 12, "train": 14}

#: They make an object (from files, or new cells), and so need no copy.
MAKERS = {"count_fragments", "simulate"}

#: Who may import whom inside the package; private top-level files (`_keys`, `_checks`, ...) are open to all.
LAYERS: dict[str, set[str]] = {
    "kernels": set(),
    "nn": {"kernels"},
    "genome": {"kernels", "nn"},  # nn for the search on a GPU, imported when it is asked for
    "data": {"kernels", "nn"},
    "train": {"kernels", "nn", "data"},
    "get": set(),
    "module": {"kernels", "nn"},
    "model": {"kernels", "nn", "module", "data", "train", "genome", "get"},
    "io": {"genome"},
    "datasets": {"kernels", "genome", "io"},
    "pp": {"kernels", "genome", "get"},
    "tl": {"kernels", "genome", "get", "data", "module", "model"},
    "pl": {"get"},
    "_accessor": {"pp", "tl", "pl", "get"},
}

#: Packages that a layer must not know.
FOREIGN: dict[str, set[str]] = {
    "kernels": {"anndata", "mudata", "scanpy", "scvi", "torch"},
    "genome": {"anndata", "mudata", "scanpy", "scvi", "torch"},
    "nn": {"anndata", "mudata", "scanpy"},
    "get": {"scanpy", "scvi", "torch"},
    "pl": {"scvi", "torch"},
}

SLOTS = {"uns", "obsm", "varm", "obsp", "varp", "layers"}
RETURNS = ("Returns", "Yields")


def own_methods(cls: type) -> list[tuple[str, Callable]]:
    """Public methods that the package itself writes, mixins included; overridden names once."""
    found = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("sctandem"):
            for name, value in vars(base).items():
                function = getattr(value, "__func__", value)
                if inspect.isfunction(function) and not name.startswith("_"):
                    found[name] = function
    return sorted(found.items())


# --- signatures -------------------------------------------------------------------------------------------------------


def signature_problems(function: Callable, group: str) -> list[str]:
    """Check one public function of the sub-package `group`, or a method (`group="method"`)."""
    signature = inspect.signature(function)
    parameters = [p for name, p in signature.parameters.items() if name not in {"self", "cls"}]
    positional = [p for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
    problems = [
        f"{p.name}: *args and **kwargs hide what there is"
        for p in parameters
        if p.kind in {p.VAR_KEYWORD, p.VAR_POSITIONAL}
    ]
    problems += [f"{p.name} has no annotation" for p in parameters if p.annotation is p.empty]
    if signature.return_annotation is signature.empty:
        problems.append("the return has no annotation")
    if len(positional) > MAX_POSITIONAL:
        problems.append(f"{len(positional)} positional parameters, at most {MAX_POSITIONAL}")
    most = MORE_PARAMETERS.get(function.__name__, MAX_PARAMETERS)
    if len(parameters) > most:
        problems.append(f"{len(parameters)} parameters, at most {most}")
    problems += _rng_problems(signature, group)
    maker = function.__name__ in MAKERS
    if group in {"pp", "tl", "pl", "get"} and not maker:
        problems += _data_problems(signature, parameters)
    if group in {"pp", "tl"} and not maker:
        problems += _copy_problems(signature, parameters)
    if group == "pl":
        if "ax" in signature.parameters and signature.parameters["ax"].default is not None:
            problems.append("ax must default to None")
        if not re.search(r"Axes|Figure", str(signature.return_annotation)):
            problems.append(f"a plot returns Axes or a Figure, not {signature.return_annotation}")
    return problems


def _data_problems(signature: inspect.Signature, parameters: list[inspect.Parameter]) -> list[str]:
    if not parameters:
        return ["takes no object"]
    first = parameters[0]
    expected = {"adata": "AnnData", "mdata": "MuData", "data": "AnnData | MuData"}.get(first.name)
    if expected is None:
        return [f"the first parameter is {first.name}, not adata, mdata or data"]
    return [] if first.annotation == expected else [f"{first.name} is annotated {first.annotation}, not {expected}"]


def _rng_problems(signature: inspect.Signature, group: str) -> list[str]:
    """Check that randomness has one name and one default: a fresh seed; a data set is the same for all who ask."""
    problems = [f"{name}: randomness is called rng" for name in {"seed", "random_state"} & set(signature.parameters)]
    rng, default = signature.parameters.get("rng"), 0 if group == "datasets" else None
    if rng is not None and (rng.kind is not rng.KEYWORD_ONLY or rng.default is not default):
        problems.append(f"rng must be keyword-only and {default} by default")
    return problems


def _copy_problems(signature: inspect.Signature, parameters: list[inspect.Parameter]) -> list[str]:
    copy = signature.parameters.get("copy")
    if copy is None:
        return ["has no copy parameter"]
    problems = []
    if copy.kind is not copy.KEYWORD_ONLY or copy.default is not False:
        problems.append("copy must be keyword-only and False by default")
    expected = f"{parameters[0].annotation} | None"
    if signature.return_annotation != expected:
        problems.append(f"returns {signature.return_annotation}, not {expected}")
    return problems


def key_added_problems(function: Callable) -> list[str]:
    """Check that a function that names its result checks the name before anything else is done with it."""
    if "key_added" not in inspect.signature(function).parameters:
        return []
    called = re.search(r"check_target\(\w+, key_added, copy=copy\)", inspect.getsource(function))
    return [] if called else ["does not call check_target(data, key_added, copy=copy)"]


# --- docstrings -------------------------------------------------------------------------------------------------------


def sections(docstring: str) -> dict[str, str]:
    """Cut a numpy docstring into its sections."""
    parts = re.split(r"^([A-Z][A-Za-z ]+)\n-{3,}\n", docstring, flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def docstring_problems(function: Callable, *, example: bool = True) -> list[str]:
    """Check the docstring of a public function, class or method."""
    docstring = inspect.getdoc(function)
    if not docstring or not function.__doc__:
        return ["has no docstring"]
    problems = [f"{left} was not filled in" for left in re.findall(r"%\(\w+\)s", docstring)]
    found = sections(docstring)
    signature = inspect.signature(function)
    names = [name for name in signature.parameters if name not in {"self", "cls"}]
    listed = found.get("Parameters", "")
    if isinstance(function, type):  # the fields of a result are its attributes
        listed += "\n" + found.get("Attributes", "")
    if names and not listed.strip():
        problems.append("has no section Parameters")
    elif names:
        entries = re.findall(r"^(?! )(.+)$", listed, flags=re.MULTILINE)
        documented = {name.strip(" *") for entry in entries for name in entry.split(":")[0].split(",")}
        problems += [f"does not document {name}" for name in names if name not in documented]
        if "Attributes" not in found:
            problems += [f"documents {name}, which it does not take" for name in sorted(documented - set(names))]
        problems += [f"writes a type in the docstring ({entry})" for entry in entries if " : " in entry]
    returns_nothing = signature.return_annotation in {None, "None", "Self"} or isinstance(function, type)
    if not returns_nothing and not any(section in found for section in RETURNS):
        problems.append("has no section Returns")
    if example and ">>>" not in found.get("Examples", ""):
        problems.append("has no runnable example")
    return problems


# --- source -----------------------------------------------------------------------------------------------------------


def size_problems(source: str) -> list[str]:
    """Check the length of a file and of its functions, docstrings not counted."""
    lines = source.count("\n")
    problems = [f"{lines} lines, at most {MAX_FILE_LINES}"] if lines > MAX_FILE_LINES else []
    for node in _functions(ast.parse(source)):
        docstring = ast.get_docstring(node, clean=False)
        length = (node.end_lineno or node.lineno) - node.lineno + 1 - (docstring.count("\n") + 1 if docstring else 0)
        if length > MAX_FUNCTION_LINES:
            problems.append(f"{node.name} has {length} lines, at most {MAX_FUNCTION_LINES}")
    return problems


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def imported_modules(source: str, package: str, *, for_types: bool = True) -> set[str]:
    """All modules that a file of `package` imports anywhere, in absolute form, names of `from` imports included.

    Without `for_types`, imports under `if TYPE_CHECKING:`, which never run, are left out.
    """
    found = set()
    tree = ast.parse(source)
    if not for_types:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                node.body = [ast.Pass()]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [base])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def layer_problems(source: str, package: str, layer: str) -> list[str]:
    """Check that a file of `layer`, in the package `package`, imports downwards only."""
    foreign = {module.split(".")[0] for module in imported_modules(source, package, for_types=False)}
    problems = [f"{layer} must not import {module}" for module in sorted(foreign & FOREIGN.get(layer, set()))]
    for module in sorted(imported_modules(source, package)):
        parts = module.split(".")
        if parts[0] != "sctandem" or len(parts) < 2 or parts[1] not in LAYERS:
            continue
        if parts[1] != layer and parts[1] not in LAYERS[layer]:
            problems.append(f"{layer} must not import {parts[1]} ({module})")
    return sorted(set(problems))


def private_upstream_problems(source: str, package: str) -> list[str]:
    """Check that no private name of another package is imported or reached through a module."""
    problems = []
    for module in sorted(imported_modules(source, package)):
        parts = module.split(".")
        if parts[0] not in {"sctandem", "__future__"} and any(_is_private(part) for part in parts):
            problems.append(f"imports {module}")
    tree = ast.parse(source)
    aliases = {
        alias.asname or alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if not alias.name.startswith("sctandem")
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_private(node.attr):
            root: ast.expr = node.value
            while isinstance(root, ast.Attribute):
                root = root.value
            if isinstance(root, ast.Name) and root.id in aliases:
                problems.append(f"line {node.lineno} reaches {ast.unparse(node)}")
    return problems


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def slot_problems(source: str) -> list[str]:
    """Check that slots are addressed by the names of `_keys.py`: no `adata.uns["literal"]`."""
    return [
        f"line {node.lineno} writes a slot name: {ast.unparse(node)}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Attribute)
        and node.value.attr in SLOTS
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, str)
    ]


def source_problems(source: str) -> list[str]:
    """Check what no file of the package has: assert, print, open ends, paths of one machine."""
    tree = ast.parse(source)
    problems = [f"line {node.lineno} asserts" for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    problems += [
        f"line {node.lineno} prints"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    open_ends = "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX"])
    problems += [f"an open end: {match}" for match in re.findall(rf"\b(?:{open_ends})\b", source)]
    problems += [f"{node.name} is a stub" for node in _functions(tree) if _is_stub(node)]
    return problems


def _is_stub(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    body = [line for line in node.body if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))]
    abstract = any("abstract" in ast.unparse(d) or "overload" in ast.unparse(d) for d in node.decorator_list)
    empty = all(isinstance(line, ast.Pass) or "NotImplementedError" in ast.unparse(line) for line in body)
    return empty and not abstract


def raises_problems(source: str) -> list[str]:
    """Check that tests say which error they expect: every `pytest.raises` and `pytest.warns` has `match`."""
    return [
        f"line {node.lineno}: {ast.unparse(node.func)} without match"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"pytest.raises", "pytest.warns"}
        and not any(keyword.arg == "match" for keyword in node.keywords)
    ]


# --- documentation ----------------------------------------------------------------------------------------------------


def documented_names(page: str) -> set[str]:
    """The names that the autosummary blocks of a page list."""
    names: set[str] = set()
    for block in re.findall(r"^```\{eval-rst\}\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL):
        inside = False
        for line in block.splitlines():
            if line.startswith(".. "):
                inside = line.startswith(".. autosummary::")
            elif inside and (match := re.match(r"^\s+~?([\w.]+)$", line)):
                names.add(match[1].split(".")[-1])
    return names


def page_problems(page: str, public: Iterable[str]) -> list[str]:
    """Check a page of the API against the `__all__` of its sub-package."""
    documented, public = documented_names(page), set(public)
    return [f"{name} is exported but not on the page" for name in sorted(public - documented)] + [
        f"{name} is on the page but not exported" for name in sorted(documented - public)
    ]
