"""The notebooks are committed as they ran, and they still run."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "tutorials").glob("*.ipynb"))
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path: Path) -> list:
    return [
        cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code" and cell.source.strip()
    ]


@each
def test_notebook_is_executed_in_order(path):
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert any(cell.outputs for cell in cells)


@each
def test_notebook_has_no_errors_and_no_paths_of_one_machine(path):
    for cell in code_cells(path):
        assert not [output for output in cell.outputs if output.output_type == "error"]
        text = str([output.get("text", output.get("data", {}).get("text/plain", "")) for output in cell.outputs])
        assert not [folder for folder in ("/home/", "/root/", "/tmp/", "/Users/") if folder in text + cell.source]


@pytest.mark.slow
@each
def test_notebook_runs(path, tmp_path):
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    if "SCTANDEM_DATA" in str(notebook.cells) and not os.environ.get("SCTANDEM_DATA"):
        pytest.skip("real data: set SCTANDEM_DATA to the folder that holds them")
    NotebookClient(
        notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
