"""Several processes whose parent is killed: nothing trains on, nothing stays behind, and the training goes on in the next call."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from interrupted import counts, same
from two_processes import FOLDER, Slow

from sctandem.model.base import CountVAEModel
from sctandem.module.base import CountVAEConfig

ROOT = Path(__file__).parents[2]
N_EPOCHS = 12

CHILD = """
import sys
sys.path[:0] = sys.argv[2:]
import test_crew_killed as here
here.train(here.new_model(), sys.argv[1])
"""


def new_model():
    class SlowVAE(CountVAEModel):
        _training_plan_cls = Slow

    data = counts()
    SlowVAE.setup_anndata(data, batch_key="batch")
    return SlowVAE(data, config=CountVAEConfig(n_hidden=16, n_latent=4), rng=0)


def train(model, checkpoint):
    model.train(N_EPOCHS, batch_size=16, devices=2, rng=0, progress=False, checkpoint=checkpoint)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")  # in a container nobody may clear away what has ended
    return not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] not in "ZX"


def wait_until(happened, seconds):
    end = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < end, f"nothing within {seconds} s"
        time.sleep(0.05)
    return found


def written_epochs(path):
    try:
        return len(torch.load(path, weights_only=True)["parts"][0]["rows"])
    except (OSError, KeyError):  # not begun, or nothing of an epoch
        return 0


@pytest.mark.slow
def test_processes_end_with_a_parent_that_is_killed_and_the_next_call_goes_on(tmp_path, monkeypatch):
    for name in ("tmp", "seen", "own", "own/seen"):
        (tmp_path / name).mkdir()
    path = tmp_path / "run" / "c"
    path.parent.mkdir()
    environment = {**os.environ, FOLDER: str(tmp_path / "seen"), "TMPDIR": str(tmp_path / "tmp")}
    command = [sys.executable, "-c", CHILD, path, str(Path(__file__).parent), str(ROOT / "tests" / "support")]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as child:
        try:
            wait_until(lambda: child.poll() is not None or written_epochs(path) > 1, 300)
        finally:
            child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL, child.stderr and child.stderr.read()[-2000:]
    pids = {int(pid) for file in (tmp_path / "seen").iterdir() for pid in file.read_text().split()}
    assert len(pids) == 3  # two that train, and the one that started them
    try:
        wait_until(lambda: not any(map(is_alive, pids)), 20)
    finally:
        for pid in filter(is_alive, pids):
            os.kill(pid, signal.SIGKILL)
    assert list((tmp_path / "tmp").iterdir()) == []
    done = written_epochs(path)
    assert 1 < done < N_EPOCHS
    monkeypatch.setenv(FOLDER, str(tmp_path / "own" / "seen"))
    resumed, whole = new_model(), new_model()
    train(resumed, path)
    train(whole, None)
    same(resumed, whole)
    assert list(path.parent.iterdir()) == []
