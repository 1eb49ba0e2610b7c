"""Settings, schedules and the decision to stop."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import pytest

from sctandem.train import EarlyStopping, TrainConfig, kl_weight


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_epochs": 0}, "max_epochs=0 is not an integer above 0"),
        ({"max_epochs": 2.5}, "max_epochs=2.5 is not an integer"),
        ({"batch_size": 1}, "batch_size=1 is not an integer of at least 2"),
        ({"learning_rate": -1e-3}, "learning_rate=-0.001 is not a number above 0"),
        ({"schedule": "cosine"}, "schedule='cosine' is not known; choose one of 'one_cycle', 'constant'"),
        ({"rise": 1.5}, "rise=1.5 is not a number between 0 and 1"),
        ({"weight_decay": -1}, "weight_decay=-1 is not a number"),
        ({"adam_eps": 0}, "adam_eps=0 is not a number above 0"),
        ({"kl_warmup": 2}, "kl_warmup=2 is not a number between"),
        ({"train_size": 0}, "train_size=0 is not a number above 0"),
        ({"train_size": 1.1}, "train_size=1.1 is not a number between"),
        ({"train_size": 0.9, "validation_size": 0.2}, "add up to more than 1"),
        ({"train_size": 1.0, "early_stopping": True}, "leave no cells to validate on"),
        ({"patience": 0}, "patience=0 is not an integer above 0"),
        ({"validate_every": 0}, "validate_every=0 is not an integer"),
        ({"gradient_clip": 0}, "gradient_clip=0 is not a number above 0"),
    ],
)
def test_bad_values(options, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**options)


def test_frozen():
    with pytest.raises(FrozenInstanceError, match="max_epochs"):
        TrainConfig().max_epochs = 3


def test_every_field_is_documented():
    assert all(f"    {field.name}\n" in TrainConfig.__doc__ for field in fields(TrainConfig))


@pytest.mark.parametrize(
    ("n_cells", "batch_size", "max_epochs"),
    [(100, 128, 60), (3_000, 187, 59), (18_000, 1024, 56), (100_000, 1024, 11), (1_000_000, 1024, 10)],
)
def test_sizes_follow_the_number_of_cells(n_cells, batch_size, max_epochs):
    config = TrainConfig()
    assert (config.resolve_batch_size(n_cells), config.resolve_max_epochs(n_cells)) == (batch_size, max_epochs)
    told = TrainConfig(batch_size=64, max_epochs=3)
    assert (told.resolve_batch_size(n_cells), told.resolve_max_epochs(n_cells)) == (64, 3)


def test_learning_rate_grows_with_the_batch():
    assert TrainConfig(learning_rate=1e-3).scaled_learning_rate(1024) == pytest.approx(8e-3)


@pytest.mark.parametrize(
    ("done", "warmup", "expected"), [(0, 0.1, 0), (0.05, 0.1, 0.5), (0.1, 0.1, 1), (0.9, 0.1, 1), (0, 0, 1)]
)
def test_kl_weight(done, warmup, expected):
    assert kl_weight(done, warmup) == pytest.approx(expected)


def test_early_stopping_waits_for_its_patience():
    stopping = EarlyStopping(2)
    decisions = [stopping.update(loss) for loss in (5.0, 4.0, 4.5, 3.0, 3.1, 3.0)]
    assert [decision.improved for decision in decisions] == [True, True, False, True, False, False]
    assert [decision.stop for decision in decisions] == [False] * 5 + [True]
    assert decisions[-1].reason == "the validation loss has not fallen below 3 in 2 validations"


def test_early_stopping_needs_more_than_a_trace_of_improvement():
    stopping = EarlyStopping(1, min_delta=0.01)
    assert stopping.update(100.0).improved
    assert not stopping.update(99.5).improved


def test_early_stopping_at_a_loss_that_is_not_finite():
    assert EarlyStopping(5).update(float("nan")).stop
