"""Which modality of a source is read, and what is said of one that is not there."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scattered
from anndata import AnnData
from mudata import MuData
from scattered import IDS

import sctandem as td


def counts(seed: int):
    return scattered.counts(30, seed, 200)


@pytest.fixture
def folder(tmp_path):
    """A MuData whose two modalities differ, an AnnData, and the MuData in zarr in a folder of its own."""
    names = (IDS[:200], IDS[200:400])
    first, second = (AnnData(counts(seed), var=pd.DataFrame(index=names[seed])) for seed in (0, 1))
    both = MuData({"gex": first, "protein": second})
    (tmp_path / "in").mkdir()
    both.write_h5mu(tmp_path / "in" / "both.h5mu")
    both.write_zarr(tmp_path / "apart" / "both.zarr")
    second.copy().write_h5ad(tmp_path / "in" / "one.h5ad")
    return tmp_path


def total(sources, folder) -> dict[str, float]:
    collection = td.data.build_collection(sources, folder / "out", organism="human", rng=0)
    return collection.obs.groupby("source", observed=True)["n_counts"].sum().to_dict()


@pytest.mark.parametrize("path", ["in/both.h5mu", "apart/both.zarr"])
def test_the_named_modality_is_read(folder, path):
    source = td.data.Source(folder / path, modality="protein")
    assert total(source, folder) == {"both": counts(1).sum()}


@pytest.mark.parametrize("path", ["in/both.h5mu", "apart/both.zarr"])
def test_a_misspelt_modality_is_told_with_those_that_are_there(folder, path):
    with pytest.raises(ValueError, match=r"both.*: has no modality 'proteni'; it has 'gex', 'protein': name one"):
        total(td.data.Source(folder / path, modality="proteni"), folder)
    assert not (folder / "out").exists()


def test_a_modality_of_what_has_none(folder):
    source = td.data.Source(folder / "in" / "one.h5ad", modality="gex")
    with pytest.raises(ValueError, match=r"one\.h5ad: has no modality 'gex': it is no MuData .* leave modality out"):
        total(source, folder)


def test_a_modality_of_a_folder_is_that_of_the_files_that_have_some(folder):
    found = total(td.data.Source(folder / "in", modality="gex"), folder)
    assert found == {"both": counts(0).sum(), "one": counts(1).sum()}


@pytest.mark.parametrize("name", ["layer", "modality", "name"])
def test_names_are_text(name):
    with pytest.raises(TypeError, match=f"^{name} must be a str"):
        td.data.Source("x.h5ad", **{name: np.int64(3)})
