from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sctandem._checks import check_adata, check_positive, check_slot, check_type, listed
from sctandem._keys import CapsuleKeys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData


def capsule_genes(
    adata: AnnData,
    capsule: str | int | Sequence[str | int] | None = None,
    *,
    n_genes: int | None = None,
    key: str = "capsules",
) -> pd.DataFrame:
    """Read the gene programme of each capsule.

    Needs :func:`sctandem.tl.capsules`.

    Parameters
    ----------
    adata
        The object.
    capsule
        One capsule or several; by default all.
    n_genes
        Number of genes a capsule, those with the largest weights; by default all.
    key
        The `key_added` of :func:`sctandem.tl.capsules`.

    Returns
    -------
    One row a capsule and gene, largest weight first: ``capsule``, ``gene``, ``weight`` (natural-log fold change of the share
    of the gene at the mean pose of the capsule against the mean over capsules), ``rank`` (from 1, within the capsule); and ``symbol``
    where `adata.var` has such a column, as that of a collection has.

    Raises
    ------
    KeyError
        When :func:`sctandem.tl.capsules` has not been run under `key`, or there is no such capsule; lists those there are.
    ValueError
        When `n_genes` is not an integer above 0.
    TypeError
        When `adata` is not an AnnData, or a name not text.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> adata = AnnData(np.ones((2, 3)), var=pd.DataFrame(index=["A", "B", "C"]))
    >>> weights = pd.DataFrame({"0": [0.1, 2.0, -1.0]}, index=adata.var_names)
    >>> adata.varm["capsules_genes"] = weights  # tl.capsules writes this
    >>> td.get.capsule_genes(adata, n_genes=2)["gene"].tolist()
    ['B', 'A']
    """
    check_adata(adata)
    if n_genes is not None:
        check_positive(n_genes, "n_genes", whole=True)
    keys = CapsuleKeys(key)
    weights = check_slot(adata.varm, keys.genes, "adata.varm", f"sctandem.tl.capsules(adata, key_added={key!r})")
    wanted = list(weights.columns) if capsule is None else _names(capsule)
    absent = [name for name in wanted if name not in weights.columns]
    if absent:
        msg = f"adata.varm[{keys.genes!r}] has no capsule {listed(absent)}; it has {listed(weights.columns, 20)}."
        raise KeyError(msg)
    values = weights[wanted].to_numpy()
    order = np.argsort(-values, axis=0, kind="stable")[:n_genes]
    table = pd.DataFrame(
        {
            keys.capsule: np.repeat(wanted, len(order)),
            keys.gene: adata.var_names.to_numpy()[order.T.ravel()],
            keys.weight: np.take_along_axis(values, order, axis=0).T.ravel(),
            keys.rank: np.tile(np.arange(1, len(order) + 1), len(wanted)),
        }
    )
    if keys.symbol in adata.var:
        table.insert(2, keys.symbol, adata.var[keys.symbol].to_numpy()[order.T.ravel()])
    return table


def _names(capsule: str | int | Sequence[str | int]) -> list[str]:
    """Return the names of capsules as text."""
    if isinstance(capsule, str | int | np.integer):
        return [str(capsule)]
    check_type(capsule, Iterable, "capsule", hint="It names one capsule or several.")
    return [str(name) for name in capsule]
