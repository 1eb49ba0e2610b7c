"""A small multiome in which it is known which factor regulates which gene over which site."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from mudata import MuData
from scipy import sparse

TFS = [f"T{i}" for i in range(4)]


def multiome(seed: int = 0, n: int = 1000) -> MuData:
    """Each factor opens five sites, each near one gene of its own, of which three are raised and two lowered."""
    rng = np.random.default_rng(seed)
    activity = rng.gamma(1.0, size=(n, 4))
    genes = TFS + [f"G{i}" for i in range(20)]
    rate = np.full((n, 24), 3.0)
    open_ = np.full((n, 60), 0.5)
    for tf in range(4):
        rate[:, tf] = 1 + 2 * activity[:, tf]
        for i in range(5):
            open_[:, 5 * tf + i] = 0.2 + 2 * activity[:, tf]
            rate[:, 4 + 5 * tf + i] = np.exp((1 if i < 3 else -1) * 0.8 * np.minimum(activity[:, tf], 3)) * 3
    rna = AnnData(sparse.csr_matrix(rng.poisson(rate).astype("float32")), var=pd.DataFrame(index=genes))
    peaks = pd.DataFrame(index=[f"p{i}" for i in range(60)])
    atac = AnnData(sparse.csr_matrix(rng.poisson(open_).astype("float32")), var=peaks)
    atac.obs_names = rna.obs_names = [f"c{i}" for i in range(n)]
    rna.obs["group"] = np.where(activity[:, 0] > 1, "high", "low")
    motifs = np.zeros((60, 4), dtype=np.int32)
    motifs[np.arange(20), np.repeat(np.arange(4), 5)] = 1
    motifs[20 + rng.integers(0, 40, 40), rng.integers(0, 4, 40)] = 1
    atac.varm["motifs"] = sparse.csr_matrix(motifs)
    atac.uns["motifs"] = {"names": TFS}
    # every gene lies near its own site and two others
    gene = np.repeat(np.arange(4, 24), 3)
    peak = np.stack([np.arange(20), 20 + np.arange(20), 40 + np.arange(20)], axis=1).ravel()
    names = {"gene": [genes[g] for g in gene], "peak": [f"p{p}" for p in peak]}
    mdata = MuData({"rna": rna, "atac": atac})
    mdata.uns["gene_windows"] = {"pairs": pd.DataFrame(names | {"distance": 1000, "width": 500})}
    return mdata


def true_edges() -> dict[tuple[str, str], int]:
    """From factor and gene to the sign."""
    return {(TFS[tf], f"G{5 * tf + i}"): 1 if i < 3 else -1 for tf in range(4) for i in range(5)}
