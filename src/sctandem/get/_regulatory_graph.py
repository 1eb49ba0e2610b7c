from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sctandem._checks import check_data, check_number, check_positive, check_slot, check_table, check_type, listed
from sctandem._regulation_keys import RegulatoryGraphKeys
from sctandem.get._select import close_names, gene_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from anndata import AnnData
    from mudata import MuData


def regulatory_graph(
    data: AnnData | MuData,
    tf: str | Sequence[str] | None = None,
    target: str | Sequence[str] | None = None,
    *,
    fdr: float | None = None,
    n_top: int | None = None,
    key: str = "regulatory_graph",
) -> pd.DataFrame:
    """Read which factor regulates which gene.

    Needs :func:`sctandem.tl.regulatory_graph`.

    Parameters
    ----------
    data
        The object.
    tf, target
        Keep only edges of these factors, and to these genes; by default all.
    fdr
        Keep only edges with at most this false discovery rate (against permuted cells), between 0 and 1.
    n_top
        Keep only that many of the strongest edges of each factor.
    key
        The `key_added` of :func:`sctandem.tl.regulatory_graph`.

    Returns
    -------
    One row an edge, strongest first: ``tf``, ``target``, ``site``, ``weight``, ``sign``, ``evidence``, ``fdr``, ``fdr_rewired``, ``state``; see
    :func:`sctandem.tl.regulatory_graph`.

    Raises
    ------
    KeyError
        When there is no such result.
    ValueError
        For a factor or gene without edges, and numbers out of range.
    TypeError
        When `data` is neither an AnnData nor a MuData, or a name not text.

    Examples
    --------
    >>> import pandas as pd
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> adata = AnnData(shape=(2, 3))
    >>> edges = pd.DataFrame(
    ...     {"tf": ["SPI1", "SPI1"], "target": ["CSF1R", "LYZ"], "weight": [1.0, 0.4], "fdr": [0.01, 0.2]}
    ... )
    >>> adata.uns["regulatory_graph"] = {"table": edges}  # tl.regulatory_graph writes this
    >>> td.get.regulatory_graph(adata, "SPI1", fdr=0.05)["target"].tolist()
    ['CSF1R']
    """
    keys = RegulatoryGraphKeys(key)
    check_data(data)
    function = "sctandem.tl.regulatory_graph(data, tfs)"
    found, needed = check_slot(data.uns, key, "uns", function), (keys.tf, keys.target, keys.weight, keys.fdr)
    table = check_table(found, keys.table, f"uns[{key!r}]", function, needed)
    for column, wanted, name in ((keys.tf, tf, "tf"), (keys.target, target, "target")):
        if wanted is None:
            continue
        check_type(wanted, Iterable, name, hint="It names one gene or several; fdr=<number> is a threshold.")
        asked = gene_names(wanted, name)
        there = list(dict.fromkeys(table[column].astype(str)))
        absent = [each for each in asked if each not in there]
        if absent:
            near = close_names(absent[0], there, otherwise=False)
            msg = f"{name}: {listed(absent)} have no edges; those with the strongest are {listed(there, 5)}{near}"
            raise ValueError(msg)
        table = table[table[column].astype(str).isin(asked)]
    if fdr is not None:
        check_number(fdr, "fdr", low=0, high=1)
        table = table[table[keys.fdr] <= fdr]
    table = table.sort_values(keys.weight, ascending=False, kind="stable")
    if n_top is not None:
        check_positive(n_top, "n_top", whole=True)
        table = table.groupby(keys.tf, observed=True).head(int(n_top))
    return table.reset_index(drop=True)
