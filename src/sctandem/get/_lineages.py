from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from sctandem._checks import check_adata, check_key, check_slot
from sctandem._regulation_keys import WaypointKeys

if TYPE_CHECKING:
    from anndata import AnnData


def lineages(adata: AnnData, *, key: str = "waypoints") -> pd.DataFrame:
    """Read where each cell is on the way to which lineage.

    Needs :func:`sctandem.tl.waypoints`.

    Parameters
    ----------
    adata
        The object.
    key
        The `key_added` of :func:`sctandem.tl.waypoints`.

    Returns
    -------
    One row a cell: ``pseudotime``, ``branch``, ``entropy``, and the probability of each lineage in a column of its name.

    Raises
    ------
    KeyError
        When no lineages were followed under `key`.
    TypeError
        When `adata` is not an AnnData, or a name not text.

    Examples
    --------
    >>> import numpy as np
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> adata = AnnData(obsm={"X_pca": np.random.default_rng(0).random((100, 1))})
    >>> td.tl.waypoints(adata, str(adata.obsm["X_pca"].argmin()), rng=0)
    >>> td.get.lineages(adata).columns[:3].tolist()
    ['pseudotime', 'branch', 'entropy']
    """
    check_adata(adata)
    keys = WaypointKeys(key)
    found = check_slot(adata.obsm, keys.probabilities, "adata.obsm", f"td.tl.waypoints(adata, root, key_added={key!r})")
    columns = {keys.time: keys.pseudotime, keys.branch: keys.segment, "entropy": keys.entropy}
    table = pd.DataFrame({name: check_key(adata.obs, slot, "adata.obs") for name, slot in columns.items()})
    return pd.concat([table, found], axis=1)
