"""sci-CAR A549 cells (Cao 2018): the real data of the benchmark `tape`, and its splits of cells."""

from __future__ import annotations

import hashlib
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.peers import TrainData
from benchmarks.peers._common import log1p_cp10k

if TYPE_CHECKING:
    from mudata import MuData

MULTIOME = Path("multiome") / "scicar_A549.h5mu"
GENES = Path("genome") / "hg19_genes.bed"
LIBRARY_SIZE = "library_size"
TEST_SHARE = 0.2
TARGET, BASELINE = 3, 0
WINDOW = 100_000


@dataclass(frozen=True)
class Split:
    """Positions of the training and of the test cells."""

    seed: int
    train: np.ndarray
    test: np.ndarray

    @property
    def digest(self) -> str:
        """First digits of the hash of the test cells' positions."""
        return hashlib.sha256(self.test.astype("<i8").tobytes()).hexdigest()[:16]


def split(n_cells: int, seed: int, *, test_share: float = TEST_SHARE) -> Split:
    """Draw 80 % of the cells for training and 20 % for testing."""
    order = np.random.default_rng(seed).permutation(n_cells)
    n_test = int(n_cells * test_share)
    return Split(seed, np.sort(order[n_test:]), np.sort(order[:n_test]))


def files() -> list[Path]:
    """Give the files that the benchmark reads."""
    folder = os.environ.get("SCTANDEM_DATA")
    if not folder:
        msg = f"set SCTANDEM_DATA to the folder that holds {MULTIOME} and {GENES}"
        raise ValueError(msg)
    paths = [Path(folder) / MULTIOME, Path(folder) / GENES]
    for path in paths:
        if not path.exists():
            msg = f"the benchmark needs {path}"
            raise FileNotFoundError(msg)
    return paths


def read() -> MuData:
    """Read the cells, with `mdata.uns["gene_windows"]` of 100 kb on both sides of every gene's start."""
    import mudata

    import sctandem as td

    path, genes = files()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mdata = mudata.read_h5mu(path)
        td.pp.gene_windows(mdata, genes=genes, upstream=WINDOW, downstream=WINDOW)
        annotation = td.genome.read_genes(genes).drop_duplicates("name").set_index("name")
    pairs = mdata.uns["gene_windows"]["pairs"]
    lengths = annotation["end"] - annotation["start"]
    mdata.uns["gene_windows"]["pairs"] = pairs.assign(gene_length=lengths.reindex(pairs["gene"].astype(str)).to_numpy())
    return mdata


def train_data(mdata: MuData, cells: np.ndarray) -> TrainData:
    """Give what the peers may see of the training cells."""
    rna, atac = mdata["rna"], mdata["atac"]
    pairs = mdata.uns["gene_windows"]["pairs"]
    return TrainData(
        counts=rna.X[cells],
        atac=atac.X[cells],
        library_size=rna.obs[LIBRARY_SIZE].to_numpy(dtype=np.float64)[cells],
        genes=rna.var_names,
        peaks=atac.var_names,
        pairs=pairs.dropna(subset="gene_length") if "gene_length" in pairs else pairs,
    )


def truth(mdata: MuData, cells: np.ndarray) -> np.ndarray:
    """Give the measured log1p CP10k of cells x genes."""
    rna = mdata["rna"]
    return log1p_cp10k(rna.X[cells], rna.obs[LIBRARY_SIZE].to_numpy(dtype=np.float64)[cells])


def log_library(mdata: MuData, cells: np.ndarray) -> np.ndarray:
    """Give the log library size of the cells."""
    return np.log(np.maximum(mdata["rna"].obs[LIBRARY_SIZE].to_numpy(dtype=np.float64)[cells], 1.0))


def times(mdata: MuData, cells: np.ndarray) -> np.ndarray:
    """Give the hours of treatment of the cells."""
    return mdata["rna"].obs["time_h"].astype(int).to_numpy()[cells]
