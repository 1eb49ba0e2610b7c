from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._checks import check_number
from sctandem._keys import LinkKeys
from sctandem.get._select import read_table, rows_of_genes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from mudata import MuData


def peak_gene_links(
    mdata: MuData,
    gene: str | Sequence[str] | None = None,
    fdr: float | None = None,
    *,
    key: str = "tape_links",
) -> pd.DataFrame:
    """Read which peaks drive which genes.

    Needs :func:`sctandem.tl.peak_gene_links`.

    Parameters
    ----------
    mdata
        The object.
    gene
        One gene or several; by default all.
    fdr
        Keep only links with at most this false discovery rate, between 0 and 1.
    key
        The `key_added` of :func:`sctandem.tl.peak_gene_links`.

    Returns
    -------
    One row per link, most significant first: ``peak``, ``gene``, ``distance`` (bp from the TSS to the middle of the
    peak, negative upstream), ``weight`` (at least 0), ``sign`` (-1 or 1), ``pvalue``, ``fdr``. May be empty with `fdr`.

    Raises
    ------
    KeyError
        When the links were not computed, or a gene has none.
    ValueError
        When `fdr` is not between 0 and 1.
    TypeError
        When `mdata` is not a MuData, or a name not text.

    Examples
    --------
    >>> import pandas as pd
    >>> import sctandem as td
    >>> mdata = td.datasets.simulate_multiome(n_cells=50, n_genes=40, n_peaks=400)
    >>> link = {"peak": "chr1:1-9", "gene": "G1", "distance": 50, "weight": 0.4, "sign": 1, "pvalue": 0.01, "fdr": 0.02}
    >>> mdata.uns["tape_links"] = {"params": {}, "table": pd.DataFrame([link])}  # tl.peak_gene_links writes this
    >>> len(td.get.peak_gene_links(mdata, "G1", fdr=0.05))
    1
    """
    keys = LinkKeys(key)
    table = read_table(mdata, key, keys.table, "sctandem.tl.peak_gene_links(mdata, model)")
    if fdr is not None:
        check_number(fdr, "fdr", low=0, high=1)
    links = rows_of_genes(table, keys.gene, gene, slot=f"mdata.uns[{key!r}]")
    if fdr is not None:
        links = links[links[keys.fdr] <= fdr]
    return links.reset_index(drop=True)
