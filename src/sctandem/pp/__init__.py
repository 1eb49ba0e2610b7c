"""Prepare: turn raw objects into what the models read."""

from __future__ import annotations

from sctandem._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "gene_windows": "._gene_windows",
    },
)
