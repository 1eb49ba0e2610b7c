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
class WaypointKeys:
    """Slots of `tl.waypoints`: columns of `obs`, a table in `obsm`, and `uns[key]` with its tables and their columns."""

    key: str = "waypoints"
    params: str = PARAMS
    waypoints: str = "waypoints"
    edges: str = "edges"
    terminals: str = "terminals"
    branches: str = "branches"
    drivers: str = "drivers"
    cell: str = "cell"
    role: str = "role"
    time: str = "pseudotime"
    lineage: str = "lineage"
    length: str = "length"
    given: str = "given"
    branch: str = "branch"
    parent: str = "parent"
    left: str = "left"
    right: str = "right"
    source: str = "source"
    target: str = "target"
    probability: str = "probability"
    tf: str = "tf"
    effect: str = "effect"
    correlation: str = "correlation"
    n_waypoints: str = "n_waypoints"
    p_value: str = "p_value"
    fdr: str = "fdr"
    root: str = "root"
    terminal: str = "terminal"
    waypoint: str = "waypoint"

    @property
    def pseudotime(self) -> str:
        """`obs`: 0 at the root to 1 at terminal cells, float64."""
        return f"{self.key}_pseudotime"

    @property
    def segment(self) -> str:
        """`obs`: the part of the tree that a cell lies on, category."""
        return f"{self.key}_branch"

    @property
    def entropy(self) -> str:
        """`obs`: entropy of the lineage probabilities in nats, float64."""
        return f"{self.key}_entropy"

    @property
    def probabilities(self) -> str:
        """`obsm`: lineage probabilities, cells x lineages."""
        return "lineage_probabilities" if self.key == "waypoints" else f"{self.key}_lineage_probabilities"

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables of `uns[key]`."""
        return (self.waypoints, self.edges, self.terminals, self.branches, self.drivers)


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
    cells: str = "cells"
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
