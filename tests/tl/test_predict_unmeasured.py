"""Predictions where expression was not measured, was measured before, or belongs to cells of the same names."""

from __future__ import annotations

from contextlib import nullcontext

import mudata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from tape import SMALL, small_multiome, trained

import sctandem as td
from sctandem._compat import installed, new_mudata
from sctandem._keys import PredictionKeys
from sctandem.model import TAPE


@pytest.fixture(name="model", scope="module")
def fixture_model():
    return trained(small_multiome())


@pytest.fixture(name="query")
def fixture_query():
    return new_mudata({"atac": small_multiome()["atac"][:40].copy()})


def read(path):
    with nullcontext() if installed("mudata", "0.4") else mudata.set_options(pull_on_update=False):
        return mudata.read_zarr(path) if path.suffix == ".zarr" else mudata.read_h5mu(path)


def test_a_prediction_is_not_taken_for_counts(model, query):
    td.tl.predict_expression(query, model, rng=0)
    assert query["rna"].X is None
    assert list(filter(None, query["rna"].layers)) == ["tape"]
    first = query["rna"].layers["tape"].copy()
    td.tl.predict_expression(query, model, rng=0)
    td.tl.predict_expression(query, model, key_added="again", rng=0)
    for key in ("tape", "again"):
        np.testing.assert_array_equal(query["rna"].layers[key], first)
        assert not query.uns[key]["params"]["scored"]
    assert query["rna"].var.empty


@pytest.mark.parametrize("suffix", [".h5mu", ".zarr"])
def test_files_keep_it(model, query, suffix, tmp_path):
    td.tl.predict_expression(query, model, rng=0)
    getattr(query, {".h5mu": "write_h5mu", ".zarr": "write_zarr"}[suffix])(tmp_path / f"q{suffix}")
    found = read(tmp_path / f"q{suffix}")
    assert found["rna"].X is None
    td.tl.predict_expression(found, model, key_added="again", rng=0)
    np.testing.assert_array_equal(found["rna"].layers["again"], query["rna"].layers["tape"])
    copied = td.tl.predict_expression(found, model, rng=0, copy=True)
    np.testing.assert_array_equal(copied["rna"].layers["tape"], found["rna"].layers["tape"])


def test_a_model_loads_with_it_and_is_saved_with_it(model, query, tmp_path):
    model.save(tmp_path / "m")
    expected = model.predict_expression().iloc[:40]
    td.tl.predict_expression(query, model, rng=0)
    loaded = TAPE.load(tmp_path / "m", query)
    td.tl.predict_expression(query, loaded, key_added="again", rng=0)
    loaded.save(tmp_path / "q", save_anndata=True)
    again = TAPE.load(tmp_path / "q")
    assert again.adata["rna"].X is None
    pd.testing.assert_frame_equal(again.predict_expression(), expected, rtol=1e-5)
    td.tl.predict_expression(again.adata, again, rng=0)
    assert not again.adata.uns["tape"]["params"]["scored"]
    with pytest.raises(KeyError, match=r"data that hold no \['X'"):
        again.train(1, rng=0, progress=False)
    whole = small_multiome()  # and one that was loaded with a prediction scores nothing on it
    td.tl.predict_expression(whole, again, rng=0)
    assert "tape_pearson" not in whole["rna"].var


def test_a_model_with_a_layer(query, tmp_path):
    model = trained(small_multiome(), rna_layer="counts")
    td.tl.predict_expression(query, model, rng=0)
    td.tl.predict_expression(query, model, rng=0)
    model.save(tmp_path / "m")
    TAPE.load(tmp_path / "m", query)
    measured = small_multiome()
    measured["rna"].X = None  # the counts are in the layer
    td.tl.predict_expression(measured, model, rng=0)
    assert measured.uns["tape"]["params"]["scored"]


def test_without_expression_nothing_is_learned_or_compared(model, query):
    td.tl.predict_expression(query, model, rng=0)
    td.pp.gene_windows(query, genes=small_multiome()["rna"].var.assign(name=lambda var: var.index))
    for call in (td.tl.predict_expression, td.tl.peak_gene_links, TAPE.setup_mudata):
        with pytest.raises(ValueError, match=r"mdata\['rna'\]\.X is empty \(None\); raw counts are needed"):
            call(query)
    with pytest.raises(KeyError, match=r"was not scored\. Programmes are compared with measured expression"):
        td.tl.programme_skill(query, {"some": list(model.gene_names[:10])})


def test_scores_of_an_earlier_model_go(model):
    mdata = small_multiome()
    td.tl.predict_expression(mdata, model, rng=0)
    keys = PredictionKeys()
    assert len(keys.skill) == 7
    assert set(keys.skill) <= set(mdata["rna"].var)
    td.tl.predict_expression(mdata, model, key_added="other", rng=0)
    TAPE.setup_mudata(mdata)
    second = TAPE(mdata, config=SMALL)
    second.train(1, train_size=1.0, rng=0, progress=False)
    td.tl.predict_expression(mdata, second, rng=0)
    assert not set(keys.skill) & set(mdata["rna"].var)
    assert not mdata.uns["tape"]["params"]["scored"]
    assert set(PredictionKeys("other").skill) <= set(mdata["rna"].var)


def test_early_stopping_is_told(caplog, tmp_path):
    mdata = small_multiome()
    TAPE.setup_mudata(mdata)
    model = TAPE(mdata, config=SMALL)
    model.train(3, early_stopping=True, train_size=0.8, rng=0, progress=False)
    td.tl.predict_expression(mdata, model, rng=0)
    assert mdata.uns["tape"]["params"]["chosen_on_heldout"] is True
    assert "early stopping, which chose the epoch on 40 of the 40 held-out cells" in caplog.text
    model.save(tmp_path / "m")
    loaded = TAPE.load(tmp_path / "m", mdata)
    td.tl.predict_expression(mdata, loaded, rng=0)
    assert mdata.uns["tape"]["params"]["chosen_on_heldout"] is True
    caplog.clear()
    others = td.datasets.simulate_multiome(200, 60, 600, rng=0)
    others = new_mudata({name: others[name].copy() for name in ("rna", "atac")})
    for adata in others.mod.values():
        adata.obs_names = [f"new_{name}" for name in adata.obs_names]
    others = new_mudata(dict(others.mod))
    td.tl.predict_expression(others, model, rng=0)
    assert others.uns["tape"]["params"] | {"chosen_on_heldout": False, "scored": True} == others.uns["tape"]["params"]
    assert "early stopping" not in caplog.text


def test_without_early_stopping_nothing_is_told(model):
    mdata = small_multiome()
    td.tl.predict_expression(mdata, model, rng=0)
    assert mdata.uns["tape"]["params"]["chosen_on_heldout"] is False


def test_cells_of_the_same_names(model, caplog):
    """Another sample whose barcodes are all among those of the training cells."""
    other = small_multiome()[:50].copy()
    for adata in other.mod.values():
        adata.obs_names = model.train_cells_[:50]
    other = new_mudata(dict(other.mod))
    td.tl.predict_expression(other, model, rng=0)
    assert not other.uns["tape"]["params"]["scored"]
    assert "50 of the 50 cells have names of cells that the model was trained on" in caplog.text
    caplog.clear()
    TAPE.setup_mudata(whole := small_multiome())
    own = TAPE(whole, config=SMALL)
    own.train(1, train_size=1.0, rng=0, progress=False)
    td.tl.predict_expression(whole, own, rng=0)
    assert "too few to score" in caplog.text
    assert "have names of cells" not in caplog.text


def test_results_of_other_names_are_read(monkeypatch):
    """`key_added` of the preparation reaches the training on the fly."""
    monkeypatch.setattr("sctandem.model._tape.TAPEConfig", lambda: SMALL)
    mdata = small_multiome()
    mdata.uns["wide"] = mdata.uns.pop("gene_windows")
    rng = np.random.default_rng(0)
    mdata["atac"].varm["dna"] = pd.DataFrame(
        rng.normal(size=(600, 3)).astype(np.float32), index=mdata["atac"].var_names, columns=["gc", "cpg_oe", "kmer_A"]
    )
    with pytest.raises(KeyError, match=r"mdata\.uns has no 'gene_windows'"):
        td.tl.peak_gene_links(mdata, rng=0)
    td.tl.peak_gene_links(mdata, windows_key="wide", key_added="plain", n_permutations=20, rng=0)
    td.tl.peak_gene_links(mdata, windows_key="wide", sequence_key="dna", key_added="dna", n_permutations=20, rng=0)
    plain, dna = (mdata.uns[key]["table"].set_index(["peak", "gene"])["weight"] for key in ("plain", "dna"))
    assert not np.allclose(plain, dna.reindex(plain.index))
    td.tl.predict_expression(mdata, windows_key="wide", sequence_key="dna", rng=0)
    assert sparse.issparse(mdata["rna"].X)
    assert mdata.uns["tape"]["params"]["scored"]
