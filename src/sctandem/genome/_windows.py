from __future__ import annotations

import numpy as np
import pandas as pd

from sctandem._checks import check_frame, check_number, check_option, check_texts

_PLACE = ["chrom", "start", "end", "tss", "strand"]
_LOCUS_GAP = 500_000
"""Rows of one gene on one strand that are further apart than this are different loci."""


def gene_loci(genes: pd.DataFrame, *, by: str = "name") -> pd.DataFrame:
    """Find one place for each gene of an annotation.

    Rows of the same gene (its transcripts) on one chromosome and strand belong to one locus, unless they are more than
    500 kb apart. The locus with the most rows is taken, then the longest, then the first of the file. It reaches from the
    first to the last base of its rows; its TSS is the one furthest to the 5' end.

    Parameters
    ----------
    genes
        As `read_genes` returns it.
    by
        The column that tells genes apart, ``name`` or ``gene_id``; rows in which it is empty are left out.

    Returns
    -------
    Indexed by gene in order of first appearance: ``chrom`` (str), ``start``, ``end`` (int64; 0-based, half open), ``tss``
    (int64), ``strand`` (str).

    Raises
    ------
    TypeError
        When `genes` is no table.
    ValueError
        For a missing column, a position that is no whole number, and an unknown `by`.

    Examples
    --------
    >>> import pandas as pd
    >>> from sctandem.genome import gene_loci, read_genes
    >>> transcripts = pd.DataFrame(
    ...     {"chrom": "chr1", "start": [500, 100], "end": [900, 800], "strand": "-", "gene": "MS4A1"}
    ... )
    >>> int(gene_loci(read_genes(transcripts)).tss["MS4A1"])
    899
    """
    check_option(by, ("name", "gene_id"), "by")
    check_frame(genes, (by, "chrom", "start", "end", "strand", "tss"), "genes", whole=("start", "end", "tss"))
    for column in (by, "chrom"):
        check_texts(genes[column], f"a value of genes[{column!r}]", hint="td.genome.read_genes reads such a table.")
    rows = genes[[by, "chrom", "start", "end", "strand", "tss"]].rename(columns={by: "gene"})
    rows = rows[rows["gene"] != ""].reset_index(drop=True)
    rows["row"] = np.arange(len(rows))
    order = pd.unique(rows["gene"])
    repeated = rows["gene"].duplicated(keep=False)
    single, several = rows[~repeated], rows[repeated]
    chosen = single[["gene", *_PLACE]]
    if len(several):
        chosen = pd.concat([chosen, _main_locus(several)])
    return chosen.set_index("gene").loc[order].rename_axis(None)


def gene_tss(genes: pd.DataFrame, *, by: str = "name") -> pd.DataFrame:
    """Find one TSS for each gene of an annotation: that of its place, see `gene_loci`.

    Parameters
    ----------
    genes
        As `read_genes` returns it.
    by
        The column that tells genes apart, ``name`` or ``gene_id``; rows in which it is empty are left out.

    Returns
    -------
    Indexed by gene in order of first appearance: ``chrom`` (str), ``tss`` (int64), ``strand`` (str).

    Raises
    ------
    TypeError
        When `genes` is not a table.
    ValueError
        When `by` is not known, or a place is no whole number.

    Examples
    --------
    >>> import pandas as pd
    >>> from sctandem.genome import gene_tss, read_genes
    >>> transcripts = pd.DataFrame(
    ...     {"chrom": "chr1", "start": [500, 100], "end": [900, 900], "strand": "+", "gene": "MS4A1"}
    ... )
    >>> int(gene_tss(read_genes(transcripts)).tss["MS4A1"])
    100
    """
    return gene_loci(genes, by=by)[["chrom", "tss", "strand"]]


def _main_locus(rows: pd.DataFrame) -> pd.DataFrame:
    """Choose the locus of genes that have several rows, its ends and its TSS."""
    place = ["gene", "chrom", "strand"]
    rows = rows.sort_values([*place, "start"], kind="stable")
    reached = rows.groupby(place, sort=False)["end"].cummax()
    last = reached.groupby([rows[c] for c in place], sort=False).shift()
    rows["locus"] = (last.isna() | (rows["start"] - last > _LOCUS_GAP)).cumsum()
    loci = rows.groupby("locus").agg(
        gene=("gene", "first"),
        chrom=("chrom", "first"),
        strand=("strand", "first"),
        n=("row", "size"),
        row=("row", "min"),
        start=("start", "min"),
        end=("end", "max"),
        first=("tss", "min"),
        last=("tss", "max"),
    )
    loci["tss"] = np.where(loci["strand"] == "-", loci["last"], loci["first"])
    loci["length"] = loci["end"] - loci["start"]
    best = loci.sort_values(["n", "length", "row"], ascending=[False, False, True]).drop_duplicates("gene")
    return best[["gene", *_PLACE]]


def window_pairs(
    tss: pd.DataFrame, peaks: pd.DataFrame, *, upstream: int = 100_000, downstream: int = 100_000
) -> pd.DataFrame:
    """List the peaks whose middle lies in the window around each TSS, from 5' to 3' of the gene.

    Parameters
    ----------
    tss
        ``chrom``, ``tss`` and ``strand`` of each gene. A strand that is not ``-`` counts as ``+``.
    peaks
        ``chrom``, ``start`` and ``end`` of each peak, with the chromosomes named as in `tss`.
    upstream, downstream
        How far the window reaches from the TSS against and along the direction of transcription, bp.

    Returns
    -------
    One row per gene and peak, ordered by gene and then by distance: ``gene`` and ``peak`` (int64; positions in `tss`
    and in `peaks`), ``distance`` (int64; bp from the TSS to the middle of the peak, negative upstream) and ``width``
    (int64; bp of the peak).

    Raises
    ------
    TypeError
        When `tss` or `peaks` is no table.
    ValueError
        For a missing column, a position that is no whole number, and a window that is none.

    Examples
    --------
    >>> import pandas as pd
    >>> from sctandem.genome import window_pairs
    >>> tss = pd.DataFrame({"chrom": ["chr1"], "tss": [1000], "strand": ["-"]})
    >>> peaks = pd.DataFrame({"chrom": ["chr1", "chr1"], "start": [400, 1100], "end": [600, 1300]})
    >>> window_pairs(tss, peaks).distance.tolist()
    [-200, 500]
    """
    import bioframe

    check_frame(tss, ("chrom", "tss", "strand"), "tss", whole=("tss",))
    check_frame(peaks, ("chrom", "start", "end"), "peaks", whole=("start", "end"))
    for name, table in (("tss", tss), ("peaks", peaks)):
        if table["chrom"].isna().any():
            msg = f"{name}['chrom'] has {int(table['chrom'].isna().sum())} missing values; leave those rows out."
            raise ValueError(msg)
    check_number(upstream, "upstream", whole=True)
    check_number(downstream, "downstream", whole=True)
    forward = (tss["strand"] != "-").to_numpy()
    position = tss["tss"].to_numpy(np.int64)
    middle = ((peaks["start"] + peaks["end"]) // 2).to_numpy(np.int64)
    windows = pd.DataFrame(
        {
            "chrom": tss["chrom"].to_numpy(object),
            # bioframe takes no negative coordinates from some versions on; nothing lies there anyway
            "start": np.maximum(position - np.where(forward, upstream, downstream), 0),
            "end": position + np.where(forward, downstream, upstream) + 1,
        }
    )
    points = pd.DataFrame({"chrom": peaks["chrom"].to_numpy(object), "start": middle, "end": middle + 1})
    found = bioframe.overlap(windows, points, how="inner", return_index=True, return_input=False)
    gene, peak = (found[c].to_numpy(np.int64) for c in ("index", "index_"))
    distance = (middle[peak] - position[gene]) * np.where(forward[gene], 1, -1)
    order = np.lexsort((peak, distance, gene))
    gene, peak = gene[order], peak[order]
    width = (peaks["end"] - peaks["start"]).to_numpy(np.int64)[peak]
    return pd.DataFrame({"gene": gene, "peak": peak, "distance": distance[order], "width": width})
