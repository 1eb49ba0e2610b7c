"""Count data as batches of sparse tensors, and collections of many sources on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._lazy import attach

if TYPE_CHECKING:
    from sctandem._blocks import as_csr
    from sctandem.data._build_collection import build_collection
    from sctandem.data._collection import Collection, open_collection
    from sctandem.data._loader import CountLoader
    from sctandem.data._preprocess import highly_variable_genes, principal_components, project
    from sctandem.data._sources import Source, SourceError

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Collection": "._collection",
        "CountLoader": "._loader",
        "Source": "._sources",
        "SourceError": "._sources",
        "as_csr": ".._blocks",
        "build_collection": "._build_collection",
        "highly_variable_genes": "._preprocess",
        "open_collection": "._collection",
        "principal_components": "._preprocess",
        "project": "._preprocess",
    },
)
