"""Plots: draw what the tools have written."""

from __future__ import annotations

from sctandem._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "peak_gene_links": "._peak_gene_links",
        "predicted_expression": "._predicted_expression",
        "programme_skill": "._programme_skill",
    },
)
