"""Checks of slots: what a column, a layer or a result is asked for by name, and whether it is what it should be."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sctandem._check_arguments import article, check_type, listed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anndata import AnnData


def check_key(table: pd.DataFrame, key: str, slot: str) -> pd.Series:
    """Return a column of ``obs`` or ``var``.

    Parameters
    ----------
    table
        The frame, such as ``mdata.obs``.
    key
        The column.
    slot
        The name of the frame in messages.

    Raises
    ------
    KeyError
        Lists the columns that are there.
    TypeError
        When `key` is not text.
    """
    # what scvi-tools writes there is of no use to who looks for a column
    named = listed([name for name in table.columns if not str(name).startswith("_scvi_")], 20)
    check_type(key, str, "the name of a column", hint=f"{slot} has {named}.")
    if key not in table.columns:
        msg = f"{slot} has no column {key!r}; it has {named}."
        raise KeyError(msg)
    return table[key]


def check_complete(column: pd.Series, slot: str, hint: str = "every cell needs one") -> pd.Series:
    """Check that a column has a value for every cell, and return it.

    Raises
    ------
    ValueError
        Says how many have none, and `hint`: what to do.
    """
    if column.isna().any():
        msg = f"{slot} is missing for {int(column.isna().sum())} cells; {hint}."
        raise ValueError(msg)
    return column


def check_layer(adata: AnnData, layer: str | None, slot: str) -> Any:
    """Return ``X`` or a layer.

    Raises
    ------
    KeyError
        Lists the layers that are there.
    TypeError
        When `layer` is not text.
    """
    if layer is None:
        return adata.X
    check_type(layer, str, "layer", hint="It names one layer; None takes X.")
    if layer not in adata.layers:
        named = [name for name in adata.layers if name is not None]  # anndata 0.13 lists X among them, as None
        msg = f"{slot}.layers has no {layer!r}; it has {listed(named)}. layer=None takes X."
        raise KeyError(msg)
    return adata.layers[layer]


def layer_slot(slot: str, layer: str | None) -> str:
    """Name in messages what `check_layer` returns."""
    return f"{slot}.X" if layer is None else f"{slot}.layers[{layer!r}]"


def check_slot(mapping: Mapping[str, Any], key: str, slot: str, function: str) -> Any:
    """Return a result that another function has written.

    Parameters
    ----------
    mapping
        Such as ``mdata.uns``.
    key
        The key in it.
    slot
        The name of the mapping in messages.
    function
        The call that writes it.

    Raises
    ------
    KeyError
        Names the function to run first.
    TypeError
        When `key` is not text.
    ValueError
        When the mapping, or what it holds in a slot ``uns``, is not what that function writes.
    """
    check_type(key, str, "key", hint=f"It names a slot of {slot}.")
    _check_mapping(mapping, slot, function)
    if key not in mapping:
        # anndata 0.13 lists X among the layers, as None; the marks of scvi-tools are no results
        named = [name for name in mapping if name is not None and not str(name).startswith("_scvi")]
        msg = f"{slot} has no {key!r}; run `{function}` first. It has {listed(named)}."
        raise KeyError(msg)
    found = mapping[key]
    if slot == "uns" or slot.endswith(".uns"):
        _check_mapping(found, f"{slot}[{key!r}]", function)
    return found


def _check_mapping(value: Any, slot: str, function: str) -> None:
    """Refuse what cannot hold a result, such as a number that a file or another package has left there."""
    if not isinstance(value, Mapping | pd.DataFrame):
        msg = f"{slot} is {article(type(value).__name__)}, not what `{function}` writes; run it again."
        raise ValueError(msg)


def check_table(
    result: Mapping[str, Any], key: str, slot: str, function: str, columns: Iterable[str] = ()
) -> pd.DataFrame:
    """Return a table of a result that another function has written.

    Parameters
    ----------
    result
        Such as ``mdata.uns["tape_links"]``.
    key
        The name of the table in it.
    slot
        The name of the result in messages.
    function
        The call that writes it.
    columns
        Those that are read.

    Raises
    ------
    KeyError
        When the table or a column is missing.
    ValueError
        When it is no table.
    """
    table = check_slot(result, key, slot, function)
    if not isinstance(table, pd.DataFrame):
        msg = (
            f"{slot}[{key!r}] is {article(type(table).__name__)}, not the table that `{function}` writes; run it again."
        )
        raise ValueError(msg)
    missing = [name for name in columns if name not in table.columns]
    if missing:
        msg = f"{slot}[{key!r}] has no column {listed(missing)}; it has {listed(table.columns, 20)}. Run `{function}` again."
        raise KeyError(msg)
    return table


def numeric_column(table: pd.DataFrame, key: str, slot: str) -> np.ndarray:
    """Return a column that has to hold numbers, as float64; missing values are NaN.

    Raises
    ------
    KeyError
        When there is no such column; lists those that are there.
    ValueError
        When it holds something else, such as text; shows the first such value.
    """
    column = check_key(table, key, slot)
    values = _floats(column)
    odd = np.isnan(values) & column.notna().to_numpy()
    if odd.any():
        msg = f"{slot}[{key!r}] has {int(odd.sum())} values that are no numbers (the first: {column.iloc[int(odd.argmax())]!r})."
        raise ValueError(msg)
    return values


def numeric_table(mapping: Mapping[str, Any], key: str, slot: str, function: str) -> pd.DataFrame:
    """Return a table of numbers alone that another function has written, such as cells x lineages.

    Raises
    ------
    KeyError
        When it is missing.
    ValueError
        When it is no table, or a column holds something else than numbers.
    """
    table = check_table(mapping, key, slot, function)
    for name, kind in zip(table.columns, table.dtypes, strict=True):
        if not pd.api.types.is_numeric_dtype(kind):
            msg = f"{slot}[{key!r}] has the column {str(name)!r} of {kind}, not of numbers as `{function}` writes it; run it again."
            raise ValueError(msg)
    return table


def check_frame(table: Any, columns: Iterable[str], name: str, *, whole: Iterable[str] = ()) -> None:
    """Check that an argument is a table with some columns, of which some hold whole numbers.

    Parameters
    ----------
    table
        The argument.
    columns
        Those that are needed.
    name
        Its name in messages.
    whole
        Those of them that hold whole numbers, such as positions in bp.

    Raises
    ------
    TypeError
        When it is no table.
    ValueError
        For a missing column, and for one that holds something else; shows the first such value.
    """
    check_type(table, pd.DataFrame, name)
    missing = [column for column in columns if column not in table.columns]
    if missing:
        msg = f"{name} has no column {listed(missing)}; it has {listed(table.columns, 20)}. Needed: {listed(columns)}."
        raise ValueError(msg)
    if not table.columns.is_unique:
        msg = f"{name} has several columns of one name: {listed(table.columns[table.columns.duplicated()])}. Keep one of each."
        raise ValueError(msg)
    for column in whole:
        values = _floats(table[column])
        bad = ~(np.isfinite(values) & (values == np.floor(values)) & (np.abs(values) < 2**53))
        if bad.any():
            msg = f"{name}[{column!r}] has {int(bad.sum())} values that are no whole numbers (the first: {table[column].iloc[int(bad.argmax())]!r})."
            raise ValueError(msg)


def _floats(column: pd.Series) -> np.ndarray:
    """Return a column as float64, NaN where it holds no number."""
    if not pd.api.types.is_numeric_dtype(column.dtype):
        column = pd.to_numeric(column.astype(object).map(_number), errors="coerce")
    return column.to_numpy(dtype=float, na_value=np.nan)


def _number(value: Any) -> Any:
    """Return what may be a number, NaN for what is none, such as a list or text: a position that is text is an error."""
    return value if isinstance(value, numbers.Real) else np.nan
