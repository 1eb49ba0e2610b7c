from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scvi
import torch
from anndata import AnnData
from scipy import sparse
from sklearn.metrics import adjusted_rand_score
from typed_cells import SIZES, simulate

from sctandem.model import CapsuleNet
from sctandem.module import CapsuleConfig
from sctandem.train import TrainConfig


@pytest.fixture(scope="module", name="trained")
def fixture_trained() -> CapsuleNet:
    """A trained model; tests only read it."""
    adata = simulate()
    CapsuleNet.setup_anndata(adata)
    model = CapsuleNet(adata, rng=0)
    model.train(rng=0, progress=False)
    return model


def test_types_and_their_number_are_found(trained):
    found = trained.predict()
    assert found.nunique() == len(SIZES)
    assert adjusted_rand_score(trained.adata.obs["type"], found) > 0.95


def test_cells_that_were_not_trained_on_get_their_type(trained):
    cells = trained.validation_indices
    assert adjusted_rand_score(trained.adata.obs["type"].iloc[cells], trained.predict(indices=cells)) > 0.95


def test_a_batch_makes_no_types_when_it_is_named():
    adata = simulate(batch_effect=0.6)
    scores = {}
    for batch_key in ("batch", None):
        data = adata.copy()
        CapsuleNet.setup_anndata(data, batch_key=batch_key)
        model = CapsuleNet(data, rng=0)
        model.train(rng=0, progress=False)
        scores[batch_key] = adjusted_rand_score(data.obs["type"], model.predict())
    assert scores["batch"] > 0.9
    assert scores["batch"] > scores[None]


def test_the_first_layer_takes_out_shifts_and_not_what_types_a_batch_holds():
    """Without that, the means of a batch that lacks a type differ from those of the other by the type."""
    adata = simulate(batch_effect=0.6)
    kind, batch = adata.obs["type"].astype(str), adata.obs["batch"].astype(str)
    names = sorted(batch.unique())
    adata = adata[~((kind == kind.value_counts().index[0]) & (batch == names[0]))].copy()
    CapsuleNet.setup_anndata(adata, batch_key="batch")
    model = CapsuleNet(adata, rng=0)
    model.train(rng=0, progress=False)
    first, second = list(model.module.norm.norms)[:2]
    told = model.module.batch_shift
    units = (told[:, 1] - told[:, 0]) @ model.module.first.weight
    found = second.running_mean - first.running_mean
    assert (found - units).norm() < 0.1 * units.norm()
    torch.testing.assert_close(first.running_var, second.running_var, rtol=0.02, atol=1e-3)


def test_predictions_name_cells_and_capsules(trained):
    hard, soft = trained.predict(), trained.predict(soft=True)
    assert isinstance(hard.dtype, pd.CategoricalDtype)
    assert list(hard.index) == list(soft.index) == list(trained.adata.obs_names)
    assert list(soft.columns) == [str(i) for i in range(len(SIZES))]
    assert (soft.idxmax(axis=1) == hard.astype(str)).all()
    assert ((soft >= 0) & (soft < 1)).all(axis=None)
    mask = np.arange(trained.adata.n_obs) % 7 == 0
    assert list(trained.predict(indices=mask).index) == list(trained.adata.obs_names[mask])


def test_lengths_are_those_of_the_margin_loss(trained):
    soft = trained.predict(soft=True).to_numpy()
    assert np.median(soft.max(1)) > 0.85
    assert np.median(np.sort(soft, axis=1)[:, -2]) < 0.2


def test_embedding(trained):
    latent = trained.get_latent_representation()
    assert latent.shape == (trained.adata.n_obs, 30)
    assert latent.dtype == np.float32
    np.testing.assert_allclose(trained.get_latent_representation(batch_size=64), latent, rtol=1e-4, atol=1e-4)
    other = trained.adata[100:160].copy()
    np.testing.assert_allclose(trained.get_latent_representation(other), latent[100:160], rtol=1e-4, atol=1e-4)


def test_history_has_both_parts(trained):
    losses = trained.history["elbo_train"]["elbo_train"]
    assert list(losses.index) == list(range(45))
    assert losses.iloc[29] < losses.iloc[0]


def test_same_seed_same_model_and_training_starts_anew():
    adata = simulate()[::3].copy()
    CapsuleNet.setup_anndata(adata)
    first, second = CapsuleNet(adata, rng=0), CapsuleNet(adata, rng=0)
    first.train(4, rng=1, progress=False)
    second.train(3, rng=5, progress=False)
    second.train(4, rng=1, progress=False)
    np.testing.assert_array_equal(first.get_latent_representation(), second.get_latent_representation())
    assert len(second.history["elbo_train"]) == 4


def test_training_with_a_seed_leaves_the_global_state_alone():
    adata = simulate()[::3].copy()
    CapsuleNet.setup_anndata(adata)
    model = CapsuleNet(adata, rng=0)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    model.train(2, rng=1, progress=False)
    assert torch.equal(torch.rand(2), expected)


def test_same_coupling_after_save_and_load(trained, tmp_path):
    trained.save(tmp_path / "model")
    loaded = CapsuleNet.load(tmp_path / "model", trained.adata.copy(), accelerator="cpu")
    assert loaded.module.config == trained.module.config
    for what in ("coupling", "presence", "pose"):
        np.testing.assert_array_equal(loaded._read(what, None, None, None), trained._read(what, None, None, None))


def test_few_parameters():
    adata = AnnData(sparse.random(20, 2000, density=0.1, format="csr", rng=np.random.default_rng(0)).ceil())
    CapsuleNet.setup_anndata(adata)
    module = CapsuleNet(adata, rng=0).module
    module.split(24)
    scvi.model.SCVI.setup_anndata(adata)
    peer = scvi.model.SCVI(adata, gene_likelihood="nb").module
    used = sum(values.numel() for name, values in peer.named_parameters() if not name.startswith("l_encoder"))
    assert 2 * sum(values.numel() for values in module.parameters()) < used


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_epochs": 0}, "max_epochs"),
        ({"config": TrainConfig(early_stopping=True)}, "early_stopping=True does not go with CapsuleNet"),
        ({"train_size": 0.01}, "train_size"),
        ({"learning_rate": -1.0}, "learning_rate"),
    ],
)
def test_bad_settings(options, message):
    adata = simulate()[::3].copy()
    CapsuleNet.setup_anndata(adata)
    model = CapsuleNet(adata, rng=0)
    with pytest.raises(ValueError, match=message):
        model.train(**options)
    assert not model.is_trained


def test_wrong_things():
    adata = simulate()[::10].copy()
    CapsuleNet.setup_anndata(adata)
    with pytest.raises(TypeError, match="config"):
        CapsuleNet(adata, config=TrainConfig())
    with pytest.raises(TypeError, match="config"):
        CapsuleNet(adata).train(config=CapsuleConfig())
    with pytest.raises(RuntimeError, match="not trained"):
        CapsuleNet(adata).predict()


def test_other_objects_need_the_same_genes_in_the_same_order(trained):
    other = trained.adata.copy()
    np.testing.assert_array_equal(trained.get_capsules(other), trained.get_capsules())
    for genes, fault in ((slice(None, None, -1), "in another order"), (slice(5, None), "lack 5 of the")):
        with pytest.raises(ValueError, match=fault):
            trained.get_capsules(other[:, genes].copy())
    renamed = other.copy()
    renamed.var_names = [f"Z{name}" for name in renamed.var_names]
    with pytest.raises(ValueError, match="lack"):
        trained.get_latent_representation(renamed)


def test_cells_by_position_mask_and_from_the_end(trained):
    whole = trained.get_confidence()
    mask = np.arange(len(whole)) % 7 == 0
    pd.testing.assert_series_equal(trained.get_confidence(indices=mask), whole[mask])
    pd.testing.assert_series_equal(trained.get_confidence(indices=[-1, 3]), whole.iloc[[-1, 3]])
    for indices, error in (([], ValueError), ([len(whole)], ValueError), (mask[:5], ValueError), (["c0"], TypeError)):
        for read in (trained.get_confidence, trained.get_capsules, trained.get_latent_representation, trained.predict):
            with pytest.raises(error, match=r"indices|at least 1 cells"):
                read(indices=indices)


@pytest.mark.parametrize(
    ("change", "arguments", "error", "message"),
    [
        (np.log1p, {}, ValueError, "adata.X does not hold counts"),
        (lambda x: x * np.nan, {}, ValueError, "adata.X contains NaN"),
        (np.asarray, {"layer": "raw"}, KeyError, "no 'raw'"),
        (np.asarray, {"batch_key": "none"}, KeyError, "no column 'none'"),
        (np.asarray, {"labels_key": "none"}, KeyError, "no column 'none'"),
        (np.asarray, {"batch_key": "lane"}, ValueError, "is missing for 1 cells"),
        (
            np.asarray,
            {"labels_key": "side", "batch_key": "side"},
            ValueError,
            "labels_key='side' and batch_key='side' are one",
        ),
    ],
)
def test_what_cannot_be_set_up(change, arguments, error, message):
    adata = simulate()[::10].copy()
    adata.X = change(adata.X.toarray())
    adata.obs["lane"] = [None, *["a"] * (adata.n_obs - 1)]
    adata.obs["side"] = np.where(np.arange(adata.n_obs) % 2, "left", "right")
    before = list(adata.obs)
    with pytest.raises(error, match=message):
        CapsuleNet.setup_anndata(adata, **arguments)
    assert list(adata.obs) == before
    assert not adata.uns


def test_too_few_cells():
    adata = simulate()[::150].copy()
    CapsuleNet.setup_anndata(adata)
    model = CapsuleNet(adata)
    with pytest.raises(ValueError, match="10"):
        model.train()
