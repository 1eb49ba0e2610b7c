"""Mixtures drawn from single cells that the reference does not hold: other donors, other halves, other chemistries."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from benchmarks._deconvolution_data import (
    DONOR,
    KANG,
    SYMPHONY,
    TYPE,
    Mixtures,
    cells,
    published,
    read,
    renamed,
    technical,
    zheng,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

N_SAMPLES, N_CELLS, DEPTH = 30, 500, 1_000_000
N_DONORS = 3
#: Degrees of freedom of the log factors of genes between platforms.
HEAVY = 5
#: Spread of the programmes of a type over samples, their number, the part of the genes in each, and the spread of each gene on its own.
PROGRAMME, N_PROGRAMMES, PART, ALONE = 0.5, 2, 0.3, 0.2
KANG_TYPES = {
    "B cells": "B",
    "CD4 T cells": "CD4 T",
    "CD8 T cells": "CD8 T",
    "NK cells": "NK",
    "CD14+ Monocytes": "CD14 Mono",
    "FCGR3A+ Monocytes": "CD16 Mono",
}
#: Types that every chemistry has at least 14 cells of.
SYMPHONY_TYPES = {
    "B": "B",
    "T_CD4": "CD4 T",
    "T_CD8": "CD8 T",
    "NK": "NK",
    "Mono_CD14": "CD14 Mono",
    "Mono_CD16": "CD16 Mono",
}


def shares(types: list[str], rng: np.random.Generator) -> pd.DataFrame:
    """Draw compositions, even over all there are, as numbers of 500 cells."""
    drawn = rng.dirichlet(np.ones(len(types)), N_SAMPLES)
    numbers = np.stack([rng.multinomial(N_CELLS, share) for share in drawn])
    return pd.DataFrame(numbers / N_CELLS, index=[f"sample {i}" for i in range(N_SAMPLES)], columns=types)


def chosen(source: AnnData, truth: pd.DataFrame, rng: np.random.Generator, donors: np.ndarray | None = None) -> list:
    """Draw the cells of each sample and type, with replacement; each sample from a donor of its own where there are donors."""
    labels = source.obs[TYPE].astype(str).to_numpy()
    found = []
    for number, share in enumerate(truth.to_numpy()):
        own = np.ones(len(labels), bool) if donors is None else source.obs[DONOR].to_numpy() == donors[number]
        picks = {}
        for kind, part in zip(truth.columns, share, strict=True):
            pool = np.flatnonzero(own & (labels == kind))
            picks[kind] = rng.choice(pool, round(part * N_CELLS))
        found.append(picks)
    return found


def symphony(reference: str, mixed: str, seed: int) -> Mixtures:
    """Counts of 500 cells of one chemistry added up, 30 compositions; the reference is of another chemistry.

    Genes are the variable ones that the file holds. A cell adds what was counted in it: types with more RNA weigh more.
    """
    rng = np.random.default_rng([seed, 1])
    source = read(SYMPHONY)
    found = cells(source, renamed(source.obs[TYPE], SYMPHONY_TYPES), donor="batch")
    chemistry = found.obs[DONOR].to_numpy()
    known, other = (found[chemistry == name].copy() for name in (reference, mixed))
    types = sorted(SYMPHONY_TYPES.values())
    truth = shares(types, rng)
    picks = chosen(other, truth, rng)
    counts = np.stack([np.asarray(other.X[np.concatenate(list(one.values()))].sum(axis=0)).ravel() for one in picks])
    del known.obs[DONOR]
    return _mixtures(f"symphony_{reference}_{mixed}", counts, known, truth)


def kang(platform: float, seed: int) -> Mixtures:
    """Mixtures of the cells of three donors, each of one; the cells of the other five donors are the reference."""
    rng = np.random.default_rng([seed, 2])
    known, other, donors = _donors(rng)
    truth = shares(sorted(KANG_TYPES.values()), rng)
    level = levels(other, chosen(other, truth, rng, donors), published(list(truth.columns)))
    name = "kang_platform" if platform else "kang_sim"
    return _mixtures(name, counted(sum(level.values()), platform, rng), known, truth)


def zheng_halves(platform: float, seed: int) -> Mixtures:
    """Mixtures of one half of the sorted blood cells; the other half is the reference."""
    rng = np.random.default_rng([seed, 3])
    found = zheng(5)
    half = np.zeros(found.n_obs, dtype=bool)
    for kind in found.obs[TYPE].cat.categories:
        rows = rng.permutation(np.flatnonzero(found.obs[TYPE] == kind))
        half[rows[: len(rows) // 2]] = True
    known, other = found[half].copy(), found[~half].copy()
    truth = shares(sorted(found.obs[TYPE].cat.categories), rng)
    level = levels(other, chosen(other, truth, rng), published(list(truth.columns)))
    name = "zheng_platform" if platform else "zheng_sim"
    return _mixtures(name, counted(sum(level.values()), platform, rng), known, truth)


def kang_varying(seed: int) -> Mixtures:
    """Mixtures as of `kang`, in which each type expresses something else in each sample: two programmes a type, and each gene on its own.

    The expression of a type in a sample is known: the mean of its cells in all mixed donors, times what varies; it is scaled to 1 over the
    genes that are not technical.
    """
    rng = np.random.default_rng([seed, 4])
    known, other, _ = _donors(rng)
    truth = shares(sorted(KANG_TYPES.values()), rng)
    contents = published(list(truth.columns))
    labels = other.obs[TYPE].astype(str).to_numpy()
    expression, level = {}, 0.0
    for kind in truth.columns:
        mean = np.asarray(other.X[labels == kind].sum(axis=0)).ravel()
        loading = rng.normal(0, PROGRAMME, (N_PROGRAMMES, len(mean))) * (rng.random((N_PROGRAMMES, len(mean))) < PART)
        change = rng.normal(size=(N_SAMPLES, N_PROGRAMMES)) @ loading + rng.normal(0, ALONE, (N_SAMPLES, len(mean)))
        profile = mean * np.exp(change)
        profile /= profile[:, ~technical(other.var_names)].sum(axis=1, keepdims=True)
        expression[kind] = pd.DataFrame(profile, index=truth.index, columns=other.var_names)
        level = level + profile * truth[[kind]].to_numpy() * contents[kind]
    found = _mixtures("kang_expression", counted(level, 0.0, rng), known, truth)
    return replace(found, expression=expression)


def _donors(rng: np.random.Generator) -> tuple[AnnData, AnnData, np.ndarray]:
    """Give the cells of five donors and of the other three, and the donor of each sample."""
    source = read(KANG)
    found = cells(source, renamed(source.obs[TYPE], KANG_TYPES), donor="donor")
    names = rng.permutation(sorted(found.obs[DONOR].unique()))
    mixed = found.obs[DONOR].isin(names[:N_DONORS]).to_numpy()
    return found[~mixed].copy(), found[mixed].copy(), np.resize(names[:N_DONORS], N_SAMPLES)


def levels(source: AnnData, picks: list, contents: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Add up cells, samples x genes a type; a cell of a type holds on average the RNA that is published for it.

    Technical genes are not counted in this RNA: their share differs between types, and methods leave them out.
    """
    depth = np.asarray(source.X[:, ~technical(source.var_names)].sum(axis=1)).ravel()
    labels = source.obs[TYPE].astype(str).to_numpy()
    found = {}
    for kind, content in contents.items():
        scale = content / depth[labels == kind].mean()
        rows = [np.asarray(source.X[one[kind]].sum(axis=0)).ravel() * scale for one in picks]
        found[kind] = np.stack(rows).astype(np.float64)
    return found


def counted(level: np.ndarray, platform: float, rng: np.random.Generator) -> np.ndarray:
    """Draw the counts of a million reads a sample; each gene is seen more or less well than in the reference, as far as `platform` says."""
    level = level * np.exp(platform * rng.standard_t(HEAVY, level.shape[1]))
    level = level / level.sum(axis=1, keepdims=True)
    return rng.poisson(DEPTH * level).astype(np.float64)


def _mixtures(name: str, counts: np.ndarray, reference: AnnData, truth: pd.DataFrame) -> Mixtures:
    bulk = AnnData(counts.astype(np.float64), obs=pd.DataFrame(index=truth.index), var=reference.var[[]].copy())
    reference.X = sparse.csr_matrix(reference.X, dtype=np.float32)
    other = pd.Series(0.0, index=truth.index, name="other")
    return Mixtures(name, bulk, reference, truth, "counts", other, published(list(truth.columns)), exact=True)
