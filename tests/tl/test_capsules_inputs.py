"""What may be given to `tl.capsules`: formats of the counts, batches, labels; and what scanpy takes from it."""

from __future__ import annotations

import logging

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData
from matplotlib import pyplot as plt
from scipy import sparse
from sklearn.metrics import adjusted_rand_score
from tests.tl.test_capsules import cells

import sctandem as td
from sctandem.model import CapsuleNet
from sctandem.train import TrainConfig


@pytest.fixture(autouse=True)
def fixture_few_epochs(monkeypatch) -> None:
    """A short training, for what does not depend on its success."""
    monkeypatch.setattr(CapsuleNet, "_train_config", TrainConfig(max_epochs=6, batch_size=64, learning_rate=3e-3))


@pytest.fixture(scope="module", name="model")
def fixture_model() -> CapsuleNet:
    """A model whose counts are in a layer, with batches; tests only read it."""
    adata = cells()
    adata.layers["counts"] = adata.X.copy()
    CapsuleNet.setup_anndata(adata, layer="counts", batch_key="batch")
    model = CapsuleNet(adata, rng=0)
    model.train(2, rng=0, progress=False)
    return model


@pytest.mark.parametrize(
    "kind",
    [
        sparse.csc_matrix,
        sparse.csr_array,
        sparse.csc_array,
        pytest.param(lambda x: x.toarray(), id="dense"),
        pytest.param(lambda x: x.astype(np.int64), id="integers"),
    ],
)
def test_formats_of_the_counts_do_not_matter(model, kind):
    adata = model.adata.copy()
    adata.layers["counts"] = kind(adata.layers["counts"])
    td.tl.capsules(adata, model=model)
    np.testing.assert_allclose(adata.obsm["X_capsules"], model.get_latent_representation(), rtol=1e-5, atol=1e-5)


def test_formats_in_files_do_not_matter(model, tmp_path):
    adata = AnnData(model.adata.layers["counts"].tocsc(), obs=model.adata.obs[["batch"]], var=model.adata.var[[]])
    adata.write_h5ad(tmp_path / "a.h5ad")
    backed = anndata.read_h5ad(tmp_path / "a.h5ad", backed="r")
    for arguments, fault in (({"copy": True}, "copy=True"), ({}, "writing to a view")):
        with pytest.raises(ValueError, match=f"{fault} needs the data in memory"):
            td.tl.capsules(backed[:50] if not arguments else backed, **arguments)
    adata.X = adata.X.tocsr()
    CapsuleNet.setup_anndata(adata, batch_key="batch")
    other = CapsuleNet(adata, rng=0)
    other.train(2, rng=0, progress=False)
    td.tl.capsules(backed, model=other)
    np.testing.assert_allclose(backed.obsm["X_capsules"], other.get_latent_representation(), rtol=1e-5, atol=1e-5)


def test_batches_without_cells_are_none():
    adata = cells()[::2].copy()
    expected = td.tl.capsules(adata, batch_key="batch", rng=0, copy=True)
    adata.obs["batch"] = pd.Categorical(adata.obs["batch"], ["a", "b", "c"])
    td.tl.capsules(adata, batch_key="batch", rng=0)
    np.testing.assert_array_equal(adata.obsm["X_capsules"], expected.obsm["X_capsules"])
    assert adata.obs["batch"].cat.categories.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda kind: kind == "type 0", ["False", "True"]),
        (lambda kind: kind.str[-1].astype(int), ["0", "1", "2"]),
        (lambda kind: kind.map({"type 0": "CD4+ T/a.b", "type 1": "a b", "type 2": "unknown"}), ["CD4+ T/a.b", "a b"]),
        (lambda kind: kind.astype("category").cat.set_categories(["none", "type 2", "type 0"]), ["type 0", "type 2"]),
    ],
    ids=["boolean", "integer", "signs", "unused"],
)
def test_labels_of_all_kinds(change, names, tmp_path):
    adata = cells()[::2].copy()
    adata.obs["la/b.el"] = change(adata.obs["type"])
    before = adata.obs["la/b.el"].copy()
    td.tl.capsules(adata, "la/b.el", rng=0)
    assert adata.obs["capsules_label"].cat.categories.tolist() == [*names, "unknown"]
    pd.testing.assert_series_equal(adata.obs["la/b.el"], before)
    del adata.obs["la/b.el"]  # files have no such name
    adata.write_h5ad(tmp_path / "a.h5ad")
    pd.testing.assert_series_equal(
        anndata.read_h5ad(tmp_path / "a.h5ad").obs["capsules_label"], adata.obs["capsules_label"]
    )


@pytest.mark.filterwarnings("ignore:The set_bad function:PendingDeprecationWarning")
def test_scanpy_takes_the_embedding_and_annealing_too(monkeypatch):
    monkeypatch.undo()
    adata = cells()
    td.tl.capsules(adata, rng=0)
    sc.pp.neighbors(adata, use_rep="X_capsules", n_neighbors=10)
    joined = adata.obsp["connectivities"].tocoo()
    kind = adata.obs["type"].to_numpy()
    assert (kind[joined.row] == kind[joined.col]).mean() > 0.95
    ax = sc.pl.embedding(adata, "capsules", color="capsules", show=False)
    assert len(ax.collections[0].get_offsets()) == adata.n_obs
    plt.close("all")
    td.tl.anneal(adata, "X_capsules")
    assert adjusted_rand_score(adata.obs["anneal"], adata.obs["type"]) > 0.95


def test_labels_and_batches_of_few_cells_are_named(caplog, recwarn):
    adata = cells()[::4].copy()
    adata.obs["batch"] = np.where(np.arange(adata.n_obs) < 2, "lost", "here")
    adata.obs["label"] = adata.obs["type"].where(np.arange(adata.n_obs) != 3, "lone").where(np.arange(adata.n_obs) > 2)
    with caplog.at_level(logging.WARNING, "sctandem"):
        td.tl.capsules(adata, "label", batch_key="batch", rng=0)
    assert [record.getMessage() for record in caplog.records] == [
        "adata.obs['label'] has fewer than 3 cells of 'lone': little can be learned of them",
        "adata.obs['batch'] has fewer than 3 cells of 'lost': little can be learned of them",
    ]
    assert not [one for one in recwarn if "fewer than 3 cells" in str(one.message)]  # which names codes
