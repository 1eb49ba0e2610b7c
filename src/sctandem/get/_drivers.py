from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._bulk_keys import DriverKeys
from sctandem._checks import check_adata, check_number, check_slot, check_table, check_type, listed

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

_RUN = "td.tl.drivers(adata, groupby)"


def drivers(
    adata: AnnData,
    *,
    group: str | None = None,
    cell_type: str | None = None,
    max_q: float | None = None,
    key: str = "drivers",
) -> pd.DataFrame:
    """Read which genes drive the difference between groups of bulk samples.

    Needs :func:`sctandem.tl.drivers`.

    Parameters
    ----------
    adata
        The bulk.
    group
        Keep only this group (compared with the reference).
    cell_type
        Read the changes within this type instead of those of the genes as a whole; `"all"` for those within every type.
    max_q
        Keep only rows with at most this q-value, between 0 and 1.
    key
        The `key_added` of :func:`sctandem.tl.drivers`.

    Returns
    -------
    By rising p-value within the group. Without `cell_type` one row a gene and group: ``gene``, ``group``, ``log2fc``,
    ``composition``, ``expression``, ``statistic``, ``p_value``, ``q_value``, ``pattern``, ``candidates``. With it one row a gene, type and group: ``gene``,
    ``cell_type``, ``group``, ``log2fc``, ``se``, ``share``, ``statistic``, ``p_value``, ``q_value``. May be empty with `max_q`.

    Raises
    ------
    KeyError
        When nothing was tested under `key`.
    ValueError
        When `max_q` is not between 0 and 1, or there is no such group or type.
    TypeError
        When `adata` is not an AnnData, or a name not text.

    Examples
    --------
    >>> import pandas as pd
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> row = dict.fromkeys(["log2fc", "composition", "expression", "statistic"], 1.0)
    >>> row |= {"gene": "G1", "group": "case", "p_value": 0.01, "q_value": 0.02, "pattern": "B up", "candidates": "B"}
    >>> adata = AnnData(uns={"drivers": {"genes": pd.DataFrame([row])}})  # tl.drivers writes this
    >>> len(td.get.drivers(adata, max_q=0.05))
    1
    """
    check_adata(adata)
    keys = DriverKeys(key)
    run = check_slot(adata.uns, key, "adata.uns", _RUN)
    slot = f"adata.uns[{key!r}]"
    name = keys.genes if cell_type is None else keys.types
    columns = keys.gene_columns if cell_type is None else keys.type_columns
    table = check_table(run, name, slot, _RUN, columns)
    if max_q is not None:
        check_number(max_q, "max_q", low=0, high=1)
    wanted = ((keys.group, group), (keys.cell_type, None if cell_type == "all" else cell_type))
    for column, value in wanted:
        if value is None:
            continue
        check_type(value, str, column, hint="It names one.")
        known = table[column].astype(str)
        if not (known == value).any():
            msg = f"{column}={value!r} is not in {slot}, which has {listed(known.unique())}."
            raise ValueError(msg)
        table = table[known == value]
    if max_q is not None:
        table = table[table[keys.q_value] <= max_q]
    return table[list(columns)].reset_index(drop=True)
