"""The stop button: a real signal in the midst of a training leaves a model that can be used, trained on, and saved."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import torch
from models import CASES


def signalled(function, at):
    """Call a function, and send the process the signal of Ctrl-C when it is called for the nth time."""
    calls = [0]

    def run(*args, **kwargs):
        calls[0] += 1
        if calls[0] == at:
            os.kill(os.getpid(), signal.SIGINT)
        return function(*args, **kwargs)

    return run


@pytest.fixture(autouse=True)
def ctrl_c():
    """Let the signal be heard: a process that was started in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    "at", [2, 5, pytest.param(17, marks=pytest.mark.slow), pytest.param(40, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in {"DeepDE", "RSD"} else pytest.mark.slow) for name in CASES]
)
def test_ctrl_c_in_training(name, at, monkeypatch, tmp_path):
    case = CASES[name]
    data = case.data()
    case.set_up(data)
    model = case.make(data)
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "backward", signalled(torch.Tensor.backward, at))
        try:
            model.train(30, rng=0, progress=False)
        except KeyboardInterrupt:
            assert not model.is_trained  # before the first epoch: as the docs say, the model is then not trained
    if model.is_trained:
        # ended by the signal, before its last epoch
        assert at > 30 or max(map(len, model.history.values()), default=0) < 30
        assert np.isfinite(case.output(model).astype(float)).all()
        model.save(tmp_path / "m")
        np.testing.assert_array_equal(case.output(case.cls.load(tmp_path / "m", case.data())), case.output(model))
    model.train(1, rng=0, progress=False)
    assert model.is_trained
    assert np.isfinite(case.output(model).astype(float)).all()
