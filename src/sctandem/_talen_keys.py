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
        """Column of the places: share of the cells of a group in which the peak is open; files cannot hold a slash."""
        return f"open_{group.replace('/', '_')}"


#: Where a place may lie, those that count first.
TALEN_PLACES: Final = ("exon", "promoter", "gene body", "intergenic")


@dataclass(frozen=True, slots=True)
class KnockoutKeys:
    """Slots of `tl.knockout`: `mdata.uns[key]` with its table and the columns of it."""

    key: str = "knockout"
    params: str = PARAMS
    table: str = TABLE
    element: str = "element"
    gene: str = "gene"
    group: str = "group"
    distance: str = "distance"
    log2fc: str = "log2fc"
    low: str = "low"
    high: str = "high"
    verdict: str = "verdict"
    reason: str = "reason"


#: Categories of `KnockoutKeys.verdict` and of `KnockoutKeys.reason`.
KNOCKOUT_VERDICTS: Final = ("down", "up", "unclear", "not predicted")
KNOCKOUT_REASONS: Final = (
    "",
    "too few counts of the gene",
    "too few counts of the peak",
    "too few cells in the group",
    "no held-out skill for the gene",
    "too few groups",
    "the groups contradict the graph",
)
