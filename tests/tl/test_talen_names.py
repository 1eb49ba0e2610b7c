from __future__ import annotations

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest

import sctandem as td

NAMES = {"rna": "gex", "atac": "peaks"}


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    path = tmp_path_factory.mktemp("genome") / "genome.fa"
    return td.datasets.simulate_multiome(n_cells=50, n_genes=40, n_peaks=400, fasta=path, rng=0), path


def test_modalities_under_other_names_give_the_same(genome):
    usual, fasta = genome[0].copy(), genome[1]
    other = mudata.MuData({NAMES[name]: part.copy() for name, part in usual.mod.items()})
    targets = [usual["atac"].var_names[0], "G0002"]
    td.tl.design_talens(usual, targets, fasta)
    td.tl.design_talens(other, targets, fasta, modalities=NAMES)
    for name in ("table", "loci"):
        pd.testing.assert_frame_equal(other.uns["talens"][name], usual.uns["talens"][name])
    assert "G0002" in set(other.uns["talens"]["loci"]["name"])
    td.tl.talen_offtargets(usual, fasta, groupby="cell_type")
    td.tl.talen_offtargets(other, fasta, groupby="cell_type", modalities=NAMES)
    pd.testing.assert_frame_equal(other.uns["talens"]["offtargets"], usual.uns["talens"]["offtargets"])
    with pytest.raises(KeyError, match="no modality 'expression'"):
        td.tl.design_talens(other, targets, fasta, modalities=NAMES | {"rna": "expression"})


def test_accessibility_that_is_not_found_is_told(genome, caplog):
    other = mudata.MuData({NAMES[name]: part.copy() for name, part in genome[0].mod.items()})
    td.tl.design_talens(other, genome[0]["atac"].var_names[0], genome[1])
    assert "openness are not known; modalities={'atac': <name>} names it" in caplog.text
    empty = ad.AnnData(var=genome[0]["atac"].var)
    with pytest.raises(ValueError, match=r"adata\.X is empty"):
        td.tl.design_talens(empty, empty.var_names[0], genome[1])


def test_a_group_with_a_slash_can_be_written(genome, tmp_path):
    adata, fasta = genome[0]["atac"].copy(), genome[1]
    adata.obs["kind"] = pd.Categorical(np.where(np.arange(adata.n_obs) % 2, "T/NK", "B"))
    td.tl.design_talens(adata, adata.var_names[0], fasta)
    td.tl.talen_offtargets(adata, fasta, groupby="kind")
    places = adata.uns["talens"]["offtargets"]
    share = np.asarray((adata[adata.obs["kind"] == "T/NK", adata.var_names[0]].X > 0).mean())
    assert places.loc[places["on_target"], "open_T_NK"].iloc[0] == pytest.approx(share)
    adata.write_h5ad(tmp_path / "a.h5ad")
    pd.testing.assert_frame_equal(ad.read_h5ad(tmp_path / "a.h5ad").uns["talens"]["offtargets"], places)
