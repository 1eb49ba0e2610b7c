"""Deep learning for single-cell multiomes inside scverse.

Names and lazy imports only: torch and scanpy are imported when a function that needs them is first used. anndata and
mudata are imported here, because the plug-in (`adata.td`, `mdata.td`) registers with them.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from sctandem import _accessor as _accessor  # registers `adata.td` and `mdata.td`
from sctandem._lazy import attach

if TYPE_CHECKING:
    from sctandem import data, datasets, genome, get, io, kernels, model, module, nn, pl, pp, tl, train

__version__ = version("sctandem")

__getattr__, __dir__, __all__ = attach(
    __name__,
    dict.fromkeys(
        [
            "data",
            "datasets",
            "genome",
            "get",
            "io",
            "kernels",
            "model",
            "module",
            "nn",
            "pl",
            "pp",
            "tl",
            "train",
        ]
    ),
)
