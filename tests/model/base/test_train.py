"""`train` tells each model's own defaults, and is written once."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest
from anndata import AnnData

from sctandem.model import TAPE
from sctandem.model.base import CountVAEModel, TrainMixin
from sctandem.module import TAPEConfig
from sctandem.module.base import CountVAEConfig
from sctandem.train import TrainConfig


def test_epochs():
    assert inspect.getdoc(TAPE.train).count("by default 10. This") == 1
    assert "by default as many as give 1,000 batches, between 10 and 60. This" in inspect.getdoc(CountVAEModel.train)
    assert "by default as many as give 1,000 batches, between 10 and 60. This" in inspect.getdoc(TrainMixin.train)


@pytest.mark.parametrize("cls", [TAPE, CountVAEModel, TrainMixin])
def test_defaults_are_those_of_the_settings(cls):
    text = inspect.getdoc(cls.train)
    assert "%(" not in text
    config = cls._train_config
    assert re.search(r"learning_rate\n.+?by default\s+(\S+)\.\n", text, re.DOTALL)[1] == str(config.learning_rate)
    assert re.search(r"train_size\n.+?by default\s+(\S+)\.\n", text, re.DOTALL)[1] == str(config.train_size)
    assert f"fewer than {cls._min_training_cells} cells to train on" in text


def test_a_model_with_settings_of_its_own():
    class Own(CountVAEModel):
        _train_config = TrainConfig(max_epochs=77, batch_size=300, train_size=0.8, early_stopping=True)

    text = inspect.getdoc(Own.train)
    for words in ("by default 77. This", "by default 300.", "by default 0.8.", "by default\n    it does."):
        assert words in text
    assert "77" not in inspect.getdoc(CountVAEModel.train)
    assert inspect.signature(Own.train) == inspect.signature(TrainMixin.train)
    assert Own.train.__code__ is TrainMixin.train.__code__  # the arguments are written once


def test_a_train_of_its_own_is_left_alone():
    class Own(TrainMixin):
        _train_config = TrainConfig(max_epochs=77)

        def train(self) -> None:
            """Train in another way."""

    assert inspect.getdoc(Own.train) == "Train in another way."


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
