"""`train` is written once; models tell their own defaults, and settings are checked."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest
from anndata import AnnData

from sctandem.model import RSD, TAPE, CapsuleNet, RegulatoryGraph
from sctandem.model.base import CountVAEModel, TrainMixin
from sctandem.module import TAPEConfig
from sctandem.module.base import CountVAEConfig
from sctandem.train import DomainConfig, TrainConfig

#: Settings of a run that the docstrings of models mention where they are not those of `TrainConfig`.
PLAIN = TrainConfig()


@pytest.mark.parametrize("cls", [TAPE, CountVAEModel, CapsuleNet, RSD, RegulatoryGraph])
def test_notes_state_the_defaults(cls):
    """All that are not those of `TrainConfig`, and no wrong one."""
    own = {name: getattr(cls._train_config, name) for name in PLAIN.__dataclass_fields__}
    differ = {name: value for name, value in own.items() if value != getattr(PLAIN, name)}
    words = dict(re.findall(r"`(\w+)=([^`]+)`", inspect.getdoc(cls).split("Notes\n-----")[-1]))
    stated = {name: eval(text, {"DomainConfig": DomainConfig}) for name, text in words.items() if name in own}
    assert {name: stated.get(name) for name in differ} == differ
    assert all(value == own[name] for name, value in stated.items())
    if getattr(cls, "_min_training_cells", 2) != TrainMixin._min_training_cells:
        assert f"at least {cls._min_training_cells} training cells" in inspect.getdoc(cls)


def test_what_is_fitted_before_the_first_epoch_is_not_governed_by_the_epochs():
    assert "WindowConfig(n_steps=...)" in inspect.getdoc(TAPE.train)


def test_cells_that_chose_the_epoch(model):
    model.train(2, rng=0, progress=False)
    assert model.chosen_on_ == []
    model.train(2, early_stopping=True, train_size=0.8, rng=0, progress=False)
    assert model.chosen_on_ == list(model.adata.obs_names[model.validation_indices])
    assert len(model.chosen_on_) == 8


@pytest.fixture(name="model")
def fixture_model():
    adata = AnnData(np.random.default_rng(0).poisson(1.0, (40, 20)).astype("float32"))
    CountVAEModel.setup_anndata(adata)
    return CountVAEModel(adata, config=CountVAEConfig(n_hidden=4, n_latent=2), rng=0)


@pytest.mark.parametrize("config", [CountVAEConfig(), TAPEConfig(), {"max_epochs": 3}, 3])
def test_settings_of_another_kind(model, config):
    with pytest.raises(
        TypeError, match=f"config must be a TrainConfig, got {type(config).__name__}: .*An architecture is given when"
    ):
        model.train(config=config)
    assert not model.is_trained


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"max_epochs": 0}, "max_epochs=0 is not an integer above 0"),
        ({"max_epochs": 2.5}, "max_epochs=2.5 is not an integer above 0"),
        ({"batch_size": "128"}, "batch_size='128' is not an integer of at least 2"),
        ({"learning_rate": -1}, "learning_rate=-1 is not a number above 0"),
        ({"train_size": 2}, "train_size=2 is not a number between 0 and 1"),
        ({"train_size": 0.03}, r"training with train_size=0\.03 needs at least 2 cells, but there is 1"),
    ],
)
def test_settings_out_of_bounds(model, arguments, match):
    with pytest.raises(ValueError, match=match):
        model.train(**arguments)
    assert not model.is_trained
