"""Names of the slots of regulation: what `_keys.py` is for the rest."""

from __future__ import annotations

from dataclasses import dataclass

from sctandem._keys import PARAMS, TABLE


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


@dataclass(frozen=True, slots=True)
class RegulatoryGraphKeys:
    """Slots of `tl.regulatory_graph`: `uns[key]` with its tables and their columns, and `obsm[activity]`."""

    key: str = "regulatory_graph"
    params: str = PARAMS
    table: str = TABLE
    expression: str = "expression"
    skill: str = "skill"
    activity: str = "tf_activity"
    tf: str = "tf"
    target: str = "target"
    site: str = "site"
    weight: str = "weight"
    sign: str = "sign"
    evidence: str = "evidence"
    fdr: str = "fdr"
    fdr_rewired: str = "fdr_rewired"
    state: str = "state"
    gene: str = "gene"
    measured: str = "measured"
    predicted: str = "predicted"
    held_out: str = "held_out"
    r2: str = "r2"
    pearson: str = "pearson"

    @property
    def activities(self) -> str:
        """`obsm`: activity of the factors, cells x factors, a DataFrame of float32."""
        default = type(self).__dataclass_fields__["key"].default
        return self.activity if self.key == default else f"{self.key}_{self.activity}"
