"""Modules: the networks behind the models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._lazy import attach

if TYPE_CHECKING:
    from sctandem.module._capsule_config import CapsuleConfig
    from sctandem.module._capsules import CapsuleModule
    from sctandem.module._cell_generator import CellCritic, CellGenerator, GeneratorConfig
    from sctandem.module._deepde import DeepDEModule
    from sctandem.module._mixtures import MixtureConfig, simulate_mixtures
    from sctandem.module._regulatory_graph import RegulatoryGraphConfig, RegulatoryGraphModule
    from sctandem.module._rsd import RSDConfig, RSDModule
    from sctandem.module._sequence_gan import SequenceCritic, SequenceGANConfig
    from sctandem.module._tape import TAPEConfig, TAPEModule

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "CapsuleConfig": "._capsule_config",
        "CapsuleModule": "._capsules",
        "CellCritic": "._cell_generator",
        "CellGenerator": "._cell_generator",
        "DeepDEModule": "._deepde",
        "GeneratorConfig": "._cell_generator",
        "MixtureConfig": "._mixtures",
        "RSDConfig": "._rsd",
        "RSDModule": "._rsd",
        "RegulatoryGraphConfig": "._regulatory_graph",
        "RegulatoryGraphModule": "._regulatory_graph",
        "SequenceCritic": "._sequence_gan",
        "SequenceGANConfig": "._sequence_gan",
        "TAPEConfig": "._tape",
        "TAPEModule": "._tape",
        "simulate_mixtures": "._mixtures",
    },
)
