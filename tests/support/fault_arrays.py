"""Ways to spoil names, columns, arrays and sparse matrices: each draws where and returns a new value. The simplest come first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fault_draw import Draw

    Spoiler = Callable[[Any, Draw, Path], Any]

ODD_NAMES = ["a/b", "a b", "é中文", "", "nan", "1", "x" * 300, "'\"", "a,b", "-", "a\tb"]
#: Names that look like intervals.
ODD_INTERVALS = [
    "chr1:5", "chr1:9-2", "chr1:5-5", "chr1:-5-10", "chr1:1.5-9", "chr1:1e3-2e3", ":1-2", "chr1:", "chr1:a-b",
    "chr1:1-2-3", f"chr1:1-{10**30}", "chr1:,-,", "chr1:٣-٥", "chr 1:1-2", "chr1:1-2 ",
]  # fmt: skip


def _like(value: pd.Index | pd.Series, members: Any) -> Any:
    """Make one of the same kind of other members."""
    if isinstance(value, pd.Series):
        return pd.Series(members, index=value.index[: len(members)], name=value.name)
    return pd.Index(members, name=value.name)


def _one(value: pd.Index | pd.Series, draw: Draw, member: Any) -> Any:
    """Put another member in one place."""
    members = np.asarray(value, dtype=object).copy()
    if len(members):
        members[draw.place("at", len(members))] = member
    return _like(value, members)


INDEX: dict[str, Spoiler] = {
    "not names": lambda v, d, _: d.choice(
        "but", [None, 3, "text", {}, ["a"], np.ones((2, 2)), pd.DataFrame({"a": [1]}), object()]
    ),
    "empty": lambda v, d, _: v[:0],
    "one": lambda v, d, _: v[:1],
    "one NaN": lambda v, d, _: _one(v, d, np.nan),
    "one None": lambda v, d, _: _one(v, d, None),
    "one number": lambda v, d, _: _one(v, d, 3),
    "one list": lambda v, d, _: _one(v, d, (1, 2)),
    "one odd interval": lambda v, d, _: _one(v, d, d.choice("namely", ODD_INTERVALS)),
    "one odd name": lambda v, d, _: _one(v, d, d.choice("namely", ODD_NAMES)),
    "odd intervals": lambda v, d, _: _like(v, d.generator("names").choice(ODD_INTERVALS, len(v))),
    "all the same": lambda v, d, _: _like(v, ["same"] * len(v)),
    "all missing": lambda v, d, _: _like(v, np.full(len(v), np.nan)),
    "numbers": lambda v, d, _: _like(v, np.arange(len(v)) - 0.5),
    "truth values": lambda v, d, _: _like(v, np.arange(len(v)) % 2 > 0),
    "shorter": lambda v, d, _: v[: len(v) // 2],
    "doubled": lambda v, d, _: pd.concat([v, v]) if isinstance(v, pd.Series) else v.append(v),
    "of other cells": lambda v, d, _: pd.Series(np.asarray(v), index=[f"other{i}" for i in range(len(v))]),
    "categorical": lambda v, d, _: v.astype("category"),
    "shuffled": lambda v, d, _: v.take(d.generator("order").permutation(len(v))),
}


def _put(array: np.ndarray, draw: Draw, value: float) -> np.ndarray:
    """Put a number in one place."""
    array = array.astype(float)
    if array.size:
        array.reshape(-1)[draw.place("at", array.size)] = value
    return array


ARRAY: dict[str, Spoiler] = {
    "not an array": lambda a, d, _: d.choice("but", [None, 3, "text", {}, [], object(), pd.DataFrame({"a": [1]})]),
    "with NaN": lambda a, d, _: _put(a, d, np.nan),
    "with infinity": lambda a, d, _: _put(a, d, np.inf),
    "with a negative": lambda a, d, _: _put(a, d, -1.0),
    "with a fraction": lambda a, d, _: _put(a, d, 0.5),
    "with a huge one": lambda a, d, _: _put(a, d, 1e300),
    "all NaN": lambda a, d, _: np.full(a.shape, np.nan),
    "no rows": lambda a, d, _: a[:0],
    "no columns": lambda a, d, _: a[..., :0],
    "one row": lambda a, d, _: a[:1],
    "one row fewer": lambda a, d, _: a[:-1],
    "one row more": lambda a, d, _: np.concatenate([a, a[:1]]),
    "of no dimension": lambda a, d, _: np.array(1.0),
    "of one dimension": lambda a, d, _: a.reshape(-1),
    "of one more dimension": lambda a, d, _: a[..., None],
    "turned": lambda a, d, _: a.T,
    "of objects": lambda a, d, _: a.astype(object),
    "of text": lambda a, d, _: np.full(a.shape, "a"),
    "of complex numbers": lambda a, d, _: a.astype(complex) + 1j,
    "of truth values": lambda a, d, _: a > 0,
    "of times": lambda a, d, _: np.zeros(a.shape, dtype="datetime64[s]"),
    "float64": lambda a, d, _: a.astype(np.float64),
    "in Fortran order": lambda a, d, _: np.asfortranarray(a.astype(np.float64)),
}


def _stored(matrix: Any, draw: Draw, value: float) -> Any:
    """Put a number at one of the stored places."""
    matrix = matrix.tocsr(copy=True).astype(float)
    if matrix.nnz:
        matrix.data[draw.place("at", matrix.nnz)] = value
    return matrix


SPARSE: dict[str, Spoiler] = {
    "not a matrix": lambda m, d, _: d.choice(
        "but", [None, 3, "text", {}, [[1.0]], object(), pd.DataFrame({"a": [1]}), pd.Series([1.0])]
    ),
    "with NaN": lambda m, d, _: _stored(m, d, np.nan),
    "with infinity": lambda m, d, _: _stored(m, d, np.inf),
    "with a negative": lambda m, d, _: _stored(m, d, -1.0),
    "with a fraction": lambda m, d, _: _stored(m, d, 0.5),
    "with a stored zero": lambda m, d, _: _stored(m, d, 0.0),
    "no rows": lambda m, d, _: m[:0],
    "no columns": lambda m, d, _: m[:, :0],
    "one row": lambda m, d, _: m[:1],
    "turned": lambda m, d, _: m.T,
    "of complex numbers": lambda m, d, _: m.astype(complex),
    "of truth values": lambda m, d, _: m.astype(bool),
    "array of one dimension": lambda m, d, _: m.toarray().ravel(),
    "array of three dimensions": lambda m, d, _: m.toarray()[None],
    "array of objects": lambda m, d, _: m.toarray().astype(object),
    "array of text": lambda m, d, _: np.full(m.shape, "a"),
    "array of complex numbers": lambda m, d, _: m.toarray().astype(complex),
    "dense": lambda m, d, _: m.toarray(),
    "csc": lambda m, d, _: m.tocsc(),
    "coo": lambda m, d, _: m.tocoo(),
    "csr array": lambda m, d, _: sparse.csr_array(m),
    "int64": lambda m, d, _: m.astype(np.int64),
}
