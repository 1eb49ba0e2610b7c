"""Batches against slices of the data."""

from __future__ import annotations

import mudata
import numpy as np
import pytest
import torch
from anndata import AnnData
from scipy import sparse
from scvi.data import AnnDataManager
from scvi.data.fields import (
    CategoricalObsField,
    LayerField,
    MuDataCategoricalObsField,
    MuDataLayerField,
    NumericalJointObsField,
)

from sctandem.data import CountLoader, as_csr

N_CELLS = 53


def anndata_manager(adata, layer=None):
    fields = [
        LayerField("X", layer, is_count_data=True),
        CategoricalObsField("batch", "batch"),
        NumericalJointObsField("extra_continuous_covs", ["age", "depth"]),
    ]
    manager = AnnDataManager(fields=fields, setup_method_args={})
    manager.register_fields(adata)
    return manager


@pytest.fixture
def counts(rng):
    return rng.poisson(0.4, (N_CELLS, 17)).astype(np.float32)


def make_adata(rng, counts, kind=sparse.csr_matrix):
    obs = {
        "batch": rng.choice(["a", "b", "c"], N_CELLS),
        "age": rng.normal(size=N_CELLS),
        "depth": rng.normal(size=N_CELLS),
    }
    adata = AnnData(kind(counts), obs=obs)
    adata.obs_names = [f"cell{i}" for i in range(N_CELLS)]
    return adata


@pytest.fixture
def manager(rng, counts):
    return anndata_manager(make_adata(rng, counts))


def test_batches_equal_dense_slices(manager, counts):
    loader = CountLoader(manager, batch_size=10)
    batches = list(loader)
    assert len(batches) == len(loader) == 6
    assert max(len(batch["batch"]) for batch in batches) <= 10
    for batch in batches:
        assert batch["X"].layout is torch.sparse_csr
        assert batch["X"].dtype == torch.float32
        assert batch["batch"].dtype == torch.int64
        assert batch["batch"].shape == (len(batch["X"]), 1)
        assert batch["extra_continuous_covs"].shape == (len(batch["X"]), 2)
    together = torch.cat([batch["X"].to_dense() for batch in batches]).numpy()
    np.testing.assert_array_equal(together, counts)
    codes = manager.adata.obs["batch"].astype("category").cat.codes.to_numpy()
    np.testing.assert_array_equal(torch.cat([batch["batch"] for batch in batches]).numpy().ravel(), codes)
    ages = torch.cat([batch["extra_continuous_covs"] for batch in batches]).numpy()[:, 0]
    np.testing.assert_allclose(ages, manager.adata.obs["age"], rtol=1e-6)


def test_dense_batches_for_stock_modules(manager, counts):
    batch = next(iter(CountLoader(manager, batch_size=N_CELLS, load_sparse_tensor=False)))
    assert batch["X"].layout is torch.strided
    np.testing.assert_array_equal(batch["X"].numpy(), counts)


def visited(loader):
    """Which cells an epoch visits, told by their rows."""
    return [tuple(row) for batch in loader for row in batch["extra_continuous_covs"].numpy().tolist()]


def test_every_epoch_visits_each_cell_once_in_a_new_order(manager):
    loader = CountLoader(manager, batch_size=10, shuffle=True, rng=0)
    first, second = visited(loader), visited(loader)
    assert len(set(first)) == N_CELLS
    assert sorted(first) == sorted(second) == sorted(visited(CountLoader(manager, batch_size=7)))
    assert first != second


def test_same_seed_same_order(manager):
    first, second, other = (
        [visited(loader) for _ in range(2)]
        for loader in [CountLoader(manager, batch_size=10, shuffle=True, rng=seed) for seed in (3, 3, 4)]
    )
    assert first == second
    assert first != other


def test_without_a_seed_the_order_follows_torch(manager):
    orders = []
    for _ in range(2):
        torch.manual_seed(5)
        orders.append(visited(CountLoader(manager, shuffle=True)))
    assert orders[0] == orders[1]


def test_cells_are_dealt_evenly(manager):
    sizes = [len(batch["batch"]) for batch in CountLoader(manager, np.arange(41), batch_size=20)]
    assert sizes == [13, 14, 14]
    sizes = [len(batch["batch"]) for batch in CountLoader(manager, np.arange(41), batch_size=20, drop_last=True)]
    assert sizes == [20, 20]


@pytest.mark.parametrize("mask", [True, False])
def test_indices_and_masks(manager, counts, mask):
    chosen = np.array([40, 3, 9])
    indices = np.isin(np.arange(N_CELLS), chosen) if mask else chosen
    batch = next(iter(CountLoader(manager, indices)))
    np.testing.assert_array_equal(batch["X"].to_dense().numpy(), counts[np.sort(chosen) if mask else chosen])


@pytest.mark.parametrize(
    "kind", [sparse.csr_matrix, sparse.csc_matrix, np.asarray, lambda x: sparse.csr_matrix(x.astype(np.int64))]
)
@pytest.mark.filterwarnings("ignore:Training will be faster when sparse matrix is formatted as CSR:UserWarning")
def test_formats_and_types(rng, counts, kind):
    manager = anndata_manager(make_adata(rng, counts, kind))
    batch = next(iter(CountLoader(manager, batch_size=N_CELLS)))
    assert batch["X"].dtype == torch.float32
    np.testing.assert_array_equal(batch["X"].to_dense().numpy(), counts)


def test_layer(rng, counts):
    adata = make_adata(rng, np.ones_like(counts))
    adata.layers["counts"] = sparse.csr_matrix(counts)
    batch = next(iter(CountLoader(anndata_manager(adata, "counts"), batch_size=N_CELLS)))
    np.testing.assert_array_equal(batch["X"].to_dense().numpy(), counts)


def test_csr_is_not_copied(manager):
    matrix = manager.adata.X
    assert as_csr(matrix) is matrix
    array = sparse.csr_array(matrix)
    assert as_csr(array) is array
    assert CountLoader(manager)._matrices["X"] is manager.get_from_registry("X")


def test_backed_matrix(rng, counts, tmp_path):
    import anndata

    make_adata(rng, counts).write_h5ad(tmp_path / "x.h5ad")
    backed = anndata.read_h5ad(tmp_path / "x.h5ad", backed="r")
    np.testing.assert_array_equal(as_csr(backed.X).toarray(), counts)
    backed.file.close()


def test_several_matrices_of_a_mudata(rng, counts):
    rna, atac = make_adata(rng, counts), make_adata(rng, rng.poisson(0.2, (N_CELLS, 31)).astype(np.float32))
    atac.var_names = [f"peak{i}" for i in range(31)]
    mdata = mudata.MuData(
        {"rna": AnnData(rna.X, obs=rna.obs[[]]), "atac": AnnData(atac.X, obs=atac.obs[[]], var=atac.var)}
    )
    mdata.obs["donor"] = rng.choice(["x", "y"], N_CELLS)
    fields = [
        MuDataLayerField("X", None, mod_key="rna", is_count_data=True, mod_required=True),
        MuDataLayerField("atac", None, mod_key="atac", is_count_data=True, mod_required=True),
        MuDataCategoricalObsField("batch", "donor", mod_key=None),
    ]
    manager = AnnDataManager(fields=fields, setup_method_args={})
    manager.register_fields(mdata)
    loader = CountLoader(manager, batch_size=20, shuffle=True, rng=0)
    seen = []
    for batch in loader:
        assert batch["X"].layout is batch["atac"].layout is torch.sparse_csr
        both = torch.cat([batch["X"].to_dense(), batch["atac"].to_dense(), batch["batch"]], 1)
        seen += [tuple(row) for row in both.tolist()]
    codes = mdata.obs["donor"].astype("category").cat.codes.to_numpy()
    expected = np.hstack([counts, atac.X.toarray(), codes[:, None]])
    assert sorted(seen) == sorted(tuple(row) for row in expected.tolist())


def test_keys(manager):
    assert set(next(iter(CountLoader(manager, data_and_attributes=["X"])))) == {"X"}
    with pytest.raises(KeyError, match="data_and_attributes names .'labels'., but the registry of this object holds"):
        CountLoader(manager, data_and_attributes=["labels"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"indices": [0, N_CELLS]}, "indices must lie in"),
        ({"indices": np.ones(3, bool)}, "mask of 3 cells, but the object has 53"),
        ({"distributed_sampler": True}, "distributed_sampler=True is not supported"),
    ],
)
def test_bad_arguments(manager, options, message):
    with pytest.raises(ValueError, match=message):
        CountLoader(manager, **options)
