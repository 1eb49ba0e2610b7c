"""Data sets: downloads with checksums, and the simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._lazy import attach

if TYPE_CHECKING:
    from sctandem.datasets._simulate_multiome import simulate_multiome
    from sctandem.datasets._simulation._config import SimulationDesign, SimulationNoise

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "SimulationDesign": "._simulation._config",
        "SimulationNoise": "._simulation._config",
        "simulate_multiome": "._simulate_multiome",
    },
)
