"""Get: read what the tools have written, as tables."""

from __future__ import annotations

from sctandem._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "expression_skill": "._expression_skill",
        "gene_windows": "._gene_windows",
        "peak_gene_links": "._peak_gene_links",
        "programme_skill": "._programme_skill",
    },
)
