"""A graph of some cells of an AnnData or MuData, which are drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from planted_cells import N_CELLS, TFS, planted

import sctandem as td
from sctandem.model import RegulatoryGraph


def test_cells_of_an_anndata_are_drawn_on_wish():
    """Also where the order says something: here that of the types."""
    memory = planted()
    RegulatoryGraph.setup_anndata(memory)
    chosen = RegulatoryGraph(memory, TFS, prior=None, n_cells=1000, rng=0).cells
    share = memory.obs.loc[chosen, "cell_type"].value_counts(normalize=True)
    assert abs(share["common"] - 0.8) < 0.05
    assert chosen.equals(RegulatoryGraph(memory, TFS, prior=None, n_cells=1000, rng=0).cells)
    assert not chosen.equals(RegulatoryGraph(memory, TFS, prior=None, n_cells=1000, rng=1).cells)


def test_cells_of_a_mudata_are_drawn_in_both_modalities():
    mdata = td.datasets.simulate_multiome(300, 40, 200, rng=0)
    td.pp.gene_windows(mdata)
    RegulatoryGraph.setup_mudata(mdata)
    tfs = list(mdata["rna"].var_names[:3])
    chosen = RegulatoryGraph(mdata, tfs, prior=None, n_states=10, n_cells=100, rng=0)
    some = mdata[chosen.cells].copy()
    RegulatoryGraph.setup_mudata(some)
    of_these = RegulatoryGraph(some, tfs, prior=None, n_states=10, rng=0)
    for model in (chosen, of_these):
        model.train(2)
    np.testing.assert_array_equal(chosen.get_expression()["measured"], of_these.get_expression()["measured"])
    pd.testing.assert_frame_equal(chosen.get_edges(), of_these.get_edges())
    assert chosen.get_tf_activity().index.equals(some.obs_names)


def test_groups_that_would_be_left_out_and_numbers_are_refused():
    memory, rng = planted(), np.random.default_rng(0)
    memory.obs["clone"] = pd.Categorical(
        [f"c{i % 500}" for i in range(N_CELLS)], categories=[f"c{i}" for i in range(600)]
    )
    memory.obs["lane"] = np.arange(N_CELLS) % 7
    memory.obs["score"], memory.obs["rank"] = rng.random(N_CELLS), rng.permutation(N_CELLS)
    RegulatoryGraph.setup_anndata(memory)
    with pytest.raises(
        ValueError, match=r"n_cells=499 is fewer than the 500 groups of balance_key='clone'.*n_cells=500"
    ):
        RegulatoryGraph(memory, TFS, prior=None, balance_key="clone", n_cells=499)
    for key, n_cells in (("clone", 500), ("clone", 3000), ("lane", 70)):  # of each group as many
        chosen = RegulatoryGraph(memory, TFS, prior=None, balance_key=key, n_cells=n_cells, rng=0).cells
        numbers = memory.obs.loc[chosen, key].value_counts()
        assert set(numbers[numbers > 0]) == {n_cells // memory.obs[key].nunique()}
    for key in ("score", "rank"):
        with pytest.raises(TypeError, match=rf"balance_key='{key}' names numbers .*3000 values in 3000 cells"):
            RegulatoryGraph(memory, TFS, prior=None, balance_key=key, n_cells=100)
