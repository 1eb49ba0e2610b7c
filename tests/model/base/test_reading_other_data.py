"""What models refuse of data that they were not made with: before these are set up, with the slot and what to do."""

from __future__ import annotations

import numpy as np
import pytest
from fault_slots import fingerprint
from models import CASES
from scipy import sparse

MODELS = ("CountVAEModel", "CapsuleNet", "DeepDE")


@pytest.fixture(name="model", scope="module", params=MODELS)
def fixture_model(request):
    return CASES[request.param].trained()


def other(model):
    adata = model.adata[:40].copy()
    for mark in ("_scvi_uuid", "_scvi_manager_uuid"):
        del adata.uns[mark]
    del adata.obs["_scvi_batch"]
    return adata


def with_fractions(adata):
    adata.X = adata.X.toarray() + 0.5
    return adata


@pytest.mark.parametrize(
    ("spoil", "options", "error", "message"),
    [
        (lambda a: a[:0].copy(), {}, ValueError, "^Reading cells needs at least 1 cells, but there are 0"),
        (with_fractions, {}, ValueError, r"^adata\.X does not hold counts"),
        (lambda a: a.obs, {}, TypeError, "^adata must be an AnnData, got DataFrame"),
        (lambda a: a, {"indices": [0, 40]}, ValueError, "^indices reach from 0 to 40, but there are 40 cells"),
        (lambda a: a, {"indices": [[1], [2, 3]]}, TypeError, "^indices must be positions of cells, or a mask"),
        (lambda a: a, {"indices": []}, ValueError, "^Reading cells needs at least 1 cells"),
        (lambda a: a, {"batch_size": -3}, ValueError, "^batch_size=-3 is not an integer above 0"),
    ],
)
def test_it_is_refused_and_stays_as_it_was(model, spoil, options, error, message):
    adata = spoil(other(model))
    before = fingerprint(adata)
    with pytest.raises(error, match=message):
        model.get_latent_representation(adata, **options)
    assert fingerprint(adata) == before


def test_a_column_that_lacks(model):
    adata = other(model)
    del adata.obs["batch"]
    before = fingerprint(adata)
    with pytest.raises(KeyError, match=r"adata\.obs has no column 'batch'"):
        model.get_latent_representation(adata)
    assert fingerprint(adata) == before


def test_a_mask_reads_as_positions_do(model):
    mask = np.arange(150) % 7 == 0
    by_mask = model.get_latent_representation(indices=mask)
    np.testing.assert_array_equal(by_mask, model.get_latent_representation()[mask])


FORMS = {
    "sparse array": sparse.csr_array,
    "csc": sparse.csc_matrix,
    "dense": lambda matrix: matrix.toarray(),
    "truth values": lambda matrix: (matrix > 0).astype(bool),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["CapsuleNet", "DeepDE"])
def test_every_form_of_a_matrix_is_set_up_trained_and_read(name, form):
    states = []
    for change in (FORMS[form], lambda m: sparse.csr_matrix(FORMS[form](m)).astype(np.float32)):
        case, adata = CASES[name], CASES[name].data()
        adata.X = change(adata.X)
        case.set_up(adata)
        model = case.make(adata)
        model.train(1, rng=0, progress=False)
        new = other(model)
        new.X = change(sparse.csr_matrix(new.X))
        states.append(model.get_latent_representation(new))
    np.testing.assert_allclose(*states, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["overwrite", "save_anndata"])
def test_options_of_saving(model, name, tmp_path):
    with pytest.raises(TypeError, match=f"^{name} must be a bool, got list"):
        model.save(tmp_path / "model", **{name: [1, 2]})
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("trained", [3, "encoder", None])
def test_parts_of_a_query(model, trained):
    with pytest.raises(TypeError, match="^trained"):
        type(model).load_query_data(other(model), model, trained=trained)
