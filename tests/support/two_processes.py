"""A plan and a module whose gradients and cells can be looked at, in whatever process they are."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import torch
from scvi.module.base import BaseModuleClass, LossOutput

from sctandem.train import CountTrainingPlan

#: Folder that processes write to what they saw.
FOLDER = "SCTANDEM_TEST_FOLDER"


class Rates(BaseModuleClass):
    """Poisson rates of genes, two free factors; nothing is drawn."""

    def __init__(self, n_genes: int) -> None:
        super().__init__()
        weights = torch.linspace(-1, 1, 2 * n_genes, dtype=torch.float64)
        self.weight = torch.nn.Parameter(weights.reshape(n_genes, 2))

    def forward(self, tensors, loss_kwargs=None):
        counts = tensors["X"].to_dense().double()
        rate = (counts[:, :2] + 1).log() @ self.weight.t() + 0.1
        each = (rate.exp() - counts * rate).sum(1)
        return None, None, LossOutput(loss=each.mean(), reconstruction_loss=each, n_obs_minibatch=len(each))

    def _get_inference_input(self, tensors):
        return tensors

    def _get_generative_input(self, tensors, inference_outputs):
        return tensors

    def inference(self, *args):
        return {}

    def generative(self, *args):
        return {}

    def loss(self, *args):
        return None


class Watched(CountTrainingPlan):
    """Write cells, gradients and weights of every step."""

    def step(self, batch):
        output = super().step(batch)
        seen = {
            "cells": batch["cell"].numpy().ravel(),
            "gradient": self.module.weight.grad.numpy().copy(),
            "weight": self.module.weight.detach().numpy().copy(),
        }
        np.savez(Path(os.environ[FOLDER]) / f"{os.environ.get('RANK', '0')}-{self._step}.npz", **seen)
        return output


def steps(folder: Path, rank: int) -> list[dict[str, np.ndarray]]:
    """What a process wrote."""
    files = sorted(folder.glob(f"{rank}-*.npz"), key=lambda path: int(path.stem.split("-")[1]))
    return [dict(np.load(path)) for path in files]


class Slow(CountTrainingPlan):
    """Take time over every step, and say which processes are at work: this one and the one that started it."""

    def step(self, batch):
        if self._step == 0:
            numbers = f"{os.getpid()} {os.getppid()}"
            (Path(os.environ[FOLDER]) / f"{os.environ['RANK']}.pid").write_text(numbers)
        time.sleep(0.03)
        return super().step(batch)


class Kept(CountTrainingPlan):
    """Write all parameters after every step, by the number of steps of the run: the last one of each part stays."""

    def step(self, batch):
        output = super().step(batch)
        weights = {name: value.detach().clone() for name, value in self.module.named_parameters()}
        torch.save(weights, Path(os.environ[FOLDER]) / f"{self._n_steps}-{os.environ.get('RANK', '0')}.pt")
        return output
