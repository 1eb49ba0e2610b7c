"""Twelve files of cells resampled from real sets, with different genes, names of genes, words and columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anndata
import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from benchmarks._real_data import real_file

if TYPE_CHECKING:
    from pathlib import Path

#: Real sets, the column with the types, and how many of the twelve files are made of each.
SETS = {"zheng_pbmc_facs10": 8, "kang_harmony_ctrl1000_stim1000": 4}
COLUMNS = ("cell_type", "celltype", "annotation", "labels")
#: Share of the genes that a file has, and of its cells that are those of the file before.
SHARE, AGAIN = 0.8, 0.02


def files() -> list[Path]:
    """Give the real files."""
    return [real_file(f"rna/{name}.h5ad") for name in SETS]


def make(folder: Path, n_cells: int, n_genes: int, seed: int) -> list[Path]:
    """Write the twelve files: each count is a Poisson draw around that of a real cell."""
    rng = np.random.default_rng(seed)
    known = _symbols(files()[0])
    references = [_reference(file, known) for file in files()]
    totals = pd.concat([pd.Series(np.asarray(a.X.sum(0)).ravel() / a.n_obs, index=a.var_names) for a in references])
    genes = totals.groupby(level=0).sum().nlargest(n_genes).index
    ids = {symbol: gene for gene, symbol in known.items()}
    per_file, paths, before = n_cells // sum(SETS.values()), [], None
    for number in range(sum(SETS.values())):
        reference = references[0] if number < list(SETS.values())[0] else references[1]
        own = genes[rng.random(len(genes)) < SHARE].intersection(reference.var_names, sort=False)
        part = reference[:, own]
        draws = rng.integers(reference.n_obs, size=per_file)
        counts = sparse.csr_matrix(part.X)[draws].astype(np.float32)
        counts.data = rng.poisson(counts.data).astype(np.float32)
        counts.eliminate_zeros()
        letters = rng.choice(np.frombuffer(b"ACGT", dtype="S1"), (per_file, 16)).view("S16").ravel().astype(str)
        words = part.obs["cell_type"].astype(str).to_numpy()[draws]
        names = own.to_numpy(dtype=object)
        if number % 3 == 0:  # ids with versions, symbols beside them
            names = np.array([f"{ids[g]}.{number}" if g in ids else g for g in own], dtype=object)
        obs = pd.DataFrame({COLUMNS[number % 4]: pd.Categorical(words), "donor": f"d{number % 3}"}, index=letters)
        adata = AnnData(counts, obs=obs, var=pd.DataFrame({"gene_symbols": own.to_numpy()}, index=pd.Index(names)))
        if before is not None and number % 3:
            adata = _again(adata, before, int(AGAIN * per_file))
        path = folder / f"part{number:02d}.h5ad"
        adata.write_h5ad(path)
        paths.append(path)
        before = (adata[: int(AGAIN * per_file)].copy(), own)
    return paths


def _again(adata: AnnData, before: tuple[AnnData, pd.Index], n: int) -> AnnData:
    """Put the first cells of the file before in the place of the last ones, with the genes of this file."""
    earlier, own_before = before
    places = own_before.get_indexer(adata.var["gene_symbols"])
    counts = sparse.csc_matrix(earlier.X)[:, np.maximum(places, 0)].tolil()
    counts[:, places < 0] = 0
    whole = sparse.vstack([adata.X[:-n], sparse.csr_matrix(counts)], format="csr").astype(np.float32)
    whole.eliminate_zeros()
    names = [*adata.obs_names[:-n], *(f"again_{name}" for name in earlier.obs_names)]
    return AnnData(whole, obs=adata.obs.set_axis(names, axis=0), var=adata.var)


def _symbols(file: Path) -> dict[str, str]:
    """Give id and symbol of the genes of the set that has both."""
    var = anndata.read_h5ad(file, backed="r").var
    column = next(c for c in var if var[c].astype(str).str.startswith("ENSG").mean() > 0.5)
    pairs = pd.Series(var.index.astype(str), index=var[column].astype(str))
    return pairs[~pairs.duplicated(keep=False)].to_dict()


def _reference(file: Path, known: dict[str, str]) -> AnnData:
    """Read a set under symbols that are there once."""
    adata = anndata.read_h5ad(file)
    symbols = set(known.values())
    keep = ~adata.var_names.duplicated(keep=False) & (adata.var_names.isin(symbols) | (len(adata.var_names) < 10_000))
    return adata[:, keep].copy()
