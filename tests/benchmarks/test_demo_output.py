"""What the demonstration tells: drafts are called drafts, steps and parts of steps are named, tables explain themselves."""

from __future__ import annotations

import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from benchmarks import _demo_data, _demo_figures, _demo_notebook, _demo_run, _demo_tables

import sctandem as td


@pytest.fixture
def mdata():
    return td.datasets.simulate_multiome(30, 20, 200, rng=0)


@pytest.mark.parametrize("draft", [True, False])
def test_a_draft_is_called_one_in_tables_figures_and_notebook(draft, tmp_path):
    path = tmp_path / "tables.txt"
    _demo_tables.write({"A title": pd.DataFrame({"a": [1]})}, str(path), notes=["a note"], draft=draft)
    first = path.read_text().splitlines()[0]
    assert first == ("DRAFT: the numbers mean nothing; run it without --draft." if draft else "A title")
    figure, ax = plt.subplots(figsize=(3, 2), layout="constrained")
    ax.set_axis_off()
    _demo_figures.save(figure, str(tmp_path / "figure.png"), draft=draft)
    # nothing is drawn on the figure but the stamp
    assert (plt.imread(tmp_path / "figure.png")[..., :3] < 1).any() == draft
    assert [text.get_text() for text in figure.texts] == ["DRAFT\nthe numbers mean nothing"] * draft
    plt.close(figure)
    notebook = _demo_notebook.build(_demo_notebook.Settings(DRAFT=draft))
    assert ("DRAFT: the numbers mean nothing" in notebook.cells[0].source) == draft
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert ".savefig(" not in code
    assert code.count("draft=DRAFT") == 5


@pytest.mark.parametrize("live", [True, False])
def test_the_part_of_a_step_is_named_where_no_bar_runs(live, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(_demo_run.time, "perf_counter", lambda: now[0])
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: live)
    teller = _demo_run.Teller(stream)

    def beat(seconds):
        now[0] = seconds
        before = len(stream.getvalue())
        teller.beat()
        return stream.getvalue()[before:].removeprefix("\r\033[K").strip()

    def says(seconds, what):
        return f"{seconds} s  {what}" if live else f"Training goes on: {seconds} s; {what}"

    teller.start("Training")
    assert beat(86) == says(86, "states of the cells from their chromatin")
    teller.progress("\rReading windows:  90%")
    assert beat(200) == says(200, "Reading windows:  90%")
    # the end of one bar, with or without its last state in the same message
    teller.progress("\rReading windows: 100%")
    teller.progress("\n")
    assert beat(361) == says(361, "weights of the peaks in every window")
    teller.progress("\rTraining:  50%\rTraining: 100%\n")
    assert beat(420) == ("420 s  Training" if live else "Training goes on: 420 s")
    teller.start("Links")
    assert beat(500) == ("80 s  Links" if live else "Links goes on: 80 s")
    told = [line.strip() for line in stream.getvalue().split("\n") if line.strip().endswith("...")]
    parts = ["states of the cells from their chromatin", "window networks"]
    parts += ["weights of the peaks in every window", "epochs over the cells"]
    assert told == ([] if live else [f"Training: {part} ..." for part in parts])


def skill_rows():
    numbers = {"Pearson": "0.300", "RMSE": "0.500", "AUROC": "0.700"}
    rows = [
        (genes, method, *(numbers | given).values())
        for genes, method, given in (
            ("learned from", "TAPE", {}),
            ("learned from", "true rates (ceiling)", {"RMSE": "n/a"}),
            ("hidden in training", "distance-weighted gene score", {}),
            ("hidden in training", "kNN on LSI", dict.fromkeys(numbers, "-")),
        )
    ]
    return pd.DataFrame(rows, columns=["genes", "method", *numbers]).set_index(["genes", "method"])


def test_the_table_fits_a_terminal_and_explains_itself(tmp_path):
    skill = skill_rows()
    said = _demo_tables.legend(skill)
    assert "RMSE: over all values, in log1p of counts per 10,000" in said[0]
    assert [line.partition(":")[0] for line in said[1:]] == ["-", "n/a"]
    # what is not in the table is not explained
    assert len(_demo_tables.legend(skill.iloc[:1])) == 1
    _demo_tables.write({"Held-out cells": skill}, str(tmp_path / "tables.txt"), notes=said)
    lines = (tmp_path / "tables.txt").read_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert "By RMSE" not in _demo_tables.note_on_rmse(skill.iloc[:2])


def test_hidden_genes_that_are_not_scored_in_the_file_are_told(mdata):
    verdicts = pd.Series("better than kNN", index=mdata["rna"].var_names)
    verdicts.iloc[:5] = "not scored"
    mdata["rna"].var["tape_verdict"] = verdicts.astype("category")
    hidden = verdicts.index[2:5].tolist()
    assert _demo_tables.legend_of_verdicts(mdata, hidden) == [
        "In var['tape_verdict'] of the file 5 genes are 'not scored': 2 as in the table, and the 3 hidden ones."
    ]
    table = _demo_tables.verdict_table(mdata, hidden)
    assert table.loc["not scored", "genes"] == 2
    assert _demo_tables.legend_of_verdicts(mdata, []) == []


def test_library_sizes_leave_the_hidden_genes_out_and_this_is_said(mdata):
    hidden = mdata["rna"].var_names[:4].tolist()
    counts = mdata["rna"].X.toarray()
    np.testing.assert_array_equal(_demo_data.library_size(mdata, None, hidden), counts[:, 4:].sum(axis=1))
    np.testing.assert_array_equal(_demo_data.library_size(mdata, None), counts.sum(axis=1))
    assert _demo_data.note_on_sizes(mdata, None) == "Library sizes are the total counts of the cells."
    told = _demo_data.note_on_sizes(mdata, None, hidden)
    assert told == "Library sizes are the total counts of the genes that are not held out."
    del mdata.uns["truth"]
    assert "over the 16 genes that are not held out. If" in _demo_data.note_on_sizes(mdata, None, hidden)
    assert "over 20 genes. If" in _demo_data.note_on_sizes(mdata, None)
    mdata.obs["total"] = np.arange(30.0)
    np.testing.assert_array_equal(_demo_data.library_size(mdata, "total", hidden), np.arange(30.0))
