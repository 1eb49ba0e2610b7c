"""Tools: run a method and write its slots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._lazy import attach

if TYPE_CHECKING:
    from sctandem.tl._anneal import anneal
    from sctandem.tl._capsules import capsules
    from sctandem.tl._deconvolve import deconvolve
    from sctandem.tl._design_talens import design_talens
    from sctandem.tl._differential_expression import differential_expression
    from sctandem.tl._drivers import drivers
    from sctandem.tl._gene_activity import gene_activity
    from sctandem.tl._gene_associations import gene_associations
    from sctandem.tl._gene_function import gene_function
    from sctandem.tl._knockout import knockout
    from sctandem.tl._map_query import map_query
    from sctandem.tl._motif_grammar import motif_grammar
    from sctandem.tl._peak_gene_links import peak_gene_links
    from sctandem.tl._predict_expression import predict_expression
    from sctandem.tl._programme_skill import programme_skill
    from sctandem.tl._regulatory_graph import regulatory_graph
    from sctandem.tl._robustness import robustness
    from sctandem.tl._sequence_deviations import sequence_deviations
    from sctandem.tl._simulate import simulate
    from sctandem.tl._talen_offtargets import talen_offtargets
    from sctandem.tl._waypoints import waypoints

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "anneal": "._anneal",
        "capsules": "._capsules",
        "deconvolve": "._deconvolve",
        "design_talens": "._design_talens",
        "differential_expression": "._differential_expression",
        "drivers": "._drivers",
        "gene_activity": "._gene_activity",
        "gene_associations": "._gene_associations",
        "gene_function": "._gene_function",
        "knockout": "._knockout",
        "map_query": "._map_query",
        "motif_grammar": "._motif_grammar",
        "peak_gene_links": "._peak_gene_links",
        "predict_expression": "._predict_expression",
        "programme_skill": "._programme_skill",
        "regulatory_graph": "._regulatory_graph",
        "robustness": "._robustness",
        "sequence_deviations": "._sequence_deviations",
        "simulate": "._simulate",
        "talen_offtargets": "._talen_offtargets",
        "waypoints": "._waypoints",
    },
)
