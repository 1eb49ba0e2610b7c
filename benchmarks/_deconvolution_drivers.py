"""Drivers of bulk groups: simulated cohorts of mixed blood cells in which some genes change within one type."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData, read_h5ad

from benchmarks._de_data import FOLDER

CELLS = FOLDER / "rna" / "zheng_pbmc_facs10.h5ad"
#: Type of the mixtures -> the purified populations that it is made of.
TYPES = {
    "B": ["CD19+ B"],
    "CD4 T": ["CD4+ T Helper2", "CD4+/CD45RO+ Memory", "CD4+/CD25 T Reg", "CD4+/CD45RA+/CD25- Naive T"],
    "CD8 T": ["CD8+ Cytotoxic T", "CD8+/CD45RA+ Naive Cytotoxic"],
    "Monocyte": ["CD14+ Monocyte"],
    "NK": ["CD56+ NK"],
}
#: Mean share of RNA of each type in the two groups.
SHARES = {"control": (0.12, 0.38, 0.2, 0.2, 0.1), "case": (0.08, 0.26, 0.2, 0.34, 0.12)}
#: Precision of the Dirichlet distribution of shares around their mean.
PRECISION = 40.0
#: Part of the genes that change, and by how many doublings, in one type.
CHANGED, CHANGE = 0.07, 1.0
#: Counts of a bulk sample, and cells of a donor and type.
DEPTH, N_CELLS = 5e6, 5000
#: Standard deviation of the platform factor of a gene, and of a gene between donors (in all types, and within each), natural logarithm.
PLATFORM, DONOR, DONOR_TYPE = 0.5, 0.12, 0.2


@dataclass(frozen=True, slots=True)
class Cohort:
    """Bulk samples with their composition, and what is true of them."""

    bulk: AnnData
    shares: pd.DataFrame
    changed: pd.Series


def cohort(seed: int, n_per_group: int, *, changed: float = CHANGED, shift: bool = True) -> Cohort:
    """Mix two groups of donors; the reference is made of other cells than the mixtures."""
    rng = np.random.default_rng(seed)
    cells = read_h5ad(CELLS)
    totals = np.asarray(cells.X.sum(0)).ravel()
    cells = cells[:, totals >= 20]
    pools, reference = [], []
    for names in TYPES.values():
        inside = rng.permutation(np.flatnonzero(cells.obs["cell_type"].isin(names)))
        half = len(inside) // 2
        pools.append(cells.X[inside[:half]].tocsr())
        profile = np.asarray(cells.X[inside[half:]].sum(0)).ravel()
        reference.append(profile / profile.sum())
    n_types, n_genes, n = len(TYPES), cells.n_vars, 2 * n_per_group
    group = np.repeat([0, 1], n_per_group)
    which = np.full(n_genes, -1)
    picked = rng.choice(n_genes, int(changed * n_genes), replace=False)
    which[picked] = rng.integers(n_types, size=len(picked))
    sign = rng.choice([-1.0, 1.0], n_genes)
    platform = rng.normal(0, PLATFORM, n_genes)
    spread = rng.gamma(4, 0.25, n_genes)
    means = np.array([SHARES["control"], SHARES["case" if shift else "control"]])
    shares = np.array([rng.dirichlet(PRECISION * means[g]) for g in group])
    rate = np.zeros((n, n_genes))
    for s in range(n):
        own = rng.normal(0, DONOR * spread)
        for t, pool in enumerate(pools):
            drawn = pool.T @ rng.multinomial(N_CELLS, np.full(pool.shape[0], 1 / pool.shape[0]))
            profile = drawn / drawn.sum() * np.exp(own + rng.normal(0, DONOR_TYPE * spread))
            if group[s]:
                profile = profile * np.where(which == t, 2.0 ** (CHANGE * sign), 1.0)
            rate[s] += shares[s, t] * profile
    rate *= np.exp(platform)
    rate /= rate.sum(1, keepdims=True)
    counts = rng.poisson(rate * (DEPTH * rng.lognormal(0, 0.3, n))[:, None])
    signature = np.array(reference).T * np.exp(platform)[:, None]
    signature /= signature.sum(0).mean()
    names = [f"s{i}" for i in range(n)]
    obs = pd.DataFrame({"group": np.where(group, "case", "control")}, index=names)
    bulk = AnnData(counts.astype(np.float32), obs=obs, var=pd.DataFrame(index=cells.var_names))
    bulk.var_names_make_unique()
    types = list(TYPES)
    bulk.varm["rsd_signature"] = pd.DataFrame(signature * 1e6, index=bulk.var_names, columns=types)
    truth = pd.Series([types[t] if t >= 0 else "" for t in which], index=bulk.var_names)
    return Cohort(bulk, pd.DataFrame(shares, index=names, columns=types), truth)
