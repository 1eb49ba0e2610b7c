from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import sctandem as td
from sctandem._compat import new_mudata, read_h5mu
from sctandem.module import TAPEConfig
from sctandem.nn import WindowConfig


@pytest.fixture(scope="module")
def trained():
    mdata = td.datasets.simulate_multiome(250, 50, 500, rng=0)
    td.pp.gene_windows(mdata)
    td.model.TAPE.setup_mudata(mdata)
    model = td.model.TAPE(mdata, config=TAPEConfig(windows=WindowConfig(n_members=1, n_steps=20)))
    model.train(2, rng=0)
    return mdata, model


def test_every_pair_of_every_window_is_a_row_and_survives_a_file(trained, tmp_path):
    mdata, model = trained
    result = td.tl.peak_gene_links(mdata, model, copy=True)
    assert "tape_links" not in mdata.uns
    table = result.uns["tape_links"]["table"]
    pairs = mdata.uns["gene_windows"]["pairs"]
    rows = set(zip(table["peak"].astype(str), table["gene"].astype(str), table["distance"], strict=True))
    assert rows == set(zip(pairs["peak"].astype(str), pairs["gene"].astype(str), pairs["distance"], strict=True))
    assert (table["weight"] >= 0).all()
    assert set(table["sign"]) <= {-1, 1}
    known = table["fdr"].dropna()
    assert known.is_monotonic_increasing
    assert (known >= table.loc[known.index, "pvalue"].min()).all()
    result.write_h5mu(tmp_path / "links.h5mu")
    back = read_h5mu(tmp_path / "links.h5mu").uns["tape_links"]["table"]
    np.testing.assert_allclose(back["weight"], table["weight"])
    assert back["gene"].astype(str).tolist() == table["gene"].astype(str).tolist()


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"model": "model"}, TypeError, "model must be a TAPE, got str: 'model'. None trains one"),
        ({"modalities": "rna"}, TypeError, "modalities must be a dictionary"),
        ({"modalities": {"rna": "gex"}}, KeyError, "no modality 'gex' for rna"),
        ({"rng": "seed"}, TypeError, "rng must be a seed"),
        ({"n_permutations": 0}, ValueError, "n_permutations"),
        ({"key_added": "a/b"}, ValueError, "without a slash"),
    ],
)
def test_wrong_arguments(trained, arguments, error, match):
    mdata, model = trained
    with pytest.raises(error, match=match):
        td.tl.peak_gene_links(mdata, **{"model": model, **arguments})
    assert "tape_links" not in mdata.uns


def test_an_object_without_the_features_is_refused(trained):
    mdata, model = trained
    other = td.datasets.simulate_multiome(60, 40, 400, rng=3)
    with pytest.raises(ValueError, match="lacks features of the model"):
        td.tl.peak_gene_links(other, model)
    assert "tape_links" not in other.uns


def test_without_a_model_one_is_trained_on_all_cells_of_a_copy(monkeypatch):
    small = TAPEConfig(windows=WindowConfig(n_members=2, n_steps=20))
    monkeypatch.setattr("sctandem.model._tape.TAPEConfig", lambda: small)  # the default
    mdata = td.datasets.simulate_multiome(120, 40, 400, rng=0)
    with pytest.raises(KeyError, match="gene_windows"):
        td.tl.peak_gene_links(mdata)
    td.pp.gene_windows(mdata)
    names = {"rna": "Gene Expression", "atac": "Peaks"}
    renamed = new_mudata({names[role]: mdata[role] for role in names})
    renamed.uns["gene_windows"] = mdata.uns["gene_windows"]
    td.tl.peak_gene_links(renamed, modalities=names, n_permutations=50, rng=3)
    assert set(renamed.uns) == {"gene_windows", "tape_links"}
    assert list(renamed.obs) == []
    assert all("_scvi_batch" not in adata.obs and not adata.uns for adata in renamed.mod.values())
    found = td.get.peak_gene_links(renamed)
    td.model.TAPE.setup_mudata(mdata)
    model = td.model.TAPE(mdata)
    model.train(train_size=1.0, rng=3)
    td.tl.peak_gene_links(mdata, model, n_permutations=50, rng=3)
    pd.testing.assert_frame_equal(found, td.get.peak_gene_links(mdata))


def test_the_seed_is_kept(trained):
    mdata, model = trained
    drawn = td.tl.peak_gene_links(mdata, model, n_permutations=20, copy=True).uns["tape_links"]
    again = td.tl.peak_gene_links(mdata, model, n_permutations=20, rng=drawn["params"]["seed"], copy=True)
    pd.testing.assert_frame_equal(again.uns["tape_links"]["table"], drawn["table"])
    other = td.tl.peak_gene_links(mdata, model, n_permutations=20, copy=True).uns["tape_links"]
    assert other["params"]["seed"] != drawn["params"]["seed"]
