"""Small scattered sources whose truth is known."""

from __future__ import annotations

import hashlib
import warnings
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

if TYPE_CHECKING:
    from pathlib import Path

N_GENES = 400
IDS = [f"ENSG{i:011d}" for i in range(1, N_GENES + 1)]
SYMBOLS = [f"G{i}" for i in range(1, N_GENES + 1)]


def barcodes(n: int, seed: int) -> list[str]:
    letters = np.random.default_rng(seed).choice(list("ACGT"), (n, 16))
    return ["".join(row) for row in letters]


def counts(n: int, seed: int, n_genes: int = N_GENES) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.negative_binomial(1, 1 / (1 + rng.gamma(1, 1, n_genes)), (n, n_genes)).astype(np.float32)


def sources(folder: Path) -> dict[str, AnnData]:
    """Four files with 150 cells of different genes, names and forms; `b` holds 20 cells of `a`. Returns what is in them."""
    rng = np.random.default_rng(5)
    whole = counts(150, 1)
    a = AnnData(
        sparse.csr_matrix(whole), obs=_obs(150, ["T cell", "B cell"]), var=pd.DataFrame({"symbol": SYMBOLS}, index=IDS)
    )
    a.obs_names = [f"{name}-1" for name in barcodes(150, 11)]
    a.var_names = [f"{name}.{i % 7}" for i, name in enumerate(IDS)]
    some = np.sort(rng.choice(N_GENES, 300, replace=False))
    b_counts = counts(60, 2)
    b_counts[:20] = whole[30:50]
    order = rng.permutation(some)
    b = AnnData(
        b_counts[:, order], obs=_obs(60, ["t_cell", "NK"], "celltype"), var=pd.DataFrame(index=np.array(SYMBOLS)[order])
    )
    b.obs_names = [f"liver_{name}" for name in [*barcodes(150, 11)[30:50], *barcodes(40, 12)]]
    c = AnnData(sparse.csc_matrix(counts(50, 3)), var=pd.DataFrame(index=IDS))
    c.obs_names = barcodes(50, 13)
    folder.mkdir(parents=True, exist_ok=True)
    a.write_h5ad(folder / "a.h5ad")
    b.write_h5ad(folder / "b.h5ad")
    with warnings.catch_warnings():  # version 2 or 3 of zarr, as anndata has it
        warnings.simplefilter("ignore")  # what anndata has to say of its next defaults
        c.write_zarr(folder / "c.zarr")
    d = counts(40, 4)
    write_tenx(folder / "d.h5", d)
    return {
        "a": a,
        "b": b,
        "c": c,
        "d": AnnData(d, obs=pd.DataFrame(index=barcodes(40, 14)), var=pd.DataFrame(index=IDS)),
    }


def _obs(n: int, words: list[str], column: str = "cell_type") -> pd.DataFrame:
    return pd.DataFrame({column: [words[i % 2] for i in range(n)], "donor": "d1"}, index=[str(i) for i in range(n)])


def write_tenx(path: Path, dense: np.ndarray) -> None:
    """Write the matrix of 10x, with one feature that is not a gene."""
    matrix = sparse.csr_matrix(np.column_stack([dense, np.ones(len(dense))]))
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(matrix, name).astype(np.int64)
        group["shape"] = np.array([N_GENES + 1, len(dense)])
        group["barcodes"] = np.array([f"{name}-1" for name in barcodes(len(dense), 14)], dtype="S")
        features = group.create_group("features")
        features["id"] = np.array([*IDS, "chr1:1-500"], dtype="S")
        features["name"] = np.array([*SYMBOLS, "chr1:1-500"], dtype="S")
        features["feature_type"] = np.array([*["Gene Expression"] * N_GENES, "Peaks"], dtype="S")


def hashes(folder: Path) -> dict[str, str]:
    """Hash all files below a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def build_small(
    folder: Path, out: Path, *, genes: str | list[str] = "union", words: pd.DataFrame | None = None, **options
):
    """Build in blocks of a few cells, so that there are many units and shards."""
    from sctandem.data import _build_collection
    from sctandem.data._plan import Settings
    from sctandem.data._sources import find_sources
    from sctandem.data._words import columns_to_find, read_words

    settings = Settings(
        "human", genes, columns_to_find(None), read_words(words), None, block_entries=6000, block_cells=40
    )
    options = {"skip_broken": False, "resume": False, "rng": 0, **options}
    return _build_collection.build(find_sources(folder), out, settings, **options)
