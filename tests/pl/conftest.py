from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

import sctandem as td
from sctandem._compat import new_mudata
from sctandem._keys import PROGRAMME_VERDICTS, VERDICTS

TYPES = ["CD14 monocyte", "CD4 naive T", "B", "NK"]


@pytest.fixture
def mdata():
    """A multiome with everything that the tools write, made by hand."""
    rng = np.random.default_rng(1)
    n_cells, n_genes = 400, 120
    kind = rng.integers(0, 4, n_cells)
    cells = pd.DataFrame(index=[f"cell{i}" for i in range(n_cells)])
    names = ["MS4A1", "CD14", *[f"GENE{i}" for i in range(n_genes - 2)]]
    genes = pd.DataFrame(
        {
            "chrom": "chr11",
            "start": 60_455_846 + 400_000 * np.arange(n_genes),
            "strand": np.where(np.arange(n_genes) % 2, "-", "+"),
        },
        index=names,
    )
    genes["end"] = genes.start + 15_000
    middle = np.sort(
        np.concatenate([genes.start.to_numpy()[:, None] + rng.integers(-90_000, 90_000, (n_genes, 18))], None).ravel()
    )
    width = rng.integers(300, 2500, len(middle))
    peaks = [f"chr11:{m - w // 2}-{m + w // 2}" for m, w in zip(middle, width, strict=True)]
    rate = rng.gamma(0.6, 0.4, (4, len(peaks)))
    atac = AnnData(
        sparse.csr_matrix(rng.poisson(rate[kind]).astype(np.float32)),
        obs=cells.copy(),
        var=pd.DataFrame(index=pd.Index(peaks)[:]),
    )
    atac = atac[:, ~atac.var_names.duplicated()].copy()
    level = rng.gamma(0.5, 3.0, (4, n_genes))
    rna = AnnData(sparse.csr_matrix(rng.poisson(level[kind]).astype(np.float32)), obs=cells.copy(), var=genes)
    size = np.asarray(rna.X.sum(axis=1))
    predicted = level[kind] * rng.lognormal(0, 0.35, (n_cells, n_genes))
    rna.layers["tape"] = (1e4 * predicted / size.mean()).astype(np.float32)
    pearson = np.clip(rng.beta(1.4, 4, n_genes) - 0.05, -0.1, 0.95)
    verdict = np.where(pearson > 0.3, 0, np.where(pearson > 0.12, 1, 2))
    verdict[-12:] = 3
    rna.var["tape_pearson"] = np.where(verdict == 3, np.nan, pearson)
    rna.var["tape_gain"] = np.where(verdict == 3, np.nan, pearson - 0.3)
    rna.var["tape_verdict"] = pd.Categorical.from_codes(verdict, VERDICTS)
    mdata = new_mudata({"rna": rna, "atac": atac})
    mdata.obs["cell_type"] = pd.Categorical.from_codes(kind, TYPES)
    mdata.obs["tape_heldout"] = np.arange(n_cells) % 5 == 0
    mdata.uns["tape"] = {"params": {}}
    td.pp.gene_windows(mdata)
    links = td.get.gene_windows(mdata)[["peak", "gene", "distance"]]
    weight = rng.gamma(0.7, 0.3, len(links)) * np.exp(-links["distance"].abs() / 60_000)
    links = links.assign(weight=weight, sign=rng.choice([-1, 1, 1], len(links)).astype(np.int8))
    links = links.assign(pvalue=np.exp(-25 * weight), fdr=np.exp(-20 * weight))
    mdata.uns["tape_links"] = {"params": {}, "table": links.sort_values("fdr", ignore_index=True)}
    table = pd.DataFrame(
        {
            "programme": [
                "S phase",
                "G2/M phase",
                "Interferon response",
                "T cell activation",
                "Ribosome",
                "Oxidative phosphorylation",
            ],
            "n_genes": [43, 54, 97, 120, 80, 115],
            "pearson": [0.08, 0.05, 0.19, 0.26, 0.02, -0.01],
            "gain_mean": [0.02, 0.01, 0.09, 0.14, -0.01, -0.02],
            "score_pearson": [0.21, 0.17, 0.58, 0.71, 0.06, -0.08],
        }
    )
    table["verdict"] = pd.Categorical.from_codes([1, 1, 0, 0, 2, 2], PROGRAMME_VERDICTS)
    mdata.uns["tape_programmes"] = {"params": {}, "table": table}
    return mdata
