from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._check_arguments import check_option
from sctandem._chromatin_keys import PEAK_ROLES, GeneFunctionKeys
from sctandem.get._select import read_table, rows_of_genes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from mudata import MuData


def gene_function(
    mdata: MuData,
    gene: str | Sequence[str] | None = None,
    role: str | None = None,
    *,
    key: str = "gene_function",
) -> pd.DataFrame:
    """Read what the peaks around genes do.

    Needs :func:`sctandem.tl.gene_function`.

    Parameters
    ----------
    mdata
        The object.
    gene
        One gene or several; by default all.
    role
        Only peaks of this role: ``"activator"``, ``"repressor"``, ``"silent"`` or ``"undecided"``. By default all.
    key
        The `key_added` of :func:`sctandem.tl.gene_function`.

    Returns
    -------
    One row per gene and peak, from 5' to 3' of each gene: ``gene``, ``peak``, ``distance``, ``place``, ``role``, ``openness``,
    ``variation``, ``effect``, ``se``, ``score``, ``pvalue``, ``fdr``, ``silent_fdr``; see :func:`sctandem.tl.gene_function`.

    Raises
    ------
    KeyError
        When the roles were not computed, or a gene has none.
    ValueError
        For a role that is not known.
    TypeError
        When `mdata` is not a MuData, or a name not text.

    Examples
    --------
    >>> import sctandem as td
    >>> mdata = td.datasets.simulate_multiome(n_cells=300, n_genes=60, n_peaks=600, rng=0)
    >>> td.pp.gene_windows(mdata)
    >>> td.tl.gene_function(mdata)
    >>> set(td.get.gene_function(mdata, role="undecided")["role"])
    {'undecided'}
    """
    keys = GeneFunctionKeys(key)
    if role is not None:
        check_option(role, PEAK_ROLES, "role")
    table = read_table(mdata, key, keys.table, "td.tl.gene_function(mdata)")
    rows = rows_of_genes(table, keys.gene, gene, slot=f"mdata.uns[{key!r}]")
    if role is not None:
        rows = rows[rows[keys.role] == role]
    return rows.reset_index(drop=True)
