from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata.abc import CSCDataset
from scipy import sparse

from sctandem._blocks import matrix_blocks
from sctandem._checks import check_key, check_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mudata import MuData


def dense(block: Any) -> np.ndarray:
    """Return a matrix in memory as an array."""
    return block.toarray() if sparse.issparse(block) else np.asarray(block)


def per_10k(matrix: Any, columns: np.ndarray, totals: np.ndarray | None = None) -> np.ndarray:
    """Return some features as counts per 10,000 of each cell.

    Parameters
    ----------
    matrix
        Counts, cells x features: CSR, CSC or dense, a view, or backed by a file; it is read in blocks.
    columns
        Positions of the features.
    totals
        Library size of each cell; by default the sum over all features.

    Returns
    -------
    Cells x `columns`, float64; 0 for cells without counts.
    """
    columns = np.asarray(columns, dtype=np.int64)
    values, sums = np.zeros((matrix.shape[0], len(columns))), np.zeros(matrix.shape[0])
    for where, block in matrix_blocks(matrix):
        if isinstance(matrix, CSCDataset):
            inside = (columns >= where.start) & (columns < where.stop)
            sums += np.asarray(block.sum(axis=1)).ravel()
            values[:, inside] = dense(block[:, columns[inside] - where.start])
        else:
            sums[where] = np.asarray(block.sum(axis=1)).ravel()
            values[where] = dense(block[:, columns])
    size = sums if totals is None else np.asarray(totals, dtype=float)
    return np.divide(values * 1e4, size[:, None], out=np.zeros_like(values), where=size[:, None] > 0)


def sum_of_columns(matrix: Any, chosen: np.ndarray) -> np.ndarray:
    """Add up some features in each cell.

    Parameters
    ----------
    matrix
        As for `per_10k`.
    chosen
        Which features, a mask.

    Returns
    -------
    (cells,), float64.
    """
    sums = np.zeros(matrix.shape[0])
    for where, block in matrix_blocks(matrix):
        if isinstance(matrix, CSCDataset):
            sums += np.asarray(block[:, chosen[where]].sum(axis=1)).ravel()
        else:
            sums[where] = np.asarray(block[:, chosen].sum(axis=1)).ravel()
    return sums


def cell_groups(mdata: MuData, groupby: str | None, names: Sequence[str]) -> pd.Series:
    """Return the group of each cell as a categorical, from ``mdata.obs`` or the ``obs`` of one of the modalities.

    Parameters
    ----------
    mdata
        The object.
    groupby
        The column; None puts all cells in one group.
    names
        Modalities whose ``obs`` are looked at after ``mdata.obs``.

    Returns
    -------
    A categorical in the order of the cells of the first modality; missing where a cell has no group.

    Raises
    ------
    KeyError
        When no table has the column.
    """
    cells = mdata.mod[names[0]].obs_names
    if groupby is None:
        return pd.Series(pd.Categorical(["all cells"] * len(cells)), index=cells)
    check_type(groupby, str, "groupby", hint="It names one column of obs.")
    tables = {"mdata.obs": mdata.obs, **{f"mdata[{name!r}].obs": mdata.mod[name].obs for name in names}}
    slot, table = next(((s, t) for s, t in tables.items() if groupby in t.columns), ("mdata.obs", mdata.obs))
    return as_groups(check_key(table, groupby, slot), f"{slot}[{groupby!r}]").reindex(cells)


def as_groups(values: pd.Series, slot: str) -> pd.Series:
    """Return a column of ``obs`` as a categorical without unused categories.

    Raises
    ------
    ValueError
        When the column holds numbers that are not whole: a measurement, of which nearly every cell would be a group.
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values.cat.remove_unused_categories()
    if values.dtype.kind == "f" and (values.dropna() % 1 != 0).any():
        example = values.dropna()[values.dropna() % 1 != 0].iloc[0]
        msg = f"{slot} holds numbers (for example {example:.3g}), not groups of cells: cut it into groups first, such as pd.qcut({slot}, 4)."
        raise ValueError(msg)
    found = values.astype("category")
    if not found.cat.categories.astype(str).is_unique:  # 1 and "1" are one group: results name groups by text
        found = values.map(str, na_action="ignore").astype("category")
    return found


def group_members(groups: pd.Series) -> sparse.csr_matrix:
    """Return which cells belong to each group of a categorical, groups x cells (float64, 1 or not stored)."""
    codes = groups.cat.codes.to_numpy()
    cells = np.flatnonzero(codes >= 0)
    return sparse.csr_matrix(
        (np.ones(cells.size), (codes[cells], cells)), shape=(len(groups.cat.categories), codes.size)
    )


def group_colors(mdata: MuData, groupby: str | None, names: Sequence[str]) -> list[str] | None:
    """Return the colours that scanpy keeps for a column in ``uns``, or None."""
    holders = (mdata, *(mdata.mod[name] for name in names))
    found = next((holder.uns[f"{groupby}_colors"] for holder in holders if f"{groupby}_colors" in holder.uns), None)
    return None if found is None else [str(color) for color in found]
