"""The user's file in the demonstration: what is wrong with it is said at once, with the option that mends it."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess

import h5py
import nbformat.v4 as nbf
import numpy as np
import pytest
from benchmarks import _demo_data, _demo_run, demo
from nbclient.exceptions import CellExecutionError

import sctandem as td
from sctandem._compat import new_mudata


@pytest.fixture
def mdata():
    return td.datasets.simulate_multiome(30, 20, 200, rng=0)


@pytest.fixture
def renamed(mdata, tmp_path):
    """A file whose modalities have other names."""
    path = tmp_path / "gex.h5mu"
    new_mudata({"gex": mdata["rna"], "peaks": mdata["atac"]}).write_h5mu(path)
    return path


def planned(*arguments: str) -> str:
    return subprocess.run(["make", "-n", *arguments], capture_output=True, text=True, check=True, cwd=demo.ROOT).stdout


def test_all_names_that_are_not_there_are_told_with_the_file_and_the_options(renamed):
    with pytest.raises(ValueError, match="no modality") as caught:
        _demo_data.read(str(renamed))
    assert str(caught.value) == (
        f"{renamed} has no modality 'rna' for the expression and none 'atac' for the accessibility; it has 'gex', 'peaks'. Name "
        "what holds the expression and the accessibility: make demo DATA=gex.h5mu RNA=... ATAC=... (--rna, --atac on the "
        "command line)."
    )
    with pytest.raises(ValueError, match="no modality 'atac' for the accessibility; it has") as caught:
        _demo_data.read(str(renamed), rna="gex")
    assert "RNA=" not in str(caught.value)
    read = _demo_data.read(str(renamed), rna="gex", atac="peaks")
    assert set(read.mod) == {"rna", "atac"}


def test_make_passes_the_names_on():
    line = planned("demo", "DATA=gex.h5mu", "RNA=gex", "ATAC=my peaks", "LAYER=counts")
    assert '--data "gex.h5mu" --out demo --rna "gex" --atac "my peaks" --layer "counts"' in " ".join(
        line.replace("\\\n", " ").split()
    )
    assert not re.search("--rna|--atac|--layer", planned("demo", "DATA=gex.h5mu"))
    told = subprocess.run(["make", "help"], capture_output=True, text=True, check=True, cwd=demo.ROOT).stdout
    assert re.search(r"RNA=gex ATAC=peaks .*LAYER=counts", told, re.DOTALL)


def test_names_of_modalities_are_refused_where_there_are_none(tmp_path, capsys):
    path = tmp_path / "filtered.h5"
    path.touch()
    for arguments in (["--data", str(path), "--rna", "gex"], ["--atac", "peaks"]):
        assert demo.main([*arguments, "--out", str(tmp_path / "demo")]) == 1
    said = capsys.readouterr().err
    assert "name modalities of an .h5mu; " in said
    assert "--atac says something about your own data" in said
    assert demo._settings(demo._options(["--data", "a.h5mu"]), tmp_path).RNA == "rna"


def test_a_file_of_cell_ranger_is_read(tmp_path):
    path = tmp_path / "filtered.h5"
    with h5py.File(path, "w") as file:
        matrix = file.create_group("matrix")
        matrix["shape"] = np.array([2, 3], dtype="i4")
        matrix["data"], matrix["indices"] = np.ones(6, dtype="i4"), np.array([0, 1] * 3)
        matrix["indptr"] = np.array([0, 2, 4, 6])
        matrix["barcodes"] = np.array([b"AA-1", b"CC-1", b"GG-1"])
        features = matrix.create_group("features")
        features["id"] = features["name"] = np.array([b"G1", b"chr1:1000-1500"])
        features["feature_type"] = np.array([b"Gene Expression", b"Peaks"])
        features["genome"] = np.array([b"GRCh38"] * 2)
        features["interval"] = np.array([b"chr1:2000-3000", b"chr1:1000-1500"])
    read = _demo_data.read(str(path))
    assert (read["rna"].n_vars, read["atac"].n_vars, read.n_obs) == (1, 1, 3)


@pytest.mark.parametrize("layers", [{}, {"lognorm": 0.5}, {"lognorm": 0.5, "raw": 1.0}])
def test_what_is_not_counts_is_told_on_reading_with_the_layers(layers, mdata, tmp_path):
    path = tmp_path / "normalised.h5mu"
    counts = mdata["rna"].X.copy()
    mdata["rna"].X = counts * 0.5
    del mdata["rna"].layers["true_rate"]
    for name, factor in layers.items():
        mdata["rna"].layers[name] = counts * factor
    mdata.write_h5mu(path)
    with pytest.raises(ValueError, match=r"X of the expression does not hold counts \(for example \d") as caught:
        _demo_data.read(str(path))
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    if "raw" in layers:
        assert "has the layers 'lognorm', 'raw'. Counts are in 'raw': make demo DATA=... LAYER=raw (--layer raw" in said
        read = _demo_data.read(str(path), layer="raw")
        np.testing.assert_array_equal(read["rna"].X.toarray(), counts.toarray())
        with pytest.raises(ValueError, match="the layer 'lognorm' of the expression does not hold counts"):
            _demo_data.read(str(path), layer="lognorm")
    else:
        assert ("the layers 'lognorm', and none" if layers else "no layers, and none with counts") in said
        assert "name that with LAYER= (--layer)" in said
    with pytest.raises(KeyError, match="LAYER="):
        _demo_data.read(str(path), layer="absent")


def test_accessibility_that_is_not_counts_is_told_on_reading(mdata, tmp_path):
    path = tmp_path / "tfidf.h5mu"
    mdata["atac"].X = mdata["atac"].X * 0.3
    mdata.write_h5mu(path)
    with pytest.raises(ValueError, match="X of the accessibility does not hold counts .* write them to its X"):
        _demo_data.read(str(path))


@pytest.mark.parametrize("code", ["raise ValueError('bad')", "1"])
def test_a_step_that_failed_is_not_done(code, tmp_path, monkeypatch):
    monkeypatch.setattr(_demo_run, "LONG", 0)
    notebook = nbf.new_notebook(cells=[nbf.new_code_cell(code, metadata={"step": "Data"})])
    stream = io.StringIO()
    with contextlib.suppress(CellExecutionError):
        _demo_run.execute(notebook, tmp_path, _demo_run.Teller(stream))
    assert ("failed after" in stream.getvalue(), "done in" in stream.getvalue()) == (code != "1", code == "1")
