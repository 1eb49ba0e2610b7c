"""Checkpoints are whole or not there, and nothing that they hold is run."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import torch
from fault_writers import no_room_above
from interrupted import N_EPOCHS, made, same, vae
from models import CASES

from sctandem._alone import alone
from sctandem.train import CountTrainingPlan, _checkpoint


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch):
    monkeypatch.setattr(_checkpoint, "MOST_SHARE", 1.0)


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


def test_no_room_before_the_training_leaves_the_model_as_it_was(tmp_path):
    model = vae()
    with no_room_above(100), pytest.raises(OSError, match="c could not be written before the training began"):
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
        with no_room_above(5000 if "2" in when else 1 << 30):
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


def test_a_file_that_another_process_writes_is_refused(begun, tmp_path):
    content = begun.read_bytes()
    for path in (begun, tmp_path / "new"):
        model = vae()
        with alone(path.with_name(f".{path.name}.lock"), "held"):  # as another process would hold it
            with pytest.raises(
                FileExistsError, match=f"Another process is training with the checkpoint .*{path.name}: wait"
            ):
                model.train(N_EPOCHS, rng=0, progress=False, checkpoint=path)
            assert not model.is_trained
    assert begun.read_bytes() == content
    assert [file.name for file in tmp_path.iterdir()] == ["run.ckpt"]


def test_the_file_is_held_as_long_as_a_loop_runs(tmp_path, monkeypatch):
    path, step, seen = tmp_path / "c", CountTrainingPlan.step, []

    def held(self, batch):
        with pytest.raises(FileExistsError, match="held"), alone(tmp_path / ".c.lock", "held"):
            pass
        seen.append(1)
        return step(self, batch)

    monkeypatch.setattr(CountTrainingPlan, "step", held)
    vae().train(1, rng=0, progress=False, checkpoint=path)
    assert seen
    assert list(tmp_path.iterdir()) == []
