"""Cells with labels that do not come from their expression alone: the real data of the benchmarks of clusters and labels."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anndata
import numpy as np

from benchmarks._real_data import real_file

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

FOLDER = "rna"
LABEL, BATCH = "label", "batch"
N_TOP_GENES, N_COMPONENTS = 2000, 30


@dataclass(frozen=True)
class LabelledSet:
    """Where a set lies and what is kept of it.

    `singlets` keeps the cells that genotypes show to be one cell, `in_all_batches` the genes that every batch could measure,
    and `depth` names a column with the depth where the genes are a selection.
    """

    name: str
    file: str
    title: str
    batch: str | None = None
    depth: str | None = None
    singlets: bool = False
    in_all_batches: bool = False


SETS = (
    LabelledSet("zheng", "zheng_pbmc_facs10.h5ad", "PBMC, ten sorted populations (Zheng 2017)"),
    LabelledSet(
        "mixology",
        "sc_mixology_cell_lines.h5ad",
        "five cell lines by genotype, five batches (Tian 2019)",
        batch="batch",
        singlets=True,
        in_all_batches=True,
    ),
    LabelledSet("worm", "worm_neuron.h5ad", "worm neurons, ten types (Cao 2017)"),
    LabelledSet(
        "symphony", "symphony_pbmc_3tech.h5ad", "PBMC of three chemistries, nine types (Kang 2021)", "batch", "nUMI"
    ),
    LabelledSet("paul15", "paul15.h5ad", "myeloid progenitors, 19 clusters (Paul 2015)"),
)
BY_NAME = {entry.name: entry for entry in SETS}


def path(entry: LabelledSet) -> Path:
    """Give the file of a set."""
    return real_file(f"{FOLDER}/{entry.file}")


def read(name: str) -> AnnData:
    """Read a set: counts in `X` (CSR), `obs["label"]`, and `obs["batch"]` where it has batches; empty genes are left out."""
    entry = BY_NAME[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adata = anndata.read_h5ad(path(entry))
    if entry.singlets:
        adata = adata[adata.obs["demuxlet_cls"] == "SNG"]
    if entry.in_all_batches:
        adata = adata[:, adata.var["n_batches_detected"] == adata.obs[entry.batch].nunique()]
    adata = adata[:, np.asarray((adata.X > 0).sum(axis=0)).ravel() > 0].copy()
    adata.obs_names_make_unique()
    adata.obs[LABEL] = adata.obs["cell_type"].astype(str).astype("category")
    if entry.batch is not None:
        adata.obs[BATCH] = adata.obs[entry.batch].astype(str).astype("category")
    return adata


def add_principal_components(adata: AnnData, *, depth: str | None = None, seed: int = 0) -> None:
    """Write scanpy's usual `obsm["X_pca"]`: log1p of counts per 10,000, 2,000 variable genes, 30 components.

    `depth` names a column with the depth of the cells, where the genes are a selection.
    """
    import scanpy as sc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        work = adata.copy()
        if depth is None:
            sc.pp.normalize_total(work, target_sum=1e4)
        else:
            scale = 1e4 / work.obs[depth].to_numpy(dtype=float)
            work.X = work.X.multiply(scale[:, None]).tocsr()
        sc.pp.log1p(work)
        if work.n_vars > N_TOP_GENES:
            sc.pp.highly_variable_genes(work, n_top_genes=N_TOP_GENES)
            work = work[:, work.var["highly_variable"]].copy()
        sc.pp.pca(work, n_comps=N_COMPONENTS, random_state=seed)
    adata.obsm["X_pca"] = np.ascontiguousarray(work.obsm["X_pca"], dtype=np.float32)
