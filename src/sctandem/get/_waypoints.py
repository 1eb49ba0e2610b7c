from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._checks import check_adata, check_number, check_option, check_slot, check_table
from sctandem._regulation_keys import WaypointKeys

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def waypoints(
    adata: AnnData, table: str = "terminals", fdr: float | None = None, *, key: str = "waypoints"
) -> pd.DataFrame:
    """Read a table of the waypoints: terminal cells, branch points, drivers of branches, waypoints, or steps between them.

    Needs :func:`sctandem.tl.waypoints`.

    Parameters
    ----------
    adata
        The object.
    table
        ``"terminals"``, ``"branches"``, ``"drivers"``, ``"waypoints"`` or ``"edges"``.
    fdr
        Keep only drivers with at most this false discovery rate, between 0 and 1.
    key
        The `key_added` of :func:`sctandem.tl.waypoints`.

    Returns
    -------
    The table; see :func:`sctandem.tl.waypoints` for its columns.

    Raises
    ------
    KeyError
        When no lineages were followed under `key`.
    ValueError
        For a table that there is not, and when `fdr` is not between 0 and 1, or given for another table than drivers.
    TypeError
        When `adata` is not an AnnData, or a name not text.

    Examples
    --------
    >>> import numpy as np
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> adata = AnnData(obsm={"X_pca": np.random.default_rng(0).random((100, 1))})
    >>> td.tl.waypoints(adata, str(adata.obsm["X_pca"].argmin()), rng=0)
    >>> len(td.get.waypoints(adata, "terminals"))
    1
    """
    check_adata(adata)
    keys = WaypointKeys(key)
    check_option(table, keys.tables, "table")
    function = f"td.tl.waypoints(adata, root, key_added={key!r})"
    found = check_slot(adata.uns, key, "adata.uns", function)
    rows = check_table(found, table, f"adata.uns[{key!r}]", function)
    if fdr is not None:
        check_number(fdr, "fdr", low=0, high=1)
        if table != keys.drivers:
            msg = f"fdr={fdr} is of drivers; table={table!r} has no false discovery rates."
            raise ValueError(msg)
        rows = rows[rows[keys.fdr] <= fdr]
    return rows.reset_index(drop=True)
