"""How far states share cells, and that those that do lend each other nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

import sctandem as td
from sctandem.kernels._cell_sums import CellSums, state_overlap
from sctandem.kernels._sample_de import assess_column, fit_state


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


def test_a_state_alone_is_told_nothing_by_its_own_residuals():
    """The prior of a variance must not know the variance: beside the mean, one state has what its cells tell, and no more."""
    rng = np.random.default_rng(1)
    donor = np.repeat(np.arange(8), 30)
    rate = rng.gamma(2, 2, 120) * np.exp(rng.normal(0, 0.4, (8, 120)))
    counts = rng.poisson(rate[donor]).astype("float32")
    adata = AnnData(counts)
    adata.obs["donor"], adata.obs["type"] = np.char.add("d", donor.astype(str)), "T"
    adata.obs["condition"] = np.where(donor < 4, "a", "b")
    td.tl.differential_expression(adata, "condition", "donor", cell_types="type")
    found = td.get.de(adata).set_index("gene")["statistic"][adata.var_names]
    sums = CellSums(8, 120)
    sums.add(counts, (donor[:, None] == np.arange(8)).astype(float))
    state = fit_state(sums.counts, np.column_stack([np.ones(8), np.repeat([0.0, 1], 4)]))
    of_cells = np.arcsinh(5 * np.clip(sums.overdispersion(range(8)), -0.5, 20))
    alone = assess_column(state, 1, covariates=np.column_stack([np.zeros(120), of_cells]))
    np.testing.assert_allclose(found, alone.statistic, atol=1e-8)
    known = assess_column(state, 1, covariates=np.column_stack([state.surprise, of_cells]))
    assert not np.allclose(found, known.statistic, atol=0.1)
