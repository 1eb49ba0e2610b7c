"""Depths of cells that are given, where the features are a selection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sctandem._checks import check_complete, check_key

if TYPE_CHECKING:
    from anndata import AnnData


def read_depths(adata: AnnData, key: str) -> pd.Series:
    """Return the depths of the cells, checked.

    Parameters
    ----------
    adata
        The object.
    key
        Column of its `obs`.

    Returns
    -------
    The column, finite and of at least 0: that of a cell without counts is 0.

    Raises
    ------
    KeyError
        When there is no such column.
    ValueError
        When it holds anything but finite numbers of at least 0.
    """
    column, slot = check_key(adata.obs, key, "adata.obs"), f"adata.obs[{key!r}]"
    if isinstance(column.dtype, pd.CategoricalDtype) or column.dtype.kind not in "iuf":
        msg = f"{slot} is of {column.dtype}, but depths are numbers: the molecules that were counted in each cell."
        raise ValueError(msg)
    values = check_complete(column, slot).to_numpy(dtype=np.float64)
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        msg = f"{slot} is {values[bad][0]} in {int(bad.sum())} cells; depths are finite numbers of at least 0."
        raise ValueError(msg)
    return column
