"""Cells with both modalities, windows and folds for the part `learned` of the benchmark `gene_activity`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import _a549, _tape_simulation
from benchmarks.peers._common import log1p_cp10k
from sctandem.kernels._activity_features import WindowPairs, starts_between

if TYPE_CHECKING:
    import pandas as pd
    from mudata import MuData
    from scipy import sparse

#: Genes are held out by so many folds of chromosomes.
N_FOLDS = 5
A549, SIMULATED = "A549", "simulation"


@dataclass(frozen=True)
class Paired:
    """One data set: counts of peaks, log1p CP10k, log library size, windows, chromosomes; rates where they are known."""

    counts: sparse.csr_matrix
    expression: np.ndarray
    log_library: np.ndarray
    pairs: WindowPairs
    chromosome: np.ndarray
    rate: np.ndarray | None = None

    def folds(self, seed: int) -> np.ndarray:
        """Divide the genes by chromosome, in another way for every seed."""
        names = np.unique(self.chromosome)
        mixed = dict(zip(names, np.random.default_rng(seed).permutation(len(names)), strict=True))
        return random_folds(np.array([mixed[name] for name in self.chromosome]), N_FOLDS)


def random_folds(code: np.ndarray, n_folds: int) -> np.ndarray:
    """Fill folds with chromosomes in the order of their codes, each into the fold with the fewest genes."""
    load, out = np.zeros(n_folds), np.zeros(len(code), dtype=np.int64)
    for name in np.unique(code):
        fold = int(load.argmin())
        out[code == name] = fold
        load[fold] += (code == name).sum()
    return out


def of_genes(pairs: WindowPairs, genes: np.ndarray) -> WindowPairs:
    """Keep the pairs of some genes, numbered anew."""
    number = np.full(pairs.n_genes, -1)
    number[genes] = np.arange(len(genes))
    kept = number[pairs.gene] >= 0
    parts = {name: getattr(pairs, name)[kept] for name in ("peak", "distance", "length", "between")}
    return replace(pairs, gene=number[pairs.gene[kept]], **parts, n_genes=len(genes))


def read(name: str, seed: int) -> Paired:
    """Read the real cells, or draw the simulation of a seed."""
    import sctandem as td

    if name == A549:
        mdata = _a549.read()
        annotation = td.genome.read_genes(_a549.files()[1])
        library = mdata["rna"].obs[_a549.LIBRARY_SIZE].to_numpy(dtype=np.float64)
        tss = td.genome.gene_tss(annotation)
        bodies = annotation.drop_duplicates("name").set_index("name")
    else:
        mdata = _tape_simulation.simulate("default", seed)
        library = np.asarray(mdata["rna"].X.sum(axis=1), dtype=np.float64).ravel()
        tss = bodies = mdata["rna"].var
    return _paired(mdata, library, tss, bodies["end"] - bodies["start"])


def another_sample(seed: int, n_cells: int) -> Paired:
    """Draw other cells of the simulation of a seed: the same genome and regulation."""
    import sctandem as td

    mdata = td.datasets.simulate_multiome(n_cells, rng=seed)
    td.pp.gene_windows(mdata, upstream=_a549.WINDOW, downstream=_a549.WINDOW)
    var = mdata["rna"].var
    return _paired(
        mdata, np.asarray(mdata["rna"].X.sum(axis=1), dtype=np.float64).ravel(), var, var["end"] - var["start"]
    )


def _paired(mdata: MuData, library: np.ndarray, tss: pd.DataFrame, lengths: pd.Series) -> Paired:
    rna, atac = mdata["rna"], mdata["atac"]
    windows = mdata.uns["gene_windows"]
    pairs, genes = windows["pairs"], windows["genes"].reindex(rna.var_names)
    gene, peak = rna.var_names.get_indexer(pairs["gene"]), atac.var_names.get_indexer(pairs["peak"])
    start = genes["tss"].to_numpy(dtype=np.float64)[gene]
    forward = np.where(genes["strand"].astype(str).to_numpy()[gene] == "-", -1, 1)
    distance = pairs["distance"].to_numpy(dtype=np.float64)
    width = np.zeros(atac.n_vars)
    width[peak] = pairs["width"]
    length = lengths[~lengths.index.duplicated()].reindex(rna.var_names)
    between = starts_between(
        genes["chrom"].astype(str).to_numpy()[gene],
        start + forward * distance,
        start,
        all_chrom=tss["chrom"].astype(str).to_numpy(),
        all_tss=tss["tss"].to_numpy(dtype=np.float64),
    )
    return Paired(
        atac.X.tocsr(),
        log1p_cp10k(rna.X.tocsr(), library),
        np.log(np.maximum(library, 1.0)),
        WindowPairs(gene, peak, distance, length.fillna(length.median()).to_numpy()[gene], between, width, rna.n_vars),
        genes["chrom"].astype(str).to_numpy(),
        rna.layers.get("true_rate"),
    )
