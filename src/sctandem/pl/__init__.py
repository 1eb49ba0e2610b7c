"""Plots: draw what the tools have written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._lazy import attach

if TYPE_CHECKING:
    from sctandem.pl._annealing import annealing
    from sctandem.pl._capsules import capsules
    from sctandem.pl._chipexo_sites import chipexo_sites
    from sctandem.pl._de_heatmap import de_heatmap
    from sctandem.pl._deconvolution_fit import deconvolution_fit
    from sctandem.pl._drivers import drivers
    from sctandem.pl._expression_skill import expression_skill
    from sctandem.pl._gene_associations import gene_associations
    from sctandem.pl._gene_function import gene_function
    from sctandem.pl._knockout import knockout
    from sctandem.pl._long_tail import long_tail
    from sctandem.pl._motif_grammar import motif_grammar
    from sctandem.pl._motif_variability import motif_variability
    from sctandem.pl._peak_gene_links import peak_gene_links
    from sctandem.pl._predicted_expression import predicted_expression
    from sctandem.pl._programme_skill import programme_skill
    from sctandem.pl._proportions import proportions
    from sctandem.pl._regulator_dotplot import regulator_dotplot
    from sctandem.pl._regulatory_graph import regulatory_graph
    from sctandem.pl._robustness import robustness
    from sctandem.pl._talens import talens
    from sctandem.pl._volcano import volcano
    from sctandem.pl._waypoints import waypoints

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "annealing": "._annealing",
        "capsules": "._capsules",
        "chipexo_sites": "._chipexo_sites",
        "de_heatmap": "._de_heatmap",
        "deconvolution_fit": "._deconvolution_fit",
        "drivers": "._drivers",
        "expression_skill": "._expression_skill",
        "gene_associations": "._gene_associations",
        "gene_function": "._gene_function",
        "knockout": "._knockout",
        "long_tail": "._long_tail",
        "motif_grammar": "._motif_grammar",
        "motif_variability": "._motif_variability",
        "peak_gene_links": "._peak_gene_links",
        "predicted_expression": "._predicted_expression",
        "programme_skill": "._programme_skill",
        "proportions": "._proportions",
        "regulator_dotplot": "._regulator_dotplot",
        "regulatory_graph": "._regulatory_graph",
        "robustness": "._robustness",
        "talens": "._talens",
        "volcano": "._volcano",
        "waypoints": "._waypoints",
    },
)
