"""Input: read files into MuData."""

from __future__ import annotations

from sctandem._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "read_multiome": "._read_multiome",
    },
)
