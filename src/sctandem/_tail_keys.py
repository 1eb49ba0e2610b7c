"""Names of the slots of long tails: what `_keys.py` is for the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sctandem._keys import PARAMS

#: Parts of a split, which are the categories of its column.
PARTS: Final = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class HierarchyKeys:
    """Slots of `pp.hierarchical_weights`: columns of `obs`, and `uns[key]` with its tables and their columns."""

    key: str = "hcm"
    params: str = PARAMS
    tree: str = "tree"
    clusters: str = "clusters"
    node: str = "node"
    parent: str = "parent"
    distance: str = "distance"
    n_cells: str = "n_cells"
    cluster_name: str = "cluster"
    kind: str = "kind"
    mean_weight: str = "weight"
    mass: str = "mass"

    @property
    def weight(self) -> str:
        """`obs`: weight of each cell, float64, mean 1."""
        return f"{self.key}_weight"

    @property
    def cluster(self) -> str:
        """`obs`: cluster of each cell on the finest level, category."""
        return f"{self.key}_cluster"


@dataclass(frozen=True, slots=True)
class SplitKeys:
    """Slots of `pp.long_tail_split`: a column of `obs` (category, `PARTS`), and `uns[key]` with its tables and their columns."""

    key: str = "split"
    params: str = PARAMS
    parts: str = "parts"
    clusters: str = "clusters"
    divergence: str = "divergence"
    part: str = "part"
    first: str = "part_1"
    second: str = "part_2"
    n_cells: str = "n_cells"
    share: str = "share"
    n_clusters: str = "n_clusters"
    missing: str = "missing"
    n_missing: str = "n_missing"
    n_missing_random: str = "n_missing_random"
    cluster: str = "cluster"
    composition: str = "composition"
    random: str = "random"

    def at_random(self, column: str) -> str:
        """Name the column beside `column` that holds what a random split gives."""
        return f"{column}_{self.random}"
