"""One argument list for the training of every model: each mode works, or is refused with the argument, the class and the reason."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from models import CASES

from sctandem.model.base import PartialFitMixin, TrainMethodMixin, TransferMixin
from sctandem.train import AdversarialConfig, DomainConfig, TrainConfig

#: By argument, the ways to give it, all with two epochs; `checkpoint` gets a path.
MODES = {
    "batch_size": [{"batch_size": 64}, {"config": TrainConfig(batch_size=64)}],
    "learning_rate": [{"learning_rate": 1e-3}, {"config": TrainConfig(learning_rate=1e-3)}],
    "train_size": [{"train_size": 0.8}, {"config": TrainConfig(train_size=0.8)}],
    "early_stopping": [
        {"early_stopping": True},
        {"config": TrainConfig(early_stopping=True)},
    ],
    "sample_weight": [{"sample_weight": "weight"}, {"config": TrainConfig(sample_weight="weight")}],
    "weight_use": [{"sample_weight": "weight", "config": TrainConfig(weight_use="loss")}],
    "adversarial": [
        {"adversarial": "fgsm"}, {"adversarial": "pgd"}, {"adversarial": "vat"},
        {"config": TrainConfig(adversarial="fgsm")},
    ],
    "adversary": [{"config": TrainConfig(adversary=AdversarialConfig(radius=0.1))}],
    "domain_adversarial": [{"domain_adversarial": "group"}, {"config": TrainConfig(domain_adversarial="group")}],
    "domain": [{"config": TrainConfig(domain=DomainConfig(strength=0.1))}],
    "checkpoint": [{"checkpoint": "run.ckpt"}],
    "config": [{"config": TrainConfig()}],
    "accelerator": [{"accelerator": "cpu"}],
    "progress": [{"progress": False}],
    "rng": [{"rng": 3}],
}  # fmt: skip

CELLS = {"adversarial", "adversary", "domain_adversarial", "domain"}
OF_ITS_OWN = {"learning_rate", "train_size", "early_stopping", "weight_use"}
#: What does not go with a model; all else has to work.
REFUSED = {
    "CapsuleNet": {"early_stopping"},
    "TAPE": CELLS,
    "RSD": CELLS | OF_ITS_OWN,
    "RegulatoryGraph": CELLS | OF_ITS_OWN | {"batch_size"},
}


@pytest.fixture(name="data", scope="module")
def fixture_data():
    """Objects that are set up, by model; training does not write to them."""
    made = {}
    for name, case in CASES.items():
        made[name] = case.data()
        made[name].obs["weight"] = np.where(np.arange(made[name].n_obs) % 5 == 0, 3.0, 1.0)
        made[name].obs["group"] = np.where(np.arange(made[name].n_obs) % 2, "first", "second")
        case.set_up(made[name])
    return made


@pytest.mark.parametrize(("argument", "way"), [(name, way) for name, ways in MODES.items() for way in ways], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_a_mode_works_or_is_refused_with_the_reason(data, name, argument, way, tmp_path):
    model = CASES[name].make(data[name])
    given = {"rng": 0, "progress": False} | way
    if "checkpoint" in given:
        given["checkpoint"] = tmp_path / given["checkpoint"]
    if argument in REFUSED.get(name, ()):
        with pytest.raises(ValueError, match=rf"^{argument}=.* does not go with {name}: .{{20,}}\. Leave it out\.$"):
            model.train(2, **given)
        assert not model.is_trained
        assert model.history is None
        return
    model.train(2, **given)
    assert model.is_trained
    losses = model.history["train_loss" if "train_loss" in model.history else "train_loss_epoch"]
    assert len(losses) == 2
    assert np.isfinite(losses.to_numpy(dtype=float)).all()
    assert not list(tmp_path.iterdir())  # the checkpoint is gone at the end


def test_every_argument_has_a_mode():
    arguments = set(inspect.signature(TrainMethodMixin.train).parameters) - {"self", "max_epochs", "devices"}
    assert arguments <= set(MODES)


@pytest.mark.parametrize("name", CASES)
def test_the_list_is_written_once(name):
    cls = CASES[name].cls
    assert cls.train is TrainMethodMixin.train
    assert inspect.signature(cls.partial_fit) == inspect.signature(PartialFitMixin.partial_fit)
    assert inspect.signature(cls.load_query_data) == inspect.signature(TransferMixin.load_query_data)


@pytest.mark.parametrize("name", ["TAPE", "RSD", "RegulatoryGraph"])
def test_the_reason_shows_whatever_is_given(data, name):
    model = CASES[name].make(data[name])
    with pytest.raises(NotImplementedError, match=rf"{name} has no partial_fit: .{{30,}}"):
        model.partial_fit(data[name], replay="none", n_replay=3, elastic=0, max_epochs=1, rng=0)
    with pytest.raises(NotImplementedError, match=rf"{name} has no load_query_data: .{{30,}}"):
        CASES[name].cls.load_query_data(data[name], model, trained=())
    with pytest.raises(TypeError, match="replays"):
        model.partial_fit(data[name], replays="none")


@pytest.mark.parametrize("name", ["TAPE", "RSD", "RegulatoryGraph"])
def test_several_processes_are_refused(data, name):
    with pytest.raises(ValueError, match=rf"devices=2: one process trains {name}, since "):
        CASES[name].make(data[name]).train(2, devices=2)


@pytest.mark.parametrize(("name", "epochs"), [("RSD", 20), ("RegulatoryGraph", 150), ("CapsuleNet", 45), ("TAPE", 10)])
def test_defaults(name, epochs):
    assert CASES[name].cls._train_config.max_epochs == epochs
    assert name != "RSD" or CASES[name].cls._train_config.batch_size == 128


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
@pytest.mark.parametrize("name", CASES)
def test_an_accelerator_that_is_not_there(data, name, tmp_path):
    model = CASES[name].make(data[name])
    with pytest.raises(ValueError, match=r"^accelerator='gpu' (is not there|does not go with RSD)"):
        model.train(2, accelerator="gpu")
    assert not model.is_trained
    model.train(1, rng=0, progress=False)
    model.save(tmp_path / "model", save_anndata=True)
    with pytest.raises(ValueError, match=r"^accelerator='gpu' is not there on this machine, which has 'auto', 'cpu'"):
        CASES[name].cls.load(tmp_path / "model", accelerator="gpu")
    with pytest.raises(ValueError, match=r"^accelerator='cuda'"):
        CASES[name].cls.load(tmp_path / "model", accelerator="cuda")
