"""Trainings that end in between, and what they are held against."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from models import CASES
from scipy import sparse

from sctandem.model.base import CountVAEModel
from sctandem.module.base import CountVAEConfig

N_EPOCHS = 4


def made(case):
    data = case.data()
    case.set_up(data)
    return case.make(data)


def same(first, second):
    """Weights and history are equal to the last bit."""
    one, other = first.module.state_dict(), second.module.state_dict()
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]), key
    assert first.history.keys() == second.history.keys()
    for key, table in first.history.items():
        pd.testing.assert_frame_equal(table, second.history[key], check_exact=True, check_dtype=False)
    for name in ("train_indices", "validation_indices"):
        np.testing.assert_array_equal(getattr(first, name, None), getattr(second, name, None))


class Killed(BaseException):
    """Ends the process, as far as the training can tell."""


def counts(seed=0, n_cells=150):
    return CASES["CountVAEModel"].data()[:n_cells].copy() if seed == 0 else simulated(seed)


def simulated(seed):
    adata = CASES["CountVAEModel"].data()
    adata.X = sparse.csr_matrix(np.random.default_rng(seed).poisson(1.0, adata.shape).astype(np.float32))
    return adata


def vae(adata=None, *, rng=0, n_hidden=16):
    adata = counts() if adata is None else adata
    CountVAEModel.setup_anndata(adata, batch_key="batch")
    return CountVAEModel(adata, config=CountVAEConfig(n_hidden=n_hidden, n_latent=4), rng=rng)
