"""What TAPE refuses, and that it leaves the object as it was."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse
from tape import SMALL, trained

import sctandem as td
from sctandem._compat import copy_mudata, new_mudata
from sctandem.model import TAPE


def dense(matrix):
    return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)


def assert_same(found, expected):
    """Every slot that a model could touch."""
    assert list(found.mod) == list(expected.mod)
    assert found.obs_names.equals(expected.obs_names)
    pd.testing.assert_frame_equal(found.obs, expected.obs)
    assert list(found.uns) == list(expected.uns)
    for key in found.obsm:
        np.testing.assert_array_equal(found.obsm[key], expected.obsm[key])
    for name, adata in found.mod.items():
        other = expected.mod[name]
        assert type(adata.X) is type(other.X)
        np.testing.assert_array_equal(dense(adata.X), dense(other.X))
        pd.testing.assert_frame_equal(adata.obs, other.obs)
        pd.testing.assert_frame_equal(adata.var, other.var)
        assert list(adata.uns) == list(other.uns)
        assert list(adata.layers) == list(other.layers)


def refused(mdata, error, match, **setup):
    """Nothing is written when setting up fails."""
    before = copy_mudata(mdata)
    with pytest.raises(error, match=match):
        TAPE.setup_mudata(mdata, **setup)
    assert_same(mdata, before)


def with_value(mdata, name, value):
    matrix = mdata[name].X.astype(np.float32)
    matrix.data[11] = value
    mdata[name].X = matrix
    return mdata


@pytest.mark.parametrize("name", ["rna", "atac"])
@pytest.mark.parametrize(
    ("value", "match"),
    [(0.5, "does not hold counts"), (-1, "negative values"), (np.nan, "contains NaN"), (np.inf, "infinite")],
)
def test_what_is_not_counts(mdata, name, value, match):
    refused(
        with_value(mdata, name, value),
        ValueError,
        rf"mdata\['{name}'\]\.X {match}|mdata\['{name}'\]\.X contains {match}",
    )


def test_layer_that_is_not_counts(mdata):
    mdata["atac"].layers["scaled"] = mdata["atac"].X * 0.1
    refused(mdata, ValueError, r"mdata\['atac'\]\.layers\['scaled'\] does not hold counts", atac_layer="scaled")


def test_missing_layer(mdata):
    refused(mdata, KeyError, r"mdata\['rna'\]\.layers has no 'raw'; it has 'true_rate', 'counts'", rna_layer="raw")


def test_missing_modality(mdata):
    refused(new_mudata({"rna": mdata["rna"]}), KeyError, "no modality 'atac' for atac; it has 'rna'")
    refused(mdata, KeyError, "no modality 'GEX' for rna", modalities={"rna": "GEX"})
    refused(mdata, ValueError, "modalities has the roles 'RNA'", modalities={"RNA": "rna"})


def test_one_modality_in_two_roles(mdata):
    refused(mdata, ValueError, "gives one modality several roles", modalities={"rna": "rna", "atac": "rna"})
    refused(mdata, ValueError, "gives one modality several roles", modalities={"atac": "rna"})


def test_keys_that_are_no_names(mdata):
    refused(mdata, TypeError, "windows_key must be a str, got int: 3", windows_key=3)
    refused(mdata, TypeError, "sequence_key must be a str, got NoneType", sequence_key=None)


def test_a_copy_is_set_up_itself(mdata):
    with pytest.raises(ValueError, match=r"mdata was not set up: call `TAPE\.setup_mudata\(mdata\)` first"):
        TAPE(mdata)
    TAPE.setup_mudata(mdata)
    copy = copy_mudata(mdata)
    with pytest.raises(
        ValueError, match=r"mdata is a copy of an object that was set up.*call `TAPE\.setup_mudata\(mdata\)`"
    ):
        TAPE(copy, config=SMALL)
    TAPE.setup_mudata(copy)
    assert TAPE(copy, config=SMALL).adata is copy
    assert TAPE(mdata, config=SMALL).adata is mdata


def test_cells_in_another_order(mdata):
    turned = mdata["atac"][::-1].copy()
    refused(
        new_mudata({"rna": mdata["rna"], "atac": turned}), ValueError, "the same cells in another order. Align them"
    )


def test_other_cells(mdata):
    fewer = mdata["atac"][:150].copy()
    refused(
        new_mudata({"rna": mdata["rna"], "atac": fewer}),
        ValueError,
        r"different cells \(200 and 150, 150 of them in both",
    )


def test_another_modality_with_other_cells(mdata):
    protein = AnnData(np.ones((40, 2), dtype=np.float32), obs=pd.DataFrame(index=[f"other{i}" for i in range(40)]))
    more = new_mudata({"rna": mdata["rna"], "atac": mdata["atac"], "protein": protein})
    refused(more, ValueError, r"the cells of mdata \(240\) are not those of mdata\['rna'\] \(200\)")


def test_modalities_that_were_changed_behind_the_object(mdata):
    order = np.random.default_rng(0).permutation(200)
    for name in ("rna", "atac"):
        mdata.mod[name] = mdata[name][order].copy()
    with pytest.raises(ValueError, match="the modalities were changed"):
        TAPE.setup_mudata(mdata)


@pytest.mark.filterwarnings("ignore:.*names are not unique:UserWarning")
@pytest.mark.parametrize("name", ["rna", "atac"])
def test_duplicated_features(mdata, name):
    modalities = {key: mdata[key].copy() for key in ("rna", "atac")}
    names = modalities[name].var_names.to_list()
    modalities[name].var_names = [names[1], *names[1:]]
    refused(new_mudata(modalities), ValueError, rf"mdata\['{name}'\]\.var_names has 1 duplicated names: '{names[1]}'")


@pytest.mark.filterwarnings("ignore:.*names are not unique:UserWarning")
@pytest.mark.filterwarnings("ignore:Duplicated obs_names should not be present")
def test_duplicated_cells(mdata):
    rna, atac = mdata["rna"].copy(), mdata["atac"].copy()
    for adata in (rna, atac):
        adata.obs_names = [adata.obs_names[1], *adata.obs_names[1:]]
    with pytest.raises(ValueError, match=r"mdata\['rna'\]\.obs_names has 1 duplicated names"):
        TAPE.setup_mudata(new_mudata({"rna": rna, "atac": atac}))


def test_view(mdata):
    with pytest.raises(ValueError, match=r"view of another MuData; take a copy first: `mdata = mdata\.copy\(\)`"):
        TAPE.setup_mudata(mdata[:100])


def test_one_cell(mdata):
    refused(mdata[:1].copy(), ValueError, "TAPE needs at least 20 cells, but there is 1")


def test_too_few_cells_to_train_on(mdata):
    some = mdata[:20].copy()
    TAPE.setup_mudata(some)
    model = TAPE(some, config=SMALL)
    with pytest.raises(ValueError, match=r"training with train_size=0\.2 needs at least 10 cells, but there are 4"):
        model.train(2, train_size=0.2, rng=0, progress=False)
    assert not model.is_trained


def test_no_features(mdata):
    refused(new_mudata({"rna": mdata["rna"], "atac": mdata["atac"][:, :0].copy()}), ValueError, "has no peaks")


def test_batch_column(mdata):
    refused(
        mdata,
        KeyError,
        r"neither mdata\['rna'\]\.obs nor mdata\.obs has no column 'lane'|has a column 'lane'",
        batch_key="lane",
    )
    mdata.obs["lane"] = pd.Categorical([None, *["a"] * 199])
    refused(mdata, ValueError, r"batch_key='lane' is missing \(NaN\) for 1 of 200 cells; label them", batch_key="lane")


@pytest.mark.parametrize("value", [0.0, -3.0, np.nan, np.inf])
def test_size_factors(mdata, value):
    mdata["rna"].obs["size"] = np.where(np.arange(200) == 3, value, 900.0)
    refused(
        mdata,
        ValueError,
        f"size_factor_key='size' must be a positive number in every cell, got {value}",
        size_factor_key="size",
    )


def test_words_as_size_factors(mdata):
    mdata["rna"].obs["word"] = "many"
    refused(mdata, ValueError, "size_factor_key='word' must be a positive number", size_factor_key="word")


def test_anndata(mdata):
    with pytest.raises(TypeError, match="mdata is an AnnData, not a MuData"):
        TAPE.setup_mudata(mdata["rna"])
    with pytest.raises(TypeError, match=r"learns from a MuData.*use TAPE\.setup_mudata"):
        TAPE.setup_anndata(mdata["rna"])


# --- making the model -------------------------------------------------------------------------------------------------


def made(mdata, **options):
    TAPE.setup_mudata(mdata)
    before = copy_mudata(mdata)
    try:
        return TAPE(mdata, config=SMALL, **options)
    finally:
        assert_same(mdata, before)


def test_missing_windows(mdata):
    del mdata.uns["gene_windows"]
    with pytest.raises(KeyError, match=r"mdata\.uns has no 'gene_windows'; run `td\.pp\.gene_windows"):
        made(mdata)


def test_no_gene_in_any_window(mdata):
    pairs = mdata.uns["gene_windows"]["pairs"]
    mdata.uns["gene_windows"] = {**mdata.uns["gene_windows"], "pairs": pairs.iloc[:0]}
    with pytest.raises(ValueError, match="names none of the genes and peaks of this object"):
        made(mdata)


def test_windows_of_other_genes(mdata):
    mdata["rna"].var_names = [f"X{i}" for i in range(60)]
    renamed = new_mudata({"rna": mdata["rna"], "atac": mdata["atac"]})
    renamed.uns["gene_windows"] = mdata.uns["gene_windows"]
    with pytest.raises(ValueError, match=r"run td\.pp\.gene_windows again after subsetting"):
        made(renamed)


def test_heldout_genes_that_are_not_there(mdata):
    with pytest.raises(KeyError, match=r"heldout_genes names \['nobody'\]"):
        made(mdata, heldout_genes=["nobody", "G0001"])


def test_all_genes_held_out(mdata):
    with pytest.raises(ValueError, match="only 1 genes have counts and are not held out; TAPE needs at least 2"):
        made(mdata, heldout_genes=list(mdata["rna"].var_names[1:]))


@pytest.mark.parametrize("name", ["rna", "atac"])
def test_no_counts_at_all(mdata, name):
    mdata[name].X = sparse.csr_matrix(mdata[name].shape, dtype=np.float32)
    with pytest.raises(ValueError, match=rf"mdata\['{name}'\] \(200 x \d+\) has no counts at all"):
        made(mdata)


def test_empty_cells_and_features_are_left_out_with_a_count(mdata, caplog):
    for name, cells, features in (("rna", [3, 4], [7]), ("atac", [4, 5, 6], [])):
        matrix = mdata[name].X.tolil()
        matrix[cells] = 0
        matrix[:, features] = 0
        mdata[name].X = matrix.tocsr()
    with caplog.at_level(logging.WARNING):
        model = trained(mdata)
    assert "mdata['rna']: 2 cells and 1 features have no counts and are left out" in caplog.text
    assert "mdata['atac']: 3 cells and 18 features have no counts and are left out" in caplog.text
    predicted = model.predict_expression()
    assert predicted.shape == (200, 60)
    assert np.isfinite(predicted.to_numpy()).all()
    np.testing.assert_allclose(predicted.iloc[4], predicted.iloc[5], rtol=1e-5)  # nothing is known of either


def test_empty_cells_do_not_teach(mdata):
    """Cells without RNA count for nothing, whatever their chromatin."""
    counts = mdata["rna"].X.tolil()
    counts[:30] = 0
    mdata["rna"].X = counts.tocsr()
    other = copy_mudata(mdata)
    chromatin = other["atac"].X.tolil()
    chromatin[:30] = chromatin[100:130]
    other["atac"].X = chromatin.tocsr()
    first, second = trained(mdata), trained(other)
    np.testing.assert_array_equal(second.predict_expression()[30:], first.predict_expression()[30:])


# --- queries ----------------------------------------------------------------------------------------------------------


def test_untrained_model(mdata):
    model = made(mdata)
    for call in (
        model.predict_expression,
        model.get_peak_gene_links,
        model.get_latent_representation,
        model.get_components,
    ):
        with pytest.raises(RuntimeError, match=r"this TAPE model is not trained; call `model\.train\(\)` first"):
            call()


def test_query_without_chromatin_or_peaks(tape, mdata):
    with pytest.raises(KeyError, match=r"mdata has no modality 'atac'; it has \['rna'\]"):
        tape.predict_expression(new_mudata({"rna": mdata["rna"]}))
    fewer = new_mudata({"atac": mdata["atac"][:, 5:].copy()})
    with pytest.raises(KeyError, match="lacks 5 of the model's 600 peaks"):
        tape.predict_expression(fewer)
    with pytest.raises(TypeError, match="mdata is an AnnData, not a MuData"):
        tape.predict_expression(mdata["atac"])


def test_query_that_is_not_counts(tape, mdata):
    before = copy_mudata(with_value(mdata, "atac", -2))
    with pytest.raises(ValueError, match=r"mdata\['atac'\]\.X contains negative values"):
        tape.predict_expression(mdata)
    assert_same(mdata, before)


def test_unknown_scale(tape):
    with pytest.raises(ValueError, match="scale='log2' is not known; choose one of 'cp10k', 'log1p'"):
        tape.predict_expression(scale="log2")


def test_predicting_leaves_the_query_alone(tape, mdata):
    before = copy_mudata(mdata)
    tape.predict_expression(mdata)
    tape.get_latent_representation(mdata)
    assert_same(mdata, before)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"indices": [0, 200]}, ValueError, "indices reach from 0 to 200, but there are 200 cells, counted from 0"),
        ({"indices": [-201]}, ValueError, "indices reach from -201 to -201"),
        ({"indices": np.ones(3, dtype=bool)}, ValueError, "indices is a mask of 3 cells, but there are 200"),
        ({"indices": ["cell1"]}, TypeError, r"indices must be positions of cells, or a mask, got list: \['cell1'\]"),
        ({"indices": 3}, TypeError, "indices must be positions of cells, or a mask, got int: 3"),
        ({"indices": [0.5]}, TypeError, "indices must be positions"),
        ({"batch_size": 0}, ValueError, "batch_size=0 is not an integer above 0"),
        ({"batch_size": 1.5}, ValueError, "batch_size=1.5 is not an integer above 0"),
    ],
)
def test_cells_that_are_not_there(tape, arguments, error, match):
    for call in (tape.predict_expression, tape.get_latent_representation, tape.get_components):
        with pytest.raises(error, match=match):
            call(**arguments)


@pytest.mark.parametrize("modalities", ["rna", ["rna", "atac"], {"rna": 3}, {("rna",): "x"}])
def test_modalities_that_are_no_mapping(mdata, modalities):
    refused(mdata, TypeError, "modalities must be a dictionary from roles to names", modalities=modalities)


def test_exchanged_modalities_are_told():
    mdata = td.datasets.simulate_multiome(60, 40, 400, rng=0)
    td.pp.gene_windows(mdata)
    exchanged = new_mudata({"rna": mdata["atac"].copy(), "atac": mdata["rna"].copy()})
    exchanged.uns["gene_windows"] = mdata.uns["gene_windows"]
    TAPE.setup_mudata(exchanged)
    with pytest.raises(ValueError, match="given as chromatin: are the two exchanged"):
        TAPE(exchanged)


def test_barcodes_that_differ_by_a_suffix(mdata):
    other = mdata["atac"].copy()
    other.obs_names = [f"{name}-1" for name in other.obs_names]
    refused(
        new_mudata({"rna": mdata["rna"], "atac": other}),
        ValueError,
        "have no cell in common: their names are like .*-1",
    )
