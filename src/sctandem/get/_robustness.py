from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._adversarial_keys import RobustnessKeys
from sctandem._checks import check_adata, check_slot, check_table

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def robustness(adata: AnnData, *, key: str = "robustness") -> pd.DataFrame:
    """Read how accuracy falls under attacks of growing strength.

    Needs :func:`sctandem.tl.robustness`.

    Parameters
    ----------
    adata
        The object.
    key
        The `key_added` of :func:`sctandem.tl.robustness`.

    Returns
    -------
    One row an attack and strength: ``attack``, ``strength``, ``accuracy``, ``kept``, ``ari``.

    Raises
    ------
    KeyError
        When :func:`sctandem.tl.robustness` has not been run under `key`.
    TypeError
        When `adata` is not an AnnData, or a name not text.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> adata = AnnData(np.ones((2, 3)))
    >>> row = {"attack": ["pgd"], "strength": [0.1], "accuracy": [0.8], "kept": [0.9], "ari": [0.7]}
    >>> adata.uns["robustness"] = {"table": pd.DataFrame(row), "clean_accuracy": 0.85}  # tl.robustness writes this
    >>> float(td.get.robustness(adata)["accuracy"].iloc[0])
    0.8
    """
    check_adata(adata)
    keys = RobustnessKeys(key)
    function = f"sctandem.tl.robustness(adata, model, key_added={key!r})"
    found = check_slot(adata.uns, keys.key, "adata.uns", function)
    return check_table(found, keys.table, f"adata.uns[{key!r}]", function).copy()
