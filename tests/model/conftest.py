"""Every model of the package in turn, and the small multiome with the TAPE that learned from it."""

from __future__ import annotations

import pytest
from interrupted import N_EPOCHS, Killed, vae
from models import CASES
from tape import small_multiome, trained

from sctandem.train import CountTrainingPlan, _checkpoint


@pytest.fixture(scope="module", params=list(CASES))
def case(request):
    return CASES[request.param]


@pytest.fixture(scope="module")
def model(case):
    """A trained model; tests only read it."""
    return case.trained()


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    """A folder with model and data; tests only read it."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    model.save(folder, save_anndata=True)
    return folder


@pytest.fixture
def mdata():
    """A small multiome to write to."""
    return small_multiome()


@pytest.fixture(scope="session")
def tape():
    """Trained on the plain `mdata`; tests only read it."""
    return trained(small_multiome())


@pytest.fixture(scope="session")
def expected(tape):
    """What `tape` predicts; tests only read it."""
    return tape.predict_expression()


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


@pytest.fixture
def interrupt(monkeypatch):
    """Press Ctrl-C in a later step of the training, until the patches are undone."""
    step = CountTrainingPlan.step

    def at(n_steps):
        left = [n_steps]

        def interrupted(self, batch):
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt
            return step(self, batch)

        monkeypatch.setattr(CountTrainingPlan, "step", interrupted)

    return at


@pytest.fixture
def begun(tmp_path, die, monkeypatch):
    """A checkpoint after two epochs."""
    die(3)
    with pytest.raises(Killed, match="killed"):
        vae().train(N_EPOCHS, rng=0, progress=False, checkpoint=tmp_path / "run.ckpt")
    monkeypatch.undo()
    return tmp_path / "run.ckpt"
