"""What the benchmark gives to a method, and what it scores: with methods that are faked, so that every slip shows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from benchmarks import _a549, _tape_methods, tape
from benchmarks import _tape_simulation as simulation
from benchmarks.peers import Prediction
from sklearn.metrics import average_precision_score

import sctandem as td
from sctandem._compat import copy_mudata


class FakeTAPE:
    """Predicts what its training cells hold; its windows, as long as their gate is open, move the first gene."""

    made: ClassVar[list[FakeTAPE]] = []

    def __init__(self, mdata: Any, *, heldout_genes: Any = ()) -> None:
        self.mdata, self.heldout_genes = mdata, list(heldout_genes)
        self.module = SimpleNamespace(gate=torch.ones(3))
        self.made.append(self)

    @classmethod
    def setup_mudata(cls, mdata: Any, **options: Any) -> None:
        cls.options = options

    def train(self, **options: Any) -> None:
        self.trained = options

    def predict_expression(self, mdata: Any, *, scale: str) -> pd.DataFrame:
        assert scale == "log1p"
        learned = np.log1p(np.asarray(self.mdata["rna"].X.mean(axis=0)).ravel())
        opened = np.asarray(mdata["atac"].X.sum(axis=1)).ravel() / 1e3
        values = learned + np.outer(opened, np.arange(learned.size) % 3 - 1.0)
        values[:, 0] += float(self.module.gate.sum()) * opened
        return pd.DataFrame(values, index=mdata.obs_names, columns=mdata["rna"].var_names)


@pytest.fixture(name="fake")
def fixture_fake(monkeypatch):
    monkeypatch.setattr("sctandem.model.TAPE", FakeTAPE)
    monkeypatch.setattr(FakeTAPE, "made", [])
    return FakeTAPE


@pytest.fixture(name="simulated", scope="module")
def fixture_simulated():
    mdata = td.datasets.simulate_multiome(120, 40, 400, rng=0)
    td.pp.gene_windows(mdata)
    mdata["rna"].obs[_a549.LIBRARY_SIZE] = np.asarray(mdata["rna"].X.sum(axis=1)).ravel().astype(float)
    mdata["rna"].obs["time_h"] = np.resize([0, 1, 3], 120)
    return mdata


@pytest.fixture(name="mdata")
def fixture_mdata(simulated):
    """A copy to write to."""
    return copy_mudata(simulated)


def spoil(mdata, cells):
    """Let cells express something else."""
    counts = mdata["rna"].X.toarray()
    counts[cells] = 50 + np.arange(counts.shape[1])
    mdata["rna"].X = type(mdata["rna"].X)(counts)


def test_tape_is_trained_on_the_training_cells_only(mdata, fake):
    split = _a549.split(mdata.n_obs, 0)
    before = _tape_methods.tape(mdata, split)
    (model,) = fake.made
    assert list(model.mdata.obs_names) == list(mdata.obs_names[split.train])
    assert model.trained["train_size"] == 1.0
    assert model.trained["rng"] == split.seed
    assert model.options == {"size_factor_key": _a549.LIBRARY_SIZE}
    spoil(mdata, split.test)
    np.testing.assert_array_equal(_tape_methods.tape(mdata, split).values, before.values)
    spoil(mdata, split.train)
    assert not np.array_equal(_tape_methods.tape(mdata, split).values, before.values)


def test_without_windows_means_that_the_gate_is_closed(mdata, fake, monkeypatch):
    """Where the truth is what the fake predicts without windows; with them its first gene would correlate by -1."""
    split = _a549.split(mdata.n_obs, 0)
    _tape_methods.tape(mdata, split)
    (model,) = fake.made
    assert model.module.gate.sum() == 0
    alone = model.predict_expression(mdata[split.test], scale="log1p").to_numpy()
    monkeypatch.setattr(_a549, "truth", lambda *_: alone)
    found = _tape_methods.tape(mdata, split)
    assert np.corrcoef(found.values[:, 0], alone[:, 0])[0, 1] == pytest.approx(-1)
    varying = np.ptp(alone, axis=0) > 1e-9
    assert varying[0]
    assert found.settings["pearson_without_windows"] == pytest.approx(varying.mean(), abs=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_truth_of_the_test_cells_is_what_is_scored(mdata, monkeypatch, seed):
    def knowing(mdata, split):
        return Prediction(_a549.truth(mdata, split.test), {"cells": split.test.tolist()})

    monkeypatch.setattr(_a549, "read", lambda: mdata)
    monkeypatch.setattr(_tape_methods, "entries", lambda **_: {"knowing": _tape_methods.Entry("knowing", knowing)})
    row = _tape_methods._run_here("knowing", seed, None)
    assert (row["pearson"], row["auroc"], row["fold_change_pearson"]) == pytest.approx((1, 1, 1))
    assert row["rmse"] == 0
    split = _a549.split(mdata.n_obs, seed)
    assert row["settings"]["cells"] == split.test.tolist()
    assert (row["seed"], row["test_cells"]) == (seed, split.digest)


def test_hidden_genes_are_hidden_and_only_training_cells_are_trained_on(mdata, fake):
    split = _a549.split(mdata.n_obs, 0)
    hidden = np.arange(40) >= 30
    found = simulation.tape_genes(mdata, split, hidden, seed=7)
    (model,) = fake.made
    assert model.heldout_genes == list(mdata["rna"].var_names[hidden])
    assert list(model.mdata.obs_names) == list(mdata.obs_names[split.train])
    assert model.trained["train_size"] == 1.0
    assert model.trained["rng"] == 7
    expected = model.predict_expression(mdata[split.test], scale="log1p").to_numpy()
    np.testing.assert_array_equal(found, expected[:, hidden])


def test_correlation_by_distance_is_taken_at_its_best_decay(mdata, monkeypatch):
    monkeypatch.setattr(simulation, "simulate", lambda *_: mdata)
    monkeypatch.setattr(
        simulation, "tape_links", lambda _, pairs, **__: pd.DataFrame({"weight": np.nan, "fdr": np.nan}, pairs.index)
    )
    found = simulation.links("default", 0)
    pairs = mdata.uns["gene_windows"]["pairs"]
    is_link = simulation.label(pairs, mdata.uns["truth"]["links"])
    strength = np.abs(simulation.correlations(mdata, pairs))
    skills = {
        decay: average_precision_score(is_link, strength * np.exp(-pairs["distance"].abs() / decay))
        for decay in simulation.DECAYS
    }
    assert max(skills.values()) > min(skills.values()) + 0.01
    assert found["auprc"]["correlation_distance"] == pytest.approx(max(skills.values()))
    assert found["decay"] == max(skills, key=skills.get)


def test_parts_of_the_simulations_run_on_their_own(monkeypatch):
    ran = []
    monkeypatch.setattr(
        tape, "measure", lambda *call: ran.append(call) or SimpleNamespace(value={}, seconds=1, peak_mb=1)
    )
    monkeypatch.setattr(tape, "_keep", lambda *_: None)
    tape.main(["--part", "simulation", "--worlds", "no_grammar", "--simulated", "smoothed", "--first-simulation", "1"])
    assert ran == [(simulation.smoothed_links, "no_grammar", 1), (simulation.smoothed_links, "no_grammar", 2)]
