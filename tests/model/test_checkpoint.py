"""Training that is interrupted and goes on gives the result that it would have had: the same tests for every model."""

from __future__ import annotations

import os
import pickle
import resource
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import typed_cells
from models import CASES
from scipy import sparse

from sctandem.model import RSD, CapsuleNet
from sctandem.model.base import CountVAEModel
from sctandem.module.base import CountVAEConfig
from sctandem.train import CountTrainingPlan, TrainConfig, _checkpoint

N_EPOCHS = 4


def made(case):
    data = case.data()
    case.set_up(data)
    return case.make(data)


def same(first, second):
    """Weights and history are equal to the last bit."""
    one, other = first.module.state_dict(), second.module.state_dict()
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]), key
    assert first.history.keys() == second.history.keys()
    for key, table in first.history.items():
        pd.testing.assert_frame_equal(table, second.history[key], check_exact=True, check_dtype=False)
    for name in ("train_indices", "validation_indices"):
        np.testing.assert_array_equal(getattr(first, name, None), getattr(second, name, None))


class Killed(BaseException):
    """Ends the process, as far as the training can tell."""


@pytest.fixture
def die(monkeypatch):
    """Let the training end after some writings of the file."""
    write = _checkpoint.Checkpoint._write

    def after(n_writings):
        left = [n_writings]

        def counted(self, when):
            write(self, when)
            left[0] -= 1
            if left[0] == 0:
                raise Killed("killed")  # noqa: EM101

        monkeypatch.setattr(_checkpoint.Checkpoint, "_write", counted)

    yield after
    monkeypatch.setattr(_checkpoint.Checkpoint, "_write", write)


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


def counts(seed=0, n_cells=150):
    return CASES["CountVAEModel"].data()[:n_cells].copy() if seed == 0 else simulated(seed)


def simulated(seed):
    adata = CASES["CountVAEModel"].data()
    adata.X = sparse.csr_matrix(np.random.default_rng(seed).poisson(1.0, adata.shape).astype(np.float32))
    return adata


def vae(adata=None, *, rng=0, n_hidden=16):
    adata = counts() if adata is None else adata
    CountVAEModel.setup_anndata(adata, batch_key="batch")
    return CountVAEModel(adata, config=CountVAEConfig(n_hidden=n_hidden, n_latent=4), rng=rng)


@pytest.fixture
def begun(tmp_path, die, monkeypatch):
    """A checkpoint after two epochs."""
    die(3)
    with pytest.raises(Killed, match="killed"):
        vae().train(N_EPOCHS, rng=0, progress=False, checkpoint=tmp_path / "run.ckpt")
    monkeypatch.undo()
    return tmp_path / "run.ckpt"


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


def test_interrupted_by_hand_goes_on_with_the_same_object(tmp_path, monkeypatch, caplog):
    whole, model, path = vae(), vae(), tmp_path / "c"
    whole.train(2, rng=1, progress=False)
    whole.train(N_EPOCHS, rng=0, progress=False)
    model.train(2, rng=1, progress=False)
    step, left = CountTrainingPlan.step, [5]

    def interrupted(self, batch):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return step(self, batch)

    monkeypatch.setattr(CountTrainingPlan, "step", interrupted)
    model.train(N_EPOCHS, rng=0, progress=False, checkpoint=path)
    assert "interrupted" in caplog.text
    assert model.is_trained
    assert len(model.history["train_loss"]) == 2 + 2
    assert path.exists()
    monkeypatch.undo()
    model.train(N_EPOCHS, rng=0, progress=False, checkpoint=path)
    same(model, whole)
    assert not path.exists()


def test_interrupted_parts_are_not_passed_over(tmp_path, monkeypatch):
    case = CASES["CapsuleNet"]
    whole, model = made(case), made(case)
    whole.train(N_EPOCHS, rng=0, progress=False)
    step, left = CountTrainingPlan.step, [3]

    def interrupted(self, batch):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return step(self, batch)

    monkeypatch.setattr(CountTrainingPlan, "step", interrupted)
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


# --- files ------------------------------------------------------------------------------------------------------------


class Shell:
    """A thing that would run a command when it is read by pickle."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("place", ["about", "seed", "before", "once", "parts"])
def test_file_that_would_run_code_is_refused(begun, tmp_path, place):
    marker = tmp_path / "ran"
    content = torch.load(begun, weights_only=True)
    content[place] = Shell(marker)
    torch.save(content, begun)
    with pytest.raises(ValueError, match=r"run.ckpt was not loaded: it asks for \S*system, .* Nothing of it was run"):
        vae().train(N_EPOCHS, rng=0, progress=False, checkpoint=begun)
    assert not marker.exists()
    torch.load(begun, weights_only=False)  # the trap is a real one
    assert marker.exists()


def test_damaged_and_other_files_are_refused(begun, tmp_path):
    whole = begun.read_bytes()
    for damaged in (
        b"",
        b"no checkpoint",
        whole[: len(whole) // 2],
        whole[:-10],
        pickle.dumps(Shell(tmp_path / "ran")),
    ):
        begun.write_bytes(damaged)
        with pytest.raises(ValueError, match="run.ckpt (is damaged, or not a checkpoint|was not loaded)"):
            vae().train(N_EPOCHS, rng=0, progress=False, checkpoint=begun)
    torch.save({"weights": torch.ones(2)}, begun)
    with pytest.raises(ValueError, match="run.ckpt is not a checkpoint: it lacks sctandem_checkpoint"):
        vae().train(N_EPOCHS, rng=0, progress=False, checkpoint=begun)
    assert not (tmp_path / "ran").exists()


def test_places_that_are_none(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="lies in a folder that is not there: .*nowhere; name a file in a folder"
    ):
        vae().train(2, checkpoint=tmp_path / "nowhere" / "c")
    with pytest.raises(IsADirectoryError, match="is a folder; name a file"):
        vae().train(2, checkpoint=tmp_path)
    with pytest.raises(TypeError, match="checkpoint"):
        vae().train(2, checkpoint=3)


@contextmanager
def files_of_at_most(n_bytes):
    """No file grows beyond this, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_no_room_before_the_training_leaves_the_model_as_it_was(tmp_path):
    model = vae()
    with files_of_at_most(100), pytest.raises(OSError, match="c could not be written before the training began"):
        model.train(2, rng=0, progress=False, checkpoint=tmp_path / "c")
    assert not model.is_trained
    assert model.history is None
    assert list(tmp_path.iterdir()) == []
    model.train(2, rng=0, progress=False, checkpoint=tmp_path / "c")


@pytest.mark.parametrize("name", ["CountVAEModel", "CapsuleNet", "RegulatoryGraph", "RSD"])
def test_no_room_in_the_training_leaves_a_model_and_the_last_file(tmp_path, monkeypatch, name):
    case, path, write = CASES[name], tmp_path / "c", _checkpoint.Checkpoint._write
    whole, model = made(case), made(case)
    whole.train(N_EPOCHS, rng=0, progress=False)

    def full(self, when):
        with files_of_at_most(5000 if "2" in when else 1 << 30):
            write(self, when)

    monkeypatch.setattr(_checkpoint.Checkpoint, "_write", full)
    with pytest.raises(OSError, match="could not be written after epoch 2: .*the model can be used and saved as it is"):
        model.train(N_EPOCHS, rng=0, progress=False, checkpoint=path)
    monkeypatch.undo()
    assert [file.name for file in tmp_path.iterdir()] == ["c"]
    assert model.is_trained
    assert len(model.history["train_loss"]) == 2
    model.save(tmp_path / "model")
    if name != "RSD":
        assert np.isfinite(case.output(model)).all()
    resumed = made(case)
    resumed.train(N_EPOCHS, rng=0, progress=False, checkpoint=path)
    same(resumed, whole)


def test_quick_epochs_are_not_all_written(tmp_path, monkeypatch):
    monkeypatch.setattr(_checkpoint, "MOST_SHARE", 0.1)
    seconds, writings = [0.0], []
    monkeypatch.setattr(_checkpoint.time, "monotonic", lambda: seconds[0])

    def slow(path, content):
        seconds[0] += 1.0
        writings.append(len(content["parts"]))

    monkeypatch.setattr(_checkpoint, "write_plain", slow)
    part = _checkpoint.Checkpoint(tmp_path / "c", {}, seed=0).part(0)
    for _ in range(60):
        seconds[0] += 1.0
        part.keep(lambda: {"epoch": 1}, when="")
    assert 5 <= len(writings) <= 8
    part.keep(lambda: {"epoch": 1}, when="", finished=True)
    assert seconds[0] - 60 == len(writings)
