"""What `benchmarks/de.py` runs: ours and the peers on the same cells and genes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from benchmarks._de_data import BATCH, DONOR, GROUP, TYPE, control_cells, grouped, simulated_donors, splits, thinned
from benchmarks.peers import _pseudobulk as peers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from anndata import AnnData

OURS = "sctandem DeepDE"
BULK: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "moderated t (limma-like)": peers.moderated_t,
    "moderated t with trend": peers.trended_t,
    "voom-like": peers.voom,
    "quasi-likelihood (edgeR-like)": peers.quasi_likelihood,
}
DESEQ, WILCOXON = "PyDESeq2", "Wilcoxon on cells"


def p_values(adata: AnnData, *, batch: bool = False, deseq: bool = False, cells: bool = False) -> pd.DataFrame:
    """Test all types by ours and the peers; a row a method, type and gene. All methods see the genes and samples that ours tests."""
    import sctandem as td

    start = time.process_time()
    td.tl.differential_expression(adata, GROUP, DONOR, cell_types=TYPE, design=(BATCH,) if batch else (), reference="A")
    own = time.process_time() - start
    table = td.get.de(adata)
    samples = adata.uns["deepde"]["samples"]
    parts = []
    for name in table["state"].unique():
        mine = table[table["state"] == name].set_index("gene")
        used = list(samples.loc[(samples["state"] == name) & samples["used"], "sample"])
        inside = (adata.obs[TYPE] == name).to_numpy()
        part = adata[inside, mine.index]
        counts = np.array([np.asarray(part.X[(part.obs[DONOR] == one).to_numpy()].sum(0)).ravel() for one in used])
        first = part.obs.drop_duplicates(DONOR).set_index(DONOR).loc[used]
        design = [np.ones(len(used))] + ([first[BATCH] == "one"] if batch else []) + [first[GROUP] == "B"]
        design = np.column_stack(design).astype(float)
        found = {OURS: (mine["p_value"].to_numpy(), own / table["state"].nunique())}
        methods = BULK | ({DESEQ: peers.pydeseq2} if deseq else {})
        for method, run in methods.items():
            start = time.process_time()
            found[method] = (run(counts.astype(float), design), time.process_time() - start)
        if cells:
            mask = (part.obs[GROUP] == "B").to_numpy()
            start = time.process_time()
            found[WILCOXON] = (peers.rank_sums(part.X.toarray(), mask), time.process_time() - start)
        for method, (p, seconds) in found.items():
            parts.append(pd.DataFrame({"method": method, "type": name, "gene": mine.index, "p": p, "seconds": seconds}))
    return pd.concat(parts, ignore_index=True)


def calibration(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Give a row a method and type: share of p-values below 0.05, and genes reported at 5 %."""
    rows = []
    for (method, name), part in table.groupby(["method", "type"], sort=False):
        p = part["p"].to_numpy()
        reported = int((false_discovery_control(p) < 0.05).sum())
        seconds = float(part["seconds"].iloc[0])
        rows.append(
            {"method": method, "type": name, "type1": float((p < 0.05).mean()), "reported": reported, "s": seconds}
        )
    return rows


def null_split(first: tuple[str, ...], *, deseq: bool, cells: bool) -> list[dict[str, Any]]:
    """Test a split of the control cells."""
    adata = grouped(control_cells(), first)
    return [{"first": "+".join(first), **row} for row in calibration(p_values(adata, deseq=deseq, cells=cells))]


def null_simulated(n_cells: int, seed: int, *, deseq: bool) -> list[dict[str, Any]]:
    """Test simulated donors."""
    table = p_values(simulated_donors(n_cells, seed), deseq=deseq)
    return [{"cells": n_cells, "seed": seed, **row} for row in calibration(table)]


def power(n: int, keep: float, seed: int, *, batch: bool, deseq: bool) -> list[dict[str, Any]]:
    """Thin genes and look for them."""
    adata, truth = thinned(control_cells(), n, keep, seed, batch=batch)
    rows = []
    for (method, name), part in p_values(adata, batch=batch, deseq=deseq).groupby(["method", "type"], sort=False):
        true = truth.loc[part["gene"], name].to_numpy()
        chosen = false_discovery_control(part["p"].to_numpy()) < 0.05
        row = {"n": n, "keep": keep, "seed": seed, "batch": batch, "method": method, "type": name}
        row |= {"power": float(chosen[true].mean()), "fdr": float((chosen & ~true).sum() / max(chosen.sum(), 1))}
        rows.append(row | {"reported": int(chosen.sum())})
    return rows


def all_splits(sizes: Iterable[int]) -> list[tuple[str, ...]]:
    """List all splits of these sizes of the first group."""
    return [one for size in sizes for one in splits(size)]
