"""Deep learning for single-cell multiomes inside scverse."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

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
