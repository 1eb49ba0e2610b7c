"""Whether a message says where something is wrong: by an argument, a slot, or the file or value that was given."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SLOT = "obsm|varm|obsp|varp|obs|var|uns|layers|layer|raw|mod|X"
#: How a message writes a slot: the bare words are words of other meanings as well.
_PLACES = (
    r"\b(adata|mdata)\b",  # the object itself
    r"\b(obs_names|var_names)\b",
    rf"\b({_SLOT})(\[|=|\.\w)",  # obs['type'], layer=, obs.index
    rf"[\w\])]\.({_SLOT})\b",  # data.X, mdata['rna'].X
    rf"['\"`]({_SLOT})['\"`]",
)


def names_a_place(error: Exception, arguments: dict[str, Any], function: Callable[..., Any] | None = None) -> bool:
    """Whether a message names an argument of the function, a slot in a form that is no other word, or what was given."""
    said = str(error)
    names = {*arguments, *_parameters(function)}
    return (
        any(re.search(place, said) for place in _PLACES)
        or any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", said) for name in names)
        or any(word in said for value in arguments.values() for word in _words(value))
    )


def _parameters(function: Callable[..., Any] | None) -> set[str]:
    """Name the parameters of a function, without what only gathers others."""
    if function is None:
        return set()
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return set()
    return {each.name for each in parameters if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)} - {
        "self",
        "cls",
    }


def _words(value: Any) -> Iterator[str]:
    """Write what was given as a message would: names of files as they are, and text in quotes."""
    if isinstance(value, Path) and value.name:
        yield value.name
    elif isinstance(value, str) and len(value) > 1:
        yield from (repr(value), f'"{value}"', f"`{value}`")
        if re.search(r"\w\.\w+$", value):
            yield Path(value).name
    elif isinstance(value, list | tuple | dict):
        for item in value:
            yield from _words(item)
