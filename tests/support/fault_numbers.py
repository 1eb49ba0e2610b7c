"""Whether what a call gives says anything: numbers that are missing, columns without a value, tables without a row."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from fault_slots import slots
from mudata import MuData
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

NUMBERS = (float, complex, np.floating, np.complexfloating)


def gaps(arguments: dict[str, Any]) -> set[str]:
    """Name what is missing of what was measured: of an object its values, its columns of cells and its coordinates."""
    found = set()
    for key, value in arguments.items():
        for slot, held in (slots(value) or {"": value}).items():
            if slot.rpartition("].")[2].startswith(("X", "layers[", "obs[", "obsm[")) or not slot:
                found |= set() if _is_whole(held) else {f"{key}.{slot}"}
    return found


def _is_whole(value: Any) -> bool:
    """Whether no value is missing, and no number is infinite."""
    if isinstance(value, pd.DataFrame):
        return all(_is_whole(value.iloc[:, i]) for i in range(value.shape[1]))
    if isinstance(value, pd.Series | pd.Index) and value.isna().any():
        return False
    if sparse.issparse(value):
        value = value.tocsr().data
    if isinstance(value, np.ndarray | pd.Series | pd.Index | np.generic | float):
        return getattr(value, "dtype", np.dtype(float)).kind != "f" or bool(np.isfinite(value).all())
    return all(_is_whole(item) for item in value.values()) if isinstance(value, dict) else True


def barren(value: Any, name: str, share: float = 0.0, few: Collection[str] = ()) -> Iterator[str]:
    """Name what says nothing within a value, however deep.

    Parameters
    ----------
    value
        What is looked into: tables, arrays, series, numbers, and mappings, sequences and dataclasses of these.
    name
        Of the value.
    few
        Last keys of what may be empty, or below the share.
    share
        Of numbers, and of the values of a column, more than none must be there, and no less than this share.
    """
    if isinstance(value, AnnData | MuData):
        value = slots(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif hasattr(value, "_asdict"):
        value = value._asdict()
    if sparse.issparse(value):
        # what is not stored is 0, which says something
        n, there = int(np.prod(value.shape)), int(np.prod(value.shape)) - int((~np.isfinite(value.tocsr().data)).sum())
        yield from _too_few(there, n, name, share, few)
    elif isinstance(value, pd.DataFrame):
        if not len(value) and not _ends(name, few):
            yield name
        for i in range(value.shape[1] if len(value) else 0):
            yield from barren(value.iloc[:, i], f"{name}[{value.columns[i]!r}]", share, few)
    elif isinstance(value, np.ndarray) and value.dtype.names:
        for field in value.dtype.names:
            yield from barren(value[field], f"{name}[{field!r}]", share, few)
    elif isinstance(value, np.ndarray | pd.Series | pd.Index):
        yield from _too_few(int(_there(value).sum()), value.size, name, share, few)
    elif hasattr(value, "items"):
        for key, item in value.items():
            yield from barren(item, f"{name}[{key!r}]", share, few)
    elif isinstance(value, list | tuple):
        if value and all(isinstance(item, NUMBERS) for item in value):
            yield from barren(np.array(value), name, share, few)
        else:
            for i, item in enumerate(value):
                yield from barren(item, f"{name}[{i}]", share, few)
    elif isinstance(value, NUMBERS) and not np.isfinite(value):
        yield name


def _there(values: Any) -> np.ndarray:
    """Tell which values are there: numbers are finite, and whatever else is not missing."""
    if isinstance(values, pd.Series | pd.Index) and values.dtype.kind in "fc":
        values = values.to_numpy(dtype=complex, na_value=np.nan)
    return np.isfinite(values) if values.dtype.kind in "fc" else ~np.asarray(pd.isna(values))


def _ends(name: str, keys: Collection[str]) -> bool:
    return any(name.endswith(f"[{key!r}]") for key in keys)


def _too_few(there: int, n: int, name: str, share: float, few: Collection[str]) -> Iterator[str]:
    if _ends(name, few):
        if n and not there:
            yield name
    elif there == 0 or there < share * n:
        yield name
