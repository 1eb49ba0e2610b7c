"""Small validators: each message names the slot, the value, what is available and what to do."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData
from anndata.abc import CSCDataset
from mudata import MuData

from sctandem._blocks import matrix_blocks, value_blocks
from sctandem._check_arguments import (
    article,
    check_key_added,
    check_n_cells,
    check_number,
    check_option,
    check_path,
    check_positive,
    check_roles,
    check_slot_names,
    check_target,
    check_texts,
    check_type,
    is_collection,
    listed,
    object_name,
    select_cells,
    texts,
)
from sctandem._check_slots import (
    check_complete,
    check_frame,
    check_key,
    check_layer,
    check_slot,
    check_table,
    layer_slot,
    numeric_column,
    numeric_table,
)
from sctandem._compat import copy_mudata

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

__all__ = [
    "article",
    "check_adata",
    "check_complete",
    "check_counts",
    "check_data",
    "check_frame",
    "check_key",
    "check_key_added",
    "check_layer",
    "check_modalities",
    "check_mudata",
    "check_n_cells",
    "check_number",
    "check_option",
    "check_path",
    "check_positive",
    "check_roles",
    "check_same_cells",
    "check_slot",
    "check_slot_names",
    "check_table",
    "check_target",
    "check_texts",
    "check_type",
    "check_unique",
    "holds_counts",
    "layer_slot",
    "listed",
    "nonempty",
    "numeric_column",
    "numeric_table",
    "object_name",
    "select_cells",
    "texts",
    "working_copy",
]

logger = logging.getLogger(__name__)

#: Whole numbers above are not told apart in double precision.
_MOST = 2.0**53


def _bad_value(values: np.ndarray) -> tuple[str, Any] | None:
    """Return what is wrong with some values as counts and the first offender, or None."""
    if values.size == 0 or values.dtype.kind in "bu":
        return None
    if values.dtype.kind not in "if":
        return f"has dtype {values.dtype}", values.flat[0]
    if values.dtype.kind == "f":
        finite = np.isfinite(values)
        if not finite.all():
            bad = values[~finite][0]
            return ("contains NaN" if np.isnan(bad) else "contains infinite values"), bad
    if values.min() < 0:
        return "contains negative values", values[values < 0][0]
    if values.dtype.kind == "f":
        fraction = values != np.floor(values)
        if fraction.any():
            return "does not hold counts", values[fraction][0]
    most = values.max()
    return ("holds numbers that no count reaches", most) if values.dtype.kind == "f" and most > _MOST else None


def check_counts(matrix: Any, slot: str) -> None:
    """Check that a matrix holds counts: finite, not negative, whole numbers (of any numeric dtype).

    Parameters
    ----------
    matrix
        CSR, CSC or dense, a view, or backed by a file. It is read in blocks and not copied.
    slot
        The name of the matrix in messages, such as ``mdata["rna"].X``.

    Raises
    ------
    ValueError
        Names the slot, the fault and one offending value.
    """
    if matrix is None:
        msg = f"{slot} is empty (None); raw counts are needed there, or name the layer that holds them."
        raise ValueError(msg)
    for values in value_blocks(matrix):
        bad = _bad_value(values)
        if bad is not None:
            fault, value = bad
            msg = (
                f"{slot} {fault} (for example {value}). Raw counts are needed: whole numbers of at least 0. "
                "If the counts are kept elsewhere, name that layer; if the matrix was normalised or log-transformed, "
                "start from the counts."
            )
            raise ValueError(msg)


def holds_counts(adata: AnnData, layer: str | None) -> bool:
    """Whether there is anything where the counts are kept: a modality that only holds a prediction has no `X`.

    Parameters
    ----------
    adata
        The modality.
    layer
        Layer of the counts; `None` for `X`.

    Returns
    -------
    `False` without `X` and without such a layer; a missing layer beside an `X` is an error that `check_layer` names.
    """
    if layer is not None and layer in adata.layers:
        return True
    return getattr(adata.X, "shape", None) is not None  # that of an empty dataset of a file is None


def nonempty(matrix: Any, slot: str) -> tuple[np.ndarray, np.ndarray]:
    """Find the cells and the features with at least one count, and log how many have none; stored zeros are no counts.

    Parameters
    ----------
    matrix
        Counts, cells x features, in any of the formats of `check_counts`.
    slot
        The name of the matrix in messages.

    Returns
    -------
    Two boolean arrays: cells (n_cells,) and features (n_features,) that have counts.

    Raises
    ------
    ValueError
        When the matrix has no counts at all.
    """
    cells, features = np.zeros(matrix.shape[0], dtype=bool), np.zeros(matrix.shape[1], dtype=bool)
    for where, block in matrix_blocks(matrix):
        rows, columns = block.nonzero()
        offset = where.start
        if isinstance(matrix, CSCDataset):
            columns = columns + offset
        else:
            rows = rows + offset
        cells[rows] = True
        features[columns] = True
    if not cells.any():
        msg = f"{slot} ({matrix.shape[0]} x {matrix.shape[1]}) has no counts at all."
        raise ValueError(msg)
    n_cells, n_features = int((~cells).sum()), int((~features).sum())
    if n_cells or n_features:
        empty = " and ".join(f"{n} {of}" for n, of in ((n_cells, "cells"), (n_features, "features")) if n)
        logger.warning("%s: %s have no counts and are left out", slot, empty)
    return cells, features


def check_mudata(mdata: Any) -> None:
    """Check that the object is a MuData.

    Raises
    ------
    TypeError
        Names the type that was given.
    """
    if not isinstance(mdata, MuData):
        made = "`mudata.MuData({'rna': ..., 'atac': ...})` makes one."
        if is_collection(mdata):
            made = f"a collection is counts of one modality, to which another of the same cells has to be added: {made}"
        msg = f"mdata is {article(type(mdata).__name__)}, not a MuData; {made}"
        raise TypeError(msg)


def check_adata(adata: Any) -> None:
    """Check that the object is an AnnData.

    Raises
    ------
    TypeError
        Names the type that was given, and how to reach the modalities of a MuData.
    """
    if isinstance(adata, MuData):
        name = next(iter(adata.mod), "rna")
        msg = f"adata must be an AnnData, got a MuData: pass one of its modalities ({listed(adata.mod)}), such as mdata[{name!r}]."
        raise TypeError(msg)
    hint = "Tables of samples x features: AnnData(table)."
    if is_collection(adata):
        hint = "Models take a collection by their `setup_collection`; all else takes its cells, or some of them: collection.to_adata(query)."
    check_type(adata, AnnData, "adata", hint=hint)


def check_data(data: Any, name: str = "data") -> None:
    """Check that the object is an AnnData or a MuData; `name` is that of the argument in messages.

    Raises
    ------
    TypeError
        Names the type that was given.
    """
    check_type(data, AnnData | MuData, name)


def check_modalities(
    mdata: MuData, modalities: Mapping[str, str] | None = None, *, required: Sequence[str] = ("rna", "atac")
) -> dict[str, str]:
    """Find the modalities that play the required roles.

    Parameters
    ----------
    mdata
        The object.
    modalities
        From the role to the name of the modality in `mdata`; a role that is left out is named as itself.
    required
        The roles needed.

    Returns
    -------
    From each required role to the name of its modality.

    Raises
    ------
    KeyError
        For a modality that is not there; lists those that are.
    ValueError
        For a role that is not known, and for one modality in two roles.
    TypeError
        When `modalities` is not a mapping from text to text.
    """
    check_mudata(mdata)
    given = check_roles(modalities)
    unknown = [role for role in given if role not in required]
    if unknown:
        right = {role: next((name for key, name in given.items() if key.startswith(role)), role) for role in required}
        msg = (
            f"modalities has the roles {listed(unknown)}, but only {listed(required)} are used here. It leads from the role "
            f"to the name of the modality: modalities={right}."
        )
        raise ValueError(msg)
    named = {role: given.get(role, role) for role in required}
    for role, name in named.items():
        if name not in mdata.mod:
            msg = (
                f"mdata has no modality {name!r} for {role}; it has {listed(mdata.mod)}. "
                f"Name it with modalities={{{role!r}: <one of these>}}."
            )
            raise KeyError(msg)
    if len(set(named.values())) < len(named):
        msg = f"modalities={named} gives one modality several roles; mdata has {listed(mdata.mod)}: name one for each role."
        raise ValueError(msg)
    return named


def check_same_cells(mdata: MuData, names: Sequence[str]) -> None:
    """Check that modalities hold the same cells in the same order.

    Parameters
    ----------
    mdata
        The object.
    names
        Modalities to compare with the first of them.

    Raises
    ------
    ValueError
        Says how many cells they share and how to align them.
    """
    first = mdata.mod[names[0]].obs_names
    check_unique(first, f"mdata[{names[0]!r}].obs_names")
    for name in names[1:]:
        other = mdata.mod[name].obs_names
        if first.equals(other):
            continue
        check_unique(other, f"mdata[{name!r}].obs_names")
        shared = len(first.intersection(other))
        if not shared:
            msg = (
                f"mdata[{names[0]!r}] and mdata[{name!r}] have no cell in common: their names are like {listed(first, 1)} and "
                f"{listed(other, 1)}. Make the names alike where they differ by a suffix or prefix, and build the MuData again."
            )
            raise ValueError(msg)
        fault = (
            "the same cells in another order"
            if shared == len(first) == len(other)
            else f"different cells ({len(first)} and {len(other)}, {shared} of them in both)"
        )
        msg = (
            f"mdata[{names[0]!r}] and mdata[{name!r}] have {fault}. Align them: "
            f"cells = mdata[{names[0]!r}].obs_names.intersection(mdata[{name!r}].obs_names, sort=False); "
            "mdata = mudata.MuData({name: mod[cells].copy() for name, mod in mdata.mod.items()})"
        )
        raise ValueError(msg)


def check_unique(names: pd.Index, slot: str) -> None:
    """Check that names do not repeat.

    Raises
    ------
    ValueError
        Shows up to three names that do.
    """
    if not names.is_unique:
        repeated = names[names.duplicated()].unique()
        msg = f"{slot} has {len(repeated)} duplicated names: {listed(repeated, 3)}. Call `{slot}_make_unique()` first."
        raise ValueError(msg)


def working_copy(data: Any, *, copy: bool) -> Any:
    """Return the object that a function writes to: `data` itself, or its copy. `check_target` comes first."""
    if not copy:
        return data
    return copy_mudata(data) if isinstance(data, MuData) else data.copy()
