"""Count data as batches of sparse tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._lazy import attach

if TYPE_CHECKING:
    from sctandem._blocks import as_csr
    from sctandem.data._loader import CountLoader

__getattr__, __dir__, __all__ = attach(__name__, {"CountLoader": "._loader", "as_csr": "._loader"})
