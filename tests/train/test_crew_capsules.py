"""CapsuleNet, which trains in parts, on two processes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import typed_cells
from two_processes import FOLDER, Kept

from sctandem.model import CapsuleNet

N_EPOCHS = 10  # parts of 5, 3 and 2 epochs


def trained(devices):
    class Watched(CapsuleNet):
        _training_plan_cls = Kept

    data = typed_cells.simulate()[::2].copy()
    Watched.setup_anndata(data, labels_key="type")
    model = Watched(data, rng=0)
    model.train(N_EPOCHS, batch_size=64, devices=devices, rng=0, progress=False)
    return model, data


@pytest.mark.slow
def test_parts_are_the_same_on_both_processes_and_as_good_as_on_one(tmp_path, monkeypatch):
    models = {}
    for devices in (1, 2):
        (tmp_path / str(devices)).mkdir()
        monkeypatch.setenv(FOLDER, str(tmp_path / str(devices)))
        models[devices], data = trained(devices)
    n_batches = -(-len(models[2].train_indices) // 64)
    parts = [5 * n_batches, 3 * n_batches, 2 * n_batches]
    wanted = {f"{part}-{rank}.pt" for part in parts for rank in (0, 1)}
    assert {file.name for file in (tmp_path / "2").iterdir()} == wanted
    for part in parts:
        first, second = (torch.load(tmp_path / "2" / f"{part}-{rank}.pt", weights_only=True) for rank in (0, 1))
        assert first.keys() == second.keys()
        for name, value in first.items():
            assert torch.equal(value, second[name]), (part, name)
    state = models[2].module.state_dict()
    fixed = {name for name in first if name.startswith("direct.")}  # fitted at the end, by one
    for name in first.keys() - fixed:
        assert torch.equal(state[name], first[name]), name
    for name in ("train_loss", "reconstruction_loss_train"):
        one, two = (models[devices].history[name].to_numpy().ravel() for devices in (1, 2))
        assert len(one) == len(two) == N_EPOCHS
        np.testing.assert_allclose(two[-1], one[-1], rtol=0.01)
    assert two[-1] < two[0]  # what the capsules are asked is added from part to part, the counts are in all
    right = {
        devices: np.mean(model.predict().to_numpy() == data.obs["type"].to_numpy()) for devices, model in models.items()
    }
    assert right[1] > 0.9
    assert right[2] > right[1] - 0.05
