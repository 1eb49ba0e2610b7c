"""Training that is interrupted and goes on gives the result that it would have had: the same tests for every model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import typed_cells
from interrupted import N_EPOCHS, Killed, counts, made, same, simulated, vae
from models import CASES

from sctandem.model import RSD, CapsuleNet
from sctandem.train import TrainConfig, _checkpoint


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch):
    monkeypatch.setattr(_checkpoint, "MOST_SHARE", 1.0)


@pytest.fixture(scope="module")
def whole(case):
    model = made(case)
    model.train(N_EPOCHS, rng=0, progress=False)
    return model


def test_checkpoint_changes_nothing_and_is_gone_at_the_end(case, whole, tmp_path):
    model = made(case)
    model.train(N_EPOCHS, rng=0, progress=False, checkpoint=tmp_path / "run.ckpt")
    same(model, whole)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("n_writings", [1, 2, 4])
def test_resumed_equals_uninterrupted(case, whole, tmp_path, die, monkeypatch, n_writings):
    path = tmp_path / "run.ckpt"
    die(n_writings)
    with pytest.raises(Killed, match="killed"):
        made(case).train(N_EPOCHS, rng=0, progress=False, checkpoint=path)
    assert [file.name for file in tmp_path.iterdir()] == ["run.ckpt"]
    monkeypatch.undo()
    model = made(case)
    model.train(N_EPOCHS, rng=0, progress=False, checkpoint=path)
    same(model, whole)
    if case.cls is not RSD:  # slow, and its weights are all that it has
        np.testing.assert_array_equal(case.output(model), case.output(whole))
    assert list(tmp_path.iterdir()) == []


def test_another_length_is_refused_and_changes_nothing(case, tmp_path, die, monkeypatch):
    path = tmp_path / "run.ckpt"
    die(2)
    with pytest.raises(Killed, match="killed"):
        made(case).train(N_EPOCHS, rng=0, progress=False, checkpoint=path)
    monkeypatch.undo()
    model, content = made(case), path.read_bytes()
    before = {key: value.clone() for key, value in model.module.state_dict().items()}
    with pytest.raises(
        ValueError,
        match=r"run.ckpt is the checkpoint of another training: the setting max_epochs is 4 in it and 5 here",
    ):
        model.train(N_EPOCHS + 1, rng=0, progress=False, checkpoint=path)
    assert path.read_bytes() == content
    assert not model.is_trained
    assert all(torch.equal(value, before[key]) for key, value in model.module.state_dict().items())


# --- what one model shows for all -------------------------------------------------------------------------------------


MODES = {
    "early stopping": ({"early_stopping": True, "train_size": 0.7}, TrainConfig(patience=1)),
    "drawn by weights": ({"sample_weight": "weight"}, TrainConfig(weight_use="unbiased")),
    "attacked": ({"adversarial": "pgd"}, TrainConfig()),
    "batch hidden": ({"domain_adversarial": "batch"}, TrainConfig()),
    "constant rate": ({"batch_size": 20}, TrainConfig(schedule="constant", gradient_clip=1.0, validate_every=2)),
}


@pytest.mark.parametrize("mode", list(MODES))
@pytest.mark.parametrize("n_writings", [2, 4])
def test_modes(tmp_path, die, monkeypatch, mode, n_writings):
    given, config = MODES[mode]

    def model():
        case = CASES["DeepDE" if mode == "attacked" else "CountVAEModel"]
        data = case.data()
        data.obs["weight"] = np.random.default_rng(1).uniform(0.1, 3, data.n_obs)
        case.set_up(data)
        return case.make(data)

    options = {**given, "config": replace(config, max_epochs=8), "rng": 3, "progress": False}
    whole, resumed = model(), model()
    whole.train(**options)
    die(n_writings)
    with pytest.raises(Killed, match="killed"):
        model().train(**options, checkpoint=tmp_path / "c")
    monkeypatch.undo()
    resumed.train(**options, checkpoint=tmp_path / "c")
    same(resumed, whole)


def test_labels_of_capsules(tmp_path, die, monkeypatch):
    def model():
        data = typed_cells.simulate()[::2].copy()
        CapsuleNet.setup_anndata(data, labels_key="type")
        return CapsuleNet(data, rng=0)

    whole = model()
    whole.train(4, rng=0, progress=False)
    for moment in (3, 1):
        die(moment)
        with pytest.raises(Killed, match="killed"):
            model().train(4, rng=0, progress=False, checkpoint=tmp_path / "c")
        monkeypatch.undo()
    resumed = model()
    resumed.train(4, rng=0, progress=False, checkpoint=tmp_path / "c")
    same(resumed, whole)
    np.testing.assert_array_equal(resumed.predict(soft=True), whole.predict(soft=True))


def test_seed_that_was_not_given_is_kept(tmp_path, die, monkeypatch):
    path = tmp_path / "c"
    torch.manual_seed(5)
    whole = vae(rng=None)
    whole.train(N_EPOCHS, progress=False, checkpoint=path)
    torch.manual_seed(5)
    interrupted = vae(rng=None)
    die(3)
    with pytest.raises(Killed, match="killed"):
        interrupted.train(N_EPOCHS, progress=False, checkpoint=path)
    monkeypatch.undo()
    torch.manual_seed(6)  # another process, with other first weights
    resumed = vae(rng=None)
    resumed.train(N_EPOCHS, progress=False, checkpoint=path)
    same(resumed, whole)


def test_interrupted_by_hand_goes_on_with_the_same_object(tmp_path, monkeypatch, interrupt, caplog):
    whole, model, path = vae(), vae(), tmp_path / "c"
    whole.train(2, rng=1, progress=False)
    whole.train(N_EPOCHS, rng=0, progress=False)
    model.train(2, rng=1, progress=False)
    interrupt(5)
    model.train(N_EPOCHS, rng=0, progress=False, checkpoint=path)
    assert "interrupted" in caplog.text
    assert model.is_trained
    assert len(model.history["train_loss"]) == 2 + 2
    assert path.exists()
    monkeypatch.undo()
    model.train(N_EPOCHS, rng=0, progress=False, checkpoint=path)
    same(model, whole)
    assert not path.exists()


def test_interrupted_parts_are_not_passed_over(tmp_path, monkeypatch, interrupt):
    case = CASES["CapsuleNet"]
    whole, model = made(case), made(case)
    whole.train(N_EPOCHS, rng=0, progress=False)
    interrupt(3)
    model.train(N_EPOCHS, rng=0, progress=False, checkpoint=tmp_path / "c")
    assert len(model.history["train_loss"]) == 1  # of the first part, of two epochs; the others have not begun
    assert case.output(model).shape[0] == 150
    monkeypatch.undo()
    model.train(N_EPOCHS, rng=0, progress=False, checkpoint=tmp_path / "c")
    same(model, whole)


def renamed():
    adata = counts()
    adata.var_names = [*adata.var_names[:-1], "other"]
    return adata


def rebatched():
    adata = counts()
    adata.obs["batch"] = adata.obs["batch"].to_numpy()[::-1]
    return adata


CHANGES = {
    "the setting batch_size is None in it and 64 here": ({}, {"batch_size": 64}),
    "the setting learning_rate is 0.002 in it and 0.01 here": ({}, {"learning_rate": 0.01}),
    "rng is 0 in it and 1 here": ({}, {"rng": 1}),
    "rng is 0 in it and None here": ({}, {"rng": None}),
    "the argument of the model config is .*n_hidden=16.* in it and .*n_hidden=8.* here": ({"n_hidden": 8}, {}),
    "the argument of the model rng is 0 in it and 1 here": ({"rng": 1}, {}),
    "the cells is '.150,., .*' in it and '.149,., .*' here": ({"adata": lambda: counts(n_cells=149)}, {}),
    "the genes is ": ({"adata": renamed}, {}),
    "the data 'X' is ": ({"adata": lambda: simulated(1)}, {}),
    "the data 'batch' is ": ({"adata": rebatched}, {}),
}


@pytest.mark.parametrize("told", list(CHANGES))
def test_what_differs_is_named(begun, told):
    of_model, of_train = CHANGES[told]
    model = vae(**{key: value() if callable(value) else value for key, value in of_model.items()})
    with pytest.raises(ValueError, match=f"checkpoint of another training: .*{told}.*delete the file"):
        model.train(**{"max_epochs": N_EPOCHS, "rng": 0, "progress": False, "checkpoint": begun, **of_train})
    assert begun.exists()


def test_versions_classes_and_trained_models_differ(begun, monkeypatch):
    monkeypatch.setattr("sctandem.__version__", "99.0")
    with pytest.raises(ValueError, match="the version of sctandem is '.*' in it and '99.0' here"):
        vae().train(N_EPOCHS, rng=0, progress=False, checkpoint=begun)
    monkeypatch.undo()
    case = CASES["CapsuleNet"]
    with pytest.raises(ValueError, match="the model is 'CountVAEModel' in it and 'CapsuleNet' here"):
        made(case).train(N_EPOCHS, rng=0, progress=False, checkpoint=begun)
    model = vae()
    model.train(1, rng=0, progress=False)
    with pytest.raises(ValueError, match="the start is 'a new model' in it and 'a trained model"):
        model.train(N_EPOCHS, rng=0, progress=False, checkpoint=begun)
