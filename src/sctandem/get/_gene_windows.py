from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._checks import check_table
from sctandem._keys import GeneWindowKeys
from sctandem.get._select import read_result, rows_of_genes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from mudata import MuData


def gene_windows(mdata: MuData, gene: str | Sequence[str] | None = None, *, key: str = "gene_windows") -> pd.DataFrame:
    """Read the peaks around the genes.

    Needs :func:`sctandem.pp.gene_windows`.

    Parameters
    ----------
    mdata
        The object.
    gene
        One gene or several; by default all.
    key
        The `key_added` of :func:`sctandem.pp.gene_windows`.

    Returns
    -------
    One row per gene and peak, from 5' to 3' of each gene: ``gene``, ``peak`` (category), ``distance`` (bp from the TSS
    to the middle of the peak, negative upstream), ``width`` (bp), and of the gene ``chrom``, ``tss`` and ``strand``.

    Raises
    ------
    KeyError
        When the windows were not made, or a gene has none.
    TypeError
        When `mdata` is not a MuData, or a name not text.

    Examples
    --------
    >>> import sctandem as td
    >>> mdata = td.datasets.simulate_multiome(n_cells=50, n_genes=40, n_peaks=400)
    >>> td.pp.gene_windows(mdata)
    >>> td.get.gene_windows(mdata).columns.tolist()
    ['gene', 'peak', 'distance', 'width', 'chrom', 'tss', 'strand']
    """
    keys = GeneWindowKeys(key)
    function, slot = "td.pp.gene_windows(mdata)", f"mdata.uns[{key!r}]"
    result = read_result(mdata, key, function)
    place = check_table(result, keys.genes, slot, function, (keys.chrom, keys.tss, keys.strand))
    pairs = rows_of_genes(
        check_table(result, keys.pairs, slot, function, (keys.gene,)), keys.gene, gene, slot=slot
    ).reset_index(drop=True)
    place = place[[keys.chrom, keys.tss, keys.strand]]
    return pairs.assign(**{c: place[c].reindex(pairs[keys.gene]).to_numpy() for c in place.columns})
