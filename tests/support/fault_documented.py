"""Which errors the documentation of a call names: no other may reach the user."""

from __future__ import annotations

import builtins
import contextlib
import inspect
import re
from typing import TYPE_CHECKING, Any

import sctandem as td

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Errors of the package's own, which a docstring may name.
OWN = {"SourceError": td.data.SourceError}
#: The attribute of an error that says in which of several calls it was raised.
STEP = "raised_in"
_SECTION = re.compile(r"^Raises\n-+\n(.*?)(?=^\S[^\n]*\n-{3,}$|\Z)", re.MULTILINE | re.DOTALL)


def errors_in(docstring: str) -> set[type[Exception]]:
    """Return the types under `Raises`; a line may name several."""
    section = _SECTION.search(inspect.cleandoc(docstring))
    lines = re.findall(r"^(\w[\w, ]*)$", section[1], re.MULTILINE) if section else []
    names = {name for line in lines for name in re.split(r"[, ]+", line)}
    return {OWN.get(name) or getattr(builtins, name) for name in names}


def documented_errors(*functions: Callable[..., Any]) -> tuple[type[Exception], ...]:
    """Return the errors that functions, methods or classes document, those of all together."""
    return tuple(sorted({error for function in functions for error in errors_in(function.__doc__ or "")}, key=str))


@contextlib.contextmanager
def step(function: Callable[..., Any]) -> Iterator[None]:
    """Mark an error with the function, method or class that is called here: its documentation has to name it."""
    try:
        yield
    except Exception as error:
        if not hasattr(error, STEP):
            setattr(error, STEP, function)
        raise
