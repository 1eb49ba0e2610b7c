"""The data that a saved model is loaded with: read from its folder, and compared with those it was made with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
from anndata import AnnData
from mudata import MuData
from scipy import sparse

from sctandem._check_files import readable
from sctandem._checks import check_type
from sctandem._compat import ModelLayout, read_h5mu

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


def read_data(folder: Path, prefix: str, registry: dict[str, Any]) -> AnnData | MuData:
    """Read the data that were saved with a model, without the marks of the object that they were written from."""
    layout = ModelLayout()
    is_mudata = registry[layout.setup_method] == "setup_mudata"
    path = folder / f"{prefix}{layout.mudata_file if is_mudata else layout.anndata_file}"
    if not path.is_file():
        msg = f"no data were given, and none were saved with the model: there is no {path}. Pass the data as `adata`: an AnnData or a MuData, or a collection where the model was set up with one."
        raise FileNotFoundError(msg)
    with readable(path, "the data that were saved with the model", tree=True):
        data = read_h5mu(path) if is_mudata else anndata.read_h5ad(path)
    # scvi-tools tells objects apart by these: two that were read from one file are not the same
    for mark in layout.data_ids:
        data.uns.pop(mark, None)
    return data


def least_bytes(data: AnnData | MuData) -> int:
    """Return how many bytes data take on the disk at the least: those of the matrices that lie in memory."""
    total = 0
    for part in data.mod.values() if hasattr(data, "mod") else [data]:
        X = None if part.isbacked else part.X
        for matrix in (X, *part.layers.values(), *part.obsm.values(), *part.varm.values(), *part.obsp.values()):
            arrays = [getattr(matrix, name) for name in ("data", "indices", "indptr") if sparse.issparse(matrix)] or [
                matrix
            ]
            total += sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))
    return total


def listed_features(names: Any, registry: dict[str, Any]) -> Any:
    """Return the names of the features as lists, which scvi-tools compares; of modalities that are not there as registered."""
    if not isinstance(names, dict):
        return names.tolist()
    layout, out = ModelLayout(), {name: values.tolist() for name, values in names.items()}
    for field in registry[layout.fields].values():
        name, columns = (
            field[layout.field_data].get(layout.modality),
            field[layout.field_state].get(layout.column_names),
        )
        if name is not None and columns is not None and name not in out:
            out[name] = [str(column) for column in columns]
    return out


def needed_modalities(registry: dict[str, Any], training_only: Collection[str]) -> tuple[set[str], set[str]]:
    """Return the modalities that a model was set up with, and those of them that it needs beside training."""
    layout = ModelLayout()
    pairs = [(key, field[layout.field_data].get(layout.modality)) for key, field in registry[layout.fields].items()]
    registered = {name for _, name in pairs if name is not None}
    return registered, {name for key, name in pairs if name is not None and key not in training_only}


def check_features(adata: AnnData | MuData, features: Any, path: str, *, modalities: tuple[set[str], set[str]]) -> None:
    """Check that the data have the features of the model, in its order; of modalities that it does not need, if they are there.

    `modalities` comes from `needed_modalities`.
    """
    registered, needed = modalities
    check_type(adata, AnnData | MuData, "adata", hint="A collection that td.data.open_collection opens is taken too.")
    if isinstance(adata, AnnData) == bool(registered):
        kind = f"a MuData with the modalities {sorted(registered)}" if registered else "an AnnData"
        msg = f"adata is {type(adata).__name__}, and the model in {path} was set up with {kind}: pass such an object."
        raise TypeError(msg)
    if isinstance(features, dict):
        lacking = [name for name in features if name in needed and name not in adata.mod]
        if lacking:
            msg = (
                f"the model in {path} was set up with the modalities {sorted(registered)} and needs {sorted(needed)}; "
                f"the data lack {lacking}."
            )
            raise ValueError(msg)
        here = {name: names for name, names in features.items() if name in registered and name in adata.mod}
        pairs = [(f"adata[{name!r}]", adata.mod[name].var_names, names) for name, names in here.items()]
    else:
        pairs = [("adata", adata.var_names, features)]
    for slot, found, names in pairs:
        if np.array_equal(found, names):
            continue
        known = set(found)
        missing = [name for name in names if name not in known]
        if missing:
            shown = ", ".join(map(repr, missing[:3]))
            fault = f"lack {len(missing)} of the {len(names)} features of the model in {path}: {shown}"
        else:
            fault = f"hold the features of the model in {path} in another order, or more than these"
        msg = f"{slot}.var_names {fault}. They must be those of the model, in the same order: {slot}[:, names]."
        raise ValueError(msg)
