from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from chipexo import simulate_chipexo

import sctandem as td
from sctandem._compat import new_mudata


@pytest.fixture(scope="module")
def peaks():
    simulated = simulate_chipexo(n_sites=60, size=300_000, background=5)
    adata = AnnData(np.ones((2, 2), dtype=np.float32), var=pd.DataFrame(index=["chr1:0-90000", "chr2:0-90000"]))
    td.pp.chipexo_sites(adata, simulated.tags, tf="CTCF")
    td.pp.chipexo_sites(adata, tf="FOS", sites=simulated.sites)
    return adata


def test_bars_are_the_profile_of_the_strands(peaks):
    ax = td.pl.chipexo_sites(peaks, "CTCF")
    profile = peaks.uns["chipexo"]["profile"]
    for patch, heights in zip(ax.collections, (profile["plus"], -profile["minus"]), strict=True):
        corners = patch.get_paths()[0].vertices
        for offset in (-16, 0, 16):
            at = corners[np.abs(corners[:, 0] - offset) < 0.51, 1]
            assert heights[profile["offset"] == offset].iloc[0] in at
    assert [line.get_xdata()[0] for line in ax.lines[:2]] == [-16, 16]
    n_sites = int((peaks.uns["chipexo"]["sites"]["tf"] == "CTCF").sum())
    assert ax.get_title(loc="left") == f"CTCF: {n_sites} sites, footprint 32 bp"
    low, high = ax.get_ylim()
    assert low == -high
    assert high > max(profile["plus"].max(), profile["minus"].max())
    assert ax.yaxis.get_major_formatter()(-2.0, None) == "2"


def test_of_a_mudata_into_axes(peaks):
    ax = td.pl.chipexo_sites(peaks, "CTCF")
    mdata = new_mudata({"acc": peaks})
    assert td.pl.chipexo_sites(mdata, "CTCF", modalities={"atac": "acc"}, ax=ax) is ax


def test_what_cannot_be_drawn(peaks):
    with pytest.raises(KeyError, match="run `td.pp.chipexo_sites"):
        td.pl.chipexo_sites(peaks, "CTCF", key="other")
    with pytest.raises(KeyError, match="no sites of 'JUN'; it has those of 'CTCF', 'FOS'"):
        td.pl.chipexo_sites(peaks, "JUN")
    with pytest.raises(ValueError, match="given without tags"):
        td.pl.chipexo_sites(peaks, "FOS")
