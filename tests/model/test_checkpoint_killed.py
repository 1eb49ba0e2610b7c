"""Training in a process that is killed or interrupted from outside, and goes on in the next."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scattered
import torch
from scattered import build_small

import sctandem as td
from sctandem.model.base import CountVAEModel
from sctandem.module.base import CountVAEConfig

SUPPORT = Path(__file__).parents[1] / "support"
N_EPOCHS = 40

CHILD = """
import sys, time
sys.path.insert(0, sys.argv[4])
sys.path.insert(0, sys.argv[5])
import test_checkpoint_killed as here
from sctandem.train import CountTrainingPlan, _checkpoint
step, write = CountTrainingPlan.step, _checkpoint.Checkpoint._write
_checkpoint.MOST_SHARE = 1.0  # every epoch is written, however slow the disk is
def slow(self, batch):
    time.sleep(0.004)
    return step(self, batch)
def told(self, when):
    write(self, when)
    print(when, flush=True)
CountTrainingPlan.step, _checkpoint.Checkpoint._write = slow, told
model = here.new_model(sys.argv[1], sys.argv[2])
here.train(model, sys.argv[3])
here.write(model, sys.argv[3] + ".result")
"""


def new_model(kind, folder):
    collection = td.data.open_collection(folder)
    data = collection.to_adata() if kind == "memory" else collection
    (CountVAEModel.setup_anndata if kind == "memory" else CountVAEModel.setup_collection)(data)
    return CountVAEModel(data, config=CountVAEConfig(n_hidden=16, n_latent=4), rng=0)


def train(model, checkpoint=None):
    model.train(N_EPOCHS, batch_size=16, early_stopping=False, rng=0, progress=False, checkpoint=checkpoint)


def write(model, path):
    torch.save({"state": dict(model.module.state_dict()), "losses": losses(model)}, path)


def losses(model):
    return [float(value) for value in model.history["train_loss"].to_numpy().ravel()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("killed")
    scattered.sources(path / "in")
    build_small(path / "in", path / "out")
    return path / "out"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["memory", "collection"])
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT], ids=["SIGKILL", "SIGINT"])
def test_ended_at_random_moments_and_resumed_gives_the_same(folder, tmp_path, kind, sent):
    whole = new_model(kind, folder)
    train(whole)
    path, result = tmp_path / "c", tmp_path / "c.result"
    rng, ended, seen = np.random.default_rng(0), 0, set()
    n_moments = 5 if sent == signal.SIGKILL else 1  # ten kills over both kinds
    while ended < n_moments:
        command = [sys.executable, "-c", CHILD, kind, folder, path, SUPPORT, Path(__file__).parent]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stderr=subprocess.PIPE) as child:
            assert child.stdout is not None
            for _ in range(int(rng.integers(1, 5))):  # moments by what was written: machines differ in speed
                assert child.stdout.readline(), child.stderr and child.stderr.read()[-2000:]
            time.sleep(rng.uniform(0.0, 0.1))
            child.send_signal(sent)
            child.communicate()
        assert path.exists(), "the training was over before it was ended"
        ended += 1
        result.unlink(missing_ok=True)  # of one that was interrupted by hand, and is as it was then
        kept = torch.load(path, weights_only=True)
        seen.add(len(kept["parts"].get(0, {"rows": []})["rows"]))
    assert max(seen) > 0
    resumed = new_model(kind, folder)
    train(resumed, path)
    assert losses(resumed) == losses(whole)
    for key, value in whole.module.state_dict().items():
        assert torch.equal(value, resumed.module.state_dict()[key]), key
    assert list(tmp_path.iterdir()) == []
