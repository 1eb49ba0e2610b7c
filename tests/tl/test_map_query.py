from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData, read_h5ad
from fault_slots import fingerprint
from sklearn.metrics import roc_auc_score
from typed_cells import simulate

import sctandem as td
from sctandem.model import RSD, CapsuleNet, DeepDE
from sctandem.module.base import CountVAEConfig


@pytest.fixture(name="cells", scope="module")
def fixture_cells():
    """A reference of types 0 to 2, and a query with a batch effect, fewer genes, others, and the last type as well."""
    cells = simulate(seed=1)
    cells.obs["label"] = "type " + cells.obs["type"].astype(str)
    rng = np.random.default_rng(0)
    asked = (rng.random(cells.n_obs) < 0.4) | (cells.obs["type"] == "3").to_numpy()
    cells.obs["batch"] = np.where(asked, "query", "reference")
    query = cells[asked].copy()
    counts = query.X.toarray()
    counts = rng.poisson(counts * np.exp(rng.normal(0, 0.4, counts.shape[1]))).astype(np.float32)
    query = AnnData(counts, obs=query.obs, var=query.var)
    return cells[~asked].copy(), query[:, rng.permutation(150)[:120]].copy()


@pytest.fixture(name="model", scope="module")
def fixture_model(cells):
    reference = cells[0].copy()
    CapsuleNet.setup_anndata(reference, labels_key="label", batch_key="batch")
    model = CapsuleNet(reference, rng=0)
    model.train(rng=0, progress=False)
    return model


@pytest.fixture(name="mapped", scope="module")
def fixture_mapped(cells, model):
    query = cells[1].copy()
    truth = query.obs.pop("label")
    td.tl.map_query(query, model, rng=0)
    return query, truth.to_numpy().astype(str)


def test_labels_are_those_of_the_reference(mapped):
    query, truth = mapped
    known = (truth != "type 3") & (query.obs["mapped"] != "unknown").to_numpy()
    assert known.sum() > 0.9 * (truth != "type 3").sum()
    right = (query.obs["mapped"].astype(str).to_numpy() == truth)[known]
    assert right.mean() > 0.97
    assert abs(query.obs["mapped_confidence"].to_numpy()[known].mean() - right.mean()) < 0.05


def test_cells_of_a_new_type_do_not_fit_and_are_unknown(mapped):
    query, truth = mapped
    new = truth == "type 3"
    assert roc_auc_score(new, -query.obs["mapped_score"]) > 0.8
    unknown = (query.obs["mapped"] == "unknown").to_numpy()
    assert unknown[~new].mean() < 0.12
    assert unknown[new].mean() > 0.3


def test_a_reference_that_lacks_a_type_says_so_by_its_scores_and_one_that_has_it_does_not(cells, model):
    # theislab/scarches#70: how complete has a reference to be? The scores answer for the query at hand
    query = cells[1].copy()
    new = (query.obs.pop("label") == "type 3").to_numpy()
    td.tl.map_query(query, model, rng=0)
    lacking = query.obs["mapped_score"].to_numpy()[new]
    import anndata

    some = np.flatnonzero(new)[::2]
    donor = cells[1][some].copy()
    donor.obs["batch"] = "reference"
    whole = anndata.concat([cells[0], donor], join="inner")
    CapsuleNet.setup_anndata(whole, labels_key="label", batch_key="batch")
    complete = CapsuleNet(whole, rng=0)
    complete.train(rng=0, progress=False)
    td.tl.map_query(query, complete, rng=0)
    others = np.setdiff1d(np.flatnonzero(new), some)
    assert np.median(query.obs["mapped_score"].to_numpy()[others]) > 3 * np.median(lacking)
    assert (query.obs["mapped"].astype(str).to_numpy()[others] == "type 3").mean() > 0.8


def test_cells_without_a_count_are_unknown(cells, model):
    query = cells[1][:60].copy()
    query.X = query.X.copy()
    query.X[[3, 7]] = 0
    td.tl.map_query(query, model, rng=0)
    assert (query.obs["mapped"].iloc[[3, 7]] == "unknown").all()
    assert query.obs["mapped_score"].iloc[[3, 7]].tolist() == [0, 0]
    assert (query.obs["mapped"] != "unknown").sum() > 30


def test_slots_survive_a_file(mapped, tmp_path):
    query, _ = mapped
    assert query.obsm["X_mapped"].dtype == np.float32
    assert query.obs["mapped"].cat.categories.tolist() == ["type 0", "type 1", "type 2", "unknown"]
    assert query.obs["mapped_score"].between(0, 1, inclusive="right").all()
    assert set(query.uns["mapped"]["moved"]) == {"query"}
    assert query.uns["mapped"]["params"]["absent"] == 30
    query.write_h5ad(tmp_path / "query.h5ad")
    found = read_h5ad(tmp_path / "query.h5ad")
    np.testing.assert_array_equal(found.obsm["X_mapped"], query.obsm["X_mapped"])
    assert found.obs["mapped"].equals(query.obs["mapped"])


def test_a_copy_and_another_name(cells, model):
    query = cells[1].copy()
    before = set(query.obs)
    found = td.tl.map_query(query, model, key_added="atlas", rng=0, copy=True)
    assert set(query.obs) == before
    assert not query.obsm
    assert {"atlas", "atlas_confidence", "atlas_score"} <= set(found.obs)


def test_the_order_of_genes_and_the_other_cells_do_not_matter_for_the_embedding_in_a_known_batch(cells, model):
    query = cells[1].copy()
    query.obs["batch"] = "reference"
    whole = td.tl.map_query(query, model, rng=0, copy=True)
    part = td.tl.map_query(query[:50, ::-1].copy(), model, rng=0, copy=True)
    np.testing.assert_allclose(part.obsm["X_mapped"], whole.obsm["X_mapped"][:50], atol=1e-5)


def test_a_model_without_labels_hands_on_those_of_its_cells(cells):
    reference, query = cells[0].copy(), cells[1].copy()
    DeepDE.setup_anndata(reference, "batch")
    model = DeepDE(reference, config=CountVAEConfig(n_hidden=32, n_latent=8), rng=0)
    model.train(40, rng=0, progress=False)
    td.tl.map_query(query, model, "label", min_score=0, rng=0)
    truth = query.obs["label"].astype(str).to_numpy()
    known = truth != "type 3"
    assert (query.obs["mapped"].astype(str).to_numpy() == truth)[known].mean() > 0.95
    td.tl.map_query(query, model, rng=0)
    assert "mapped" not in query.obs
    assert "mapped_score" in query.obs


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda q: q.obs.__setitem__("batch", np.nan), ValueError, "missing for"),
        (lambda q: setattr(q, "X", q.X + 0.5), ValueError, "does not hold counts"),
        (lambda q: setattr(q, "var_names", [f"x{i}" for i in range(q.n_vars)]), ValueError, "same kind"),
    ],
)
def test_nothing_is_written_after_an_error(cells, model, change, error, message):
    query = cells[1].copy()
    change(query)
    columns = list(query.obs)
    with pytest.raises(error, match=message):
        td.tl.map_query(query, model)
    assert list(query.obs) == columns
    assert not query.obsm
    assert not query.uns


def test_bad_arguments(cells, model):
    query = cells[1].copy()
    maps = "reference_model must be a trained model that maps cells, a CapsuleNet or a DeepDE, got"
    with pytest.raises(TypeError, match=f"{maps} NoneType: None"):
        td.tl.map_query(query, None)
    RSD.setup_anndata(reference := cells[0].copy(), "label")
    with pytest.raises(TypeError, match=rf"{maps} RSD\."):
        td.tl.map_query(query, RSD(reference, rng=0))
    with pytest.raises(ValueError, match="min_score"):
        td.tl.map_query(query, model, min_score=2)
    with pytest.raises(ValueError, match="leave it out"):
        td.tl.map_query(query, model, "label")


def test_columns_that_are_read_are_not_written_over(cells, model):
    query = cells[1].copy()
    before = fingerprint(query)
    for name, labels in (("batch", None), ("label", None), ("kind", "kind")):
        with pytest.raises(
            ValueError, match=rf"key_added='{name}' would write adata\.obs\['{name}'\], which .* choose another"
        ):
            td.tl.map_query(query, model, labels, key_added=name)
    sized = cells[0].copy()
    sized.obs["m_score"] = np.asarray(sized.X.sum(axis=1)).ravel()
    CapsuleNet.setup_anndata(sized, size_factor_key="m_score")
    with pytest.raises(ValueError, match=r"key_added='m' would write adata\.obs\['m_score'\]"):
        td.tl.map_query(query, CapsuleNet(sized, rng=0), key_added="m")
    assert fingerprint(query) == before
