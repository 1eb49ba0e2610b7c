"""Inputs of the same kind at several numbers of cells: made once in a folder, loaded by the process that measures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData
    from mudata import MuData

#: The first is for what is done once in a process (imports, compilation); the growth is that between the others.
SIZES = (1_000, 10_000, 40_000)
N_GENES, N_PEAKS, N_DIMENSIONS = 500, 1_000, 20
FRAGMENTS_A_CELL = 50
FACTORS = [f"G{i:04d}" for i in range(1, 17)]


def make(folder: Path, sizes: tuple[int, ...] = SIZES) -> None:
    """Write the inputs of all sizes."""
    import sctandem as td

    design = td.datasets.SimulationDesign(n_types=6, n_donors=4, n_batches=2, gene_spacing=30_000)
    fasta = folder / "genome.fa"
    for n in sizes:
        mdata = td.datasets.simulate_multiome(n, N_GENES, N_PEAKS, design=design, fasta=fasta, rng=0)
        del mdata["rna"].layers["true_rate"]  # dense, and no part of what a user has
        del mdata.uns["truth"]
        _represent(mdata["rna"])
        td.pp.gene_windows(mdata)
        td.pp.sequence_features(mdata, fasta, k=2)
        td.pp.nucleotide_spectrum(mdata, fasta, k=3, motifs=_motifs(), p_value=1e-3, max_unknown=1.0)
        mdata.write_h5mu(folder / f"multiome_{n}.h5mu")
        _write_source(mdata["rna"], folder / f"source_{n}.h5ad")


def multiome(folder: Path, n: int) -> MuData:
    """Cells x (500 genes, 1,000 peaks) with windows, sequence features and motifs."""
    import mudata

    return mudata.read_h5mu(folder / f"multiome_{n}.h5mu")


def cells(folder: Path, n: int) -> AnnData:
    """Cells x 500 genes with types, donors, batches, conditions and principal components."""
    import mudata

    return mudata.read_h5ad(folder / f"multiome_{n}.h5mu", "rna")


def source(folder: Path, n: int) -> Path:
    """Counts of cells in a file, for a collection."""
    return folder / f"source_{n}.h5ad"


def collection(folder: Path, n: int) -> Any:
    """A collection of the cells on disk, built when it is asked for first."""
    import sctandem as td

    path = folder / f"collection_{n}"
    if not path.exists():
        td.data.build_collection(source(folder, n), path, organism="human", rng=0)
    return td.data.open_collection(path)


def fragment_file(folder: Path, n: int) -> Path:
    """Sorted fragments of one chromosome with their index, 50 a cell."""
    import pysam

    packed = folder / f"fragments_{n}.tsv.gz"
    if not packed.exists():
        rng = np.random.default_rng(0)
        start = np.sort(rng.integers(0, 3_000_000, FRAGMENTS_A_CELL * n)).tolist()
        cell = rng.integers(0, n, len(start)).tolist()
        plain = folder / f"fragments_{n}.tsv"
        with plain.open("w") as file:
            file.writelines(f"chr1\t{a}\t{a + 200}\tcell_{c:06d}-1\t1\n" for a, c in zip(start, cell, strict=True))
        pysam.tabix_compress(str(plain), str(packed), force=True)
        pysam.tabix_index(str(packed), preset="bed", force=True)
    return packed


def _represent(adata: AnnData) -> None:
    """Add principal components of log counts."""
    from sklearn.decomposition import TruncatedSVD

    depth = np.asarray(adata.X.sum(axis=1)).ravel()
    scaled = adata.X.multiply(np.median(depth) / depth[:, None]).tocsr().log1p()
    adata.obsm["X_pca"] = TruncatedSVD(N_DIMENSIONS, random_state=0).fit_transform(scaled).astype(np.float32)


def _motifs() -> Any:
    """Sixteen short motifs under the names of the first genes."""
    from sctandem.genome import read_motifs

    rng = np.random.default_rng(0)
    return read_motifs({name: np.eye(4)[rng.integers(0, 4, 8)] * 9 + 1 for name in FACTORS})


def _write_source(rna: AnnData, path: Path) -> None:
    from anndata import AnnData

    plain = AnnData(rna.X.copy(), obs=rna.obs[["cell_type", "donor"]].copy())
    plain.obs_names, plain.var_names = rna.obs_names, rna.var_names
    plain.write_h5ad(path)
