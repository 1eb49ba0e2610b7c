"""Slots of the vectors, queries, files, and bad input."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

import sctandem as td


@pytest.fixture
def adata(rng):
    on = rng.integers(2, size=(200, 4)).repeat(5, axis=1)
    adata = AnnData(sparse.csr_matrix(rng.poisson(0.3 + 2 * on).astype(np.float32)))
    adata.var_names = [f"G{i}" for i in range(20)]
    return adata


def test_query_finds_the_programme_and_file_keeps_it(adata, tmp_path):
    td.pp.embed_genes(adata, n_dims=4, rng=0)
    found = td.get.similar(adata, "G7", n=4)
    assert set(found["name"]) == {"G5", "G6", "G8", "G9"}
    assert found["cosine"].is_monotonic_decreasing
    table = td.get.vectors(adata)
    td.io.write_vectors(table, tmp_path / "genes.npz")
    back = td.io.read_vectors(tmp_path / "genes.npz")
    pd.testing.assert_frame_equal(back, table, check_index_type=False, check_column_type=False)
    with np.load(tmp_path / "genes.npz", allow_pickle=False) as content:
        assert sorted(content.files) == ["format", "names", "vectors"]
    adata.write_h5ad(tmp_path / "a.h5ad")
    assert np.allclose(td.get.vectors(anndata.read_h5ad(tmp_path / "a.h5ad")), table)


def test_copy_layer_and_layout(adata):
    adata.layers["counts"] = adata.X.toarray()
    copied = td.pp.embed_genes(adata, n_dims=4, layer="counts", rng=0, copy=True)
    assert "gene_vectors" not in adata.varm
    td.pp.embed_genes(adata, n_dims=4, rng=0)
    assert np.allclose(copied.varm["gene_vectors"], adata.varm["gene_vectors"])
    assert adata.varm["gene_vectors"].dtype == np.float32


def test_bad_input(adata, tmp_path):
    with pytest.raises(ValueError, match="n_dims=20 must be below"):
        td.pp.embed_genes(adata, n_dims=20)
    with pytest.raises(KeyError, match="run `sctandem.pp.embed_genes"):
        td.get.vectors(adata)
    td.pp.embed_genes(adata, n_dims=4, rng=0)
    with pytest.raises(KeyError, match="no vector of 'TP53'"):
        td.get.similar(adata, "TP53")
    with pytest.raises(ValueError, match=r"must end in '\.npz'"):
        td.io.write_vectors(td.get.vectors(adata), tmp_path / "genes.txt")
    np.savez(tmp_path / "other.npz", a=np.zeros(2))
    with pytest.raises(ValueError, match="no file of vectors"):
        td.io.read_vectors(tmp_path / "other.npz")
    with pytest.raises(FileNotFoundError, match="is not a file"):
        td.io.read_vectors(tmp_path / "none.npz")


def test_words_of_a_multiome(tmp_path):
    mdata = td.datasets.simulate_multiome(n_cells=50, n_genes=40, n_peaks=400, fasta=tmp_path / "genome.fa")
    td.pp.embed_kmers(mdata, tmp_path / "genome.fa", k=4, n_dims=10, rng=0)
    atac = mdata["atac"]
    table = td.get.vectors(atac, key="kmer_vectors")
    assert table.shape == (136, 10)
    assert td.get.similar(atac, "AAAA", key="kmer_vectors")["name"].is_unique
    assert atac.varm["kmer_vectors"].shape == (400, 10)
    alone = td.pp.embed_kmers(atac, tmp_path / "genome.fa", k=4, n_dims=10, rng=0, copy=True)
    assert np.array_equal(alone.varm["kmer_vectors"], atac.varm["kmer_vectors"])
    with pytest.raises(ValueError, match="n_dims=136 must be below"):
        td.pp.embed_kmers(mdata, tmp_path / "genome.fa", k=4, n_dims=136)
