from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._checks import check_adata, check_number, check_slot, check_table, check_type, listed
from sctandem._keys import DEKeys
from sctandem.get._select import rows_of_genes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from anndata import AnnData


def de(
    adata: AnnData,
    gene: str | Sequence[str] | None = None,
    q_value: float | None = None,
    *,
    state: str | None = None,
    contrast: str | None = None,
    key: str = "deepde",
) -> pd.DataFrame:
    """Read which genes differ between conditions.

    Needs :func:`sctandem.tl.differential_expression`.

    Parameters
    ----------
    adata
        The object.
    gene
        One gene or several; by default all that were tested.
    q_value
        Keep only genes with at most this q-value, between 0 and 1.
    state
        Keep only this state.
    contrast
        Keep only this contrast, such as `"stim vs ctrl"`.
    key
        The `key_added` of :func:`sctandem.tl.differential_expression`.

    Returns
    -------
    One row a gene, state and contrast, by rising p-value within state and contrast: ``gene``, ``state``, ``contrast``,
    ``log2fc``, ``lfc_se``, ``ci_low``, ``ci_high``, ``log2fc_raw``, ``statistic``, ``p_value``, ``q_value``, ``base_mean``,
    ``n_samples``. May be empty with `q_value`.

    Raises
    ------
    KeyError
        When nothing was tested, or not this gene (in this state and contrast).
    ValueError
        When `q_value` is not between 0 and 1, or there is no such state or contrast, or it was not tested: says why.
    TypeError
        When `adata` is not an AnnData, or a name not text.

    Examples
    --------
    >>> import pandas as pd
    >>> import sctandem as td
    >>> from anndata import AnnData
    >>> row = dict.fromkeys(["log2fc", "lfc_se", "ci_low", "ci_high", "log2fc_raw", "statistic", "base_mean"], 1.0)
    >>> row |= {
    ...     "gene": "G1",
    ...     "state": "B",
    ...     "contrast": "stim vs ctrl",
    ...     "p_value": 0.01,
    ...     "q_value": 0.02,
    ...     "n_samples": 8,
    ... }
    >>> adata = AnnData(uns={"deepde": {"table": pd.DataFrame([row])}})  # tl.differential_expression writes this
    >>> len(td.get.de(adata, q_value=0.05))
    1
    """
    check_adata(adata)
    keys = DEKeys(key)
    function = "td.tl.differential_expression(adata, groupby, sample_key)"
    run = check_slot(adata.uns, key, "adata.uns", function)
    slot = f"adata.uns[{key!r}]"
    table = check_table(run, keys.table, slot, function, keys.columns)  # there are tables in other results
    if q_value is not None:
        check_number(q_value, "q_value", low=0, high=1)
    rows_of_genes(table, keys.gene, gene, slot=slot)
    named = ((keys.state, state), (keys.contrast, contrast))
    chosen = {column: value for column, value in named if value is not None}
    states = run.get(keys.states, table)
    for column, value in chosen.items():
        check_type(value, str, column, hint="It names one.")
        known = states[column].astype(str).unique()
        if value not in known:
            msg = f"{column}={value!r} is not in {slot}, which has {listed(known)}."
            raise ValueError(msg)
    table = _chosen(table, chosen)
    what = ", ".join(f"{column}={value!r}" for column, value in chosen.items())
    if not len(table) and chosen:
        verdicts = _chosen(states, chosen)[keys.verdict].unique() if keys.verdict in states else []
        msg = f"nothing was tested for {what} of {slot}: {' '.join(verdicts)}"
        raise ValueError(msg)
    table = rows_of_genes(table, keys.gene, gene, slot=f"{slot} with {what}")
    if q_value is not None:
        table = table[table[keys.q_value] <= q_value]
    return table[list(keys.columns)].reset_index(drop=True)


def _chosen(table: pd.DataFrame, chosen: dict[str, str]) -> pd.DataFrame:
    """Return the rows with these values."""
    for column, value in chosen.items():
        table = table[table[column].astype(str) == value]
    return table


def check_one(table: pd.DataFrame, column: str, name: str, key: str) -> None:
    """Check that a column has one value, for what shows one of them; `name` is the argument that chooses it."""
    known = table[column].unique()
    if len(known) > 1:
        msg = f"adata.uns[{key!r}] has several: {listed(known)}. Name one with {name}=."
        raise ValueError(msg)
