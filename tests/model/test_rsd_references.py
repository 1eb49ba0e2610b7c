"""What references RSD takes, and which it refuses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from mixtures import bulk, compositions, names, profiles, reference
from rsd import EVEN, relative, trained
from scipy import sparse

from sctandem.model import RSD

CONTENTS = {"A1": 2.0, "B1": 1.0, "C1": 0.5}


@pytest.fixture(scope="module")
def shares():
    return profiles()


@pytest.fixture(scope="module")
def samples(shares):
    return bulk(shares, compositions(10), platform=0.8, noise=0.03)


def test_technical_genes_are_no_rna(shares, samples):
    """Types with much and with little of them have the same shares: RNA is counted without."""
    extra = shares.sum(1, keepdims=True) * np.array([[4.0], [0.1], [0.5]]) * np.ones((3, 20)) / 20
    adata = reference(np.hstack([shares, extra]) / (1 + extra.sum(1, keepdims=True)), depth=200_000)
    adata.var_names = [*names(300), *[f"RPL{i + 3}" for i in range(20)]]
    model = trained(adata)
    assert not set(model.module.genes.numpy()) & set(range(300, 320))
    found = model.deconvolve(samples, contents=EVEN, rng=0)
    assert np.sqrt(((relative(found) - samples.obsm["true"]) ** 2).mean()) < 0.03


def test_types_missing_in_some_donors_and_genes_of_no_type(shares, samples):
    adata = reference(shares, depth=50_000)
    adata.X = adata.X.toarray()
    adata.X[:, :5] = 0
    adata.obs["donor"] = np.where(adata.obs["cell_type"] == "A1", "d0", adata.obs["donor"])
    model = trained(adata, epochs=2, donor_key="donor")
    found = model.deconvolve(samples, contents=EVEN, rng=0)
    assert np.isfinite(found.signature).all(axis=None)
    assert np.sqrt(((relative(found) - samples.obsm["true"]) ** 2).mean()) < 0.06
    spread = model.module.spread.numpy()
    assert (spread[0] == 0.3).all()
    assert (spread[1] != 0.3).any()


def test_types_without_cells(shares):
    adata = reference(shares)
    adata.obs["cell_type"] = pd.Categorical(adata.obs["cell_type"], ["C1", "none", "A1", "B1"])
    RSD.setup_anndata(adata, "cell_type")
    with pytest.raises(ValueError, match=r"'none \(0\)'.*remove_unused_categories"):
        RSD(adata)


def test_types_as_numbers(shares, samples):
    adata = reference(shares, types=(3, 1, 2))
    model = trained(adata, epochs=1)
    assert model.cell_types == ["1", "2", "3"]
    found = model.deconvolve(samples, contents={1: 1.0, 2: 2.0, 3: 1}, rng=0)
    assert found.contents == {"1": 1.0, "2": 2.0, "3": 1.0}
    with pytest.raises(KeyError, match="contents lacks '2', '3'; it has '1', 'B'"):
        model.deconvolve(samples, contents={1: 1.0, "B": 2})


@pytest.mark.filterwarnings("ignore:Training will be faster when sparse matrix is formatted as CSR")
@pytest.mark.parametrize("kind", ["csc", "dense", "integers", "copy", "layer"])
def test_all_kinds_of_counts_give_the_same_model(shares, kind):
    first = reference(shares)
    RSD.setup_anndata(first, "cell_type", donor_key="donor")
    adata, layer = reference(shares), None
    if kind == "csc":
        adata.X = sparse.csc_matrix(adata.X)
    elif kind == "dense":
        adata.X = adata.X.toarray()
    elif kind == "integers":
        adata.X = adata.X.astype(np.int64)
    elif kind == "copy":
        adata = adata[np.arange(adata.n_obs)].copy()
    else:
        adata.layers["raw"], layer = adata.X.copy(), "raw"
        adata.X = adata.X.log1p()
    RSD.setup_anndata(adata, "cell_type", donor_key="donor", layer=layer)
    for expected, value in zip(RSD(first, rng=0).module.buffers(), RSD(adata, rng=0).module.buffers(), strict=True):
        np.testing.assert_allclose(value, expected)


def one_type(adata):
    adata.obs["cell_type"] = "A1"


def few_cells(adata):
    adata.obs["cell_type"] = ["rare"] * 9 + ["A1"] * 90 + ["B1"] * 81


def alike(adata):
    adata.X[:] = 10


def no_counts_at_all(adata):
    adata.X[:] = 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (one_type, r"one type only \('A1'\): there is nothing to tell apart"),
        (few_cells, r"fewer than 10 cells: 'rare \(9\)'; it has 3 types\. To leave them out, name them 'unknown'"),
        (alike, "0 genes of the reference tell its types apart .*at least 10 are needed"),
        (no_counts_at_all, "0 genes of the reference tell its types apart"),
    ],
)
def test_references_that_tell_nothing(shares, change, message):
    adata = reference(shares)
    adata.X = adata.X.toarray()
    change(adata)
    RSD.setup_anndata(adata, "cell_type")
    with pytest.raises(ValueError, match=message):
        RSD(adata)


def test_bad_references(shares):
    adata = reference(shares)
    with pytest.raises(KeyError, match=r"adata\.obs has no column 'type'; it has 'cell_type', 'donor'"):
        RSD.setup_anndata(adata, "type")
    with pytest.raises(KeyError, match=r"adata\.obs has no column 'lane'"):
        RSD.setup_anndata(adata, "cell_type", donor_key="lane")
    adata.obs["cell_type"] = adata.obs["cell_type"].where(np.arange(180) > 4)
    with pytest.raises(ValueError, match=r"adata\.obs\['cell_type'\] is missing in 5 cells: take them out"):
        RSD.setup_anndata(adata, "cell_type")
    adata = reference(shares)
    adata.X = adata.X.log1p()
    with pytest.raises(ValueError, match=r"adata\.X does not hold counts .*Raw counts are needed"):
        RSD.setup_anndata(adata, "cell_type")
    adata = reference(shares)
    adata.var_names = ["GENE1", *adata.var_names[1:]]
    with pytest.raises(ValueError, match=r"adata\.var_names has 1 duplicated names: 'GENE1'"):
        RSD.setup_anndata(adata, "cell_type")
    assert "_scvi_uuid" not in adata.uns


def test_untrained(shares, samples):
    adata = reference(shares)
    RSD.setup_anndata(adata, "cell_type")
    with pytest.raises(RuntimeError, match=r"this RSD is not trained; call `model\.train\(\)` first"):
        RSD(adata).deconvolve(samples)
