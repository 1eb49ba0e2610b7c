"""The methods of the benchmark `tape`, each run in a process of its own."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks import _a549, peers
from benchmarks._measure import measure
from benchmarks._skill import skill
from benchmarks.peers import Prediction
from sctandem.kernels import pearson

if TYPE_CHECKING:
    from collections.abc import Callable

    from mudata import MuData

    Method = Callable[[MuData, _a549.Split], Prediction]


@dataclass(frozen=True)
class Entry:
    """A method and the title of its row."""

    title: str
    predict: Method
    slow: bool = False


def by_peer(peer: peers.Peer, mdata: MuData, split: _a549.Split) -> Prediction:
    """Predict the test cells by a peer."""
    return peer.fit_predict(_a549.train_data(mdata, split.train), mdata["atac"].X[split.test], seed=split.seed)


def true_time_point(mdata: MuData, split: _a549.Split) -> Prediction:
    """Repeat the mean of the training cells of the same time point: what knowing the time, and no more, would give."""
    expression = _a549.truth(mdata, split.train)
    train, test = _a549.times(mdata, split.train), _a549.times(mdata, split.test)
    points = np.unique(train)
    means = np.stack([expression[train == point].mean(axis=0) for point in points])
    return Prediction(means[np.searchsorted(points, test)])


def true_library(mdata: MuData, split: _a549.Split) -> Prediction:
    """Regress every gene on the true log library size: what knowing the depth of a cell, and no more, would give."""
    expression = _a549.truth(mdata, split.train).astype(np.float64)
    train, test = _a549.log_library(mdata, split.train), _a549.log_library(mdata, split.test)
    centre, mean = train.mean(), expression.mean(axis=0)
    slope = (train - centre) @ (expression - mean) / ((train - centre) ** 2).sum()
    return Prediction(mean + np.outer(test - centre, slope))


def tape(mdata: MuData, split: _a549.Split) -> Prediction:
    """Predict the test cells by TAPE at its defaults, on all training cells: nothing is stopped early, so none are kept aside."""
    from sctandem.model import TAPE

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of mudata, on every copy
        train, test = mdata[split.train].copy(), mdata[split.test].copy()
    start = time.perf_counter()
    TAPE.setup_mudata(train, size_factor_key=_a549.LIBRARY_SIZE)
    model = TAPE(train)
    model.train(train_size=1.0, rng=split.seed, progress=False)
    seconds = time.perf_counter() - start
    values = model.predict_expression(test, scale="log1p")
    with torch.no_grad():
        model.module.gate.zero_()
    alone = model.predict_expression(test, scale="log1p").to_numpy()
    skill_alone = float(np.nan_to_num(pearson(_a549.truth(mdata, split.test), alone)).mean())
    settings = {"seconds_training": round(seconds, 1), "pearson_without_windows": round(skill_alone, 5)}
    return Prediction(np.asarray(values, dtype=np.float32), settings)


def entries(*, multivi_epochs: int | None = None) -> dict[str, Entry]:
    """Give all methods by name, in the order of the table."""
    ordinary = {
        "mean": peers.MeanPerGene(),
        "gene_score": peers.GeneScore(),
        "knn": peers.NearestNeighbours(),
        "ridge": peers.RidgeOnLSI(),
        "kernel_ridge": peers.KernelRidge(),
        "linear_kernel": peers.LinearKernelAllPeaks(),
        "average": peers.AverageOfRegressions(),
    }
    listed = {name: Entry(peer.title, partial(by_peer, peer)) for name, peer in ordinary.items()}
    multivi = peers.MultiVI(max_epochs=multivi_epochs)
    listed["multivi"] = Entry(multivi.title, partial(by_peer, multivi), slow=True)
    listed["tape"] = Entry("TAPE", tape)
    listed["library"] = Entry("knowing the true library size", true_library)
    listed["time_point"] = Entry("knowing the true time point", true_time_point)
    return listed


def run(name: str, seed: int, *, multivi_epochs: int | None = None) -> dict[str, Any]:
    """Run one method on one split in a fresh process, and give its figures."""
    measured = measure(_run_here, name, seed, multivi_epochs)
    return {**measured.value, "peak_mb": round(measured.peak_mb, 1)}


def _run_here(name: str, seed: int, multivi_epochs: int | None) -> dict[str, Any]:
    """Read the data, run one method on one split, and score it."""
    mdata = _a549.read()
    split = _a549.split(mdata.n_obs, seed)
    method = entries(multivi_epochs=multivi_epochs)[name].predict
    start = time.perf_counter(), time.process_time()
    prediction = method(mdata, split)
    seconds, processor = time.perf_counter() - start[0], time.process_time() - start[1]
    figures = skill(
        _a549.truth(mdata, split.test),
        prediction.values,
        _a549.times(mdata, split.test),
        target=_a549.TARGET,
        baseline=_a549.BASELINE,
        log_library=_a549.log_library(mdata, split.test),
    )
    return {
        "seed": seed,
        "test_cells": split.digest,
        **figures.as_dict(),
        "seconds": round(seconds, 2),
        "processor_seconds": round(processor, 2),
        "settings": prediction.settings,
    }
