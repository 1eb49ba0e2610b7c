"""Models: scvi-tools models on AnnData and MuData."""

from __future__ import annotations

from sctandem._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "TAPE": "._tape",
    },
)
