"""The benchmark of massive collections: its files hold what it says, and its arithmetic is right."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
import scattered
from benchmarks import _massive_data, _massive_kills, _massive_page, _massive_runs, _massive_scale, _results, massive
from killed_work import N_STEPS, in_steps

import sctandem as td


def row(cells: int, peak_mb: float) -> dict:
    rate = {"seconds": 10.0, "cpu_seconds": 5.0, "cells_a_second": 100.0, "n_cells": 1000, "peak_mb": peak_mb}
    build = {"n_read": cells, "n_obs": cells, "n_entries": 100 * cells, "bytes": 200 * cells}
    return {
        "cells": cells,
        "genes": 50,
        "build": {**rate, **build},
        "bare": dict(rate),
        "batches": {**rate, "entropy": 1.0, "entropy_random": 1.0},
        "train": {**rate, "waited": 0.01, "loss": 100.5},
        "train_by_two": {**rate, "seconds": 8.0, "loss": 102.0, "seen_once": 1.0},
        "train_in_memory": {**rate, "loss": 100.0},
        "train_capsules": {**rate, "peak_mb": 2 * peak_mb},
    }


def test_costs_are_carried_over_by_entries():
    rows, simulated = [row(1000, 500.0), row(11_000, 510.0)], {"seconds_a_part": 1e-6}
    cost = {line["what"]: line["cost"] for line in _massive_scale.table(rows, simulated)}
    entries = _massive_scale.CELLS * _massive_scale.ENTRIES
    assert cost["collection on disk"] == f"{2 * entries / 1e9:,.0f} GB"
    assert cost["build, both passes"] == f"{5 / 1_100_000 * entries / 3600:,.1f} h"
    assert cost["memory of a process that trains"] == "101 GB"  # 510 MB + 10 MB / 10,000 cells x 100 million
    parts = entries / _massive_scale.BLOCK * entries / _massive_scale.SHARD
    assert cost["build, finding parts in blocks"] == f"{parts * 1e-6 / 3600:,.1f} h"


def test_epochs_that_were_read_are_counted():
    """Reading goes on for some seconds, so that small collections are read more often."""
    once, often = row(1000, 500.0), row(1000, 500.0)
    often["bare"] |= {"n_cells": 12_000, "cpu_seconds": 60.0}
    cost = [_massive_scale.figures([given], {"seconds_a_part": 1e-6})["reading"] for given in (once, often)]
    assert cost == pytest.approx([5 / 100_000 * _massive_scale.CELLS * _massive_scale.ENTRIES] * 2)


def test_an_epoch_takes_the_longer_of_reading_and_training():
    found = _massive_scale.figures([row(1000, 500.0)], {"seconds_a_part": 1e-6})
    rows = _massive_scale.epochs(found)
    assert [(r["gpus"], r["rate"]) for r in rows] == [(1, 50_000), (1, 200_000), (8, 50_000), (8, 200_000)]
    assert rows[3]["training"] == pytest.approx(1e8 / 1.6e6)
    assert rows[2]["reading"] == pytest.approx(found["reading"] / 64)


def test_the_page_on_scale_is_what_the_results_give():
    assert _massive_page.PAGE.read_text() == _massive_page.page(_results.read("massive")), (
        "run `python -m benchmarks tables`"
    )


def test_the_page_on_scale_follows_the_figures():
    document = {"measured": [row(1000, 500.0), row(11_000, 610.0)], "simulated": {"seconds_a_part": 1e-6}}
    page = _massive_page.page(document)
    assert "from 0.50 to 0.61 GB (+22%), 11000 bytes a cell" in page
    assert "0.6 GB + 11000 bytes x 10⁸ = 1101 GB" in page
    assert "360 bytes a cell and 36 GB at 100 million. With labels and batches its peak was 1.00 and 1.22 GB" in page
    del document["measured"][0]["train_capsules"]
    assert "CapsuleNet" not in _massive_page.page(document)


def test_verdicts_follow_the_figures():
    few, many = row(1000, 500.0), row(11_000, 600.0)
    many["train_capsules"]["peak_mb"] = 2050.0
    document = massive.report([few, many], {"seconds_a_part": 1e-6})
    met = {line["target"]: line["met"] for line in document["tables"][0]["rows"]}
    assert met["loss against in-memory training, 1,000 x 50"] == "yes"
    assert met["build, cells a second, 11,000 x 50"] == "no"
    assert met["two processes, cells seen once in an epoch, 1,000 x 50"] == "yes"
    assert met["two processes, loss against one, 1,000 x 50"] == "no"
    told = {line["target"]: line["measured"] for line in document["tables"][0]["rows"]}
    assert told["[two processes on two cores, times faster by the clock], 1,000 x 50"] == "1.25"
    assert met["peak memory of training, 11,000 against 1,000 cells"] == "no"
    assert met["training CapsuleNet, peak memory (MB), 1,000 x 50"] == "yes"
    assert met["training CapsuleNet, peak memory (MB), 11,000 x 50"] == "no"
    assert told["peak memory of training CapsuleNet, 11,000 against 1,000 cells"] == "2.05"


def test_entropy_of_batches():
    assert _massive_runs._entropy(np.array([0, 0, 1, 1])) == pytest.approx(np.log(2))
    assert _massive_runs._entropy(np.zeros(4, dtype=int)) == 0


def test_files_differ_and_hold_the_cells_that_are_there_again(shared_data, tmp_path):
    assert all(file.parent.parent == shared_data for file in _massive_data.files())
    (tmp_path / "in").mkdir()
    paths = _massive_data.make(tmp_path / "in", 1200, 800, 0)
    genes = [frozenset(anndata.read_h5ad(path, backed="r").var["gene_symbols"]) for path in paths]
    assert len(paths) == len(set(genes)) == 12
    found = td.data.build_collection(tmp_path / "in", tmp_path / "out", organism="human", rng=0)
    assert found.n_vars <= 800
    assert len(found.duplicates) == 8 * 2  # two cells again in each of eight files
    assert set(found.duplicates["row"]) == {98, 99}
    assert set(found.duplicates["kept_row"]) == {0, 1}


def test_work_that_is_killed_is_begun_again_and_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(_massive_kills, "N_KILLS", 2)
    seen = []

    def same(folder):
        seen.append((len(list(folder.glob("begun *"))), len(list((folder / "steps").iterdir()))))
        return len(seen) > 1

    (tmp_path / "given").touch()
    found = _massive_kills._killed(in_steps, tmp_path / "given", "done", same)
    assert seen == [(2, N_STEPS)] * 2
    assert (found["killed"], found["same"]) == (2, 1)
    assert all(0 < kill["moment"] < 1 for kill in found["kills"])


def test_work_that_was_over_is_not_taken_for_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(_massive_kills, "N_KILLS", 1)
    ended = iter([True, False])

    def kill(work, given, folder, moment):
        if next(ended):
            (folder / "done").touch()

    monkeypatch.setattr(_massive_kills, "_kill", kill)
    monkeypatch.setattr(_massive_kills, "_run", lambda *_: 1.0)
    (tmp_path / "given").touch()
    found = _massive_kills._killed(in_steps, tmp_path / "given", "done", lambda folder: not (folder / "done").exists())
    assert found["same"] == 1
    assert found["with_work_left"] == 0
    assert next(ended, None) is None


@pytest.mark.slow
def test_builds_and_trainings_are_compared_with_those_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(_massive_kills, "N_KILLS", 1)
    monkeypatch.setattr(_massive_kills, "EPOCHS", 1)
    for name, seed in (("in", 0), ("other", 1)):
        scattered.sources(tmp_path / name)
        td.data.build_collection(tmp_path / name, tmp_path / f"{name}.out", organism="human", rng=seed)
    found = _massive_kills.killed_builds(tmp_path / "in", tmp_path / "in.out")
    assert found["same"] == 1
    assert _massive_kills.killed_builds(tmp_path / "in", tmp_path / "other.out")["same"] == 0  # of another order
    assert _massive_kills.killed_trainings(tmp_path / "in.out")["same"] == 1


def test_a_kill_that_is_not_resumed_alike_is_not_met():
    kills = {"killed": 10, "same": 9, "with_work_left": 10}
    document = massive.report([row(1000, 500.0) | {"killed_builds": kills}], {"seconds_a_part": 1e-6})
    (line,) = [line for line in document["tables"][0]["rows"] if "killed" in line["target"]]
    assert (line["measured"], line["met"]) == ("9 of 10 (10 with something on disk)", "no")
