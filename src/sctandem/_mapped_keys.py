"""Slots of cells that were mapped onto a reference; see `_keys.py`."""

from __future__ import annotations

from dataclasses import dataclass

from sctandem._keys import PARAMS


@dataclass(frozen=True, slots=True)
class MappedKeys:
    """Slots of `tl.map_query`: columns of `obs`, an entry of `obsm`, and `uns[key]`."""

    key: str = "mapped"
    params: str = PARAMS
    moved: str = "moved"

    @property
    def embedding(self) -> str:
        """`obsm`: latent state of each cell in the space of the reference, cells x dimensions, float32."""
        return f"X_{self.key}"

    @property
    def label(self) -> str:
        """`obs`: label, category; only where the reference has labels."""
        return self.key

    @property
    def confidence(self) -> str:
        """`obs`: probability of the label, float64; only where the reference has labels."""
        return f"{self.key}_confidence"

    @property
    def score(self) -> str:
        """`obs`: how well the cell fits the reference, float64."""
        return f"{self.key}_score"
