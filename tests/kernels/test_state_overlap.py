"""How far states share cells, and that those that do lend each other nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

import sctandem as td
from sctandem.kernels._cell_sums import state_overlap


def test_overlap_is_the_cosine_of_weights():
    weights = np.array([[1, 0, 0.5], [1, 0, 0.5], [0, 1, 0.5], [0, 1, 0.5]])
    expected = np.array([[1, 0, np.sqrt(0.5)], [0, 1, np.sqrt(0.5)], [np.sqrt(0.5), np.sqrt(0.5), 1]])
    for form in (np.asarray, sparse.csr_matrix):
        np.testing.assert_allclose(state_overlap(form(weights)), expected, atol=1e-12)


def test_states_of_the_same_cells_know_no_more_than_one_alone():
    rng = np.random.default_rng(0)
    donor = np.repeat(np.arange(8), 40)
    rate = rng.gamma(2, 1, 150) * np.exp(rng.normal(0, 0.4, (8, 150)))
    adata = AnnData(rng.poisson(rate[donor]).astype("float32"))
    adata.obs["donor"] = np.char.add("d", donor.astype(str))
    adata.obs["condition"] = np.where(donor < 4, "a", "b")
    adata.obsm["one"] = pd.DataFrame({"x": np.full(320, 0.5)}, index=adata.obs_names)
    adata.obsm["two"] = adata.obsm["one"].assign(y=0.5)
    tables = []
    for key in ("one", "two"):
        td.tl.differential_expression(adata, "condition", "donor", cell_types=key)
        tables.append(td.get.de(adata).query("state == 'x'").set_index("gene").sort_index())
    np.testing.assert_allclose(tables[0]["statistic"], tables[1]["statistic"], atol=1e-8)
