from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._checks import check_adata, check_number, check_slot, check_table, listed
from sctandem._keys import AssociationKeys
from sctandem.get._select import close_names, gene_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from anndata import AnnData


def gene_associations(
    adata: AnnData,
    gene: str | Sequence[str] | None = None,
    q_value: float | None = None,
    *,
    module: str | None = None,
    key: str = "gene_associations",
) -> pd.DataFrame:
    """Read which genes vary together.

    Needs :func:`sctandem.tl.gene_associations`.

    Parameters
    ----------
    adata
        The object.
    gene
        One gene or several, of whose pairs at least one is among them; by default all.
    q_value
        Keep only pairs with at most this q-value, between 0 and 1.
    module
        Keep only pairs of this module, such as `"M1"`.
    key
        The `key_added` of :func:`sctandem.tl.gene_associations`.

    Returns
    -------
    One row a pair, by rising p-value: ``gene_a``, ``gene_b``, ``association``, ``correlation``, ``p_value``, ``q_value``, ``module``,
    ``change``, ``change_p_value``, ``change_q_value``. May be empty.

    Raises
    ------
    KeyError
        When nothing was computed, or a gene is in no pair.
    ValueError
        When `q_value` is not between 0 and 1, or there is no such module.
    TypeError
        When `adata` is not an AnnData, or a name not text.

    Examples
    --------
    >>> import pandas as pd
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> pair = {
    ...     "gene_a": "G1",
    ...     "gene_b": "G2",
    ...     "association": 0.4,
    ...     "correlation": 0.3,
    ...     "p_value": 1e-5,
    ...     "q_value": 1e-3,
    ... }
    >>> pair |= {"module": "M1", "change": 0.1, "change_p_value": 0.5, "change_q_value": 0.9}
    >>> adata = AnnData(uns={"gene_associations": {"table": pd.DataFrame([pair])}})  # tl.gene_associations writes this
    >>> len(td.get.gene_associations(adata, "G2"))
    1
    """
    check_adata(adata)
    keys = AssociationKeys(key)
    function = "td.tl.gene_associations(adata)"
    run = check_slot(adata.uns, key, "adata.uns", function)
    table = check_table(
        run, keys.table, f"adata.uns[{key!r}]", function, keys.columns
    )  # there are tables in other results
    if q_value is not None:
        check_number(q_value, "q_value", low=0, high=1)
    if gene is not None:
        genes = gene_names(gene)
        known = list(dict.fromkeys([*table[keys.gene_a], *table[keys.gene_b]]))
        absent = [name for name in genes if name not in known]
        if absent:
            named = ", ".join(map(repr, absent[:5]))
            msg = f"adata.uns[{key!r}] has no pair with {named}; it holds {len(known)} genes{close_names(absent[0], known)}"
            raise KeyError(msg)
        table = table[table[keys.gene_a].isin(genes) | table[keys.gene_b].isin(genes)]
    if module is not None:
        known = sorted(set(table[keys.module]) - {""})
        if module not in known:
            msg = f"module={module!r} is not in adata.uns[{key!r}], which has {listed(known)}."
            raise ValueError(msg)
        table = table[table[keys.module] == module]
    if q_value is not None:
        table = table[table[keys.q_value] <= q_value]
    return table[list(keys.columns)].reset_index(drop=True)
