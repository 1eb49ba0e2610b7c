"""Data of `benchmarks/de.py`: control cells of eight donors, split and thinned; simulated donors."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData, read_h5ad
from scipy import sparse

FOLDER = Path(os.environ.get("SCTANDEM_DATA", "data"))
CONTROL = FOLDER / "rna" / "kang_ctrl_8donors_1287genes.h5ad"
MIN_CELLS = 100
TYPE, DONOR, GROUP, BATCH = "cell_type", "donor", "group", "lane"
PART = 0.1


def control_cells() -> AnnData:
    """Read the control cells of the types with at least 100 of them."""
    found = read_h5ad(CONTROL)
    number = found.obs[TYPE].value_counts()
    found = found[found.obs[TYPE].isin(number.index[number >= MIN_CELLS])].copy()
    obs = pd.DataFrame({key: found.obs[key].astype(str).to_numpy() for key in (TYPE, DONOR)}, index=found.obs_names)
    return AnnData(sparse.csr_matrix(found.X, dtype=np.float32), obs=obs, var=found.var[[]])


def splits(n: int = 4) -> list[tuple[str, ...]]:
    """List the donors of the first group in all splits: 35 of 4 against 4, 28 of 2 against 6."""
    donors = sorted(control_cells().obs[DONOR].unique())
    found = itertools.combinations(donors, n)
    return [one for one in found if n != len(donors) / 2 or donors[0] in one]


def grouped(adata: AnnData, first: tuple[str, ...]) -> AnnData:
    """Mark the two groups."""
    adata.obs[GROUP] = np.where(adata.obs[DONOR].isin(first), "B", "A")
    return adata


def thinned(adata: AnnData, n: int, keep: float, seed: int, *, batch: bool = False) -> tuple[AnnData, pd.DataFrame]:
    """Draw n against n donors and thin a tenth of the genes of each type in the cells of one of the groups.

    With `batch`, donors belong to two lanes, two thirds of one group and one third of the other in the first; three tenths of all
    genes are thinned by up to a half in one of the lanes. Gives the cells, and whether each gene of each type was thinned for the groups.
    """
    rng = np.random.default_rng(seed)
    donors = rng.permutation(sorted(adata.obs[DONOR].unique()))[: 2 * n]
    found = grouped(adata[adata.obs[DONOR].isin(donors)].copy(), tuple(donors[:n]))
    counts = found.X.tocsc().astype(np.int64)
    rows = {name: found.obs[TYPE].to_numpy() == name for name in found.obs[TYPE].unique()}
    truth = pd.DataFrame(data=False, index=found.var_names, columns=sorted(rows))
    high = (found.obs[GROUP] == "B").to_numpy()
    if batch:
        first = round(2 * n / 3)
        lane = np.isin(found.obs[DONOR], [*donors[:first], *donors[n : 2 * n - first]])
        found.obs[BATCH] = np.where(lane, "one", "two")
        for j in np.flatnonzero(rng.random(found.n_vars) < 0.3):
            _thin(counts, j, lane if rng.random() < 0.5 else ~lane, rng.uniform(0.5, 1), rng)
    for name in truth:
        for j in rng.permutation(found.n_vars)[: round(PART * found.n_vars)]:
            _thin(counts, j, rows[name] & (high if rng.random() < 0.5 else ~high), keep, rng)
            truth.iloc[j, truth.columns.get_loc(name)] = True
    found.X = counts.tocsr().astype(np.float32)
    return found, truth


def _thin(counts: sparse.csc_matrix, gene: int, cells: np.ndarray, keep: float, rng: np.random.Generator) -> None:
    """Keep each count of a gene in some cells with a probability."""
    where = slice(counts.indptr[gene], counts.indptr[gene + 1])
    inside = cells[counts.indices[where]]
    values = counts.data[where]
    values[inside] = rng.binomial(values[inside], keep)
    counts.data[where] = values


def simulated_donors(cells: int, seed: int, *, n_donors: int = 10, n_genes: int = 1000) -> AnnData:
    """Draw donors without any effect of a condition: gamma rates a donor and gene, two hidden factors, overdispersed cells."""
    rng = np.random.default_rng(seed)
    level = np.exp(rng.normal(0, 1.3, n_genes))
    level *= 1500 / level.sum()
    spread = np.sqrt(0.05 * rng.chisquare(6, n_genes) / 6)
    factors = rng.normal(size=(n_donors, 2)) @ rng.normal(0, 0.12, (2, n_genes))
    rate = level * np.exp(factors + spread * rng.normal(size=(n_donors, n_genes)))
    number = rng.integers(cells // 2, 2 * cells, n_donors)
    donor = np.repeat(np.arange(n_donors), number)
    depth = np.exp(rng.normal(0, 0.4, len(donor)))
    counts = rng.poisson(rate[donor] * depth[:, None] * rng.gamma(2.0, 0.5, (len(donor), n_genes)))
    obs = pd.DataFrame({DONOR: donor.astype(str), TYPE: "cells"}, index=[str(i) for i in range(len(donor))])
    obs[GROUP] = np.where(donor < n_donors // 2, "A", "B")
    return AnnData(sparse.csr_matrix(counts, dtype=np.float32), obs=obs)
