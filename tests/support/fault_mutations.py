"""Ways to spoil a valid argument, by its kind; each is drawn with a seed and returns a new value."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData, read_h5ad
from fault_files import FILE
from mudata import MuData
from scipy import sparse

from sctandem._compat import new_mudata

if TYPE_CHECKING:
    from collections.abc import Callable

    Spoiler = Callable[[Any, np.random.Generator, Path], Any]

ODD_NAMES = ["a/b", "a b", "é中文", "", "nan", "1", "x" * 300, "'\"", "a,b", "-", "a\tb"]


# --- AnnData ------------------------------------------------------------------------------------------------------


def _values(adata: AnnData, rng: np.random.Generator, value: float) -> AnnData:
    """Put a value in a few places of X and of all layers."""

    def put(matrix: Any) -> Any:
        matrix = matrix.astype(np.float32)
        place = matrix.data if sparse.issparse(matrix) else matrix.reshape(-1)
        if place.size:
            place[rng.integers(place.size, size=3)] = value
        return matrix

    return _convert(adata, put)


def _convert(adata: AnnData, change: Callable[[Any], Any]) -> AnnData:
    if adata.X is not None:
        adata.X = change(adata.X)
    for name in [name for name in adata.layers if name is not None]:
        adata.layers[name] = change(adata.layers[name])
    return adata


def _obs_column(adata: AnnData, rng: np.random.Generator, change: Callable[[pd.Series], Any]) -> AnnData:
    """Change all columns of obs, or one."""
    columns = list(adata.obs.columns)
    for name in columns if rng.random() < 0.5 else list(rng.choice(columns, min(1, len(columns)))):
        adata.obs[name] = change(adata.obs[name])
    return adata


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


def _drop_slot(adata: AnnData, rng: np.random.Generator) -> AnnData:
    mapping = getattr(adata, str(rng.choice(["obsm", "varm", "uns", "layers"])))
    names = [name for name in mapping if name is not None]
    if names:
        del mapping[str(rng.choice(names))]
    return adata


def _spoil_slot(adata: AnnData, rng: np.random.Generator) -> AnnData:
    """Put something of another kind in one slot."""
    slot = str(rng.choice(["obsm", "varm", "uns"]))
    mapping = getattr(adata, slot)
    names = [name for name in mapping if not str(name).startswith("_scvi")]
    if not names:
        return adata
    name = str(rng.choice(names))
    choices: list[Any]
    if slot == "uns":
        choices = [3, "text", {}, {"params": {}}, pd.DataFrame(), {"table": 3}, {"table": pd.DataFrame({"a": []})}]
    else:
        index = adata.obs_names if slot == "obsm" else adata.var_names
        n = len(index)
        choices = [np.full((n, 2), np.nan), np.zeros((n, 1)), pd.DataFrame({"a": ["x"] * n}, index=index)]
    mapping[name] = choices[rng.integers(len(choices))]
    return adata


def _spoil_table(adata: AnnData, rng: np.random.Generator) -> AnnData:
    """Spoil one table within uns."""
    places = [(group, key) for group in adata.uns.values() if isinstance(group, dict) for key in group]
    tables = [(group, key) for group, key in places if isinstance(group[key], pd.DataFrame)]
    if tables:
        group, key = tables[rng.integers(len(tables))]
        group[key] = spoil(group[key].copy(), rng, Path())[0]
    return adata


def _rename(adata: AnnData, names: list[str], axis: str) -> AnnData:
    setattr(adata, f"{axis}_names", names)
    return adata


def _backed(adata: AnnData, _: np.random.Generator, folder: Path) -> AnnData:
    plain = AnnData(adata.X, obs=adata.obs, var=adata.var, obsm=dict(adata.obsm))
    plain.write_h5ad(folder / "backed.h5ad")
    return read_h5ad(folder / "backed.h5ad", backed="r")


def _odd(n: int, rng: np.random.Generator) -> list[str]:
    return [f"{ODD_NAMES[rng.integers(len(ODD_NAMES))]}{i}" for i in range(n)]


ANNDATA: dict[str, Spoiler] = {
    "X with NaN": lambda a, r, _: _values(a, r, np.nan),
    "X with infinity": lambda a, r, _: _values(a, r, np.inf),
    "X negative": lambda a, r, _: _values(a, r, -1.0),
    "X with fractions": lambda a, r, _: _values(a, r, 0.5),
    "X huge": lambda a, r, _: _values(a, r, 1e30),
    "X None": lambda a, r, _: AnnData(obs=a.obs, var=a.var, obsm=dict(a.obsm), varm=dict(a.varm), uns=a.uns),
    "X all zero": lambda a, r, _: _convert(a, lambda m: m * 0),
    "X dense": lambda a, r, _: _convert(a, lambda m: m.toarray() if sparse.issparse(m) else m),
    "X csc": lambda a, r, _: _convert(a, sparse.csc_matrix),
    "X sparse array": lambda a, r, _: _convert(a, sparse.csr_array),
    "X float64": lambda a, r, _: _convert(a, lambda m: m.astype(np.float64)),
    "X int64": lambda a, r, _: _convert(a, lambda m: m.astype(np.int64)),
    "X bool": lambda a, r, _: _convert(a, lambda m: m.astype(bool)),
    "no cells": lambda a, r, _: a[:0].copy(),
    "one cell": lambda a, r, _: a[:1].copy(),
    "three cells": lambda a, r, _: a[:3].copy(),
    "no features": lambda a, r, _: a[:, :0].copy(),
    "one feature": lambda a, r, _: a[:, :1].copy(),
    "few features": lambda a, r, _: a[:, :3].copy(),
    "features shuffled": lambda a, r, _: a[:, r.permutation(a.n_vars)].copy(),
    "cells shuffled": lambda a, r, _: a[r.permutation(a.n_obs)].copy(),
    "a view": lambda a, r, _: a[: max(1, a.n_obs // 2)],
    "duplicated cells": lambda a, r, _: _rename(a, ["same"] * a.n_obs, "obs"),
    "duplicated features": lambda a, r, _: _rename(a, ["same"] * a.n_vars, "var"),
    "odd cell names": lambda a, r, _: _rename(a, _odd(a.n_obs, r), "obs"),
    "odd feature names": lambda a, r, _: _rename(a, _odd(a.n_vars, r), "var"),
    "obs with missing": lambda a, r, _: _obs_column(
        a, r, lambda c: c.astype(object).where(r.random(len(c)) < 0.8, None)
    ),
    "obs all missing": lambda a, r, _: _obs_column(a, r, lambda c: np.full(len(c), np.nan)),
    "obs of one value": lambda a, r, _: _obs_column(a, r, lambda c: "same"),
    "obs unique": lambda a, r, _: _obs_column(a, r, lambda c: [f"v{i}" for i in range(len(c))]),
    "obs as codes": lambda a, r, _: _obs_column(a, r, lambda c: pd.factorize(c)[0]),
    "obs categorical": lambda a, r, _: _obs_column(
        a, r, lambda c: pd.Categorical(c.astype(str), categories=["unused", *sorted(set(c.astype(str)))])
    ),
    "obs odd words": lambda a, r, _: _obs_column(a, r, lambda c: [ODD_NAMES[i % 2] for i in pd.factorize(c)[0]]),
    "obs boolean": lambda a, r, _: _obs_column(a, r, lambda c: pd.factorize(c)[0] > 0),
    "obs without columns": lambda a, r, _: _replace(a, obs=a.obs[[]].copy()),
    "var without columns": lambda a, r, _: _replace(a, var=a.var[[]].copy()),
    "var spoiled": lambda a, r, _: _replace(a, var=_spoil_columns(a.var, r)),
    "slot missing": lambda a, r, _: _drop_slot(a, r),
    "slot of another kind": lambda a, r, _: _spoil_slot(a, r),
    "table spoiled": lambda a, r, _: _spoil_table(a, r),
    "obsm with NaN": lambda a, r, _: _obsm(a, np.nan),
    "obsm constant": lambda a, r, _: _obsm(a, 0.0),
    "backed": _backed,
    "not AnnData": lambda a, r, _: [None, 3, "text", a.obs, np.ones((3, 3)), MuData({"rna": a.copy()}), {}][
        r.integers(7)
    ],
}


def _replace(adata: AnnData, **frames: pd.DataFrame) -> AnnData:
    for name, frame in frames.items():
        setattr(adata, name, frame)
    return adata


def _spoil_columns(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    table = table.copy()
    for name in table.columns:
        kind = rng.integers(4)
        table[name] = [np.nan, "text", -1, table[name].to_numpy()[::-1]][kind]
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


def _one_modality(mdata: MuData, rng: np.random.Generator, folder: Path) -> tuple[MuData, str]:
    name = str(rng.choice(["rna", "atac"]))
    spoiled, how = spoil(mdata.mod[name].copy(), rng, folder)
    if not isinstance(spoiled, AnnData):
        return spoiled, how
    return _with(mdata, {k: (spoiled if k == name else v.copy()) for k, v in mdata.mod.items()}), f"{name}: {how}"


def _uns(mdata: MuData, rng: np.random.Generator) -> MuData:
    names = [name for name in mdata.uns if name != "truth"]
    name = str(rng.choice(names))
    if rng.random() < 0.3:
        del mdata.uns[name]
        return mdata
    group = mdata.uns[name]
    tables = [key for key in group if isinstance(group[key], pd.DataFrame)] if isinstance(group, dict) else []
    if tables and rng.random() < 0.7:
        key = str(rng.choice(tables))
        mdata.uns[name] = group | {key: spoil(group[key].copy(), rng, Path())[0]}
    else:
        mdata.uns[name] = [3, "text", {}, {"table": pd.DataFrame()}][rng.integers(4)]
    return mdata


def _cells(mdata: MuData, rows: Callable[[int], Any]) -> MuData:
    return _with(mdata, {k: v[rows(v.n_obs)].copy() for k, v in mdata.mod.items()})


MUDATA: dict[str, Spoiler] = {
    "no rna": lambda m, r, _: _with(m, {k: v for k, v in m.mod.items() if k != "rna"}),
    "no atac": lambda m, r, _: _with(m, {k: v for k, v in m.mod.items() if k != "atac"}),
    "modalities renamed": lambda m, r, _: _with(m, {f"{k}/ é": v for k, v in m.mod.items()}),
    "modalities exchanged": lambda m, r, _: _with(m, {"rna": m.mod["atac"], "atac": m.mod["rna"]}),
    "uns": lambda m, r, _: _uns(m, r),
    "no cells": lambda m, r, _: _cells(m, lambda n: np.arange(0)),
    "one cell": lambda m, r, _: _cells(m, lambda n: np.arange(1)),
    "cells of one shuffled": lambda m, r, _: _with(
        m, {k: v[r.permutation(v.n_obs)].copy() if k == "rna" else v for k, v in m.mod.items()}
    ),
    "cells of one fewer": lambda m, r, _: _with(m, {k: v[:50].copy() if k == "atac" else v for k, v in m.mod.items()}),
    "cells of one renamed": lambda m, r, _: _with(
        m,
        {
            k: _rename(v.copy(), [f"z{i}" for i in range(v.n_obs)], "obs") if k == "atac" else v
            for k, v in m.mod.items()
        },
    ),
    "a view": lambda m, r, _: m[:40],
    "not MuData": lambda m, r, _: [None, 3, "text", m["rna"], m.obs, {"rna": 3}][r.integers(6)],
}

# --- tables, files, values ----------------------------------------------------------------------------------------


def _column(table: pd.DataFrame, rng: np.random.Generator, value: Any) -> pd.DataFrame:
    if not len(table.columns):
        return table
    name = table.columns[rng.integers(len(table.columns))]
    if callable(value):
        table[name] = value(table[name])
        return table
    table[name] = table[name].astype(object)
    if len(table):
        table.iloc[rng.integers(len(table)), table.columns.get_loc(name)] = value
    return table


TABLE: dict[str, Spoiler] = {
    "no rows": lambda t, r, _: t.iloc[:0],
    "one row": lambda t, r, _: t.iloc[:1],
    "column missing": lambda t, r, _: t.drop(columns=t.columns[r.integers(len(t.columns))]) if len(t.columns) else t,
    "no columns": lambda t, r, _: t[[]],
    "one NaN": lambda t, r, _: _column(t, r, np.nan),
    "one negative": lambda t, r, _: _column(t, r, -5),
    "one text": lambda t, r, _: _column(t, r, "text"),
    "one fraction": lambda t, r, _: _column(t, r, 0.5),
    "one infinite": lambda t, r, _: _column(t, r, np.inf),
    "one huge": lambda t, r, _: _column(t, r, 2**62),
    "column as text": lambda t, r, _: _column(t, r, lambda c: c.astype(str)),
    "column missing values": lambda t, r, _: _column(t, r, lambda c: np.nan),
    "column of lists": lambda t, r, _: _column(t, r, lambda c: [[1, 2]] * len(c)),
    "column categorical": lambda t, r, _: _column(t, r, lambda c: c.astype("category")),
    "rows shuffled": lambda t, r, _: t.iloc[r.permutation(len(t))],
    "rows doubled": lambda t, r, _: pd.concat([t, t]),
    "columns doubled": lambda t, r, _: pd.concat([t, t], axis=1),
    "columns renamed": lambda t, r, _: t.set_axis([f"é {i}" for i in range(len(t.columns))], axis=1),
    "odd index": lambda t, r, _: t.set_axis(_odd(len(t), r)),
    "not a table": lambda t, r, _: [None, 3, "text", {}, [1, 2], np.ones((2, 2)), AnnData(np.ones((2, 2)))][
        r.integers(7)
    ],
}


TEXT: dict[str, Spoiler] = {
    "unknown": lambda v, r, _: "not_there",
    "odd": lambda v, r, _: ODD_NAMES[r.integers(len(ODD_NAMES))],
    "other kind": lambda v, r, _: [None, 3, 0.5, True, [], ["x"], {}, ("a", "b"), np.nan, b"x", object()][
        r.integers(11)
    ],
}
NUMBER: dict[str, Spoiler] = {
    "out of range": lambda v, r, _: [0, -1, 10**9, 1e-300, -0.5, 1.5][r.integers(6)],
    "not finite": lambda v, r, _: [np.nan, np.inf, -np.inf][r.integers(3)],
    "numpy": lambda v, r, _: np.float32(v) if isinstance(v, float) else np.int64(v),
    "other kind": lambda v, r, _: [None, "text", [], {}, True, "3", (1, 2), 1j, np.array([1, 2])][r.integers(9)],
}
SEQUENCE: dict[str, Spoiler] = {
    "empty": lambda v, r, _: type(v)(),
    "one": lambda v, r, _: v[:1],
    "doubled": lambda v, r, _: v + v,
    "reversed": lambda v, r, _: v[::-1],
    "unknown member": lambda v, r, _: type(v)(["not_there", *v[1:]]),
    "other member": lambda v, r, _: type(v)([[None, 3, [], np.nan, -1][r.integers(5)], *v[1:]]),
    "other kind": lambda v, r, _: [None, 3, "text", {}, {"a"}, np.array([1.5]), object()][r.integers(7)],
}
MAPPING: dict[str, Spoiler] = {
    "empty": lambda v, r, _: {},
    "unknown key": lambda v, r, _: {**v, "not_there": next(iter(v.values()))},
    "other value": lambda v, r, _: {k: [None, 3, "text", [], -1, np.nan, np.ones((2, 2))][r.integers(7)] for k in v},
    "other key": lambda v, r, _: {[3, None, ("a",)][r.integers(3)]: x for x in v.values()},
    "other kind": lambda v, r, _: [3, "text", [1], [("a", 1)], object()][r.integers(5)],
}
OTHER: dict[str, Spoiler] = {
    "other kind": lambda v, r, _: [3, "text", [], {}, np.ones((2, 2)), object(), AnnData(np.ones((3, 2)))][
        r.integers(7)
    ],
}


def spoilers(value: Any) -> dict[str, Spoiler]:
    """Return the ways for a kind of value."""
    kinds: list[tuple[Any, dict[str, Spoiler]]] = [
        (AnnData, ANNDATA), (MuData, MUDATA), (pd.DataFrame, TABLE), (Path, FILE), (str, TEXT), (bool, OTHER),
        ((int, float), NUMBER), ((list, tuple), SEQUENCE), (dict, MAPPING),
    ]  # fmt: skip
    if hasattr(value, "_fields"):
        return OTHER
    return next((found for kind, found in kinds if isinstance(value, kind)), OTHER)


def spoil(value: Any, rng: np.random.Generator, folder: Path) -> tuple[Any, str]:
    """Spoil a value in one way, and say which."""
    with warnings.catch_warnings():  # what anndata and pandas say while the input is made is not the package's
        warnings.simplefilter("ignore")
        if isinstance(value, MuData) and rng.random() < 0.6:
            return _one_modality(value, rng, folder)
        ways = spoilers(value)
        how = str(rng.choice(list(ways)))
        return ways[how](value, rng, folder), how
