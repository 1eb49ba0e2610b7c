"""A saved TAPE asks only for what it predicts from."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tape import SMALL, small_multiome, trained

from sctandem._compat import copy_mudata, new_mudata
from sctandem.model import TAPE


@pytest.fixture(name="mdata")
def fixture_mdata():
    mdata = small_multiome()
    mdata["rna"].obs["lane"] = np.where(np.arange(mdata.n_obs) % 2, "first", "second")
    return mdata


@pytest.fixture(name="saved", scope="module")
def fixture_saved(tmp_path_factory):
    mdata = small_multiome()
    mdata["rna"].obs["lane"] = np.where(np.arange(mdata.n_obs) % 2, "first", "second")
    model = trained(mdata, batch_key="lane", size_factor_key="size")
    folder = tmp_path_factory.mktemp("tape") / "model"
    model.save(folder)
    return folder, model


def query(mdata, cells=slice(None)):
    return new_mudata({"atac": mdata["atac"][cells].copy()})


def test_chromatin_alone(saved, mdata, tmp_path):
    folder, model = saved
    found = TAPE.load(folder, query(mdata))
    expected = model.predict_expression()
    pd.testing.assert_frame_equal(found.predict_expression(), expected)
    assert found.gene_names.equals(mdata["rna"].var_names)
    pd.testing.assert_frame_equal(found.get_peak_gene_links(rng=0), model.get_peak_gene_links(rng=0))
    # and what it was set up with is not forgotten when it is saved from there
    found.save(tmp_path / "again")
    again = TAPE.load(tmp_path / "again", mdata)
    pd.testing.assert_frame_equal(again.predict_expression(), expected)
    assert again.summary_stats["n_batch"] == 2
    again.train(1, rng=0, progress=False)
    other = new_mudata({"rna": mdata["rna"][:, ::-1].copy(), "atac": mdata["atac"].copy()})
    with pytest.raises(
        ValueError, match=r"adata\['rna'\]\.var_names hold the features of the model in .* in another order"
    ):
        TAPE.load(tmp_path / "again", other)


@pytest.mark.parametrize("n_cells", [1, 5])
def test_few_cells(saved, mdata, n_cells):
    folder, model = saved
    rows = slice(7, 7 + n_cells)
    found = TAPE.load(folder, query(mdata, rows)).predict_expression()
    np.testing.assert_allclose(found, model.predict_expression().iloc[rows], rtol=1e-5)


def test_neither_windows_nor_columns_of_the_training_data(saved, mdata):
    folder, model = saved
    some = mdata[:12].copy()
    del some.uns["gene_windows"]
    some.obs = some.obs.drop(columns="size")
    some["rna"].obs = some["rna"].obs.drop(columns="lane")
    found = TAPE.load(folder, some)
    np.testing.assert_allclose(found.predict_expression(), model.predict_expression().iloc[:12], rtol=1e-5)
    with pytest.raises(KeyError, match=r"hold no \['batch', 'size_factor'\], which training needs"):
        found.train(1, rng=0, progress=False)


def test_training_says_what_is_missing(saved, mdata):
    folder, model = saved
    found = TAPE.load(folder, query(mdata))
    with pytest.raises(
        KeyError, match=r"the modalities \['atac'\], and the model was set up with .*'batch_key': 'lane'"
    ):
        found.train(1, rng=0, progress=False)
    # it is the model that it was
    pd.testing.assert_frame_equal(found.predict_expression(), model.predict_expression())


def test_too_few_cells_for_training_are_still_enough_for_a_prediction(saved, mdata):
    folder, _ = saved
    found = TAPE.load(folder, mdata[:12].copy())
    assert found.predict_expression().shape == (12, 60)
    with pytest.raises(ValueError, match="TAPE needs at least 20 cells, but there are 12"):
        found.train(1, rng=0, progress=False)


def test_two_models_on_one_object(saved, mdata):
    folder, model = saved
    alone = query(mdata)
    first = TAPE.load(folder, alone)
    second = TAPE.load(folder, alone)
    for found in (first, second):
        pd.testing.assert_frame_equal(found.predict_expression(), model.predict_expression())
        assert found.gene_names.equals(mdata["rna"].var_names)


@pytest.mark.parametrize("where", ["rna", "top"])
def test_unknown_categories_leave_the_object_as_it_was(saved, mdata, where):
    folder, _ = saved
    if where == "top":
        mdata.obs["lane"] = mdata["rna"].obs["lane"].to_numpy()
        del mdata["rna"].obs["lane"]
    obs = mdata.obs if where == "top" else mdata["rna"].obs
    obs["lane"] = pd.Categorical(["third", *obs["lane"].astype(str)[1:]])
    before = copy_mudata(mdata)
    with pytest.raises(
        ValueError, match=r"obs\['lane'\] has categories .* not know: 'third'\. It knows 'first', 'second'"
    ):
        TAPE.load(folder, mdata)
    assert list(mdata.uns) == list(before.uns)
    pd.testing.assert_frame_equal(mdata.obs, before.obs)
    for name in mdata.mod:
        pd.testing.assert_frame_equal(mdata[name].obs, before[name].obs)
        assert list(mdata[name].uns) == list(before[name].uns)


def test_chromatin_is_needed(saved, mdata):
    folder, _ = saved
    with pytest.raises(ValueError, match=r"needs \['atac'\]; the data lack \['atac'\]"):
        TAPE.load(folder, new_mudata({"rna": mdata["rna"].copy()}))


def test_another_modality_is_not_asked_for(mdata, tmp_path):
    protein = mdata["rna"][:, :3].copy()
    protein.var_names = ["CD3", "CD4", "CD8"]
    more = new_mudata({"rna": mdata["rna"], "atac": mdata["atac"], "protein": protein})
    more.uns["gene_windows"] = mdata.uns["gene_windows"]
    model = trained(more)
    model.save(tmp_path / "m")
    fewer = new_mudata({"rna": mdata["rna"], "atac": mdata["atac"]})
    pd.testing.assert_frame_equal(TAPE.load(tmp_path / "m", fewer).predict_expression(), model.predict_expression())


def test_where_the_codes_of_the_batches_land(mdata):
    """As the docstring of `setup_mudata` says."""
    TAPE.setup_mudata(mdata, batch_key="lane")
    assert "_scvi_batch" in mdata["rna"].obs
    assert "_scvi_batch" not in mdata.obs
    plain = small_multiome()
    TAPE.setup_mudata(plain)
    assert (plain.obs["_scvi_batch"] == 0).all()
    assert "_scvi_batch" not in plain["rna"].obs
    top = small_multiome()
    top.obs["lane"] = "one"
    TAPE.setup_mudata(top, batch_key="lane")
    assert "_scvi_batch" in top.obs
    assert {"_scvi_uuid", "_scvi_manager_uuid"} <= set(top.uns)
    assert TAPE(top, config=SMALL).summary_stats["n_batch"] == 1
