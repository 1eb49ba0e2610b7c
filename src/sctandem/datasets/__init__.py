"""Data sets: downloads with checksums, and the simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sctandem._lazy import attach

if TYPE_CHECKING:
    from sctandem.datasets._downloads import kang2018, list_datasets, pbmc_multiome_3k, pbmc_multiome_10k
    from sctandem.datasets._registry import set_cache_dir
    from sctandem.datasets._simulate_multiome import simulate_multiome
    from sctandem.datasets._simulation._config import SimulationDesign, SimulationNoise

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "SimulationDesign": "._simulation._config",
        "SimulationNoise": "._simulation._config",
        "kang2018": "._downloads",
        "list_datasets": "._downloads",
        "pbmc_multiome_10k": "._downloads",
        "pbmc_multiome_3k": "._downloads",
        "set_cache_dir": "._registry",
        "simulate_multiome": "._simulate_multiome",
    },
)
