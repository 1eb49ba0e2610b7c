"""A training that is resumed remembers its best epoch and how long it has waited, and what the model was before it."""

from __future__ import annotations

import numpy as np
import pytest
from interrupted import Killed, same, vae

from sctandem.train import TrainConfig, _checkpoint
from sctandem.train._loop import EpochLoop

#: The best is the second; four later the patience is at its end.
VALIDATED = [5.0, 4.0, 4.5, 4.2, 4.6, 4.7, 4.1, 4.3, 4.4, 4.5]
RUN = {
    "config": TrainConfig(early_stopping=True, patience=4, max_epochs=len(VALIDATED), train_size=0.8),
    "rng": 0,
    "progress": False,
}


@pytest.fixture
def script(monkeypatch):
    """Let each epoch be validated as planned, and every one be written."""

    def begin():
        monkeypatch.setattr(_checkpoint, "MOST_SHARE", 1.0)
        monkeypatch.setattr(EpochLoop, "_validate", lambda self, _: {"elbo_validation": VALIDATED[len(self.rows)]})

    return begin


@pytest.mark.parametrize("n_epochs", [1, 3, 5])
def test_resumed_after_the_best_epoch(script, die, monkeypatch, tmp_path, n_epochs):
    script()
    whole = vae()
    whole.train(**RUN)
    assert len(whole.history["train_loss"]) == 6
    die(1 + n_epochs)
    with pytest.raises(Killed, match="killed"):
        vae().train(**RUN, checkpoint=tmp_path / "c")
    monkeypatch.undo()
    script()
    resumed = vae()
    resumed.train(**RUN, checkpoint=tmp_path / "c")
    same(resumed, whole)


def test_history_of_a_resumed_training_comes_after_that_of_before_it_once(monkeypatch, interrupt, tmp_path):
    monkeypatch.setattr(_checkpoint, "MOST_SHARE", 1.0)
    model = vae()
    model.train(2, rng=1, progress=False)
    before = model.history["train_loss"].to_numpy().ravel()
    interrupt(3)
    model.train(4, rng=0, progress=False, checkpoint=tmp_path / "c")
    assert 2 < len(model.history["train_loss"]) < 6
    monkeypatch.undo()
    model.train(4, rng=0, progress=False, checkpoint=tmp_path / "c")
    after = model.history["train_loss"]
    assert list(after.index) == list(range(6))
    np.testing.assert_array_equal(after.to_numpy().ravel()[:2], before)
