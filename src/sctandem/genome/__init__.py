"""Genome: sequences and windows, without AnnData."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._lazy import attach

if TYPE_CHECKING:
    from sctandem.genome._annotation import read_genes
    from sctandem.genome._chipexo import call_chipexo_sites
    from sctandem.genome._chromosomes import match_chromosomes
    from sctandem.genome._coordinates import parse_intervals, peak_coordinates
    from sctandem.genome._match import match_genes
    from sctandem.genome._motifs import read_motifs
    from sctandem.genome._sequence import sequence_features
    from sctandem.genome._sites import read_sites
    from sctandem.genome._tags import tidy_tags
    from sctandem.genome._windows import gene_loci, gene_tss, window_pairs

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "call_chipexo_sites": "._chipexo",
        "gene_loci": "._windows",
        "gene_tss": "._windows",
        "match_chromosomes": "._chromosomes",
        "match_genes": "._match",
        "parse_intervals": "._coordinates",
        "peak_coordinates": "._coordinates",
        "read_genes": "._annotation",
        "read_motifs": "._motifs",
        "read_sites": "._sites",
        "sequence_features": "._sequence",
        "tidy_tags": "._tags",
        "window_pairs": "._windows",
    },
)
