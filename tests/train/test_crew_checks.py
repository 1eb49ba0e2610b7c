"""What several processes cannot do is refused before anything is started, and the model stays what it was."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

import numpy as np
import pytest
from models import CASES

from sctandem.model import CapsuleNet
from sctandem.model.base import CountVAEModel
from sctandem.module.base import CountVAE, CountVAEConfig
from sctandem.train import CountTrainingPlan
from sctandem.train._crew_checks import check_importable


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch):
    def started(*_, **__):
        pytest.fail("a process was started")

    monkeypatch.setattr(subprocess, "Popen", started)


@pytest.mark.parametrize("name", ["CountVAEModel", "CapsuleNet", "DeepDE"])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_refused_call_leaves_a_trained_model_as_it_was(name, checkpoint, tmp_path):
    case = CASES[name]
    model = case.trained()
    module, output, history = model.module, case.output(model), model.history["train_loss"].copy()
    given = {"checkpoint": tmp_path / "c"} if checkpoint else {}
    with pytest.raises(ValueError, match="devices=150 leave 0 cells of a batch for a process; each needs 2"):
        model.train(2, devices=150, **given)
    assert model.is_trained_
    assert model.module is module
    assert model.history["train_loss"].equals(history)
    np.testing.assert_array_equal(case.output(model), output)
    assert list(tmp_path.iterdir()) == []


def vae_of(module_cls):
    class Own(CountVAEModel):  # the model itself does not travel
        _module_cls = module_cls

    data = CASES["CountVAEModel"].data()
    Own.setup_anndata(data, batch_key="batch")
    return Own(data, config=CountVAEConfig(n_hidden=16, n_latent=4), rng=0)


def of_the_script(cls):
    """A class as one that was defined in a script or a notebook."""
    return type("MyOwn", (cls,), {"__module__": "__main__"})


def test_network_of_a_script_or_a_function_is_refused_by_name():
    class Local(CountVAE):
        pass

    for cls, told in (
        (of_the_script(CountVAE), "MyOwn is defined in the script or notebook"),
        (Local, "Local is defined within a function"),
    ):
        model = vae_of(cls)
        model.train(2, rng=0, progress=False)
        before = model.get_latent_representation()
        with pytest.raises(ValueError, match=f"devices=2: {told}, where .*; define it in an importable module"):
            model.train(2, rng=0, devices=2, progress=False)
        assert model.is_trained_
        np.testing.assert_array_equal(model.get_latent_representation(), before)


def test_plan_of_a_script_is_refused_by_name():
    class Own(CapsuleNet):
        _training_plan_cls = of_the_script(CountTrainingPlan)

    data = CASES["CapsuleNet"].data()
    Own.setup_anndata(data)
    with pytest.raises(ValueError, match="devices=2: MyOwn is defined in the script or notebook"):
        Own(data, rng=0).train(2, rng=0, devices=2, progress=False)


def test_what_lies_deep_within_is_found_and_what_can_be_imported_passes():
    @dataclass
    class Settings:
        n: int = 1

    model = vae_of(CountVAE)
    check_importable({"model": [model.module]}, 2)
    model.module.encoder.settings = Settings()
    with pytest.raises(ValueError, match="Settings is defined within a function"):
        check_importable({"model": [model.module]}, 2)
    model.module.encoder.settings = lambda x: x
    with pytest.raises(ValueError, match="<lambda> is defined within a function"):
        check_importable({"model": [model.module]}, 2)
