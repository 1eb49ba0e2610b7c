"""Variable genes and principal components of a stream, against scanpy and scikit-learn on all cells in memory."""

from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc
import scattered
from scattered import build_small

import sctandem as td


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    folder = tmp_path_factory.mktemp("preprocess")
    scattered.sources(folder / "in")
    return build_small(folder / "in", folder / "out")


def test_variable_genes_are_those_of_scanpy(collection):
    memory = collection.to_adata()
    sc.pp.normalize_total(memory, target_sum=1e4)
    sc.pp.log1p(memory)
    theirs = sc.pp.highly_variable_genes(memory, n_top_genes=50, flavor="seurat", inplace=False)
    ours = td.data.highly_variable_genes(collection, n_top=50)
    assert ours["symbol"].to_dict() == collection.genes["symbol"].to_dict()
    np.testing.assert_allclose(ours["dispersions_norm"], theirs["dispersions_norm"], rtol=1e-3, atol=1e-4)
    assert (ours["highly_variable"].to_numpy() == theirs["highly_variable"].to_numpy()).mean() > 0.99


def test_components_are_those_of_all_cells_in_memory(collection):
    from sklearn.decomposition import PCA

    genes = list(collection.genes.index[::3])
    memory = collection.to_adata()
    sc.pp.normalize_total(memory, target_sum=1e4)
    sc.pp.log1p(memory)
    values = memory[:, genes].X.toarray().astype(np.float64)
    reference = PCA(5, svd_solver="full").fit(values)
    found = td.data.principal_components(collection, n_components=5, genes=genes)
    np.testing.assert_allclose(found.variances, reference.explained_variance_, rtol=1e-4)
    np.testing.assert_allclose(found.ratio, reference.explained_variance_ratio_, rtol=1e-4)
    agreement = np.abs((found.loadings * reference.components_.T).sum(0))
    np.testing.assert_allclose(agreement, 1, atol=1e-3)
    places = td.data.project(collection, found, genes=genes)
    np.testing.assert_allclose(np.abs(places), np.abs(reference.transform(values)), atol=0.02)
    np.testing.assert_allclose(places.mean(0), 0, atol=1e-3)


def test_what_does_not_fit_is_named(collection):
    with pytest.raises(ValueError, match="n_components=500, but there are 400 genes"):
        td.data.principal_components(collection, n_components=500)
    found = td.data.principal_components(collection, n_components=2)
    with pytest.raises(ValueError, match="give the same ones"):
        td.data.project(collection, found, genes=["G1"])
    for found in (td.data.principal_components, td.data.highly_variable_genes):
        with pytest.raises(ValueError, match=r"no gene of collection varies .* target_sum=1e-300"):
            found(collection, target_sum=1e-300)
