"""Slots of what comes with adversarial training; see `_keys.py`."""

from __future__ import annotations

from dataclasses import dataclass

from sctandem._keys import PARAMS, TABLE


@dataclass(frozen=True, slots=True)
class RobustnessKeys:
    """Slots of `tl.robustness`: `adata.uns[key]` with its tables and the columns of them."""

    key: str = "robustness"
    params: str = PARAMS
    table: str = TABLE
    score: str = "score"
    clean: str = "clean_accuracy"
    max_change: str = "max_change"
    attack: str = "attack"
    strength: str = "strength"
    accuracy: str = "accuracy"
    kept: str = "kept"
    ari: str = "ari"
    group: str = "group"
    largest: str = "largest_share"


@dataclass(frozen=True, slots=True)
class VectorKeys:
    """Slots of `pp.embed_genes` and `pp.embed_kmers`: `varm[key]` (float32), and `uns[key]`, with a `table` of the words."""

    key: str = "gene_vectors"
    params: str = PARAMS
    table: str = TABLE


@dataclass(frozen=True, slots=True)
class MadeCellsKeys:
    """Slots of the object that `tl.simulate` makes: `uns[key]`."""

    key: str = "simulate"
    params: str = PARAMS
    told: str = "told_apart"
