from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

import sctandem as td
from sctandem.module.base import CountVAEConfig

N_GENES = 80


def cells(seed: int = 0, n: int = 600) -> AnnData:
    """Two types in four samples; each sample has its own shift of every gene, one sample has none of the first type's genes."""
    rng = np.random.default_rng(seed)
    level = np.exp(rng.normal(0.8, 0.6, N_GENES))
    kind, sample = rng.integers(2, size=n), rng.integers(4, size=n)
    shift = rng.normal(0, 0.5, (4, N_GENES))
    shift -= shift.mean(0)
    rate = level * np.exp(shift[sample]) * rng.gamma(5, 0.2, (n, 1))
    rate[kind == 1, :20] *= 4
    adata = AnnData(sparse.csr_matrix(rng.poisson(rate).astype(np.float32)))
    adata.obs["sample"] = [f"s{i}" for i in sample]
    adata.obs["type"] = kind
    adata.uns["shift"] = shift
    return adata


@pytest.fixture(scope="module")
def model():
    adata = cells()
    td.model.DeepDE.setup_anndata(adata, "sample")
    found = td.model.DeepDE(adata, rng=0)
    found.train(60, rng=0, progress=False)
    return found


def test_states_are_the_types_and_not_the_samples(model):
    weights = model.get_state_weights(rng=0)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    state, obs = weights.to_numpy().argmax(1), model.adata.obs
    table = pd.crosstab(state, obs["type"])
    assert table.max(axis=0).sum() > 0.97 * len(obs)
    of_sample = pd.crosstab(state, obs["sample"], normalize="columns")
    assert (of_sample.max(axis=1) - of_sample.min(axis=1)).max() < 0.2


def test_effects_of_samples_are_found(model):
    effects = model.get_sample_effects()
    assert list(effects.columns) == ["s0", "s1", "s2", "s3"]
    np.testing.assert_allclose(effects.mean(axis=1), 0, atol=1e-6)
    assert np.corrcoef(effects.to_numpy().ravel(), model.adata.uns["shift"].T.ravel())[0, 1] > 0.7


def test_saved_and_loaded(model, tmp_path):
    model.save(tmp_path / "m")
    loaded = td.model.DeepDE.load(tmp_path / "m", cells())
    np.testing.assert_allclose(
        loaded.get_latent_representation(), model.get_latent_representation(), rtol=1e-4, atol=1e-4
    )
    pd.testing.assert_frame_equal(loaded.get_sample_effects(), model.get_sample_effects())


def test_cells_are_compared_by_name(model):
    kind = (model.adata.obs["type"] == 1).to_numpy()
    table = model.compare_cells(kind, ~kind, n_draws=600, rng=0)
    assert len(set(table.index[:25]) & {str(i) for i in range(20)}) >= 16
    counts = model.adata.X.toarray()  # shares: the other genes fall where these rise
    share = [counts[cells].sum(0) / counts[cells].sum() for cells in (kind, ~kind)]
    expected = np.median(np.log2(share[0] / share[1])[:20])
    found = table.loc[[str(i) for i in range(20)], "log2fc"].median()
    assert 0.6 * expected < found < 1.1 * expected  # after a short training the decoder draws changes towards 0
    pd.testing.assert_frame_equal(model.compare_cells(kind, ~kind, n_draws=600, rng=0), table)
    with pytest.raises(ValueError, match="second holds no cells"):
        model.compare_cells(kind, np.zeros(600, dtype=bool))


@pytest.mark.parametrize(
    ("second", "error", "match"),
    [
        ([], ValueError, "second holds no cells"),
        (np.ones(50, dtype=bool), ValueError, "second is a mask of 50 cells, but there are 600"),
        ([600], ValueError, "second reach from 600 to 600, but there are 600 cells"),
        (["0", "1"], TypeError, "second must be positions of cells, or a mask, got list"),
        (None, ValueError, "second holds no cells"),
        (3, TypeError, "second must be positions of cells, or a mask, got int: 3"),
    ],
)
def test_cells_that_cannot_be_compared(model, second, error, match):
    with pytest.raises(error, match=match):
        model.compare_cells([0, 1], second)


def test_cells_without_a_sample_are_refused():
    adata = cells(n=50)
    adata.obs["sample"] = adata.obs["sample"].where(np.arange(50) > 2)
    with pytest.raises(ValueError, match=r"adata.obs\['sample'\] is missing in 3 cells: take them out"):
        td.model.DeepDE.setup_anndata(adata, "sample")
    with pytest.raises(KeyError, match="adata.obs has no column 'nope'; it has 'sample', 'type'"):
        td.model.DeepDE.setup_anndata(adata, "nope")


def test_seeds():
    found = []
    for seed in (0, 0, 1):
        adata = cells(n=150)
        td.model.DeepDE.setup_anndata(adata, "sample")
        model = td.model.DeepDE(adata, rng=seed)
        model.train(3, rng=seed, progress=False)
        found.append(model.get_latent_representation())
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.allclose(found[0], found[2])


def test_other_likelihoods_are_refused():
    adata = cells(n=50)
    td.model.DeepDE.setup_anndata(adata, "sample")
    with pytest.raises(ValueError, match="config.likelihood='zinb', but DeepDE"):
        td.model.DeepDE(adata, config=CountVAEConfig(likelihood="zinb"))


def test_what_is_no_count_is_refused():
    adata = cells(n=50)
    adata.layers["logs"] = adata.X.log1p()
    with pytest.raises(ValueError, match=r"adata.layers\['logs'\] does not hold counts"):
        td.model.DeepDE.setup_anndata(adata, "sample", layer="logs")
    with pytest.raises(KeyError, match="adata.layers has no 'nope'"):
        td.model.DeepDE.setup_anndata(adata, "sample", layer="nope")
    with pytest.raises(TypeError, match="adata must be an AnnData, got ndarray"):
        td.model.DeepDE.setup_anndata(adata.X.toarray(), "sample")
    assert list(adata.uns) == ["shift"]
