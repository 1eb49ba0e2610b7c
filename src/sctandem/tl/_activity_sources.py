"""Where the signal of `tl.gene_activity` lies, and for which genes it counts."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from mudata import MuData

from sctandem._checks import check_counts, check_layer, check_modalities, check_path, check_type, layer_slot
from sctandem._chromatin_keys import GeneActivityKeys
from sctandem.genome._coordinates import locate_peaks
from sctandem.genome._place import annotation, example_places, place_genes, share_near_start
from sctandem.kernels._gene_activity import (
    ARCHR_EXCLUDED,
    Genes,
    Intervals,
    Reach,
    archr_pairs,
    archr_reach,
    body_pairs,
    gene_pieces,
    gene_tiles,
)
from sctandem.tl._activity_learned import Learned, apply, learn_from
from sctandem.tl._activity_sums import RULES, Sources, Sums, number_places, sum_sources, weight_table

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from anndata import AnnData

    from sctandem.genome._fragment_file import FragmentFile

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Found:
    """What is to be written.

    Attributes
    ----------
    sums
        Counts, scores and tables.
    params
        What the result was made with.
    weights
        Peaks and the genes they count for.
    extra
        What else belongs into `uns`.
    """

    sums: Sums
    params: dict[str, Any]
    weights: pd.DataFrame | None = None
    extra: dict[str, Any] = field(default_factory=dict)


def from_peaks(
    data: AnnData | MuData,
    genes: str | Path | pd.DataFrame | None,
    named: dict[str, str],
    *,
    weights: str,
    reference: Any,
    layer: str | None,
    size_factor_key: str | None,
) -> Found:
    """Sum up peaks."""
    atac, slot = (data.mod[named["atac"]], f"mdata[{named['atac']!r}]") if named else (data, "adata")
    matrix, counts = check_layer(atac, layer, slot), layer_slot(slot, layer)
    check_counts(matrix, counts)
    peaks = locate_peaks(atac, slot)
    loci, params = find_genes(data, genes, named, peaks["chrom"].unique(), weights=weights, signal="peaks")
    params["share_near_start"] = _share(data, named, loci, peaks)
    rule, learned, scores = RULES[weights], None, None
    places, codes = number_places(loci, peaks["chrom"])
    intervals = Intervals(codes, peaks["start"].to_numpy(np.int64), peaks["end"].to_numpy(np.int64))
    if weights == "learned":
        learned = _learned(
            data, genes, named, (loci, peaks), reference=reference, layer=layer, size_factor_key=size_factor_key
        )
        pairs, scores = apply(learned, matrix, loci, peaks)
    else:
        pairs = archr_pairs(intervals, archr_reach(places)) if weights == "archr" else body_pairs(intervals, places)
    sources = Sources.of(intervals, pairs, places, rule)
    sums = sum_sources([(matrix, sources)], loci, rule, atac.n_obs)
    check_signal(sums, counts, example_places(loci, peaks))
    extra: dict[str, Any] = {}
    if learned is not None:
        sums.scores, extra[GeneActivityKeys().learned] = scores, learned.saved()
        params["learned_from"] = "data" if reference is None else "reference"
        params["cross_fitted"] = bool(learned.crossed)
    return Found(sums, params | sums.params(rule), weight_table(sources, loci.index, atac.var_names), extra)


def _learned(
    data: AnnData | MuData,
    genes: str | Path | pd.DataFrame | None,
    named: dict[str, str],
    own: tuple[pd.DataFrame, pd.DataFrame],
    *,
    reference: Any,
    layer: str | None,
    size_factor_key: str | None,
) -> Learned:
    """Learn the weights, from these data or a reference, or take them over."""
    if isinstance(reference, Mapping):
        return Learned.read(reference)
    if reference is None:
        return learn_from(data, named, *own, layer=layer, size_factor_key=size_factor_key, crossed=True)
    hint = (
        "It has expression and peaks of the same cells; or give uns['gene_activity']['learned'] of an earlier result."
    )
    check_type(reference, MuData, "reference", hint=hint)
    roles = check_modalities(reference, {role: name for role, name in named.items() if name in reference.mod})
    peaks = locate_peaks(reference.mod[roles["atac"]], f"reference[{roles['atac']!r}]")
    loci, _ = find_genes(reference, genes, roles, peaks["chrom"].unique(), weights="learned", signal="peaks")
    return learn_from(reference, roles, loci, peaks, layer=layer, size_factor_key=size_factor_key, crossed=False)


def find_genes(
    data: AnnData | MuData,
    genes: str | Path | pd.DataFrame | None,
    named: dict[str, str],
    chromosomes: Collection[str],
    *,
    weights: str,
    signal: str,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Find the genes of the annotation, and warn where it says nothing of their bodies."""
    var = data.mod[named["rna"]].var if "rna" in named else None
    source, table = annotation(var, genes, f"mdata[{named.get('rna')!r}].var")
    loci, params = place_genes(table, chromosomes, var, everything=True, signal=signal)
    if weights == "archr":
        bare = loci["chrom"].str.replace(r"^chr", "", case=False, regex=True).str.upper()
        kept = ~bare.isin(ARCHR_EXCLUDED)
        if not kept.any():
            msg = f"All {len(loci)} genes of {source} lie on Y or the mitochondrion, which weights='archr' leaves out."
            raise ValueError(msg)
        params["n_excluded"] = int((~kept).sum())
        loci = loci[kept]
    if params["tss_rule"].startswith("middle"):
        logger.warning(
            "%s gives the starts of genes, not where they end (%s): what counts as gene body are its intervals. Give an "
            "annotation of whole genes",
            source,
            params["tss_rule"],
        )
    return loci, params | {"genes": source}


def _share(data: AnnData | MuData, named: dict[str, str], loci: pd.DataFrame, peaks: pd.DataFrame) -> float:
    """Return the share of the measured genes, or of all, that have a peak at their start; warn where it is small."""
    if "rna" in named:  # peaks may be a selection, made for these genes
        loci = loci[loci.index.isin(data.mod[named["rna"]].var_names)]
    return share_near_start(loci, peaks)


def check_signal(sums: Sums, slot: str, where: str) -> None:
    """Check that some gene got something."""
    if sums.counts.nnz and sums.scores.nnz:
        return
    total = int(sums.unassigned.sum())
    msg = (
        f"{slot} has no counts at all."
        if total == 0
        else f"None of the {total} counts in {slot} lies at one of the {sums.counts.shape[1]} genes: all activities would be "
        f"zero. Are genes and signal of the same assembly? {where}"
    )
    raise ValueError(msg)


def from_fragments(
    data: AnnData | MuData,
    genes: str | Path | pd.DataFrame | None,
    named: dict[str, str],
    *,
    weights: str,
    fragments: str | Path,
) -> Found:
    """Sum up cut sites."""
    from sctandem.genome._fragment_file import FragmentFile
    from sctandem.genome._fragments import check_cells

    if weights == "learned":
        msg = "weights='learned' weighs peaks: count the fragments in peaks first (td.pp.count_fragments), without fragments=."
        raise ValueError(msg)
    check_path(fragments, "fragments")
    file = FragmentFile.open(Path(fragments))
    atac = data.mod[named["atac"]] if named else data
    loci, params = find_genes(data, genes, named, file.contigs, weights=weights, signal="fragments")
    with suppress(ValueError):  # without peaks there is nothing to hold the genes against
        params["share_near_start"] = _share(data, named, loci, locate_peaks(atac, "the peaks"))
    places, codes = number_places(loci, pd.Series(file.contigs))
    contigs = np.full(int(max(codes.max(), places.chrom.max())) + 1, -1, dtype=np.int64)
    contigs[codes] = np.arange(len(codes))
    rule, cells = RULES[weights], atac.obs_names.astype(str).tolist()
    read = FragmentCounter(file, contigs, cells)
    if weights == "archr":
        total = read.total()
        sums = sum_sources(_archr_parts(read, places), loci, rule, len(cells), total)
    else:
        pieces = gene_pieces(places)
        sources = Sources.of(pieces, body_pairs(pieces, places), places, rule)
        counts, total = read.counts(pieces)
        sums = sum_sources([(counts, sources)], loci, rule, len(cells), total)
    check_cells(file, cells, total)
    check_signal(sums, str(file.path), f"The first genes: {', '.join(loci.index[:3])}.")
    return Found(sums, params | sums.params(rule) | {"fragments": file.path.name})


class FragmentCounter:
    """Counts the cut sites of a file in pieces of the genome.

    Parameters
    ----------
    file
        The file.
    contigs
        From the numbers of the chromosomes to their places in the file, -1 where it lacks them.
    cells
        The barcodes.
    """

    def __init__(self, file: FragmentFile, contigs: np.ndarray, cells: list[str]) -> None:
        self.file, self.contigs, self.cells = file, contigs, cells

    def counts(self, where: Intervals, *, here_only: bool = False) -> tuple[Any, np.ndarray]:
        """Count in intervals; return cells x intervals, and of each cell all cut sites that were read."""
        from sctandem.genome._fragments import count_in_regions

        place = self.contigs[where.chrom], where.start, where.end
        found = count_in_regions(self.file, place, self.cells, insertions=True, only_regions=here_only)
        return found.counts, 2 * found.per_cell.astype(np.int64)

    def total(self) -> np.ndarray:
        """Count all cut sites of each cell."""
        nothing = np.zeros(0, dtype=np.int64)
        return self.counts(Intervals(nothing, nothing, nothing))[1]


def _archr_parts(read: FragmentCounter, places: Genes) -> Iterator[tuple[Any, Sources]]:
    """Count in tiles, one chromosome after the other, so that only the tiles of one are held."""
    whole = archr_reach(places)
    for chrom in np.unique(places.chrom):
        if read.contigs[chrom] < 0:
            continue
        among = np.flatnonzero(places.chrom == chrom)
        genes = Genes(*(values[among] for values in places))
        body, reach = (Intervals(*(ends[among] for ends in part)) for part in (whole.body, whole.reach))
        tiles = gene_tiles(reach)
        pairs = archr_pairs(tiles, Reach(body, reach, whole.factor[among]))
        counts, _ = read.counts(tiles, here_only=True)
        yield counts, Sources.of(tiles, pairs, genes, RULES["archr"], among)
