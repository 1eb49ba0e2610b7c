"""Names of the slots of TALEN pairs: what `_keys.py` is for the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sctandem._keys import PARAMS, TABLE


@dataclass(frozen=True, slots=True)
class TalenKeys:
    """Slots of `tl.design_talens` and `tl.talen_offtargets`: `uns[key]` with its tables, and their columns."""

    key: str = "talens"
    params: str = PARAMS
    table: str = TABLE
    loci: str = "loci"
    offtargets: str = "offtargets"
    safety: str = "safety"
    offtarget_params: str = "offtarget_params"
    pair: str = "pair"
    target: str = "target"
    sequence: str = "sequence"
    cut: str = "cut"
    left_start: str = "left_start"
    right_start: str = "right_start"
    spacer: str = "spacer"
    left_rvds: str = "left_rvds"
    right_rvds: str = "right_rvds"
    left_target: str = "left_target"
    right_target: str = "right_target"
    left_score: str = "left_score"
    right_score: str = "right_score"
    peak: str = "peak"
    accessibility: str = "accessibility"
    place: str = "place"
    gene: str = "gene"
    on_target: str = "on_target"

    def open_in(self, group: str) -> str:
        """Column of the places: share of the cells of a group in which the peak is open."""
        return f"open_{group}"


#: Where a place may lie, those that count first.
TALEN_PLACES: Final = ("exon", "promoter", "gene body", "intergenic")
