"""Ways to spoil a valid argument, by its kind: each draws where and returns a new value. The simplest come first."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData, read_h5ad
from fault_arrays import ARRAY, INDEX, ODD_NAMES, SPARSE
from fault_collections import COLLECTION
from fault_files import FILE
from fault_values import MAPPING, NUMBER, OTHER, SEQUENCE, TEXT
from mudata import MuData
from scipy import sparse

from sctandem._compat import new_mudata
from sctandem.data import Collection

if TYPE_CHECKING:
    from collections.abc import Callable

    from fault_draw import Draw

    Spoiler = Callable[[Any, Draw, Path], Any]

#: Ways that leave valid data in another form, or leave it to what is spoiled within.
FORMS = {
    "X dense", "X csc", "X sparse array", "X float64", "X int64", "features shuffled", "cells shuffled", "a view", "backed",
    "obs categorical", "table spoiled", "rows shuffled", "column categorical", "numpy", "reversed", "shuffled", "categorical",
    "csc", "coo", "csr array", "dense", "float64", "int64", "in Fortran order", "a Series", "odd name", "a field",
}  # fmt: skip


# --- AnnData ------------------------------------------------------------------------------------------------------


def _values(adata: AnnData, draw: Draw, value: float) -> AnnData:
    """Put a value in a few places of X and of all layers."""

    def put(matrix: Any) -> Any:
        matrix = matrix.astype(np.float32)
        values = matrix.data if sparse.issparse(matrix) else matrix.reshape(-1)
        if values.size:
            values[[draw.place("at", values.size) for _ in range(3)]] = value
        return matrix

    return _convert(adata, put)


def _convert(adata: AnnData, change: Callable[[Any], Any]) -> AnnData:
    if adata.X is not None:
        adata.X = change(adata.X)
    for name in [name for name in adata.layers if name is not None]:
        adata.layers[name] = change(adata.layers[name])
    return adata


def _obs_column(adata: AnnData, draw: Draw, change: Callable[[pd.Series], Any]) -> AnnData:
    """Change one column of obs, or all."""
    columns = list(adata.obs.columns)
    if len(columns) > 1 and not draw.chance("in all columns"):
        columns = [draw.choice("in column", columns)]
    for name in columns:
        adata.obs[name] = change(adata.obs[name])
    return adata


def _some_missing(adata: AnnData, draw: Draw) -> AnnData:
    def change(column: pd.Series) -> Any:
        return column.astype(object).where(draw.generator("places").random(len(column)) < 0.8, None)

    return _obs_column(adata, draw, change)


def _written(kind: str, column: pd.Series) -> Any:
    """Write what names cells otherwise: its values stay apart as they were, but for truth values."""
    codes, _ = pd.factorize(column.astype(str), sort=True)
    if kind == "mixed":
        return np.array([str(code) if i % 2 else int(code) for i, code in enumerate(codes)], dtype=object)
    ways = {"integers": codes, "floats": codes.astype(float), "truth values": codes > 0}
    return ways[kind] if kind in ways else pd.Categorical(codes if kind == "categories of integers" else codes > 0)


#: Other types of the columns that name cells; drawn by no seed, since each is a case of its own.
TYPES = ("integers", "floats", "truth values", "mixed", "categories of integers", "categories of truth values")


def retype(data: Any, kind: str) -> Any:
    """Write all columns of text or categories of an object, and of its modalities, in another type."""
    for part in (data, *getattr(data, "mod", {}).values()):
        for name in part.obs:
            if part.obs[name].dtype.kind not in "iufb":
                part.obs[name] = _written(kind, part.obs[name])
    return data


def _drop_slot(adata: AnnData, draw: Draw) -> AnnData:
    mapping = getattr(adata, draw.choice("of", ["obsm", "varm", "uns", "layers"]))
    names = [name for name in mapping if name is not None]
    if names:
        del mapping[draw.choice("at", names)]
    return adata


def _spoil_slot(adata: AnnData, draw: Draw) -> AnnData:
    """Put something of another kind in one slot."""
    slot = draw.choice("in", ["obsm", "varm", "uns"])
    mapping = getattr(adata, slot)
    names = [name for name in mapping if not str(name).startswith("_scvi")]
    if not names:
        return adata
    name = draw.choice("at", names)
    choices: list[Any]
    if slot == "uns":
        choices = [3, "text", {}, {"params": {}}, pd.DataFrame(), {"table": 3}, {"table": pd.DataFrame({"a": []})}]
    else:
        index = adata.obs_names if slot == "obsm" else adata.var_names
        n = len(index)
        choices = [np.full((n, 2), np.nan), np.zeros((n, 1)), pd.DataFrame({"a": ["x"] * n}, index=index)]
    mapping[name] = draw.choice("is", choices)
    return adata


def _spoil_table(adata: AnnData, draw: Draw) -> AnnData:
    """Spoil one table within uns."""
    groups = {name: group for name, group in adata.uns.items() if isinstance(group, dict)}
    tables = [(name, key) for name, group in groups.items() for key in group if isinstance(group[key], pd.DataFrame)]
    if tables:
        name, key = draw.choice("at", tables)
        groups[name][key] = spoil(groups[name][key].copy(), draw, Path())
    return adata


def _rename(adata: AnnData, names: list[str], axis: str) -> AnnData:
    setattr(adata, f"{axis}_names", names)
    return adata


def _backed(adata: AnnData, _: Draw, folder: Path) -> AnnData:
    plain = AnnData(adata.X, obs=adata.obs, var=adata.var, obsm=dict(adata.obsm))
    plain.write_h5ad(folder / "backed.h5ad")
    return read_h5ad(folder / "backed.h5ad", backed="r")


def _odd(n: int, draw: Draw) -> list[str]:
    return [f"{name}{i}" for i, name in enumerate(draw.generator("names").choice(ODD_NAMES, n))]


def _shuffled(n: int, draw: Draw) -> np.ndarray:
    return draw.generator("order").permutation(n)


ANNDATA: dict[str, Spoiler] = {
    "not AnnData": lambda a, d, _: d.choice(
        "but", [None, 3, "text", {}, np.ones((3, 3)), a.obs, MuData({"rna": a.copy()})]
    ),
    "X with NaN": lambda a, d, _: _values(a, d, np.nan),
    "X with infinity": lambda a, d, _: _values(a, d, np.inf),
    "X negative": lambda a, d, _: _values(a, d, -1.0),
    "X with fractions": lambda a, d, _: _values(a, d, 0.5),
    "X huge": lambda a, d, _: _values(a, d, 1e30),
    "X None": lambda a, d, _: AnnData(obs=a.obs, var=a.var, obsm=dict(a.obsm), varm=dict(a.varm), uns=a.uns),
    "X all zero": lambda a, d, _: _convert(a, lambda m: m * 0),
    "X dense": lambda a, d, _: _convert(a, lambda m: m.toarray() if sparse.issparse(m) else m),
    "X csc": lambda a, d, _: _convert(a, sparse.csc_matrix),
    "X sparse array": lambda a, d, _: _convert(a, sparse.csr_array),
    "X float64": lambda a, d, _: _convert(a, lambda m: m.astype(np.float64)),
    "X int64": lambda a, d, _: _convert(a, lambda m: m.astype(np.int64)),
    "X bool": lambda a, d, _: _convert(a, lambda m: m.astype(bool)),
    "no cells": lambda a, d, _: a[:0].copy(),
    "one cell": lambda a, d, _: a[:1].copy(),
    "three cells": lambda a, d, _: a[:3].copy(),
    "no features": lambda a, d, _: a[:, :0].copy(),
    "one feature": lambda a, d, _: a[:, :1].copy(),
    "few features": lambda a, d, _: a[:, :3].copy(),
    "features shuffled": lambda a, d, _: a[:, _shuffled(a.n_vars, d)].copy(),
    "cells shuffled": lambda a, d, _: a[_shuffled(a.n_obs, d)].copy(),
    "a view": lambda a, d, _: a[: max(1, a.n_obs // 2)],
    "duplicated cells": lambda a, d, _: _rename(a, ["same"] * a.n_obs, "obs"),
    "duplicated features": lambda a, d, _: _rename(a, ["same"] * a.n_vars, "var"),
    "odd cell names": lambda a, d, _: _rename(a, _odd(a.n_obs, d), "obs"),
    "odd feature names": lambda a, d, _: _rename(a, _odd(a.n_vars, d), "var"),
    "obs with missing": lambda a, d, _: _some_missing(a, d),
    "obs all missing": lambda a, d, _: _obs_column(a, d, lambda c: np.full(len(c), np.nan)),
    "obs of one value": lambda a, d, _: _obs_column(a, d, lambda c: "same"),
    "obs unique": lambda a, d, _: _obs_column(a, d, lambda c: [f"v{i}" for i in range(len(c))]),
    "obs as codes": lambda a, d, _: _obs_column(a, d, lambda c: pd.factorize(c)[0]),
    "obs categorical": lambda a, d, _: _obs_column(
        a, d, lambda c: pd.Categorical(c.astype(str), categories=["unused", *sorted(set(c.astype(str)))])
    ),
    "obs odd words": lambda a, d, _: _obs_column(a, d, lambda c: [ODD_NAMES[i % 2] for i in pd.factorize(c)[0]]),
    "obs boolean": lambda a, d, _: _obs_column(a, d, lambda c: pd.factorize(c)[0] > 0),
    "obs without columns": lambda a, d, _: _replace(a, obs=a.obs[[]].copy()),
    "var without columns": lambda a, d, _: _replace(a, var=a.var[[]].copy()),
    "var spoiled": lambda a, d, _: _replace(a, var=_spoil_columns(a.var, d)),
    "slot missing": lambda a, d, _: _drop_slot(a, d),
    "slot of another kind": lambda a, d, _: _spoil_slot(a, d),
    "table spoiled": lambda a, d, _: _spoil_table(a, d),
    "obsm with NaN": lambda a, d, _: _obsm(a, np.nan),
    "obsm constant": lambda a, d, _: _obsm(a, 0.0),
    "backed": _backed,
}


def _replace(adata: AnnData, **frames: pd.DataFrame) -> AnnData:
    for name, frame in frames.items():
        setattr(adata, name, frame)
    return adata


def _spoil_columns(table: pd.DataFrame, draw: Draw) -> pd.DataFrame:
    table = table.copy()
    for name in table.columns:
        how = draw.choice(f"{name} is", ["missing", "text", -1, "reversed"])
        table[name] = {"missing": np.nan, "reversed": table[name].to_numpy()[::-1]}.get(how, how)
    return table


def _obsm(adata: AnnData, value: float) -> AnnData:
    for name in list(adata.obsm):
        array = adata.obsm[name]
        if isinstance(array, np.ndarray) and array.dtype.kind == "f":
            array = array.copy()
            array[: max(1, len(array) // (1 if value == 0 else 5))] = value
            adata.obsm[name] = array
    return adata


# --- MuData -------------------------------------------------------------------------------------------------------


def _with(mdata: MuData, modalities: dict[str, AnnData]) -> MuData:
    new = new_mudata(modalities)
    new.uns.update(mdata.uns)
    if new.n_obs == mdata.n_obs and new.obs_names.equals(mdata.obs_names):
        for name in mdata.obs.columns:
            new.obs[name] = mdata.obs[name]
    return new


def _one_modality(mdata: MuData, draw: Draw, folder: Path) -> Any:
    name = draw.choice("modality", ["rna", "atac"])
    spoiled = spoil(mdata.mod[name].copy(), draw, folder)
    if not isinstance(spoiled, AnnData):
        return spoiled
    return _with(mdata, {k: (spoiled if k == name else v.copy()) for k, v in mdata.mod.items()})


def _uns(mdata: MuData, draw: Draw) -> MuData:
    """Take one entry of uns away, spoil a table of it, or put something else there."""
    name = draw.choice("at", [name for name in mdata.uns if name != "truth"])
    group = mdata.uns[name]
    tables = [key for key in group if isinstance(group[key], pd.DataFrame)] if isinstance(group, dict) else []
    how = draw.choice("is", ["missing", "else", "spoiled"] if tables else ["missing", "else"])
    if how == "missing":
        del mdata.uns[name]
    elif how == "spoiled":
        key = draw.choice("table", tables)
        mdata.uns[name] = group | {key: spoil(group[key].copy(), draw, Path())}
    else:
        mdata.uns[name] = draw.choice("namely", [3, "text", {}, {"table": pd.DataFrame()}])
    return mdata


def _cells(mdata: MuData, rows: Callable[[int], Any]) -> MuData:
    return _with(mdata, {k: v[rows(v.n_obs)].copy() for k, v in mdata.mod.items()})


MUDATA: dict[str, Spoiler] = {
    "not MuData": lambda m, d, _: d.choice("but", [None, 3, "text", {"rna": 3}, m.obs, m["rna"]]),
    "no rna": lambda m, d, _: _with(m, {k: v for k, v in m.mod.items() if k != "rna"}),
    "no atac": lambda m, d, _: _with(m, {k: v for k, v in m.mod.items() if k != "atac"}),
    "modalities renamed": lambda m, d, _: _with(m, {f"{k}/ é": v for k, v in m.mod.items()}),
    "modalities exchanged": lambda m, d, _: _with(m, {"rna": m.mod["atac"], "atac": m.mod["rna"]}),
    "no cells": lambda m, d, _: _cells(m, lambda n: np.arange(0)),
    "one cell": lambda m, d, _: _cells(m, lambda n: np.arange(1)),
    "cells of one shuffled": lambda m, d, _: _with(
        m, {k: v[_shuffled(v.n_obs, d)].copy() if k == "rna" else v for k, v in m.mod.items()}
    ),
    "cells of one fewer": lambda m, d, _: _with(m, {k: v[:50].copy() if k == "atac" else v for k, v in m.mod.items()}),
    "cells of one renamed": lambda m, d, _: _with(
        m,
        {
            k: _rename(v.copy(), [f"z{i}" for i in range(v.n_obs)], "obs") if k == "atac" else v
            for k, v in m.mod.items()
        },
    ),
    "a view": lambda m, d, _: m[:40],
    "uns": lambda m, d, _: _uns(m, d),
}

# --- tables, and every kind ----------------------------------------------------------------------------------------


def _column(table: pd.DataFrame, draw: Draw, value: Any) -> pd.DataFrame:
    if not len(table.columns):
        return table
    name = table.columns[draw.place("column", len(table.columns))]
    if callable(value):
        table[name] = value(table[name])
        return table
    table[name] = table[name].astype(object)
    if len(table):
        table.iloc[draw.place("row", len(table)), table.columns.get_loc(name)] = value
    return table


def _without_column(table: pd.DataFrame, draw: Draw) -> pd.DataFrame:
    n = len(table.columns)
    return table.drop(columns=table.columns[draw.place("column", n)]) if n else table


TABLE: dict[str, Spoiler] = {
    "not a table": lambda t, d, _: d.choice(
        "but", [None, 3, "text", {}, [1, 2], np.ones((2, 2)), AnnData(np.ones((2, 2)))]
    ),
    "no rows": lambda t, d, _: t.iloc[:0],
    "no columns": lambda t, d, _: t[[]],
    "one row": lambda t, d, _: t.iloc[:1],
    "column missing": lambda t, d, _: _without_column(t, d),
    "one NaN": lambda t, d, _: _column(t, d, np.nan),
    "one negative": lambda t, d, _: _column(t, d, -5),
    "one text": lambda t, d, _: _column(t, d, "text"),
    "one fraction": lambda t, d, _: _column(t, d, 0.5),
    "one infinite": lambda t, d, _: _column(t, d, np.inf),
    "one huge": lambda t, d, _: _column(t, d, 2**62),
    "column as text": lambda t, d, _: _column(t, d, lambda c: c.astype(str)),
    "column missing values": lambda t, d, _: _column(t, d, lambda c: np.nan),
    "column of lists": lambda t, d, _: _column(t, d, lambda c: [[1, 2]] * len(c)),
    "column categorical": lambda t, d, _: _column(t, d, lambda c: c.astype("category")),
    "rows doubled": lambda t, d, _: pd.concat([t, t]),
    "rows shuffled": lambda t, d, _: t.iloc[_shuffled(len(t), d)],
    "columns doubled": lambda t, d, _: pd.concat([t, t], axis=1),
    "columns renamed": lambda t, d, _: t.set_axis([f"é {i}" for i in range(len(t.columns))], axis=1),
    "odd index": lambda t, d, _: t.set_axis(_odd(len(t), d)),
}


def _one_field(value: Any, draw: Draw, folder: Path) -> Any:
    """Spoil one of what belongs together by name."""
    name = draw.choice("namely", list(value._fields))
    return value._replace(**{name: spoil(getattr(value, name), draw, folder)})


FIELDS: dict[str, Spoiler] = {"a field": _one_field}


def spoilers(value: Any) -> dict[str, Spoiler]:
    """Return the ways for a kind of value."""
    kinds: list[tuple[Any, dict[str, Spoiler]]] = [
        (AnnData, ANNDATA), (MuData, MUDATA), (Collection, COLLECTION), (pd.DataFrame, TABLE), (Path, FILE), (str, TEXT), (bool, OTHER),
        ((int, float), NUMBER), ((list, tuple), SEQUENCE), (dict, MAPPING), ((pd.Index, pd.Series), INDEX),
        (np.ndarray, ARRAY), ((sparse.spmatrix, sparse.sparray), SPARSE),
    ]  # fmt: skip
    if hasattr(value, "_fields"):
        return OTHER | FIELDS
    return next((found for kind, found in kinds if isinstance(value, kind)), OTHER)


def spoil(value: Any, draw: Draw, folder: Path) -> Any:
    """Spoil a value in one way."""
    with warnings.catch_warnings():  # what anndata and pandas say while the input is made is not the package's
        warnings.simplefilter("ignore")
        if isinstance(value, MuData) and draw.chance("in one modality"):
            return _one_modality(value, draw, folder)
        ways = spoilers(value)
        way = draw.choice("is", list(ways))
        draw.malformed |= way not in FORMS
        return ways[way](value, draw, folder)
