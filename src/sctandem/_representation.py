"""A representation of cells as arrays: `obsm`, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sctandem._checks import check_adata, check_data, check_n_cells, check_type, listed, object_name

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData

_NARROWEST, _WIDEST = 1e-7, 1e15
"""Extent of a representation within which results do not depend on its units."""
_WRITES = {
    "adata": "`sc.pp.pca(adata)` writes 'X_pca', `td.tl.capsules(adata)` 'X_capsules'.",
    "mdata": "A representation of all modalities together is needed there; to take that of one: mdata.obsm[{0!r}] = mdata['rna'].obsm[{0!r}].",
}
"""What writes a representation to an object."""


def check_representation(
    data: AnnData | MuData, use_rep: str, purpose: str, *, fewest: int = 2, joint: bool = False
) -> np.ndarray:
    """Return a representation for functions that work in single precision.

    Parameters
    ----------
    data, use_rep, purpose, fewest, joint
        As for `dense_representation`.

    Returns
    -------
    As there, and varying within what single precision can square and add up.

    Raises
    ------
    KeyError, TypeError
        As there.
    ValueError
        As there, and when it varies by too little or too much.
    """
    points = dense_representation(data, use_rep, purpose, fewest=fewest, joint=joint)
    with np.errstate(over="ignore"):
        widest = float((points.max(axis=0).astype(np.float64) - points.min(axis=0)).max())
    if not _NARROWEST <= widest <= _WIDEST:
        msg = (
            f"{object_name(data)}.obsm[{use_rep!r}] varies by {widest:.3g} between cells at most, which single precision cannot square and "
            f"add up; scale it to between {_NARROWEST:g} and {_WIDEST:g}."
        )
        raise ValueError(msg)
    return points


def dense_representation(
    data: AnnData | MuData,
    use_rep: str,
    purpose: str,
    *,
    fewest: int = 2,
    without: str = "nothing to cluster",
    joint: bool = False,
) -> np.ndarray:
    """Return a representation.

    Parameters
    ----------
    data
        The object.
    use_rep
        Key of ``obsm``.
    purpose
        What the cells are for, in messages.
    fewest
        Cells that this needs.
    without
        What there is where cells do not vary, in messages.
    joint
        Whether a MuData will do, of which the representation is that of all modalities together.

    Returns
    -------
    Cells x dimensions, dense, finite, and not all the same.

    Raises
    ------
    KeyError
        When it is not there; lists what is.
    ValueError
        When it is not a matrix of finite numbers that vary, or there are too few cells.
    TypeError
        When `data` is not an AnnData (nor a MuData, where that will do), or the key not text.
    """
    (check_data if joint else check_adata)(data)
    check_type(use_rep, str, "use_rep")
    name = object_name(data)
    slot = f"{name}.obsm[{use_rep!r}]"
    if use_rep not in data.obsm:
        own = listed(key for key in data.obsm if key not in getattr(data, "mod", {}))
        msg = f"{name}.obsm has no {use_rep!r}; it has {own}. {_WRITES[name].format(use_rep)}"
        raise KeyError(msg)
    points = data.obsm[use_rep]
    points = points.to_numpy() if isinstance(points, pd.DataFrame) else points
    if not isinstance(points, np.ndarray) or points.ndim != 2 or points.dtype.kind not in "fiu":
        what = f"{type(points).__name__} of {points.dtype}" if hasattr(points, "dtype") else type(points).__name__
        msg = f"{slot} is not a dense matrix of numbers, cells x dimensions, but {what}; reduce it, or turn it into numbers."
        raise ValueError(msg)
    check_n_cells(len(points), fewest, purpose, slot)
    bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(bad):
        msg = f"{slot} has NaN or infinite values in {len(bad)} cells, first in {data.obs_names[bad[0]]!r}; leave them out."
        raise ValueError(msg)
    if points.shape[1] == 0 or not np.ptp(points, axis=0).any():
        msg = f"{slot} does not vary between cells: there is {without}."
        raise ValueError(msg)
    return points
