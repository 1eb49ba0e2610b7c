"""The user's file in the demonstration: what is wrong with it is said at once, with the option that mends it."""

from __future__ import annotations

import re
import subprocess

import h5py
import numpy as np
import pytest
from benchmarks import _demo_data, demo

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
