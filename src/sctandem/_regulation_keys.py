"""Names of the slots of regulation: what `_keys.py` is for the rest."""

from __future__ import annotations

from dataclasses import dataclass

from sctandem._keys import PARAMS


@dataclass(frozen=True, slots=True)
class ChipexoKeys:
    """Slots of `pp.chipexo_sites`: `varm[key]` (a table, peaks x TFs) and `uns[key]` with its tables and their columns."""

    key: str = "chipexo"
    params: str = PARAMS
    sites: str = "sites"
    residual: str = "residual"
    profile: str = "profile"
    tf: str = "tf"
    peak: str = "peak"
    chrom: str = "chrom"
    position: str = "position"
    score: str = "score"
    offset: str = "offset"
    plus: str = "plus"
    minus: str = "minus"
    n_sites: str = "n_sites"
