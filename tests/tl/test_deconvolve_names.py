from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData
from mixtures import bulk, compositions, profiles, reference

import sctandem as td


@pytest.mark.parametrize("named", ["symbols", "identifiers"])
def test_genes_by_samples_are_seen(named):
    shares = profiles()
    cells, samples = reference(shares), bulk(shares, compositions(8))
    if named == "identifiers":
        cells.var["gene_ids"] = [f"ENSG{i:011d}" for i in range(300)]
        samples.var_names = [f"{name}.7" for name in cells.var["gene_ids"]]
    turned = AnnData(samples.X.T.copy(), obs=samples.var[[]], var=samples.obs[[]])
    turned.X[5] = 0  # a gene that is seen nowhere is no empty sample
    with pytest.raises(ValueError, match=r"genes x samples: 300 of its 300 obs_names .*bulk = bulk\.T\.copy\(\)"):
        td.tl.deconvolve(turned, cells, "cell_type")


def test_names_that_agree_by_chance_are_no_match():
    """Human C1orf43 and mouse C1orf43 are written alike, all other names are not."""
    more = np.tile(profiles(), (1, 6)) / 6
    cells = reference(more, depth=20_000)
    samples = bulk(more, compositions(8))
    alike = np.arange(1800) < 150
    samples.var_names = [name if same else name.lower() for name, same in zip(cells.var_names, alike, strict=True)]
    with pytest.raises(ValueError, match=r"150 genes in common; at least 100, and 10% of the smaller \(1800 genes\)"):
        td.tl.deconvolve(samples, cells, "cell_type")
