"""References and bulk in other pairs than those by which settings were chosen: cells of one study for the bulk, or the cells, of another."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from benchmarks._deconvolution_data import (
    DONOR,
    FLOW_4,
    FLOW_5,
    KANG,
    SYMPHONY,
    TYPE,
    ZHENG,
    Mixtures,
    cells,
    gse107011,
    hoek,
    published,
    read,
    renamed,
    zheng,
)
from benchmarks._deconvolution_simulated import KANG_TYPES, SYMPHONY_TYPES, chosen, counted, levels, shares

if TYPE_CHECKING:
    from collections.abc import Mapping

CHEMISTRIES = ("3pv1", "3pv2", "5p")
#: Types that are one in five types, and in four.
FIVE = {"CD14 Mono": "Mono", "CD16 Mono": "Mono"}
FOUR = FIVE | {"CD4 T": "T", "CD8 T": "T"}
#: Reference and mixed cells of the pairs of two studies; sorted populations, donors of kang, and chemistries of symphony.
STUDIES = (
    ("zheng", "kang"),
    ("kang", "zheng"),
    ("zheng", "5p"),
    ("zheng", "3pv2"),
    ("5p", "zheng"),
    ("3pv1", "kang"),
    ("kang", "5p"),
)


def file_of(study: str) -> str:
    """Give the file of a study."""
    return {"zheng": ZHENG, "kang": KANG}.get(study, SYMPHONY)


def study(name: str, n_types: int) -> AnnData:
    """Give the cells of a study with five or four types."""
    if name == "zheng":
        return zheng(n_types).copy()
    united = FIVE if n_types == 5 else FOUR
    names, column = (KANG_TYPES, "donor") if name == "kang" else (SYMPHONY_TYPES, "batch")
    source = read(file_of(name))
    found = cells(source, renamed(source.obs[TYPE], _united(names, united)), donor=column)
    if name != "kang":
        found = found[(found.obs[DONOR] == name).to_numpy()].copy()
        del found.obs[DONOR]
    return found


def _united(names: Mapping[str, str], united: Mapping[str, str]) -> dict[str, str]:
    return {label: united.get(kind, kind) for label, kind in names.items()}


def blood(bulk: str, reference: str) -> Mixtures:
    """Bulk blood with flow cytometry, and the cells of a study."""
    known = study(reference, 5 if bulk == "gse107011_5" else 4)
    found = hoek(known) if bulk == "hoek" else gse107011(FLOW_5 if bulk == "gse107011_5" else FLOW_4, known)
    return replace(found, name=blood_name(bulk, reference))


def blood_name(bulk: str, reference: str) -> str:
    """Name a bulk with the cells of a study."""
    return f"{bulk}_by_{reference}"


def across(reference: str, mixed: str, seed: int) -> Mixtures:
    """Mixtures of the cells of one study, each type holding the RNA that is published for it; the reference is of another study."""
    rng = np.random.default_rng([seed, 6])
    known, other = study(reference, 5), study(mixed, 5)
    truth = shares(sorted(other.obs[TYPE].astype(str).unique()), rng)
    contents = published(list(truth.columns))
    counts = counted(sum(levels(other, chosen(other, truth, rng), contents).values()), 0.0, rng)
    bulk = AnnData(counts, obs=pd.DataFrame(index=truth.index), var=other.var[[]].copy())
    known.X = sparse.csr_matrix(known.X, dtype=np.float32)
    none = pd.Series(0.0, index=truth.index, name="other")
    return Mixtures(across_name(reference, mixed), bulk, known, truth, "counts", none, contents, exact=True)


def across_name(reference: str, mixed: str) -> str:
    """Name the cells of one study with those of another."""
    return f"{mixed}_by_{reference}"
