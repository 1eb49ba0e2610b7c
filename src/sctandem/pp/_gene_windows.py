from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sctandem._checks import (
    check_modalities,
    check_number,
    check_same_cells,
    check_target,
    check_unique,
    working_copy,
)
from sctandem._keys import GeneWindowKeys
from sctandem.genome import window_pairs
from sctandem.genome._coordinates import locate_peaks
from sctandem.genome._place import annotation, example_places, place_genes, share_near_start

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from anndata import AnnData
    from mudata import MuData


def gene_windows(
    mdata: MuData,
    genes: str | Path | pd.DataFrame | None = None,
    *,
    upstream: int = 100_000,
    downstream: int = 100_000,
    modalities: Mapping[str, str] | None = None,
    key_added: str = "gene_windows",
    copy: bool = False,
) -> MuData | None:
    """List the peaks around the transcription start site of every gene, in order and with signed distances.

    A peak belongs to the window of a gene when its middle lies between `upstream` bp before and `downstream` bp after
    the transcription start site (TSS), in the direction in which the gene is transcribed. A peak may belong to the
    windows of several genes.

    Parameters
    ----------
    mdata
        Expression and accessibility of the same cells. The peaks need coordinates: ``chrom``, ``start`` and ``end``
        in their ``var`` or names like ``chr1:100-200`` (see :func:`sctandem.genome.peak_coordinates`).
    genes
        Where the genes lie: a BED (6 columns or more), GTF or GFF3 file, also gzipped, or a table (see
        :func:`sctandem.genome.read_genes`). By default the coordinates in the ``var`` of the expression are taken:
        ``chrom``, ``start``, ``end``, ``strand`` and, if there, ``tss``, or else ``interval``. Genes are found by name
        or by identifier (``var["gene_ids"]`` or ``var["gene_id"]``; Ensembl versions are ignored), whichever finds
        more of them.
    upstream, downstream
        Reach of the window, bp.
    modalities
        From the roles ``"rna"`` and ``"atac"`` to the names of the modalities in `mdata`. By default the same.
    key_added
        Name of the result in ``mdata.uns``.
    copy
        Return a copy with the result instead of writing it to `mdata`.

    Returns
    -------
    `None`, or with `copy=True` the copy. Sets the following fields:

    `mdata.uns[key_added]["pairs"]` : :class:`pandas.DataFrame`
        One row per gene and peak, ordered as the genes in ``var_names`` and then from 5' to 3' of the gene: ``gene``
        and ``peak`` (category), ``distance`` (int64; bp from the TSS to the middle of the peak, negative upstream),
        ``width`` (int64; bp of the peak).
    `mdata.uns[key_added]["genes"]` : :class:`pandas.DataFrame`
        The genes that the annotation holds, indexed by ``var_names``: ``chrom`` (str, as in the peaks), ``tss`` (int64,
        0-based), ``strand`` (``"+"``, ``"-"``, or ``"."`` where not known), ``n_peaks`` (int64; peaks in the window, may be
        0).
    `mdata.uns[key_added]["params"]` : :class:`dict`
        The arguments; how genes were found (``matched_by``) and their TSS chosen (``tss_rule``); chromosomes that were
        renamed (``renamed_chromosomes``); counts of genes, of genes annotated, with peaks, and without strand; the share
        of the genes on chromosomes with peaks that have a peak within 1 kb of their TSS (``share_near_start``).

    Raises
    ------
    KeyError
        When a modality is missing.
    ValueError
        When cells differ between the modalities, names repeat, coordinates are missing or impossible, no gene is in the
        annotation, no chromosome of the genes is among those of the peaks, or no gene has a peak in its window.
        Nothing is written then.
    TypeError
        When `mdata` is not a MuData, `genes` neither a path nor a table, or a name not text.

    Examples
    --------
    >>> import sctandem as td
    >>> mdata = td.datasets.simulate_multiome(n_cells=50, n_genes=40, n_peaks=400)
    >>> td.pp.gene_windows(mdata, upstream=50_000, downstream=50_000)
    >>> mdata.uns["gene_windows"]["pairs"].columns.tolist()
    ['gene', 'peak', 'distance', 'width']

    Notes
    -----
    A gene with several transcripts has one window, around the TSS furthest to its 5' end; of a name that occurs in
    several places the locus with the most transcripts counts (see :func:`sctandem.genome.gene_tss`). Chromosomes that
    are named differently (``1`` and ``chr1``, ``MT`` and ``chrM``) are matched where only one reading is possible;
    this is logged. Genes without a strand are read as if on ``+``: their distances are signed along the genome, and
    their number is logged.

    An annotation of another assembly, or of the wrong file, gives windows all the same; what gives it away is that peaks no
    longer lie at the starts of genes. In single-cell multiomes of blood and of a cell line 59 to 87 % of the genes have a
    peak within 1 kb of their TSS, but 2 to 14 % with the annotation of another assembly. Below 30 % a warning is logged (of
    10 genes and more); assemblies in which most genes lie where they were are not told apart this way, and a selection of
    peaks far from genes is warned of without need. A warning is also logged when fewer than half of the genes are in the
    annotation.

    36,601 genes and 108,377 peaks take about two seconds and 200 MB.
    """
    named = check_modalities(mdata, modalities)
    check_target(mdata, key_added, copy=copy)
    check_number(upstream, "upstream", whole=True)
    check_number(downstream, "downstream", whole=True)
    rna, atac = _measured(mdata, named)
    peaks = locate_peaks(atac, f"mdata[{named['atac']!r}]")
    source, table = annotation(rna.var, genes, f"mdata[{named['rna']!r}].var")
    tss, params = place_genes(table, peaks["chrom"].unique(), rna.var)
    pairs = window_pairs(tss, peaks, upstream=int(upstream), downstream=int(downstream))
    if pairs.empty:
        msg = (
            f"No peak lies within {upstream} bp upstream and {downstream} bp downstream of any of the {len(tss)} genes "
            f"found in {source}. Are genes and peaks of the same assembly? {example_places(tss, peaks)}"
        )
        raise ValueError(msg)
    share = share_near_start(tss, peaks)
    params |= {"upstream": int(upstream), "downstream": int(downstream), "source": source, "share_near_start": share}
    params |= named
    result = _tables(tss, atac.var_names, pairs, params)
    target = working_copy(mdata, copy=copy)
    target.uns[key_added] = result
    return target if copy else None


def _measured(mdata: MuData, named: dict[str, str]) -> tuple[AnnData, AnnData]:
    """Return the two modalities, checked for empty axes, different cells and repeated names."""
    for name, what in ((named["rna"], "genes"), (named["atac"], "peaks")):
        adata = mdata.mod[name]
        if adata.n_vars == 0 or adata.n_obs == 0:
            msg = f"mdata[{name!r}] is empty: it has {adata.n_obs} cells and {adata.n_vars} {what}."
            raise ValueError(msg)
        check_unique(adata.var_names, f"mdata[{name!r}].var_names")
    check_same_cells(mdata, [named["rna"], named["atac"]])
    return mdata.mod[named["rna"]], mdata.mod[named["atac"]]


def _tables(tss: pd.DataFrame, peak_names: pd.Index, pairs: pd.DataFrame, params: dict[str, Any]) -> dict[str, Any]:
    """Put names to the pairs and make what is written."""
    keys = GeneWindowKeys()
    n_peaks = np.bincount(pairs["gene"], minlength=len(tss))
    columns = {}
    for column, names in ((keys.gene, tss.index), (keys.peak, peak_names)):
        used, codes = np.unique(pairs[column], return_inverse=True)
        columns[column] = pd.Categorical.from_codes(codes, categories=names[used].rename(None))
    table = pd.DataFrame({**columns, keys.distance: pairs["distance"], keys.width: pairs["width"]})
    table.index = table.index.astype(str)
    genes = pd.DataFrame(
        {
            keys.chrom: tss["chrom"].astype(str),
            keys.tss: tss["tss"].astype(np.int64),
            keys.strand: tss["strand"].astype(str),
            keys.n_peaks: n_peaks.astype(np.int64),
        },
        index=tss.index.rename(None),
    )
    return {keys.params: {**params, "n_with_peaks": int((n_peaks > 0).sum())}, keys.pairs: table, keys.genes: genes}
