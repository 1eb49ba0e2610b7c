"""What `benchmarks/de.py` runs: ours and the peers on the same cells and genes."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from benchmarks._de_data import BATCH, DONOR, GROUP, TYPE, control_cells, grouped, simulated_donors, thinned
from benchmarks.peers import _pseudobulk as peers
from benchmarks.peers._pseudobulk import Tested

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

#: Levels at which the shares of p-values of nulls are kept, for the figure of the guide.
LEVELS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5)
OURS = "sctandem DeepDE"
BULK: dict[str, Callable[[np.ndarray, np.ndarray], Tested]] = {
    "moderated t (limma-like)": peers.moderated_t,
    "moderated t with trend": peers.trended_t,
    "voom-like": peers.voom,
    "quasi-likelihood (edgeR-like)": peers.quasi_likelihood,
}
DESEQ, WILCOXON = "PyDESeq2", "Wilcoxon on cells"


def assessed(
    adata: AnnData,
    *,
    states: str = TYPE,
    covariates: tuple[str, ...] = (),
    deseq: bool = False,
    cells: bool = False,
    shrink: bool = False,
) -> pd.DataFrame:
    """Test all types by ours and the peers; a row a method, type and gene. All methods see the genes and samples that ours tests.

    `states` is what ours is given as `cell_types`; the peers, which know no weights, take `TYPE`. `covariates` are columns of `obs` beside the group; with `shrink` PyDESeq2 shrinks its fold changes as well. The column `shrunken`
    is NaN for methods that do not shrink.
    """
    import sctandem as td

    start = time.process_time()
    td.tl.differential_expression(adata, GROUP, DONOR, cell_types=states, covariates=covariates, reference="A")
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
        design = design_of(first, covariates)
        ours = Tested(*(mine[column].to_numpy() for column in ("p_value", "log2fc_raw", "log2fc")))
        found = {OURS: (ours, own / table["state"].nunique())}
        methods = BULK | ({DESEQ: partial(peers.pydeseq2, shrink=shrink)} if deseq else {})
        for method, run in methods.items():
            start = time.process_time()
            found[method] = (run(counts.astype(float), design), time.process_time() - start)
        if cells:
            mask = (part.obs[GROUP] == "B").to_numpy()
            start = time.process_time()
            found[WILCOXON] = (peers.rank_sums(part.X.toarray(), mask), time.process_time() - start)
        for method, (one, seconds) in found.items():
            columns = {"method": method, "type": name, "gene": mine.index, "p": one.p, "log2fc": one.log2fc}
            shrunken = np.nan if one.shrunken is None else one.shrunken
            parts.append(pd.DataFrame({**columns, "shrunken": shrunken, "seconds": seconds}))
    return pd.concat(parts, ignore_index=True)


def design_of(samples: pd.DataFrame, covariates: tuple[str, ...]) -> np.ndarray:
    """Lay out the design of a table of samples as ours does, the group last."""
    from sctandem.kernels._contrasts import Contrast, lay_out
    from sctandem.kernels._designs import formula_of, make_design

    table = samples.assign(**{GROUP: pd.Categorical(samples[GROUP], ["A", "B"])})
    found = make_design(table, formula_of(GROUP, covariates), GROUP, "A")
    group = Contrast(GROUP, found.difference("B", "A"))
    matrix, last = lay_out(found, np.ones(len(table), dtype=bool), [group]).turned(GROUP)
    return np.column_stack([np.delete(matrix, last, axis=1), matrix[:, last]])


def calibration(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Give a row a method and type: shares of p-values below each of `LEVELS` and below 0.05, and genes reported at 5 %."""
    rows = []
    for (method, name), part in table.groupby(["method", "type"], sort=False):
        p = part["p"].to_numpy()
        row = {"method": method, "type": name, "type1": float((p < 0.05).mean())}
        row["below"] = [round(float((p < level).mean()), 5) for level in LEVELS]
        row["reported"] = int((false_discovery_control(p) < 0.05).sum())
        rows.append(row | {"s": round(float(part["seconds"].iloc[0]), 4)})
    return rows


def null_split(first: tuple[str, ...], *, deseq: bool, cells: bool) -> list[dict[str, Any]]:
    """Test a split of the control cells."""
    return calibration(assessed(grouped(control_cells(), first), deseq=deseq, cells=cells))


def null_simulated(n_cells: int, seed: int, *, deseq: bool) -> list[dict[str, Any]]:
    """Test simulated donors."""
    return calibration(assessed(simulated_donors(n_cells, seed), deseq=deseq))


def power(n: int, keep: float, seed: int, *, batch: bool, deseq: bool) -> list[dict[str, Any]]:
    """Thin genes and look for them."""
    adata, truth = thinned(control_cells(), n, keep, seed, batch=batch)
    rows = []
    found = assessed(adata, covariates=(BATCH,) if batch else (), deseq=deseq)
    for (method, name), part in found.groupby(["method", "type"], sort=False):
        true = truth.loc[part["gene"], name].to_numpy()
        chosen = false_discovery_control(part["p"].to_numpy()) < 0.05
        rows.append({"method": method, "type": name, **discoveries(chosen, true)})
    return rows


def discoveries(chosen: np.ndarray, true: np.ndarray) -> dict[str, Any]:
    """Give the share of true effects that was found, the share of what was reported that is false, and its number."""
    power, false = float(chosen[true].mean()), float((chosen & ~true).sum() / max(chosen.sum(), 1))
    return {"power": round(power, 5), "fdr": round(false, 5), "reported": int(chosen.sum())}
