from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._checks import check_mudata, check_slot

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import pandas as pd
    from mudata import MuData


def read_result(mdata: MuData, key: str, function: str) -> dict[str, Any]:
    """Return ``mdata.uns[key]``, or raise a KeyError that names the function to run first."""
    check_mudata(mdata)
    return check_slot(mdata.uns, key, "mdata.uns", function)


def rows_of_genes(table: pd.DataFrame, column: str, gene: str | Sequence[str] | None, *, slot: str) -> pd.DataFrame:
    """Return the rows of one gene or of several; raise a KeyError for a gene that has none."""
    if gene is None:
        return table
    genes = [gene] if isinstance(gene, str) else list(gene)
    absent = [name for name in genes if not (table[column] == name).any()]
    if absent:
        known = table[column].unique()
        shown = ", ".join(map(repr, list(known)[:3])) or "none"
        msg = f"{slot} has nothing for {', '.join(map(repr, absent))}; it holds {len(known)} genes: {shown}, ..."
        raise KeyError(msg)
    return table[table[column].isin(genes)]
