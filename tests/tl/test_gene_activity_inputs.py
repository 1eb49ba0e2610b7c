from __future__ import annotations

import logging
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
from activity import COUNTS, GENES, PEAKS, dense, multiome, peaks, random_genes, random_peaks
from anndata import AnnData, ImplicitModificationWarning, read_h5ad
from scipy import sparse

import sctandem as td

# --- how it comes in --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, np.asarray])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint16])
def test_formats(form, dtype):
    adata = peaks(form, dtype)
    td.tl.gene_activity(adata, GENES)
    assert dense(adata.obsm["gene_activity"]).sum() == COUNTS[:, :5].sum()
    np.testing.assert_array_equal(dense(adata.X), COUNTS)


def test_layer():
    adata = peaks()
    adata.layers["counts"], adata.X = adata.X, np.log1p(adata.X.toarray())
    with pytest.raises(ValueError, match=r"adata.X does not hold counts.*name that layer"):
        td.tl.gene_activity(adata, GENES)
    td.tl.gene_activity(adata, GENES, layer="counts")
    assert adata.uns["gene_activity"]["params"]["layer"] == "counts"
    with pytest.raises(KeyError, match="layers has no 'raw'"):
        td.tl.gene_activity(adata, GENES, layer="raw")


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, np.asarray])
def test_backed(form, tmp_path, monkeypatch):
    monkeypatch.setattr("sctandem._blocks._BLOCK", 2)
    peaks(form).write_h5ad(tmp_path / "a.h5ad")
    adata = read_h5ad(tmp_path / "a.h5ad", backed="r")
    td.tl.gene_activity(adata, GENES, weights="archr")
    whole = peaks()
    td.tl.gene_activity(whole, GENES, weights="archr")
    np.testing.assert_array_equal(dense(adata.obsm["gene_activity"]), dense(whole.obsm["gene_activity"]))
    np.testing.assert_allclose(
        dense(adata.obsm["gene_activity_scores"]), dense(whole.obsm["gene_activity_scores"]), rtol=1e-6
    )
    pd.testing.assert_frame_equal(adata.uns["gene_activity"]["genes"], whole.uns["gene_activity"]["genes"])
    with pytest.raises(ValueError, match="copy=True needs the data in memory"):
        td.tl.gene_activity(adata, GENES, copy=True)
    adata.file.close()


def test_backed_in_several_blocks(tmp_path, rng, monkeypatch):
    whole, genes = random_peaks(rng), random_genes(rng)
    other = whole.copy()
    other.X = other.X.tocsc()
    other.write_h5ad(tmp_path / "a.h5ad")
    td.tl.gene_activity(whole, genes)
    monkeypatch.setattr("sctandem._blocks._BLOCK", 100)
    adata = read_h5ad(tmp_path / "a.h5ad", backed="r")
    td.tl.gene_activity(adata, genes)
    np.testing.assert_array_equal(dense(adata.obsm["gene_activity"]), dense(whole.obsm["gene_activity"]))
    np.testing.assert_array_equal(dense(adata.obsm["gene_activity_scores"]), dense(whole.obsm["gene_activity_scores"]))
    adata.file.close()


def test_views():
    whole = peaks()
    view = whole[:3]
    with pytest.warns(ImplicitModificationWarning, match="view"):
        td.tl.gene_activity(view, GENES)
    assert view.obsm["gene_activity"].shape == (3, 3)
    assert not whole.obsm
    mdata = multiome()
    with pytest.raises(ValueError, match=r"mdata is a view.*copy=True"):
        td.tl.gene_activity(mdata[:3])
    assert td.tl.gene_activity(mdata[:3], copy=True)["activity"].shape == (3, 3)
    assert list(mdata.mod) == ["rna", "atac"]


def test_more_than_int32_holds_is_refused():
    adata = peaks(dtype=np.float64)
    adata.X[0, 0] = 2**31
    with pytest.raises(ValueError, match="more than int32 holds"):
        td.tl.gene_activity(adata, GENES)


# --- what is refused --------------------------------------------------------------------------------------------------


def changed(adata: AnnData, **how) -> AnnData:
    new = adata.copy()
    for name, value in how.items():
        setattr(new, name, value)
    return new


def genes_for_peaks() -> AnnData:
    adata = peaks()
    adata.var["feature_types"] = "Gene Expression"
    return adata


@pytest.mark.parametrize(
    ("adata", "genes", "options", "said"),
    [
        (
            peaks(),
            GENES.assign(chrom="chrUn"),
            {},
            "share no chromosome: the genes are on 'chrUn', the peaks on 'chr1'",
        ),
        (
            peaks(),
            GENES.assign(start=900_000, end=901_000),
            {},
            r"None of the \d+ counts in adata.X lies at one of the 3 genes",
        ),
        (changed(peaks(), X=sparse.csr_matrix((7, 6))), GENES, {}, "adata.X has no counts at all"),
        (changed(peaks(), var_names=[*PEAKS[:5], PEAKS[0]]), GENES, {}, "adata.var_names has 1 duplicated names"),
        (changed(peaks(), obs_names=["a"] * 7), GENES, {}, "adata.obs_names has 1 duplicated names"),
        (changed(peaks(), var_names=list("abcdef")), GENES, {}, "^adata: 6 of 6 peaks have no coordinates"),
        (changed(peaks(), X=-COUNTS), GENES, {}, "adata.X contains negative values"),
        (changed(peaks(), X=COUNTS + 0.5), GENES, {}, "adata.X does not hold counts"),
        (changed(peaks(), X=np.where(COUNTS == 2, np.nan, COUNTS)), GENES, {}, "adata.X contains NaN"),
        (peaks()[:0], GENES, {}, "adata is empty: it has 0 cells and 6 peaks"),
        (peaks(), None, {}, "genes is needed with an AnnData of peaks"),
        (peaks(), GENES.drop(columns="chrom"), {}, "The table of genes needs the columns chrom, start and end"),
        (peaks(), GENES, {"weights": "signac"}, "weights='signac' is not known; choose one of 'gene_body', 'archr'"),
        (peaks(), GENES, {"reference": 1}, "reference is for weights='learned'"),
        (
            peaks(),
            GENES,
            {"size_factor_key": "size"},
            "size_factor_key is for weights='learned', but weights='gene_body'",
        ),
        (peaks(), GENES, {"layer": "raw", "fragments": "f.tsv.gz"}, "layer='raw' names counts of peaks, but fragments"),
        (genes_for_peaks(), GENES, {}, "adata has 6 genes among its 6 variables, the first is 'chr1:8900-10100'"),
        (peaks(), GENES, {"modalities": {"atac": "atac"}}, "but data is an AnnData"),
        (peaks(), GENES, {"key_added": "a/b"}, "without a slash"),
        (peaks(), GENES.assign(chrom="chrY"), {"weights": "archr"}, "share no chromosome"),
    ],
)
def test_bad_input(adata, genes, options, said):
    before = deepcopy((dict(adata.uns), sorted(adata.obsm), sorted(adata.obs)))
    with pytest.raises(ValueError, match=said):
        td.tl.gene_activity(adata, genes, **options)
    assert (dict(adata.uns), sorted(adata.obsm), sorted(adata.obs)) == before


def test_only_y():
    adata = peaks()
    adata.var_names = [name.replace("chr1", "chrY") for name in PEAKS]
    with pytest.raises(ValueError, match="All 1 genes of the table of genes lie on Y or the mitochondrion"):
        td.tl.gene_activity(adata, GENES.iloc[[0]].assign(chrom="Y"), weights="archr")


def test_bad_objects():
    with pytest.raises(TypeError, match="data must be an AnnData of peaks or a MuData, got DataFrame"):
        td.tl.gene_activity(GENES, GENES)
    mdata = multiome()
    mdata["rna"].var_names = ["A", "A", "C"]
    with pytest.raises(ValueError, match=r"mdata\['rna'\].var_names has 1 duplicated names: 'A'"):
        td.tl.gene_activity(mdata)
    with pytest.raises(ValueError, match="no coordinates of genes"):
        td.tl.gene_activity(multiome(GENES[[]]))
    with pytest.raises(TypeError, match="reference must be a MuData, got AnnData.*uns\\['gene_activity'\\]"):
        td.tl.gene_activity(multiome(), weights="learned", reference=peaks())
    with pytest.raises(TypeError, match="modalities must be a dictionary from roles"):
        td.tl.gene_activity(multiome(), modalities=["atac"])


def test_genes_of_another_assembly_are_warned_of(rng, caplog):
    genes = random_genes(rng, n=40)
    tss = np.where(genes["strand"] == "+", genes["start"], genes["end"])
    var = pd.DataFrame(
        {"chrom": genes["chrom"].to_numpy(), "start": tss, "end": tss + 300}, index=[f"p{i}" for i in range(40)]
    )
    adata = AnnData(np.ones((3, 40), dtype=np.float32), var=var)
    td.tl.gene_activity(adata, genes)
    assert "of the same assembly" not in caplog.text
    assert adata.uns["gene_activity"]["params"]["share_near_start"] == 1
    with caplog.at_level(logging.WARNING):
        td.tl.gene_activity(adata, genes.assign(start=genes["start"] + 3_000, end=genes["end"] + 3_000))
    assert "of the same assembly" in caplog.text


def test_genes_without_bodies_are_warned_of(caplog):
    mdata = multiome(GENES.drop(columns="strand"))
    td.tl.gene_activity(mdata)
    assert "3 of 3 genes have no strand" in caplog.text
    assert "gives the starts of genes, not where they end" in caplog.text
