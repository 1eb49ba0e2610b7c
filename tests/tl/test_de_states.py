"""States of `tl.differential_expression`: weights that are given, and those that are learned and kept."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from tests.tl.test_de_designs import cells, run

import sctandem as td


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_array])
def test_sparse_weights(form):
    adata = cells()
    halves = np.column_stack([np.full(adata.n_obs, 0.25), np.full(adata.n_obs, 0.75)])
    adata.obsm["dense"], adata.obsm["sparse"] = halves, form(halves)
    pd.testing.assert_frame_equal(run(adata, cell_types="sparse"), run(adata, cell_types="dense"))
    adata.obsm["sparse"] = form(2 * halves)
    with pytest.raises(ValueError, match=r"adata.obsm\['sparse'\] does not hold weights of states"):
        run(adata, cell_types="sparse")


def test_states_that_cannot_be_told_apart_are_refused():
    adata = cells()
    adata.obs["number"] = pd.Series([1 if i % 2 else "1" for i in range(adata.n_obs)], dtype=object).to_numpy()
    halves = np.full((adata.n_obs, 2), 0.5)
    adata.obsm["twice"] = pd.DataFrame(halves, index=adata.obs_names, columns=["B", "B"])
    for key, slot in (("number", "obs"), ("twice", "obsm")):
        with pytest.raises(ValueError, match=rf"adata.{slot}\['{key}'\] has several states called"):
            run(adata, cell_types=key)
    adata.obsm["text"] = pd.DataFrame({"B": "much", "T": 0.5}, index=adata.obs_names)
    with pytest.raises(ValueError, match=r"adata.obsm\['text'\] does not hold weights of states: 'B' are no numbers"):
        run(adata, cell_types="text")


def test_learned_states_are_kept(monkeypatch, tmp_path):
    import sctandem.tl._train_model as training

    adata = cells(n_donors=8)
    weights = np.random.default_rng(0).dirichlet([1, 1], adata.n_obs).astype(np.float32)
    given = []

    def train(adata, samples, *, layer, seed):
        given.append(samples)
        return weights, ["0", "1"]

    monkeypatch.setattr(training, "train_deepde", train)
    table = run(adata, cell_types=None, rng=3)
    assert set(given[0]) == {f"d{i}" for i in range(8)}
    kept = adata.obsm["deepde_states"]
    np.testing.assert_array_equal(kept, weights)
    assert kept.to_numpy().dtype == np.float32
    assert list(kept.columns) == ["0", "1"]
    params = adata.uns["deepde"]["params"]
    assert (params["seed"], params["cell_types"]) == (3, "deepde_states")
    td.tl.differential_expression(adata, "condition", "donor", cell_types="deepde_states", key_added="again")
    pd.testing.assert_frame_equal(td.get.de(adata, key="again"), table)
    td.tl.gene_associations(adata, list(adata.var_names))
    first = td.get.gene_associations(adata)
    td.tl.gene_associations(adata, list(adata.var_names), cell_types="deepde_states", key_added="named")
    pd.testing.assert_frame_equal(td.get.gene_associations(adata, key="named"), first)
    assert adata.uns["gene_associations"]["params"]["cell_types"] == "deepde_states"
    adata.write_h5ad(tmp_path / "a.h5ad")
    pd.testing.assert_frame_equal(anndata.read_h5ad(tmp_path / "a.h5ad").obsm["deepde_states"], kept)


def test_what_is_too_rare_is_left_out_and_no_more():
    """Ten counts in three samples are enough for a gene, five cells for a sample of a state."""
    adata = cells()
    counts = adata.X.toarray()
    donor, number = adata.obs["donor"].to_numpy(), np.tile(np.arange(20), 8)
    counts[:, :4] = 0
    for gene, in_samples in enumerate([(4, 3, 3), (3, 3, 3), (5, 5), (20, 20)]):
        for sample, count in enumerate(in_samples):
            counts[(donor == f"d{sample}") & (number == 10), gene] = count
    adata.X = sparse.csr_matrix(counts)
    table = run(adata)
    assert set(adata.var_names) - set(table["gene"]) == {"g1", "g2", "g3"}
    adata.obs["type"] = np.where((donor == "d4") & (number >= 5) | (donor == "d5") & (number >= 4), "B", "T")
    run(adata)
    samples = adata.uns["deepde"]["samples"].set_index(["state", "sample"])
    assert samples.loc[("T", "d4"), ["n_cells", "used"]].tolist() == [5, True]
    assert samples.loc[("T", "d5"), ["n_cells", "used"]].tolist() == [4, False]
    assert set(td.get.de(adata, state="T")["n_samples"]) == {7}
