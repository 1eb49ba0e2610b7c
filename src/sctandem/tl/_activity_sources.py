"""Where the signal of `tl.gene_activity` lies, and for which genes it counts."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sctandem._checks import check_counts, check_layer, layer_slot
from sctandem.genome import peak_coordinates
from sctandem.genome._place import annotation, example_places, place_genes, share_near_start
from sctandem.kernels._gene_activity import (
    ARCHR_EXCLUDED,
    Genes,
    Intervals,
    Pairs,
    archr_pairs,
    archr_reach,
    body_pairs,
)
from sctandem.tl._activity_sums import RULES, Sources, Sums, number_places, sum_peaks, weight_table

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    import pandas as pd
    from anndata import AnnData
    from mudata import MuData

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
) -> Found:
    """Sum up peaks."""
    atac, slot = (data.mod[named["atac"]], f"mdata[{named['atac']!r}]") if named else (data, "adata")
    matrix, slot = check_layer(atac, layer, slot), layer_slot(slot, layer)
    check_counts(matrix, slot)
    peaks = peak_coordinates(atac)
    loci, params = find_genes(data, genes, named, peaks["chrom"].unique(), weights=weights, signal="peaks")
    params["share_near_start"] = share_near_start(loci, peaks)
    rule = RULES[weights]
    places, codes = number_places(loci, peaks["chrom"])
    intervals = Intervals(codes, peaks["start"].to_numpy(np.int64), peaks["end"].to_numpy(np.int64))
    sources = Sources.of(intervals, _pairs(weights, intervals, places), places, rule)
    sums = sum_peaks(matrix, sources, loci, rule)
    check_signal(sums, slot, example_places(loci, peaks))
    return Found(sums, params | sums.params(rule), weight_table(sources, loci.index, atac.var_names))


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


def _pairs(weights: str, intervals: Intervals, places: Genes) -> Pairs:
    """Weigh peaks by a fixed rule."""
    if weights == "archr":
        return archr_pairs(intervals, archr_reach(places))
    return body_pairs(intervals, places)


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
    raise ValueError(f"{fragments}")
