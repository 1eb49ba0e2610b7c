"""Tools: run a method and write its slots."""

from __future__ import annotations

from sctandem._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "peak_gene_links": "._peak_gene_links",
        "predict_expression": "._predict_expression",
        "programme_skill": "._programme_skill",
    },
)
