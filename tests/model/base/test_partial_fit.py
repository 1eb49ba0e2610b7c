"""Learning on from more cells, the same tests for every model that does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from anndata import AnnData
from models import CASES
from scipy import sparse
from typed_cells import simulate

from sctandem.model import CapsuleNet
from sctandem.model._capsules_transfer import as_composed
from sctandem.module import CapsuleConfig

LEARNS = ("CountVAEModel", "CapsuleNet", "DeepDE")
QUICK = {"max_epochs": 2, "rng": 0, "progress": False}


def increment(number: int, n_genes: int = 30) -> AnnData:
    rng = np.random.default_rng(number)
    found = AnnData(sparse.csr_matrix(rng.poisson(1.0, (60, n_genes)).astype(np.float32)))
    found.var_names = [f"GENE{i}" for i in range(n_genes)]
    found.obs_names = [f"increment{number}-{i}" for i in range(60)]
    found.obs["batch"] = f"batch{number}"
    return found


@pytest.fixture(name="case", params=LEARNS)
def fixture_case(request):
    return CASES[request.param]


@pytest.fixture(name="model")
def fixture_model(case):
    return case.trained()


@pytest.mark.parametrize("replay", ["cells", "generated", "none"])
def test_same_seed_same_model(case, replay):
    models = [case.trained() for _ in range(2)]
    for model in models:
        model.partial_fit(increment(1), replay=replay, n_replay=40, **QUICK)
    for key, value in models[0].module.state_dict().items():
        assert torch.equal(value, models[1].module.state_dict()[key]), key


def test_memory_does_not_grow_with_the_increments(model):
    sizes, kept, managers = [], [], type(model)._per_instance_manager_store
    before = len(managers)
    for number in range(1, 5):
        model.partial_fit(increment(number), n_replay=40, **QUICK)
        sizes.append(model.adata.n_obs)
        kept.append(sum(len(own) for own in managers.values()))
        assert model.summary_stats.n_batch == 2 + number
    assert sizes == [100] * 4
    assert len(managers) == before  # scvi-tools keeps the data of every model that it made
    assert kept == kept[:1] * 4


def test_other_models_of_the_same_object_are_not_touched(case):
    data = case.data()
    case.set_up(data)
    one, other = case.make(data), case.make(data)
    for model in (one, other):
        model.train(2, rng=0, progress=False)
    stored = len(case.cls._setup_adata_manager_store)
    before = case.output(other)
    for number in (1, 2, 3):
        one.partial_fit(increment(number), n_replay=40, **QUICK)
    assert len(case.cls._setup_adata_manager_store) == stored + 1  # of the cells that the one holds now
    np.testing.assert_array_equal(case.output(other), before)
    case.make(data).train(1, rng=0, progress=False)


def test_generated_cells_stand_in_for_old_ones(model):
    old = set(model.adata.obs_names)
    model.partial_fit(increment(1), replay="generated", n_replay=40, **QUICK)
    assert not old & set(model.adata.obs_names)
    first = set(model.adata.obs_names)
    model.partial_fit(increment(2), replay="generated", n_replay=40, **QUICK)
    assert {name for name in model.adata.obs_names if not name.startswith("generated")} == set(increment(2).obs_names)
    assert first


def test_generated_cells_have_the_mean_counts_of_their_batch(model):
    model.train(40, rng=0, progress=False)  # long enough for the decoder to know the shares
    means = {
        name: np.asarray(model.adata.X[(model.adata.obs["batch"] == name).to_numpy()].mean(0)).ravel() for name in "ab"
    }
    model.partial_fit(increment(1), replay="generated", n_replay=6000, **QUICK | {"max_epochs": 1})
    drawn = model.adata[model.adata.obs_names.str.startswith("generated")]
    shares = {name: mean / mean.sum() for name, mean in means.items()}
    apart = np.abs(shares["a"] - shares["b"]).sum()
    for name, own in shares.items():
        found = np.asarray(drawn.X[(drawn.obs["batch"] == name).to_numpy()].mean(0)).ravel()
        assert np.abs(found / found.sum() - own).sum() < 0.5 * apart  # half way lies what knows no batches


def test_springs_hold_weights(case):
    moved = {}
    for elastic in (0.0, 1e4):
        model = case.trained()
        before = {key: value.detach().clone() for key, value in model.module.named_parameters()}
        model.partial_fit(increment(1), n_replay=40, elastic=elastic, **QUICK)
        after = model.module.log_theta.detach()
        moved[elastic] = float((after - before["log_theta"]).square().sum())
    assert moved[1e4] < 0.2 * moved[0.0]


def test_genes_that_the_new_cells_lack_are_drawn_from_the_model(model):
    before = np.asarray(model.adata.X[:, 25:].mean(0)).ravel()
    model.partial_fit(increment(1, n_genes=25), n_replay=40, **QUICK)
    new = model.adata.obs_names.str.startswith("increment")
    assert model.adata.n_vars == 30
    found = np.asarray(model.adata.X[new.nonzero()[0]][:, 25:].mean(0)).ravel()
    assert np.abs(found - before).max() < 0.6  # counts are Poisson around 1; with zeros this would be 1
    assert (model.adata.X[new.nonzero()[0]][:, :25] != increment(1, n_genes=25).X).nnz == 0


def test_new_genes_are_ignored_or_added(model):
    more = increment(1, n_genes=33)
    model.partial_fit(more, n_replay=40, **QUICK)
    assert model.adata.n_vars == 30
    model.partial_fit(more, n_replay=40, new_features="add", **QUICK)
    assert list(model.adata.var_names) == list(more.var_names)
    lent = np.asarray(model.adata.X[:40][:, 30:].todense())
    assert 0.5 < lent.mean() < 2  # not zeros, which would say that old cells do not express them
    assert model.get_latent_representation(increment_as(model, 2)).shape[0] == 60


def increment_as(model, number):
    found = increment(number, n_genes=model.adata.n_vars)
    found.obs["batch"] = "a"
    return found


def test_after_an_error_the_model_is_as_it_was(model):
    before = {key: value.clone() for key, value in model.module.state_dict().items()}
    bad = increment(1)
    bad.X = bad.X * 0.5
    with pytest.raises(ValueError, match="does not hold counts"):
        model.partial_fit(bad)
    missing = increment(1)
    missing.obs["batch"] = np.nan
    with pytest.raises(ValueError, match="missing for 60 cells"):
        model.partial_fit(missing)
    for wrong in ({"replay": "all"}, {"n_replay": 0}, {"elastic": -1}, {"new_features": "zero"}, {"max_epochs": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            model.partial_fit(increment(1), **wrong)
    assert model.adata.n_obs == 150
    for key, value in model.module.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_nothing_is_written_to_the_new_cells(model):
    cells = increment(1)
    model.partial_fit(cells, n_replay=40, **QUICK)
    assert list(cells.obs) == ["batch"]
    assert not cells.uns


def test_a_model_without_its_cells_learns_on_from_what_it_kept(model, tmp_path):
    model.save(tmp_path / "model")
    cls = type(model)
    bare = cls._as_reference(tmp_path / "model")
    with pytest.raises(ValueError, match="replay='generated'"):
        bare.partial_fit(increment(1), **QUICK)
    bare.partial_fit(increment(1), replay="generated", n_replay=40, **QUICK)
    model.partial_fit(increment(1), replay="generated", n_replay=40, **QUICK)
    np.testing.assert_allclose(bare.get_latent_representation(), model.get_latent_representation(), atol=1e-5)


def test_a_model_that_has_learned_on_is_saved_and_maps(model, tmp_path):
    model.partial_fit(increment(1), n_replay=40, **QUICK)
    model.save(tmp_path / "model", save_anndata=True)
    loaded = type(model).load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.get_latent_representation(), model.get_latent_representation())
    query = type(model).load_query_data(increment(3), loaded)
    assert query.summary_stats.n_batch == 4


# --- what is learned and what is kept ---------------------------------------------------------------------------------


@pytest.fixture(name="stream", scope="module")
def fixture_stream():
    """Types 0 and 1 in the first part, 2 and 3 in the second, in batches of their own."""
    cells = simulate()
    cells.obs["label"] = "type " + cells.obs["type"].astype(str)
    first = cells.obs["type"].isin(["0", "1"]).to_numpy()
    cells.obs["batch"] = np.where(first, "first", "second")
    held_out = np.random.default_rng(0).random(cells.n_obs) < 0.3
    return [cells[part & ~held_out].copy() for part in (first, ~first)], [
        cells[part & held_out].copy() for part in (first, ~first)
    ]


def accuracy(model, cells):
    bare = AnnData(cells.X, obs=cells.obs[["batch"]], var=cells.var[[]])
    found = CapsuleNet.load_query_data(bare, model).predict()
    return float((found.astype(str).to_numpy() == cells.obs["label"].to_numpy()).mean())


def started(shown, max_epochs=20):
    cells = shown.copy()
    CapsuleNet.setup_anndata(cells, labels_key="label", batch_key="batch")
    model = CapsuleNet(cells, config=CapsuleConfig(n_hidden=32, n_programmes=8, d_pose=10), rng=0)
    model.train(max_epochs, rng=0, progress=False)
    return model


def test_weights_give_labels_the_shares_that_they_have_elsewhere():
    code = np.array([0, 0, 0, 1, -1, 2, 2])
    found = as_composed(code, np.array([30, 5, 1]))
    np.testing.assert_allclose([found[code == k].sum() for k in range(3)], [30, 5, 1])
    assert found[4] == 1


@pytest.mark.parametrize("replay", ["cells", "generated"])
def test_labels_are_as_probable_as_among_all_cells_that_were_ever_seen(stream, tmp_path, replay):
    """A reservoir has as many cells of each label; a model that saw all cells would know which are common."""
    shown, held_out = stream
    model = started(shown[0], 2)
    seen = shown[0].obs["label"].value_counts()
    for part in (shown[1], held_out[0]):  # new labels, then more of the first ones
        model.partial_fit(part, replay=replay, n_replay=80, **QUICK)
        seen = seen.add(part.obs["label"].value_counts(), fill_value=0)
        np.testing.assert_array_equal(model.calibration_["seen"], seen[model.label_names])
        held = model.adata.obs["label"].value_counts()[model.label_names]
        shift = np.asarray(model.calibration_["label_shift"])
        np.testing.assert_allclose(np.diff(shift), np.diff(np.log(seen[model.label_names] / held)), atol=1e-9)
        assert np.abs(np.diff(shift)).max() > 0.5
    model.save(tmp_path / "model", save_anndata=True)
    np.testing.assert_array_equal(CapsuleNet.load(tmp_path / "model").calibration_["seen"], seen[model.label_names])


@pytest.mark.slow
@pytest.mark.parametrize("replay", ["cells", "generated"])
def test_new_types_are_learned_and_old_ones_kept_where_fine_tuning_forgets(stream, replay):
    shown, held_out = stream
    model = started(shown[0])
    n_types = model.module.n_types
    assert accuracy(model, held_out[0]) > 0.98
    model.partial_fit(shown[1], replay=replay, n_replay=100, rng=0, progress=False)
    assert model.label_names == ["type 0", "type 1", "type 2", "type 3"]
    assert accuracy(model, held_out[0]) > 0.96
    assert accuracy(model, held_out[1]) > 0.96
    assert model.module.n_types > n_types
    naive = started(shown[0])
    naive.partial_fit(shown[1], replay="none", elastic=0, rng=0, progress=False)
    assert accuracy(naive, held_out[0]) < 0.5
