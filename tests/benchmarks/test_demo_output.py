"""What the demonstration tells: drafts are called drafts, steps and parts of steps are named, tables explain themselves."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from benchmarks import _demo_figures, _demo_notebook, _demo_tables


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
