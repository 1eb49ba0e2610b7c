"""Peaks and genes whose activities can be worked out by hand, and random ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from sctandem._compat import new_mudata

if TYPE_CHECKING:
    from mudata import MuData

GENES = pd.DataFrame(
    {
        "chrom": ["chr1", "chr1", "chr2"],
        "start": [10_000, 30_000, 5_000],
        "end": [12_000, 40_000, 9_000],
        "strand": list("+-+"),
    },
    index=["A", "B", "C"],
)
#: in A and before it; in A; in B; before B; in C; elsewhere
PEAKS = ["chr1:8900-10100", "chr1:11000-11200", "chr1:39000-39500", "chr1:41000-41100", "chr2:5000-5300", "chr3:1-50"]
CELLS = [f"cell{i}" for i in range(7)]
COUNTS = np.random.default_rng(0).poisson(2.0, (len(CELLS), len(PEAKS)))


def peaks(form=sparse.csr_matrix, dtype=np.float32) -> AnnData:
    return AnnData(form(COUNTS.astype(dtype)), obs=pd.DataFrame(index=CELLS), var=pd.DataFrame(index=PEAKS))


def multiome(genes: pd.DataFrame = GENES) -> MuData:
    rna = AnnData(np.ones((len(CELLS), len(genes)), dtype=np.float32), obs=pd.DataFrame(index=CELLS), var=genes.copy())
    return new_mudata({"rna": rna, "atac": peaks()})


def random_peaks(rng, n_cells=30, n_peaks=300, size=600_000) -> AnnData:
    start = rng.integers(0, size, n_peaks)
    var = pd.DataFrame(
        {"chrom": rng.choice(["chr1", "chr2"], n_peaks), "start": start, "end": start + rng.integers(50, 900, n_peaks)},
        index=[f"p{i}" for i in range(n_peaks)],
    )
    counts = rng.poisson(1.0, (n_cells, n_peaks)) * (rng.random((n_cells, n_peaks)) < 0.3)
    return AnnData(
        sparse.csr_matrix(counts.astype(np.int32)), obs=pd.DataFrame(index=[f"c{i}" for i in range(n_cells)]), var=var
    )


def random_genes(rng, n=25, size=600_000) -> pd.DataFrame:
    start = rng.integers(0, size, n)
    return pd.DataFrame(
        {
            "chrom": rng.choice(["chr1", "chr2"], n),
            "start": start,
            "end": start + rng.integers(200, 40_000, n),
            "strand": rng.choice(["+", "-"], n),
        },
        index=[f"g{i}" for i in range(n)],
    )


def dense(matrix) -> np.ndarray:
    return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)
