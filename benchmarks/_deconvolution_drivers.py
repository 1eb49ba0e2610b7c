"""Drivers of bulk groups: simulated cohorts of mixed blood cells in which some genes change within one type."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData, read_h5ad
from scipy import stats

from benchmarks._de_data import FOLDER
from benchmarks._deconvolution_methods import DRIVERS
from benchmarks.peers import _pseudobulk as peers

PLAIN = "moderated t on log-CPM"
ADJUSTED, TOAST = "voom with shares as covariates", "shares x group regression (TOAST-like)"

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
SHARES = {"control": (0.12, 0.38, 0.2, 0.2, 0.1), "case": (0.1, 0.3, 0.2, 0.29, 0.11)}
#: Precision of the Dirichlet distribution of shares around their mean.
PRECISION = 40.0
#: Part of the genes that change, and by how many doublings, in one type.
CHANGED, CHANGE = 0.07, 1.0
#: Counts of a bulk sample, and cells of a donor and type.
DEPTH, N_CELLS = 2e7, 5000
#: Standard deviation of the platform factor of a gene, and of a gene between donors (in all types, and within each), natural logarithm.
PLATFORM, DONOR, DONOR_TYPE = 0.5, 0.12, 0.2


@dataclass(frozen=True, slots=True)
class Cohort:
    """Bulk samples, the type in which each gene changes (empty for none), and cells of the types that are not in the mixtures."""

    bulk: AnnData
    changed: pd.Series
    reference: AnnData


def cohort(seed: int, n_per_group: int, *, changed: float = CHANGED, shift: bool = True) -> Cohort:
    """Mix two groups of donors; the reference is made of other cells than the mixtures."""
    rng = np.random.default_rng(seed)
    cells = read_h5ad(CELLS)
    totals = np.asarray(cells.X.sum(0)).ravel()
    cells = cells[:, totals >= 20]
    pools, kept = [], []
    for names in TYPES.values():
        inside = rng.permutation(np.flatnonzero(cells.obs["cell_type"].isin(names)))
        half = len(inside) // 2
        pools.append(cells.X[inside[:half]].tocsr())
        kept.append(inside[half:])
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
    names = [f"s{i}" for i in range(n)]
    obs = pd.DataFrame({"group": np.where(group, "case", "control")}, index=names)
    bulk = AnnData(counts.astype(np.float32), obs=obs, var=pd.DataFrame(index=cells.var_names))
    bulk.var_names_make_unique()
    types = list(TYPES)
    truth = pd.Series([types[t] if t >= 0 else "" for t in which], index=bulk.var_names)
    single = AnnData(cells.X[np.concatenate(kept)].tocsr(), var=pd.DataFrame(index=bulk.var_names))
    single.obs["cell_type"] = np.repeat(types, [len(inside) for inside in kept])
    return Cohort(bulk, truth, single)


def deconvolved(cohort: Cohort) -> AnnData:
    """Fill the slots by RSD, which is told that all types hold the same."""
    import sctandem as td

    bulk = cohort.bulk.copy()
    td.tl.deconvolve(bulk, cohort.reference, "cell_type", contents=dict.fromkeys(TYPES, 1.0), rng=0)
    return bulk


def toast(counts: np.ndarray, shares: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Regress counts per million on shares and on shares times group, as TOAST and csDE do: p-values of genes, and of genes x types."""
    values = counts / counts.sum(1, keepdims=True) * 1e6
    design = np.column_stack([shares, shares * group[:, None]])
    inverse = np.linalg.pinv(design)
    beta, free, n_types = inverse @ values, len(design) - design.shape[1], shares.shape[1]
    left = ((values - design @ beta) ** 2).sum(0)
    error = np.sqrt(np.outer(left / max(free, 1), np.diag(inverse @ inverse.T)[n_types:]))
    if free < 1:
        return np.ones(values.shape[1]), np.ones((values.shape[1], n_types))
    types = 2 * stats.t.sf(np.abs(beta[n_types:].T) / error, free)
    small = ((values - shares @ (np.linalg.pinv(shares) @ values)) ** 2).sum(0)
    genes = stats.f.sf((small - left) / n_types / (left / free), n_types, free)
    return genes, types


def score(method: str, level: str, called: np.ndarray, true: np.ndarray) -> dict[str, object]:
    """Count calls, the part of them that is false, and the part of what is true that is called; a row."""
    n_calls, right = int(called.sum()), int((called & true).sum())
    row: dict[str, object] = {"method": method, "level": level, "calls": n_calls, "false": n_calls - right}
    return row | {"fdp": (n_calls - right) / max(n_calls, 1), "power": right / true.sum() if true.any() else np.nan}


def drivers(
    seed: int,
    n_per_group: int,
    *,
    changed: float = CHANGED,
) -> list[dict[str, object]]:
    """Compare two groups of unlike composition; a row a method and level (genes, genes within types) at a q-value of 0.05.

    `changed=0` is the null: unlike composition and nothing else.
    """
    import sctandem as td

    made = cohort(seed, n_per_group, changed=changed)
    bulk = deconvolved(made)
    start = time.process_time()
    td.tl.drivers(bulk, "group", reference="control", rng=seed)
    seconds = time.process_time() - start
    genes = td.get.drivers(bulk).set_index("gene")
    within = td.get.drivers(bulk, cell_type="all")
    truth = made.changed[genes.index].to_numpy()
    rows = [score(DRIVERS, "genes", (genes["q_value"] <= 0.05).to_numpy(), truth != "")]
    own = made.changed[within["gene"]].to_numpy() == within["cell_type"].to_numpy()
    rows.append(score(DRIVERS, "types", (within["q_value"] <= 0.05).to_numpy(), own))
    counts = np.asarray(bulk[:, genes.index].X, dtype=float)
    shares = bulk.obsm["rsd_rna"].to_numpy()
    group = (bulk.obs["group"] == "case").to_numpy().astype(float)
    one = np.ones(len(group))
    plain = peers.moderated_t(counts, np.column_stack([one, group])).p
    adjusted = peers.voom(counts, np.column_stack([one, shares[:, 1:], group])).p
    by_gene, by_type = toast(counts, shares, group)
    for name, p in {PLAIN: plain, ADJUSTED: adjusted, TOAST: by_gene}.items():
        rows.append(score(name, "genes", stats.false_discovery_control(p) <= 0.05, truth != ""))
    tested = pd.MultiIndex.from_product([genes.index, shares_names(bulk)]).isin(
        pd.MultiIndex.from_frame(within[["gene", "cell_type"]])
    )
    is_own = (truth[:, None] == np.array(shares_names(bulk))).ravel()[tested]
    q_types = stats.false_discovery_control(by_type.ravel()[tested])
    rows.append(score(TOAST, "types", q_types <= 0.05, is_own))
    common = {"seed": seed, "samples a group": n_per_group, "changed": changed, "seconds": seconds, "genes": len(genes)}
    return [row | common for row in rows]


def shares_names(bulk: AnnData) -> list[str]:
    """Return the names of the types."""
    return list(bulk.obsm["rsd_rna"].columns)
