"""Models: scvi-tools models on AnnData and MuData."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._lazy import attach

if TYPE_CHECKING:
    from sctandem.model._capsules import CapsuleNet
    from sctandem.model._deepde import DeepDE
    from sctandem.model._regulatory_graph import RegulatoryGraph
    from sctandem.model._rsd import RSD
    from sctandem.model._sequence_gan import SequenceGAN
    from sctandem.model._tape import TAPE

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "CapsuleNet": "._capsules",
        "DeepDE": "._deepde",
        "RSD": "._rsd",
        "RegulatoryGraph": "._regulatory_graph",
        "SequenceGAN": "._sequence_gan",
        "TAPE": "._tape",
    },
)
