from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

from sctandem._checks import check_mudata, check_slot, check_table, check_texts, check_type

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import pandas as pd
    from mudata import MuData


def read_result(mdata: MuData, key: str, function: str) -> dict[str, Any]:
    """Return ``mdata.uns[key]``, or raise a KeyError that names the function to run first."""
    check_mudata(mdata)
    return check_slot(mdata.uns, key, "mdata.uns", function)


def read_table(mdata: MuData, key: str, name: str, function: str) -> pd.DataFrame:
    """Return the table `name` of ``mdata.uns[key]``; errors as those of `read_result` and of `check_table`."""
    return check_table(read_result(mdata, key, function), name, f"mdata.uns[{key!r}]", function)


def gene_names(gene: str | Sequence[str], name: str = "gene") -> list[str]:
    """Return the names of one gene or of several as a list; raise a TypeError for what is neither, such as a q-value in its place."""
    check_type(gene, Iterable, name, hint="It names one gene or several.")
    genes = [gene] if isinstance(gene, str) else list(gene)
    check_texts(genes, f"one of {name}", hint="It names one gene or several.")
    return genes


def rows_of_genes(table: pd.DataFrame, column: str, gene: str | Sequence[str] | None, *, slot: str) -> pd.DataFrame:
    """Return the rows of one gene or of several; raise a KeyError for a gene that has none."""
    if gene is None:
        return table
    genes = gene_names(gene)
    absent = [name for name in genes if not (table[column] == name).any()]
    if absent:
        known = list(table[column].unique())
        named = ", ".join(map(repr, absent[:5]))
        msg = f"{slot} has nothing for {named}; it holds {len(known)} genes{close_names(absent[0], known)}"
        raise KeyError(msg)
    return table[table[column].isin(genes)]


def close_names(name: object, known: Sequence[str], *, n: int = 3, otherwise: bool = True) -> str:
    """Write, for the end of a message, which of the known names come close to one that is not, or else (where asked) the first."""
    by_lower: dict[str, str] = {}
    for each in known:
        by_lower.setdefault(str(each).lower(), str(each))
    close = [by_lower[found] for found in get_close_matches(str(name).lower(), by_lower, n=n, cutoff=0.7)]
    if close:
        return f". Is it {' or '.join(map(repr, close))}?"
    first = ", ".join(repr(str(each)) for each in known[:n])
    return f": {first}, ..." if first and otherwise else "."
