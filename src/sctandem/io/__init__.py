"""Input: read files into MuData and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._lazy import attach

if TYPE_CHECKING:
    from sctandem.io._read_chipexo import read_chipexo
    from sctandem.io._read_multiome import read_multiome
    from sctandem.io._vectors import read_vectors, write_vectors

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "read_chipexo": "._read_chipexo",
        "read_multiome": "._read_multiome",
        "read_vectors": "._vectors",
        "write_vectors": "._vectors",
    },
)
