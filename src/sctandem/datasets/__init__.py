"""Data sets: downloads with checksums, and the simulator."""

from __future__ import annotations

from sctandem._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, {})
