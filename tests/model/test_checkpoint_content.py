"""Checkpoints that are plain data but not what a training left: every leaf in turn dropped, of another kind or of another shape."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from interrupted import N_EPOCHS, Killed, made, vae
from models import CASES

from sctandem.train import TrainConfig, _checkpoint

#: Trainings whose checkpoints hold all that there is: the memory of early stopping, that of states, plain loops, what is done once.
KINDS = ["stopped early", "batch hidden", "RegulatoryGraph", "RSD", "TAPE"]


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch):
    monkeypatch.setattr(_checkpoint, "MOST_SHARE", 1.0)


def options(kind):
    given = {"rng": 0, "progress": False}
    if kind == "stopped early":
        return given | {"train_size": 0.7, "config": TrainConfig(max_epochs=N_EPOCHS, early_stopping=True, patience=2)}
    if kind == "batch hidden":
        config = TrainConfig(max_epochs=N_EPOCHS, domain_adversarial="batch", batch_size=40)
        return given | {"config": replace(config, domain=replace(config.domain, start=0.0, n_memory=100))}
    return given | {"max_epochs": N_EPOCHS}


def model_of(kind):
    return made(CASES[kind]) if kind in CASES else vae()


@pytest.fixture(params=KINDS)
def kept(request, tmp_path, die, monkeypatch):
    """Kind of a training, its checkpoint and what that holds; there was a training before it."""
    kind, path = request.param, tmp_path / "run.ckpt"
    die(4)
    with pytest.raises(Killed, match="killed"):
        model_of(kind).train(**options(kind), checkpoint=path)
    monkeypatch.undo()
    monkeypatch.setattr(_checkpoint, "MOST_SHARE", 1.0)
    return kind, path, torch.load(path, weights_only=True)


def leaves(content, place=()):
    """Where the leaves are; of lists, of tensors by name and of things by number the first stand for all."""
    if isinstance(content, dict) and content:
        alike = all(isinstance(value, torch.Tensor) for value in content.values()) or all(
            isinstance(k, int) for k in content
        )
        some = list(content.items())[: 2 if alike else None]
        return [leaf for key, value in some for leaf in leaves(value, (*place, key))]
    if isinstance(content, (list, tuple)) and len(content):
        return leaves(content[0], (*place, 0))
    return [place]


def changed(content, place, change):
    """A copy with one leaf changed."""
    if not place:
        return change(content)
    key, *rest = place
    if isinstance(content, tuple):
        return tuple(changed(list(content), place, change))
    content = copy.copy(content)
    content[key] = changed(content[key], rest, change)
    return content


def dropped(content, place):
    *before, key = place

    def drop(holder):
        if isinstance(holder, dict):
            return {name: value for name, value in holder.items() if name != key}
        return type(holder)(list(holder)[1:])

    return changed(content, before, drop)


def of_another_kind(value):
    return torch.ones(3) if isinstance(value, (str, type(None), bool)) else "text"


def of_another_shape(value):
    return value[None] if isinstance(value, torch.Tensor) else [value]


def mutations(content, within):
    for place in leaves(content):
        if place[0] not in within:
            continue
        yield place, "dropped", dropped(content, place)
        yield place, "of another kind", changed(content, place, of_another_kind)
        yield place, "of another shape", changed(content, place, of_another_shape)


@pytest.mark.slow
def test_what_does_not_fit_is_told_with_the_name_of_the_file(kept):
    kind, path, content = kept
    told, passed, wrong = 0, [], []
    within = {"once"} if kind == "TAPE" else content.keys()  # its epochs are those of the first kinds
    for place, how, mutated in mutations(content, within):
        torch.save(mutated, path)
        model = model_of(kind)
        try:
            model.train(**options(kind), checkpoint=path)
        except ValueError as error:
            told += 1
            if "run.ckpt" not in str(error):
                wrong.append((place, how, repr(error)))
        except Exception as error:  # noqa: BLE001 - any other is what is looked for
            wrong.append((place, how, repr(error)))
        else:
            passed.append((place, how))
    assert not wrong, wrong
    assert told > 50
    # what makes no difference: settings that are None, figures of epochs that are over, a seed in another row, effects of one batch
    free = ("rows", "orders", "batch_effect")
    harmless = [place for place, _ in passed if place[0] == "about" or any(name in place for name in free)]
    assert len(harmless) == len(passed), passed
