"""Get: read what the tools have written, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._lazy import attach

if TYPE_CHECKING:
    from sctandem.get._capsule_genes import capsule_genes
    from sctandem.get._de import de
    from sctandem.get._drivers import drivers
    from sctandem.get._expression_skill import expression_skill
    from sctandem.get._fractions import fractions
    from sctandem.get._gene_activity import gene_activity
    from sctandem.get._gene_associations import gene_associations
    from sctandem.get._gene_function import gene_function
    from sctandem.get._gene_windows import gene_windows
    from sctandem.get._knockout import knockout
    from sctandem.get._lineages import lineages
    from sctandem.get._motif_grammar import motif_grammar
    from sctandem.get._peak_gene_links import peak_gene_links
    from sctandem.get._programme_skill import programme_skill
    from sctandem.get._regulatory_graph import regulatory_graph
    from sctandem.get._robustness import robustness
    from sctandem.get._sequence_deviations import sequence_deviations
    from sctandem.get._similar import similar, vectors
    from sctandem.get._talens import talens
    from sctandem.get._waypoints import waypoints

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "capsule_genes": "._capsule_genes",
        "de": "._de",
        "drivers": "._drivers",
        "expression_skill": "._expression_skill",
        "fractions": "._fractions",
        "gene_activity": "._gene_activity",
        "gene_associations": "._gene_associations",
        "gene_function": "._gene_function",
        "gene_windows": "._gene_windows",
        "knockout": "._knockout",
        "lineages": "._lineages",
        "motif_grammar": "._motif_grammar",
        "peak_gene_links": "._peak_gene_links",
        "programme_skill": "._programme_skill",
        "regulatory_graph": "._regulatory_graph",
        "robustness": "._robustness",
        "sequence_deviations": "._sequence_deviations",
        "similar": "._similar",
        "talens": "._talens",
        "vectors": "._similar",
        "waypoints": "._waypoints",
    },
)
