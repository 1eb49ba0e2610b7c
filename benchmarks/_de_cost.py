"""Time and memory of `tl.differential_expression`, each run in a process of its own."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from anndata import AnnData
from scipy import sparse

from benchmarks._de_data import DONOR, GROUP, TYPE, control_cells, grouped, splits
from benchmarks._measure import measure

KANG, LARGE = "12,261 cells x 1,287 genes, 8 donors", "100,000 cells x 5,000 genes, 40 samples, 8 types"
#: Part of the entries of the large matrix that are not 0.
DENSITY = 0.1
BLOCK = 10_000


def large(n_cells: int = 100_000, n_genes: int = 5_000, n_samples: int = 40, seed: int = 0) -> AnnData:
    """Draw sparse counts of many samples, without effects, block by block."""
    rng = np.random.default_rng(seed)
    level = np.exp(rng.normal(0, 1.2, n_genes))
    level *= -np.log(1 - DENSITY) * n_genes / level.sum()
    blocks = []
    for start in range(0, n_cells, BLOCK):
        depth = np.exp(rng.normal(0, 0.3, (min(BLOCK, n_cells - start), 1)))
        blocks.append(sparse.csr_matrix(rng.poisson(depth * level).astype(np.float32)))
    adata = AnnData(sparse.vstack(blocks, format="csr"))
    sample = np.arange(n_cells) % n_samples
    adata.obs[DONOR], adata.obs[GROUP] = sample.astype(str), np.where(sample % 2 == 0, "A", "B")
    adata.obs[TYPE] = rng.integers(0, 8, n_cells).astype(str)
    return adata


def kang_seconds() -> dict[str, float]:
    """Test the control cells by ours, cells to tables, and give the seconds and those of the processor."""
    import sctandem as td

    adata = grouped(control_cells(), splits(4)[0])
    td.tl.differential_expression(adata, GROUP, DONOR, cell_types=TYPE, reference="A", copy=True)  # compiles
    return _timed(adata)


def _timed(adata: AnnData) -> dict[str, float]:
    import sctandem as td

    start, used = time.perf_counter(), time.process_time()
    td.tl.differential_expression(adata, GROUP, DONOR, cell_types=TYPE, reference="A")
    return {"seconds": time.perf_counter() - start, "cpu": time.process_time() - used}


def kang_deseq() -> dict[str, float]:
    """Test the same types and genes by PyDESeq2, from sums that are there."""
    import sctandem as td
    from benchmarks._de_runs import design_of
    from benchmarks.peers._pseudobulk import pydeseq2

    adata = grouped(control_cells(), splits(4)[0])
    td.tl.differential_expression(adata, GROUP, DONOR, cell_types=TYPE, reference="A")
    table = td.get.de(adata)
    jobs = []
    for name in table["state"].unique():
        part = adata[(adata.obs[TYPE] == name).to_numpy(), table.loc[table["state"] == name, "gene"].to_numpy()]
        first = part.obs.drop_duplicates(DONOR).set_index(DONOR)
        sums = [np.asarray(part.X[(part.obs[DONOR] == one).to_numpy()].sum(0)).ravel() for one in first.index]
        jobs.append((np.array(sums, dtype=float), design_of(first, ())))
    pydeseq2(*jobs[0])  # imports
    start, used = time.perf_counter(), time.process_time()
    for job in jobs:
        pydeseq2(*job)
    return {"seconds": time.perf_counter() - start, "cpu": time.process_time() - used}


def large_seconds() -> dict[str, float]:
    """Test the large set by ours."""
    return _timed(large())


RUNS = {
    (KANG, "sctandem DeepDE"): kang_seconds,
    (KANG, "PyDESeq2"): kang_deseq,
    (LARGE, "sctandem DeepDE"): large_seconds,
}


def cost(what: str, method: str) -> list[dict[str, Any]]:
    """Measure one run; the peak is that of the whole process, the data and the imports among it."""
    found = measure(RUNS[what, method])
    row = {"what": what, "method": method, "s": found.value["seconds"], "CPU s": found.value["cpu"]}
    return [{**row, "peak MB": found.peak_mb}]
