from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._talen_keys import KnockoutKeys
from sctandem.get._select import close_names, read_table, rows_of_genes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from mudata import MuData


def knockout(
    mdata: MuData,
    element: str | None = None,
    *,
    gene: str | Sequence[str] | None = None,
    group: str | None = None,
    key: str = "knockout",
) -> pd.DataFrame:
    """Read how expression is predicted to change when elements close or genes are knocked out.

    Needs :func:`sctandem.tl.knockout`.

    Parameters
    ----------
    mdata
        The object.
    element
        One element; by default all.
    gene
        One gene or several; by default all.
    group
        One group of cells; by default all.
    key
        The `key_added` of :func:`sctandem.tl.knockout`.

    Returns
    -------
    One row per element, gene and group: ``element``, ``gene``, ``group``, ``distance``, ``log2fc``, ``low``, ``high``, ``verdict``, ``reason``; see
    :func:`sctandem.tl.knockout`.

    Raises
    ------
    KeyError
        When nothing was predicted, or nothing for that element, gene or group.
    TypeError
        When `mdata` is not a MuData, or a name not text.

    Examples
    --------
    >>> import sctandem as td
    >>> mdata = td.datasets.simulate_multiome(n_cells=300, n_genes=60, n_peaks=600, rng=0)
    >>> td.pp.gene_windows(mdata)
    >>> td.tl.knockout(mdata, mdata["atac"].var_names[5], settings={"n_members": 0}, rng=0)
    >>> td.get.knockout(mdata, group="stem")["group"].unique().tolist()
    ['stem']
    """
    keys = KnockoutKeys(key)
    table = read_table(mdata, key, keys.table, "sctandem.tl.knockout(mdata, peaks)")
    slot = f"mdata.uns[{key!r}]"
    for name, column in ((element, keys.element), (group, keys.group)):
        if name is None:
            continue
        known = list(table[column].unique())
        if name not in known:
            msg = f"{slot} has no {column} {name!r}{close_names(name, known)}"
            raise KeyError(msg)
        table = table[table[column] == name]
    return rows_of_genes(table, keys.gene, gene, slot=slot).reset_index(drop=True)
