"""Which cells TAPE predicts, in which blocks, and what their expression adds up to."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tape import trained

from sctandem._compat import new_mudata


def test_total_expression_is_that_of_a_cell(tape, expected):
    np.testing.assert_allclose(expected.sum(axis=1), 1e4, rtol=1e-5)
    # in any cell, however strange: ten times the depth, a single open peak, none at all
    strange = tape.adata["atac"][:3].copy()
    counts = strange.X.tolil()
    counts[0] = 10 * counts[0]
    counts[1:] = 0
    counts[1, 7] = 500
    strange.X = counts.tocsr()
    np.testing.assert_allclose(tape.predict_expression(new_mudata({"atac": strange})).sum(axis=1), 1e4, rtol=1e-5)


def test_heldout_genes_come_on_top_of_the_total(mdata):
    held = ["G0004", "G0031"]
    rates = trained(mdata, heldout_genes=held).predict_expression()
    np.testing.assert_allclose(rates.drop(columns=held).sum(axis=1), 1e4, rtol=1e-5)
    assert (rates[held] > 0).all(axis=None)


def test_a_separate_library_size_sets_the_total(mdata):
    """The genes are a selection: they may make up any part of the library, and more of it in some cells."""
    part = mdata["rna"].X.sum(axis=1).A1 / mdata.obs["size"].to_numpy()
    np.testing.assert_allclose(part, 1)
    mdata.obs["size"] *= np.where(np.arange(200) % 2, 5.0, 4.0)
    totals = trained(mdata, size_factor_key="size").predict_expression().sum(axis=1)
    assert totals.median() == pytest.approx(1e4 / np.sqrt(20), rel=0.25)
    assert totals.std() > 1


def test_log_scale_knows_no_totals(mdata, tape):
    """What is scored is the same whether the library size is that of the genes or one that happens to equal it."""
    same = trained(mdata, size_factor_key="size")
    np.testing.assert_allclose(
        same.predict_expression(scale="log1p"), tape.predict_expression(scale="log1p"), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("scale", ["cp10k", "log1p"])
@pytest.mark.parametrize("batch_size", [None, 1, 7, 64])
@pytest.mark.parametrize(
    "indices",
    [None, [5], [199, 0, 0, 17], np.arange(200) % 3 == 0, np.array([-1, 3]), np.arange(50, 120)],
    ids=["all", "one", "any order", "mask", "from the end", "many"],
)
def test_some_cells_in_any_blocks(tape, scale, batch_size, indices):
    whole = tape.predict_expression(scale=scale)
    rows = slice(None) if indices is None else indices
    some = tape.predict_expression(scale=scale, indices=indices, batch_size=batch_size)
    pd.testing.assert_frame_equal(some, whole.iloc[rows], rtol=1e-6, atol=0)
    state = tape.get_latent_representation(indices=indices, batch_size=batch_size)
    np.testing.assert_allclose(state, tape.get_latent_representation()[rows], rtol=1e-5, atol=1e-6)
    components = tape.get_components(n_components=5, indices=indices, batch_size=batch_size)
    np.testing.assert_allclose(components, tape.get_components(n_components=5)[rows], rtol=1e-6, atol=1e-6)


def test_no_cells(tape):
    assert tape.predict_expression(indices=[]).shape == (0, 60)
    assert tape.get_latent_representation(indices=[]).shape == (0, 5)
    assert tape.get_components(indices=np.zeros(200, dtype=bool), n_components=5).shape == (0, 5)


def test_cells_of_another_object(tape, mdata, expected):
    query = new_mudata({"atac": mdata["atac"][20:60, ::-1].copy()})
    found = tape.predict_expression(query, indices=[3, 1])
    np.testing.assert_allclose(found, expected.iloc[[23, 21]], rtol=1e-4)
    assert list(found.index) == list(expected.index[[23, 21]])
