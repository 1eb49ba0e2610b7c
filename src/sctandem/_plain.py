"""Values as plain data: what a model file holds can be read without calling anything that the file names.

Arrays of numbers become tensors; arrays of text, tables and configurations become dictionaries that say what they were.
numpy's own pickles are avoided on purpose: a forged one can make an array of objects out of arbitrary bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

_KIND = "sctandem_kind"
_SCALARS = (bool, int, float, str, type(None))


def to_plain(value: Any, where: str) -> Any:
    """Turn a value into one of dictionaries, lists, tuples, tensors, numbers and text.

    Parameters
    ----------
    value
        Also arrays, tables, dataclasses, and whatever holds these.
    where
        Its name in messages.

    Returns
    -------
    The plain value; :func:`from_plain` turns it back. Random generators become `None`.

    Raises
    ------
    TypeError
        For a value of a type that has no plain form.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) in _SCALARS:
        return value
    if is_dataclass(value) and not isinstance(value, type):
        content = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        return {_KIND: "config", "name": type(value).__name__, "fields": to_plain(content, where)}
    for kind, turn in _TURNS:
        if isinstance(value, kind) and (
            kind is not tuple or type(value) is tuple
        ):  # a named tuple would lose its names
            return turn(value, where)
    msg = (
        f"{where} is a {type(value).__name__}, which a model file does not hold: only numbers, text, arrays, tables, "
        "dataclasses, and dictionaries and lists of these."
    )
    raise TypeError(msg)


def from_plain(value: Any, configs: Iterable[type] = ()) -> Any:
    """Turn back what :func:`to_plain` has made.

    Parameters
    ----------
    value
        The plain value.
    configs
        The dataclasses that may be made; no other class is.

    Returns
    -------
    The value.

    Raises
    ------
    ValueError
        For a configuration that is not among `configs`, or a kind that is not known.
    """
    if isinstance(value, (list, tuple)):
        return type(value)(from_plain(item, configs) for item in value)
    if not isinstance(value, dict):
        return value
    kind = value.get(_KIND)
    content = {key: from_plain(item, configs) for key, item in value.items() if key != _KIND}
    if kind is None:
        return content
    if kind in _RETURNS:
        return _RETURNS[kind](content)
    known = {config.__name__: config for config in configs}
    if kind == "config" and content["name"] in known:
        return known[content["name"]](**content["fields"])
    msg = f"a model file of this class holds no {kind} {content.get('name', '')!r}; it knows {sorted(known)}."
    raise ValueError(msg)


def _sequence_to_plain(value: list | tuple, where: str) -> list | tuple:
    """Return a list or a tuple of plain values."""
    kind = tuple if isinstance(value, tuple) else list
    return kind(to_plain(item, f"{where}[{i}]") for i, item in enumerate(value))


def _mapping_to_plain(value: Mapping, where: str) -> dict:
    """Return a dictionary whose keys are scalars and whose values are plain."""
    plain = {}
    for key, item in value.items():
        name = key.item() if isinstance(key, np.generic) else key
        if type(name) not in _SCALARS or name == _KIND:
            msg = f"{where} has the key {key!r}, which a model file cannot hold."
            raise TypeError(msg)
        plain[name] = to_plain(item, f"{where}[{key!r}]")
    return plain


def _array_to_plain(value: np.ndarray, where: str) -> dict[str, Any]:
    """Return numbers as a tensor, text and objects as a list with its shape."""
    if value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
        native = np.array(value, dtype=value.dtype.newbyteorder("="), order="C")
        return {_KIND: "numbers", "values": torch.from_numpy(native)}
    if value.dtype.kind not in "UO":
        msg = f"{where} is an array of {value.dtype}, which a model file does not hold."
        raise TypeError(msg)
    kind, items = ("text", value) if value.dtype.kind == "U" else ("objects", value)
    return {_KIND: kind, "values": to_plain(items.ravel().tolist(), where), "shape": value.shape}


def _table_to_plain(value: pd.DataFrame, where: str) -> dict[str, Any]:
    """Return the columns of a table one by one."""
    columns = [_column_to_plain(value.iloc[:, i], f"{where}[{name!r}]") for i, name in enumerate(value.columns)]
    return {
        _KIND: "table",
        "names": to_plain(list(value.columns), f"{where}.columns"),
        "columns": columns,
        "index": _column_to_plain(value.index, f"{where}.index"),
        "index_name": to_plain(value.index.name, f"{where}.index.name"),
        "columns_name": to_plain(value.columns.name, f"{where}.columns.name"),
    }


def _column_to_plain(column: pd.Series | pd.Index, where: str) -> dict[str, Any]:
    """Return one column, or the index."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        values = column.array
        return {
            _KIND: "categories",
            "codes": to_plain(np.asarray(values.codes), where),
            "categories": to_plain(values.categories.to_numpy(), where),
            "ordered": bool(values.ordered),
        }
    return to_plain(column.to_numpy(), where)


def _objects_from_plain(content: dict[str, Any]) -> np.ndarray:
    """Return an array of objects; none of them is unpacked."""
    array = np.empty(len(content["values"]), dtype=object)
    array[:] = content["values"]
    return array.reshape(content["shape"])


def _table_from_plain(content: dict[str, Any]) -> pd.DataFrame:
    """Put the columns of a table together."""
    index = pd.Index(content["index"], name=content["index_name"])
    table = pd.DataFrame(dict(enumerate(content["columns"])), index=index)
    table.columns = pd.Index(content["names"], name=content["columns_name"])
    return table


_TURNS: tuple[tuple[type, Callable[[Any, str], Any]], ...] = (
    (torch.Tensor, lambda value, _: value.detach().cpu()),
    (np.random.Generator, lambda *_: None),
    (np.ndarray, _array_to_plain),
    (pd.DataFrame, _table_to_plain),
    (Mapping, _mapping_to_plain),
    (list, _sequence_to_plain),
    (tuple, _sequence_to_plain),
)
_RETURNS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "numbers": lambda content: content["values"].numpy(),
    "text": lambda content: np.array(content["values"], dtype=str).reshape(content["shape"]),
    "objects": _objects_from_plain,
    "categories": lambda content: pd.Categorical.from_codes(
        content["codes"], content["categories"], ordered=content["ordered"]
    ),
    "table": _table_from_plain,
}
