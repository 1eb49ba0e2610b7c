"""Checks of single arguments: each message names the argument, the value, what is allowed and what to do."""

from __future__ import annotations

import numbers
from collections.abc import Hashable, Iterable, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from anndata import AnnData
from mudata import MuData

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike


def listed(names: Any, limit: int = 10) -> str:
    """Write the first names of a collection, quoted, and how many more there are; `None` is no name, and stays unquoted."""
    names = list(names)
    first = ", ".join("None" if name is None else repr(str(name)) for name in names[:limit])
    return f"{first} and {len(names) - limit} more" if len(names) > limit else first or "none"


def _is_model(value: Any) -> bool:
    """Whether a value is a model, which prints a table where others say what they are; scvi-tools is not imported for the question."""
    return any(base.__name__ == "BaseModelClass" for base in type(value).__mro__)


def shown(value: Any) -> str:
    """Write a value on one line, cut where it is long: tables and objects have many lines; a model by its class."""
    return type(value).__name__ if _is_model(value) else " ".join(f"{value!r:.160}".split())[:80]


def received(value: Any) -> str:
    """Write what was given in place of something of another type: its type and itself, a model by its class alone."""
    name = type(value).__name__
    return name if _is_model(value) else f"{name}: {shown(value)}"


def is_collection(data: Any) -> bool:
    """Whether an object is an open collection; that class is not imported for the question."""
    return type(data).__name__ == "Collection" and hasattr(data, "to_adata")


def object_name(data: AnnData | MuData) -> str:
    """Name an object in messages."""
    return "mdata" if isinstance(data, MuData) else "adata"


def article(noun: str) -> str:
    """Put the indefinite article before a name."""
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


def check_option(value: Any, options: Sequence[Any], name: str) -> None:
    """Check that an argument is one of the values it may have.

    Raises
    ------
    ValueError
        Lists them.
    """
    # an array or a table answers `in` by itself, with an error
    if not isinstance(value, Hashable) or value not in options:
        msg = f"{name}={shown(value)} is not known; choose one of {listed(options)}."
        raise ValueError(msg)


def check_number(value: Any, name: str, *, low: float = 0, high: float = np.inf, whole: bool = False) -> None:
    """Check that an argument is a number within bounds, which are themselves allowed.

    Parameters
    ----------
    value
        The argument.
    name
        Its name in messages.
    low, high
        The bounds.
    whole
        Whether it has to be an integer.

    Raises
    ------
    ValueError
        Names the bounds and the value.
    """
    kind: Any = numbers.Integral if whole else numbers.Real
    if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
        bounds = f"of at least {low}" if np.isinf(high) else f"between {low} and {high}"
        msg = f"{name}={shown(value)} is not {'an integer' if whole else 'a number'} {bounds}."
        raise ValueError(msg)


def check_positive(value: Any, name: str, *, whole: bool = False) -> None:
    """Check that an argument is a finite number above 0 (an integer when `whole`).

    Raises
    ------
    ValueError
        Shows the value.
    """
    kind: Any = numbers.Integral if whole else numbers.Real
    if isinstance(value, bool) or not isinstance(value, kind) or not 0 < value < np.inf:
        msg = f"{name}={shown(value)} is not {'an integer' if whole else 'a number'} above 0."
        raise ValueError(msg)


def check_present(matrix: Any, slot: str) -> None:
    """Check that there is a matrix where one is needed.

    Raises
    ------
    ValueError
        Names the slot.
    """
    if getattr(matrix, "shape", None) is None:  # that of an empty dataset of a file is None
        msg = f"{slot} is empty (None): put the values there, or name the layer that holds them where one can be named."
        raise ValueError(msg)


def check_n_cells(n_cells: int, minimum: int, purpose: str, where: str) -> None:
    """Check that there are enough cells.

    Raises
    ------
    ValueError
        Says how many there are `where` (an object, a slot or an argument), and how many `purpose` needs.
    """
    if n_cells < minimum:
        are = "is" if n_cells == 1 else "are"
        msg = f"{purpose} needs at least {minimum} cells, but there {are} {n_cells} in {where}."
        raise ValueError(msg)


def select_cells(indices: ArrayLike | None, n_cells: int, name: str = "indices") -> np.ndarray:
    """Turn positions or a mask into positions.

    Parameters
    ----------
    indices
        The argument; `None` for all.
    n_cells
        How many cells there are.
    name
        Its name in messages.

    Returns
    -------
    Positions, in the order given.

    Raises
    ------
    TypeError
        For what is neither.
    ValueError
        For a position out of bounds, or a mask of another length.
    """
    if indices is None:
        return np.arange(n_cells)
    try:
        given = np.asarray(indices)
    except ValueError:  # lists within lists
        given = np.asarray(None)
    if given.size == 0:
        given = given.astype(np.int64)
    if given.ndim != 1 or given.dtype.kind not in "iub":
        msg = f"{name} must be positions of cells, or a mask, got {received(indices)}"
        raise TypeError(msg)
    if given.dtype.kind == "b" and len(given) != n_cells:
        msg = f"{name} is a mask of {len(given)} cells, but there are {n_cells}."
        raise ValueError(msg)
    if given.dtype.kind != "b" and given.size and not (-n_cells <= given.min() and given.max() < n_cells):
        msg = f"{name} reach from {given.min()} to {given.max()}, but there are {n_cells} cells, counted from 0."
        raise ValueError(msg)
    return np.arange(n_cells)[given]


def check_type(value: Any, expected: Any, name: str, *, hint: str = "") -> None:
    """Check the class of an argument; `expected` may be a union of several.

    Raises
    ------
    TypeError
        Names it, what was given, and `hint`: what to do.
    """
    if not isinstance(value, expected):
        kinds = " or ".join(article(kind.__name__) for kind in get_args(expected) or (expected,))
        msg = f"{name} must be {kinds}, got {received(value)}"
        raise TypeError(f"{msg}. {hint}" if hint else msg)


def check_texts(values: Iterable[Any], name: str, *, hint: str = "") -> None:
    """Check that several values are all text; `name` says what each of them is.

    Raises
    ------
    TypeError
        Names the first that is none.
    """
    odd = next((value for value in values if not isinstance(value, str)), "")
    check_type(odd, str, name, hint=hint)


def texts(values: Any, name: str) -> list[str]:
    """Check that an argument holds several texts, and return them as a list; one text is several letters, and refused.

    Raises
    ------
    TypeError
        Names the argument and what was given.
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        msg = f"{name} must be a list of names, got {received(values)}"
        raise TypeError(msg)
    found = list(values)
    check_texts(found, f"each of {name}")
    return [str(value) for value in found]


def check_slot_names(arguments: Mapping[str, Any]) -> None:
    """Check those of the arguments that name a column, layer or slot: text, or `None` for none.

    Parameters
    ----------
    arguments
        By name; only those that end in `_key` or `layer` are looked at.

    Raises
    ------
    TypeError
        Names the argument and what was given.
    """
    for name, value in arguments.items():
        if name.endswith(("_key", "layer")) and value is not None:
            check_type(value, str, name, hint="It names one column or layer.")


def check_path(value: Any, name: str, *, to: str = "a file") -> None:
    """Check that an argument is a path, as text or as an object; `to` says to what.

    Raises
    ------
    TypeError
        Names the argument and what was given.
    """
    if not isinstance(value, str | PathLike):
        msg = f"{name} must be a path to {to}, got {received(value)}"
        raise TypeError(msg)


def check_roles(modalities: Any) -> dict[str, str]:
    """Check the argument `modalities`, and return it as a dictionary, empty for `None`.

    Raises
    ------
    TypeError
        When it is not a mapping from text to text.
    """
    if modalities is None:
        return {}
    if not isinstance(modalities, Mapping) or not all(
        isinstance(part, str) for pair in modalities.items() for part in pair
    ):
        msg = (
            f"modalities must be a dictionary from roles to names of modalities, such as {{'rna': 'gex'}}, got "
            f"{type(modalities).__name__}: {modalities!r:.80}"
        )
        raise TypeError(msg)
    return dict(modalities)


def check_key_added(key_added: Any, name: str = "key_added") -> None:
    """Check the name of a result: text without a slash, which files would read as a folder."""
    check_type(key_added, str, name)
    if not key_added or "/" in key_added:
        msg = f"{name}={key_added!r} must be a name without a slash: files could not give it back."
        raise ValueError(msg)


def check_target(data: Any, key_added: Any, *, copy: bool, name: str = "key_added") -> None:
    """Check where a result is to go, before it is computed: the object, the name of the slot, and whether a copy can be made.

    Parameters
    ----------
    data
        The object.
    key_added
        The name of the slot.
    copy
        Whether a copy is asked for.
    name
        What the argument `key_added` is called in messages.

    Raises
    ------
    TypeError
        When `data` is no AnnData or MuData, or `key_added` no text.
    ValueError
        When `key_added` has a slash, or the object is backed by a file and a copy is asked for, or needed since it is a view.
    """
    if not isinstance(data, AnnData | MuData):
        hint = "; its cells, or some of them: collection.to_adata(query)." if is_collection(data) else ""
        msg = f"data must be an AnnData or a MuData, got {received(data)}{hint}"
        raise TypeError(msg)
    check_key_added(key_added, name)
    if data.isbacked and (copy or data.is_view):
        what = "copy=True" if copy else "writing to a view"
        msg = f"{what} needs the data in memory, but they are backed by a file: read them without `backed`."
        raise ValueError(msg)
