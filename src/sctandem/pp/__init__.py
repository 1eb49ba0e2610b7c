"""Prepare: turn raw objects into what the models read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._lazy import attach

if TYPE_CHECKING:
    from sctandem.pp._chipexo_sites import chipexo_sites
    from sctandem.pp._count_fragments import count_fragments
    from sctandem.pp._embed_genes import embed_genes
    from sctandem.pp._embed_kmers import embed_kmers
    from sctandem.pp._gene_windows import gene_windows
    from sctandem.pp._hierarchical_weights import hierarchical_weights
    from sctandem.pp._long_tail_split import long_tail_split
    from sctandem.pp._nucleotide_spectrum import nucleotide_spectrum
    from sctandem.pp._sequence_features import sequence_features

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "chipexo_sites": "._chipexo_sites",
        "count_fragments": "._count_fragments",
        "embed_genes": "._embed_genes",
        "embed_kmers": "._embed_kmers",
        "gene_windows": "._gene_windows",
        "hierarchical_weights": "._hierarchical_weights",
        "long_tail_split": "._long_tail_split",
        "nucleotide_spectrum": "._nucleotide_spectrum",
        "sequence_features": "._sequence_features",
    },
)
