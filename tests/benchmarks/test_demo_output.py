"""What the demonstration tells: drafts are called drafts, steps and parts of steps are named, tables explain themselves."""

from __future__ import annotations

import io

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from benchmarks import _demo_figures, _demo_notebook, _demo_run, _demo_tables


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
    assert beat(420) == says(420, "the last touches")
    teller.start("Links")
    assert beat(500) == ("80 s  Links" if live else "Links goes on: 80 s")
    told = [line.strip() for line in stream.getvalue().split("\n") if line.strip().endswith("...")]
    parts = ["states of the cells from their chromatin", "window networks"]
    parts += ["weights of the peaks in every window", "epochs over the cells", "the last touches"]
    assert told == ([] if live else [f"Training: {part} ..." for part in parts])
