"""What an object holds, by name: what a call has changed of it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from mudata import MuData
from scipy import sparse

from sctandem.data import Collection
from sctandem.data._streamed import StreamedCounts

#: Slots by name, of which a function writes those under its own key.
_NAMED = ("obsm", "varm", "obsp", "varp", "uns")


def fingerprint(value: Any) -> str:
    """Hash an object with all its slots: equal content, equal hash."""
    digest = hashlib.sha1(usedforsecurity=False)
    _feed(digest, value)
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    digest.update(type(value).__name__.encode())
    if isinstance(value, MuData):
        for name, modality in value.mod.items():
            digest.update(name.encode())
            _feed(digest, modality)
    if isinstance(value, AnnData | MuData):
        if isinstance(value, AnnData):
            _feed(digest, _matrix(value))
            _feed(digest, {str(name): value.layers[name] for name in value.layers if name is not None})
            _feed(digest, None if value.isbacked or value.raw is None else [value.raw.X, value.raw.var])
        for part in (value.obs, value.var, *(dict(getattr(value, f)) for f in ("obsm", "varm", "obsp", "varp", "uns"))):
            _feed(digest, part)
    elif isinstance(value, pd.DataFrame):
        _feed(digest, [*value.columns, value.index, *(value.iloc[:, i] for i in range(value.shape[1]))])
    elif isinstance(value, pd.Series | pd.Index):
        digest.update(f"{value.dtype}{value.name}".encode())
        if isinstance(value, pd.Series):
            _feed(digest, value.index)
        if isinstance(value.dtype, pd.CategoricalDtype):
            _feed(digest, [value.dtype.ordered, value.dtype.categories])
        _feed(digest, np.asarray(value, dtype=object if value.dtype.kind not in "iufb" else None))
    elif sparse.issparse(value):
        digest.update(f"{value.format}{value.shape}".encode())
        coordinates = value.tocsr(copy=True)
        coordinates.sort_indices()
        for part in (coordinates.data, coordinates.indices, coordinates.indptr):
            digest.update(np.ascontiguousarray(part).tobytes())
    elif isinstance(value, np.ndarray):
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(
            repr(value.tolist()).encode() if value.dtype.kind == "O" else np.ascontiguousarray(value).tobytes()
        )
    elif hasattr(value, "items"):
        for key, item in value.items():
            digest.update(str(key).encode())
            if not str(key).startswith("_scvi"):
                _feed(digest, item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            _feed(digest, item)
    elif isinstance(value, Collection):
        _feed(digest, [value.path, _metadata(value)])
    elif isinstance(value, Path):
        digest.update(value.name.encode())
        digest.update(value.read_bytes() if value.is_file() else b"folder" if value.is_dir() else b"none")
        if value.is_dir():
            _feed(digest, sorted(value.iterdir()))
    elif isinstance(value, str | bytes | int | float | complex | type(None) | np.generic):
        digest.update(repr(value).encode())
    # models and other objects are not looked into: the functions only read them


def _metadata(collection: Collection) -> AnnData | None:
    """Return what of a collection is in memory; nothing where its files are damaged, which is seen when they are first read."""
    try:
        return collection.adata
    except ValueError:
        return None


def _matrix(adata: AnnData) -> Any:
    """Return the values of an object; of what is read from a file nothing: no function writes there."""
    return None if adata.isbacked or isinstance(adata.X, StreamedCounts) else adata.X


def slots(value: Any) -> dict[str, Any]:
    """Return what an object of cells holds, by the name of the slot, without the marks of scvi-tools; of anything else nothing."""
    value = _metadata(value) if isinstance(value, Collection) else value
    if not isinstance(value, AnnData | MuData):
        return {}
    parts = value.mod if isinstance(value, MuData) else {}
    found = {f"mod[{name!r}].{slot}": held for name, part in parts.items() for slot, held in slots(part).items()}
    found["obs_names"] = value.obs_names
    if isinstance(value, AnnData):  # those of a MuData are of its modalities, of which there may be a new one
        found |= {"var_names": value.var_names, "X": _matrix(value)}
        found |= {f"layers[{name!r}]": value.layers[name] for name in value.layers if name is not None}
    for axis, table in (("obs", value.obs), ("var", value.var)):
        found |= _columns(table, axis)
    if isinstance(value, AnnData) and not value.isbacked and value.raw is not None:
        found |= {"raw.X": value.raw.X, "raw.var_names": value.raw.var_names, **_columns(value.raw.var, "raw.var")}
    for slot in _NAMED:
        mapping = dict(getattr(value, slot))
        found |= {
            f"{slot}[{name!r}]": held
            for name, held in mapping.items()
            if not str(name).startswith("_scvi") and name not in parts
        }
    return found


def _columns(table: pd.DataFrame, name: str) -> dict[str, Any]:
    """Return the columns of a table by their names; of columns named alike, all but the first have their number as well."""
    found: dict[str, Any] = {}
    for i, column in enumerate(table.columns):
        if not str(column).startswith("_scvi"):
            slot = f"{name}[{column!r}]"
            n = sum(1 for known in found if known.startswith(slot))
            found[f"{slot}#{n}" if n else slot] = table.iloc[:, i]
    return found


def hashes(value: Any) -> dict[str, str]:
    """Hash what an object holds, by slot."""
    return {name: fingerprint(_plain(held)) for name, held in slots(value).items()}


def _plain(value: Any) -> Any:
    """Return a value as it is in an object of its own: a view that is written to becomes one, of other classes."""
    if sparse.issparse(value):
        return sparse.csr_matrix(value)
    if isinstance(value, np.ndarray):
        return np.asarray(value)
    if isinstance(value, pd.DataFrame):
        return pd.DataFrame(value)
    if hasattr(value, "keys") and not isinstance(value, pd.Series):
        return {key: _plain(item) for key, item in value.items()}
    return value


def changed(before: dict[str, str], after: dict[str, str], own: set[str]) -> list[str]:
    """List the slots that are not as they were, but for those that a function writes under names of its own."""
    lost = [slot for slot, held in before.items() if after.get(slot) != held]
    return [slot for slot in lost if not any(_is_own(slot, name) for name in own)]


def _is_own(slot: str, name: str) -> bool:
    """Whether a slot by name goes by a key, or begins with it."""
    kind, _, key = slot.rpartition("].")[2].removesuffix("']").partition("['")
    return kind in _NAMED and (key in {name, f"X_{name}"} or key.startswith(f"{name}_"))
