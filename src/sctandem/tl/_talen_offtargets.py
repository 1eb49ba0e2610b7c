from __future__ import annotations

import logging
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sctandem._checks import check_layer, check_positive, check_slot, check_target, working_copy
from sctandem._talen_keys import TalenKeys
from sctandem.genome import match_chromosomes, scan_talens
from sctandem.genome._exons import read_exons
from sctandem.genome._overlaps import peaks_over
from sctandem.tl._talen_data import cell_labels, find_peaks, gene_table, open_shares, peak_table
from sctandem.tl._talen_places import annotate_genes, describe_places, safety_table, unknown_places

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData
    from mudata import MuData

logger = logging.getLogger(__name__)


def talen_offtargets(
    data: AnnData | MuData,
    fasta: str | Path,
    genes: str | Path | pd.DataFrame | None = None,
    *,
    groupby: str | None = None,
    n_pairs: int = 1,
    spacer: tuple[int, int] = (15, 30),
    cutoff: float = 3.0,
    modalities: Mapping[str, str] | None = None,
    key: str = "talens",
    copy: bool = False,
) -> AnnData | MuData | None:
    """Find where else in the genome designed pairs of TALENs may cut, and what lies there.

    Needs :func:`sctandem.tl.design_talens`. The genome is searched on both strands for the pair and for each half with
    itself, whatever the number of mismatches, by :func:`sctandem.genome.scan_talens`; every place is held against genes,
    peaks and their openness in each group of cells.

    Parameters
    ----------
    data
        The object with the pairs.
    fasta
        The genome: plain text, gzip or bgzip.
    genes
        Where genes lie, as for :func:`sctandem.genome.read_genes`; a GTF or GFF3 file tells exons as well. By default the
        coordinates in the ``var`` of the modality ``"rna"``; without any, places are not held against genes.
    groupby
        Column of ``obs`` that groups the cells, such as ``"cell_type"``; by default all together.
    n_pairs
        How many pairs to look at, the first of the table. Each takes one pass through the genome.
    spacer, cutoff
        See :func:`sctandem.genome.scan_talens`.
    modalities
        From the roles ``"atac"`` and ``"rna"`` (for the coordinates of genes) to the names of the modalities in a MuData. By default the same.
    key
        The `key_added` of :func:`sctandem.tl.design_talens`.
    copy
        Return a copy with the result instead of writing it to `data`.

    Returns
    -------
    `None`, or with `copy=True` the copy. Sets the following fields:

    `data.uns[key]["offtargets"]` : :class:`pandas.DataFrame`
        One row per place, by pair and then by ``relative_score``: ``pair`` (category), the columns of
        :func:`sctandem.genome.scan_talens` (``sequence``, ``left`` and ``right`` as categories; ``RVD1`` is the left array of
        the pair), ``cut`` (int64; the middle of the spacer), ``mismatches`` (int64; bases that are not the best of their repeat,
        in both halves), ``relative_score`` (float64; the two scores over the best possible, 1 is perfect), ``on_target`` (bool;
        the site that the pair was made for), with genes ``place`` (category; ``exon``, ``promoter``, ``gene body`` or
        ``intergenic``), ``gene`` (category; the one that starts nearest) and ``distance`` (int64; bp from its start, negative
        upstream), and with accessibility ``peak`` (category; over the cut, empty where none is) and ``open_<group>``
        (float64; share of the cells of the group in which that peak is open, 0 without a peak; a slash in the name of the group is
        written ``_``).
    `data.uns[key]["safety"]` : :class:`pandas.DataFrame`
        A summary, one row per ``pair`` and ``item``, with ``value`` (float64) and ``detail`` (str): numbers of places, of
        homodimers, of places without and with at most two mismatches, of those in exons, promoters and open chromatin, the
        best place of each of these, and what is not modelled. NaN stands where the annotation does not tell, as for exons in a BED file.
    `data.uns[key]["offtarget_params"]` : :class:`dict`
        The arguments.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    KeyError
        When there are no pairs, or a modality or column is missing.
    ValueError
        When the genome is no FASTA file, or a range is reversed. Nothing is written then.
    TypeError
        When `data` is neither an AnnData nor a MuData, `fasta` no path, or a name not text.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import sctandem as td
    >>> with TemporaryDirectory() as folder:
    ...     fasta = Path(folder, "genome.fa")
    ...     mdata = td.datasets.simulate_multiome(n_cells=50, n_genes=40, n_peaks=400, fasta=fasta)
    ...     td.tl.design_talens(mdata, mdata["atac"].var_names[0], fasta)
    ...     td.tl.talen_offtargets(mdata, fasta, groupby="cell_type")
    >>> bool(td.get.talens(mdata, what="offtargets")["on_target"].iloc[0])
    True

    Notes
    -----
    A promoter reaches from 1,000 bp before a start of transcription to 100 bp after it. Of an annotation without exons (a BED
    file, a table) no place is called an exon, and the summary counts none. A peak counts as open in a group where 5 % of its cells or more have a count in
    it.

    The summary is a list of places to look at in an experiment. It is no clinical advice and no proof of safety: scores
    order places, they do not say how often a place is cut, and the last rows of the summary say what is not modelled.

    Cost: that of :func:`sctandem.genome.scan_talens`, some 22 processor seconds a pair for a human genome; more for arrays rich in NN.
    """
    atac, slot = find_peaks(data, modalities)
    check_target(data, key, copy=copy, name="key")
    check_positive(n_pairs, "n_pairs", whole=True)
    keys = TalenKeys(key)
    result = check_slot(data.uns, key, "uns", "sctandem.tl.design_talens(data, targets, fasta)")
    pairs = result[keys.table].head(n_pairs)
    annotation = gene_table(data, genes, modalities)
    exons = None if genes is None else read_exons(genes)
    peaks = peak_table(atac, slot)
    openness = None
    if atac is not None:
        openness = open_shares(check_layer(atac, None, slot), cell_labels(data, atac, groupby))
    open_in, unknown = [] if openness is None else list(openness), unknown_places(annotation, exons)
    tables, summaries = [], []
    for _, pair in pairs.iterrows():
        arrays = (str(pair[keys.left_rvds]), str(pair[keys.right_rvds]))
        found = scan_talens(fasta, arrays, spacer=spacer, cutoff=cutoff)
        n_found = found.attrs["n_found"]
        places = describe_places(found, arrays)
        places[keys.on_target] = _is_target(places, pair, keys)
        if not places[keys.on_target].any():
            logger.warning(
                "the site of %s was not found again in %s: are genome and spacers those of the design?",
                pair[keys.pair],
                Path(fasta).name,
            )
        chrom, cut = places[keys.sequence].to_numpy(object), places[keys.cut].to_numpy(np.int64)
        if annotation is not None:
            places = places.join(annotate_genes(chrom, cut, annotation, exons))
        if openness is not None:
            places = _with_peaks(places, chrom, peaks, openness, keys)
        order = np.lexsort((places["relative_score"], ~places[keys.on_target]))
        places = places.iloc[order].reset_index(drop=True)
        places.insert(0, keys.pair, pair[keys.pair])
        summaries.append(safety_table(places, pair[keys.pair], n_found, open_in, unknown=unknown))
        tables.append(places)
    written: dict[str, Any] = {
        keys.offtargets: _compact(pd.concat(tables, ignore_index=True), keys),
        keys.safety: _text_index(pd.concat(summaries, ignore_index=True)),
        keys.offtarget_params: {
            "fasta": Path(fasta).name,
            "genes": "" if annotation is None else "var" if genes is None else _name(genes),
            "groupby": groupby or "",
            "n_pairs": len(pairs),
            "spacer": list(map(int, spacer)),
            "cutoff": float(cutoff),
            "exons": exons is not None,
            "version": version("sctandem"),
        },
    }
    target = working_copy(data, copy=copy)
    target.uns[keys.key] = {**result, **written}
    return target if copy else None


def _name(genes: str | Path | pd.DataFrame) -> str:
    return "table" if isinstance(genes, pd.DataFrame) else Path(genes).name


def _is_target(places: pd.DataFrame, pair: pd.Series, keys: TalenKeys) -> np.ndarray:
    """Say which place is the one that the pair was designed for."""
    same = (places["left"] == "RVD1") & (places["right"] == "RVD2")
    for column in (keys.sequence, keys.left_start, keys.right_start):
        same &= places[column] == pair[column]
    return same.to_numpy(dtype=bool)


def _with_peaks(
    places: pd.DataFrame, chrom: np.ndarray, peaks: pd.DataFrame, openness: pd.DataFrame, keys: TalenKeys
) -> pd.DataFrame:
    """Add the peak over each cut, and in what share of each group it is open."""
    known = match_chromosomes(pd.unique(chrom), peaks["chrom"].unique())
    named = np.array([known.get(name, name) for name in chrom], dtype=object)
    row = peaks_over(peaks, named, places[keys.cut].to_numpy(np.int64))[2]
    columns = {keys.peak: np.append(peaks.index.to_numpy(object), "")[row]}
    for group in openness:
        columns[keys.open_in(str(group))] = np.append(openness[group].to_numpy(), 0.0)[row]
    return places.assign(**columns)


def _compact(places: pd.DataFrame, keys: TalenKeys) -> pd.DataFrame:
    """Keep names that repeat as categories."""
    text = [keys.pair, keys.sequence, "left", "right", keys.gene, keys.peak]
    places = places.astype({name: "category" for name in text if name in places.columns})
    places.attrs = {}
    return _text_index(places)


def _text_index(table: pd.DataFrame) -> pd.DataFrame:
    table.index = table.index.astype(str)
    return table
