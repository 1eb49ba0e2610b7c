"""The bar of long work: it ends where the work does, and only shows where somebody sees it."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import fragments
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import sctandem as td
from sctandem import _progress
from sctandem.genome._fragment_file import FragmentFile
from sctandem.kernels._background import peak_background
from sctandem.kernels._deviations import expected_deviations
from sctandem.kernels._pwm import scan_motifs


def test_a_bar_is_for_terminals_and_notebooks(monkeypatch):
    assert not _progress.wants_progress()
    assert _progress.wants_progress(True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert _progress.wants_progress()
    assert not _progress.wants_progress(False)
    monkeypatch.undo()
    for shell, shown in ((SimpleNamespace(kernel=1), True), (SimpleNamespace(), False), (None, False)):
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda shell=shell: shell))
        assert _progress.wants_progress() is shown


@pytest.mark.slow
def test_a_notebook_shows_bars_and_a_script_that_imports_its_kernel_does_not():
    import subprocess

    import nbformat
    from nbclient import NotebookClient

    code = "from sctandem import _progress; print(_progress.wants_progress())"
    script = subprocess.run(
        [sys.executable, "-c", f"import ipykernel.kernelapp; {code}"], capture_output=True, text=True, check=True
    )
    assert script.stdout.strip() == "False"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, kernel_name="python3").execute()
    assert notebook.cells[0].outputs[0].text.strip() == "True"


@pytest.mark.parametrize("shown", [True, False])
def test_the_bar_says_what_is_done(monkeypatch, capsys, shown):
    monkeypatch.setattr(_progress, "wants_progress", lambda: shown)
    with _progress.progress_bar(3, "Looking", unit="peak") as tick:
        tick(2)
        tick(1)
    assert ("Looking" in capsys.readouterr().err) == shown


def test_steps_add_up_to_the_whole(monkeypatch, rng):
    monkeypatch.setattr("sctandem.kernels._deviations._CELLS", 7)
    monkeypatch.setattr("sctandem.kernels._deviations._BYTES", 1)  # eight features at a time
    counts = sparse.csr_matrix(rng.poisson(1.0, (20, 50)))
    matches = sparse.csr_matrix(rng.random((50, 11)) < 0.3)
    background = peak_background(np.asarray(counts.sum(axis=0)).ravel(), rng.random(50))
    steps: list[int] = []
    told = expected_deviations(counts, matches, background, tick=steps.append)
    assert sum(steps) == 20 * 11
    assert len(steps) == 3 * 2
    np.testing.assert_array_equal(told.z, expected_deviations(counts, matches, background).z)

    monkeypatch.setattr("sctandem.kernels._pwm.CHUNK", 100)
    steps.clear()
    scan_motifs(
        rng.integers(0, 4, 900).astype(np.uint8), np.arange(0, 901, 30), [np.eye(4)], p_value=0.01, tick=steps.append
    )
    assert sum(steps) == 30
    assert len(steps) > 3


def test_a_file_is_read_to_its_end(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(_progress, "wants_progress", lambda: True)
    packed = fragments.write(tmp_path, [("chr1", 110, 150, "A-1", 1)])
    steps: list[int] = []
    for _ in FragmentFile.open(packed).blocks(tick=steps.append):
        pass
    assert 0 < sum(steps) <= packed.stat().st_size
    td.pp.count_fragments(packed, pd.DataFrame(index=["chr1:100-200"]))
    assert packed.name in capsys.readouterr().err
