"""Deviations of motifs and words: slots, what is said of what, recovery of motifs that open peaks, and bad input."""

from __future__ import annotations

import logging

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

import sctandem as td
from sctandem._compat import new_mudata
from sctandem.kernels._background import peak_background
from sctandem.kernels._deviations import expected_deviations, variability

N_CELLS, N_PEAKS = 60, 500
NAMES = [f"M{i}" for i in range(6)]


def make_atac(seed: int = 0) -> AnnData:
    """Peaks with what `pp.nucleotide_spectrum` writes; the first motif opens its peaks in half of the cells."""
    rng = np.random.default_rng(seed)
    gc = rng.beta(9, 9, N_PEAKS)
    matches = rng.random((N_PEAKS, 6)) < np.linspace(0.05, 0.3, 6)
    open_more = np.where(np.arange(N_CELLS) % 2, 1.5, 0)[:, None] * matches[:, 0]
    counts = rng.poisson(rng.lognormal(-1, 0.7, N_PEAKS) * np.exp(open_more))
    atac = AnnData(sparse.csr_matrix(counts.astype(np.float32)))
    atac.obs_names = [f"cell{i}" for i in range(N_CELLS)]
    atac.varm["nucleotides"] = pd.DataFrame({"gc": gc.astype(np.float32)}, index=atac.var_names)
    atac.varm["motifs"] = sparse.csr_matrix(matches * rng.integers(1, 3, matches.shape).astype(np.int32))
    atac.uns["motifs"] = {"names": np.array(NAMES, dtype=object), "params": {}}
    atac.varm["kmers"] = sparse.csr_matrix(matches[:, ::-1].astype(np.uint8))
    atac.uns["kmers"] = {"names": NAMES[::-1]}
    return atac


@pytest.fixture
def atac():
    return make_atac()


def reference(atac, name="motifs"):
    background = peak_background(np.asarray(atac.X.sum(axis=0)).ravel(), atac.varm["nucleotides"]["gc"].to_numpy())
    return expected_deviations(sparse.csr_matrix(atac.X), atac.varm[name], background)


def test_slots_of_motifs(atac):
    expected = reference(atac)
    assert td.tl.sequence_deviations(atac) is None
    z, deviations = atac.obsm["motif_z"], atac.obsm["motif_deviations"]
    for frame, values in ((z, expected.z), (deviations, expected.deviations)):
        assert list(frame.columns) == NAMES
        assert frame.index.equals(atac.obs_names)
        assert (frame.dtypes == np.float32).all()
        np.testing.assert_array_equal(frame, values)
    table = atac.uns["motif_deviations"]["table"]
    assert table.columns.tolist() == ["name", "n_peaks", "n_cells", "variability", "pvalue", "fdr"]
    held = (atac.X.sum(axis=0) > 0) @ (atac.varm["motifs"] > 0).toarray().astype(int)
    np.testing.assert_array_equal(table["n_peaks"], np.asarray(held).ravel())
    np.testing.assert_array_equal(table["n_cells"], np.isfinite(expected.deviations).sum(axis=0))
    found = variability(expected.z, np.isfinite(expected.deviations))
    np.testing.assert_array_equal(table[["variability", "pvalue", "fdr"]].to_numpy().T, found)
    params = atac.uns["motif_deviations"]["params"]
    assert params["features"] == "motifs"
    assert params["n_peaks"] == (atac.X.sum(axis=0) > 0).sum()


def test_slots_of_words(atac):
    td.tl.sequence_deviations(atac)
    copy = td.tl.sequence_deviations(atac, "kmers", copy=True)
    assert "X_kmers" not in atac.obsm
    assert copy.obsm["X_kmers"].dtype == np.float32
    # the same columns in the other order
    np.testing.assert_allclose(copy.obsm["X_kmers"], copy.obsm["motif_z"].to_numpy()[:, ::-1], rtol=1e-5, atol=1e-5)
    assert copy.obsm["kmers_deviations"].shape == (N_CELLS, 6)
    assert copy.uns["kmers_deviations"]["table"]["name"].tolist() == NAMES[::-1]
    assert "names" in copy.uns["kmers"]  # what was read is still there
    td.tl.sequence_deviations(copy, "kmers", key_added="words")
    np.testing.assert_array_equal(copy.obsm["X_words"], copy.obsm["X_kmers"])


def test_the_motif_that_opens_peaks_varies_most(atac):
    td.tl.sequence_deviations(atac)
    table = td.get.sequence_deviations(atac)
    assert table["name"][0] == "M0"
    assert table["fdr"][0] < 1e-6
    assert table["variability"][1] < 1.5
    z = atac.obsm["motif_z"]["M0"].to_numpy()
    assert z[1::2].min() > z[::2].max()
    assert 0.2 < np.nanmean(atac.obsm["motif_deviations"]["M0"].to_numpy()[1::2]) < 2


def test_a_multiome(atac, tmp_path):
    rna = AnnData(np.ones((N_CELLS, 3), dtype=np.float32), obs=atac.obs.copy())
    rna.var_names = ["g0", "g1", "g2"]
    mdata = new_mudata({"rna": rna, "peaks": atac.copy()})
    with pytest.raises(KeyError, match="mdata has no modality 'atac'"):
        td.tl.sequence_deviations(mdata)
    td.tl.sequence_deviations(mdata, modalities={"atac": "peaks"})
    td.tl.sequence_deviations(atac)
    np.testing.assert_array_equal(mdata["peaks"].obsm["motif_z"], atac.obsm["motif_z"])
    assert len(td.get.sequence_deviations(mdata, modalities={"atac": "peaks"})) == 6
    copy = td.tl.sequence_deviations(mdata, "kmers", modalities={"atac": "peaks"}, copy=True)
    assert "X_kmers" in copy["peaks"].obsm
    assert "X_kmers" not in mdata["peaks"].obsm
    copy["peaks"].write_h5ad(tmp_path / "peaks.h5ad")
    back = anndata.read_h5ad(tmp_path / "peaks.h5ad")
    pd.testing.assert_frame_equal(
        td.get.sequence_deviations(back, "kmers"), td.get.sequence_deviations(copy["peaks"], "kmers")
    )
    np.testing.assert_array_equal(back.obsm["motif_deviations"], mdata["peaks"].obsm["motif_deviations"])


@pytest.mark.filterwarnings("ignore:Setting element `.obsm:anndata.ImplicitModificationWarning")
@pytest.mark.parametrize("kind", ["dense", "csc", "unsorted", "layer", "backed", "view"])
def test_wherever_the_counts_are(atac, kind, tmp_path):
    td.tl.sequence_deviations(atac)
    expected = atac.obsm["motif_z"].to_numpy()
    other = make_atac()
    layer = None
    if kind == "dense":
        other.X = other.X.toarray()
    elif kind == "csc":
        other.X = sparse.csc_matrix(other.X)
    elif kind == "unsorted":
        whole = other.X.copy()  # each entry twice: 1, and what is left of the count
        data = np.column_stack([np.ones(whole.nnz), whole.data - 1]).ravel()
        other.X = sparse.csr_matrix((data, np.repeat(whole.indices, 2), 2 * whole.indptr), shape=whole.shape)
        assert not other.X.has_canonical_format
    elif kind == "layer":
        other.layers["counts"], layer = other.X.copy(), "counts"
        other.X = np.log1p(other.X)
    elif kind == "backed":
        other.write_h5ad(tmp_path / "atac.h5ad")
        other = anndata.read_h5ad(tmp_path / "atac.h5ad", backed="r")
    else:
        other = other[:, :]
    td.tl.sequence_deviations(other, layer=layer)
    np.testing.assert_allclose(other.obsm["motif_z"], expected, rtol=1e-5, atol=1e-5)


def test_a_name_is_of_one_result_only(atac):
    td.tl.sequence_deviations(atac, key_added="both")
    td.tl.sequence_deviations(atac, "kmers", key_added="both")
    assert "both_z" not in atac.obsm  # that of the motifs, which the table no longer describes
    assert atac.uns["both_deviations"]["params"]["features"] == "kmers"
    td.tl.sequence_deviations(atac, key_added="both")
    assert "X_both" not in atac.obsm
    assert "both_z" in atac.obsm


def test_what_nothing_is_said_of(atac, caplog):
    counts = atac.X.toarray()
    counts[3], counts[:, 7] = 0, 0
    atac.X = sparse.csr_matrix(counts)
    table = atac.varm["kmers"].toarray()
    table[:, 0], table[:, 1] = 0, 1
    table[:, 2] = 0
    table[7, 2] = 1  # only in a peak without counts
    atac.varm["kmers"] = sparse.csr_matrix(table)
    with caplog.at_level(logging.INFO):
        td.tl.sequence_deviations(atac, "kmers")
    z, deviations = atac.obsm["X_kmers"], atac.obsm["kmers_deviations"]
    assert np.isfinite(z).all()
    assert (z[3] == 0).all()
    assert np.isnan(deviations[3]).all()
    assert (z[:, :3] == 0).all()
    assert np.isnan(deviations[:, :3]).all()
    rows = atac.uns["kmers_deviations"]["table"]
    assert rows["n_peaks"].iloc[0] == rows["n_peaks"].iloc[2] == 0
    assert rows["n_cells"].tolist()[:3] == [0, 0, 0]
    assert rows[["variability", "pvalue", "fdr"]].iloc[:3].isna().all(axis=None)
    assert rows["variability"][3:].notna().all()
    assert "1 cells have no counts" in caplog.text
    assert "nothing is said of 3 of 6 features" in caplog.text
    assert f"of {N_PEAKS} peaks have no counts or no GC content" in caplog.text


def test_min_expected(atac):
    td.tl.sequence_deviations(atac, min_expected=0)
    assert np.isfinite(atac.obsm["motif_deviations"].to_numpy()).all()
    td.tl.sequence_deviations(atac, min_expected=1e9)
    assert np.isnan(atac.obsm["motif_deviations"].to_numpy()).all()
    assert (atac.obsm["motif_z"].to_numpy() == 0).all()


def without(slot, key):
    def change(atac):
        del getattr(atac, slot)[key]

    return change


def negative(atac):
    atac.X = atac.X * -1


def logs(atac):
    atac.X = np.log1p(atac.X)


def nothing(atac):
    atac.X = sparse.csr_matrix(atac.shape, dtype=np.float32)


def genes(atac):
    atac.var["feature_types"] = pd.Categorical(["Gene Expression"] * N_PEAKS)


def no_gc(atac):
    atac.varm["nucleotides"] = atac.varm["nucleotides"].rename(columns={"gc": "other"})


def unknown_gc(atac):
    atac.varm["nucleotides"] = atac.varm["nucleotides"] * np.nan


def fewer_names(atac):
    atac.uns["motifs"] = {"names": NAMES[:5]}


def no_motifs(atac):
    atac.varm["motifs"], atac.uns["motifs"] = sparse.csr_matrix((N_PEAKS, 0)), {"names": []}


@pytest.mark.parametrize(
    ("change", "arguments", "error", "message"),
    [
        (None, {"features": "words"}, ValueError, "features='words' is not known; choose one of 'motifs', 'kmers'"),
        (None, {"bandwidth": 0}, ValueError, "bandwidth=0 is not a number above 0"),
        (None, {"min_expected": -1}, ValueError, "min_expected=-1 is not a number of at least 0"),
        (None, {"layer": "counts"}, KeyError, "layers has no 'counts'"),
        (None, {"key_added": "a/b"}, ValueError, "key_added='a/b' must be a name without a slash"),
        (None, {"layer": 3}, TypeError, "layer must be a str, got int"),
        (None, {"modalities": {"atac": "atac"}}, ValueError, "names modalities of a MuData, but data is an AnnData"),
        (genes, {}, ValueError, r"adata has 500 genes among its 500 variables, the first is '0': name the modality"),
        (
            without("varm", "motifs"),
            {},
            KeyError,
            r"no 'motifs'; run `td.pp.nucleotide_spectrum\(data, fasta, motifs=...\)` first",
        ),
        (
            without("varm", "kmers"),
            {"features": "kmers"},
            KeyError,
            r"no 'kmers'; run `td.pp.nucleotide_spectrum\(data, fasta\)`",
        ),
        (without("uns", "motifs"), {}, KeyError, "adata.uns has no 'motifs'; run `td.pp.nucleotide_spectrum"),
        (
            without("varm", "nucleotides"),
            {},
            KeyError,
            "adata.varm has no 'nucleotides'; run `td.pp.nucleotide_spectrum",
        ),
        (no_gc, {}, KeyError, r"adata.varm\['nucleotides'\] has no 'gc'; run"),
        (unknown_gc, {}, ValueError, "none of the 500 peaks has both counts and a GC content"),
        (fewer_names, {}, ValueError, r"adata.varm\['motifs'\] has 6 columns, but .* 5 names"),
        (no_motifs, {}, ValueError, "has no columns"),
        (negative, {}, ValueError, "adata.X contains negative values"),
        (logs, {}, ValueError, "adata.X does not hold counts"),
        (nothing, {}, ValueError, r"adata.X \(60 x 500\) has no counts at all"),
    ],
)
def test_bad_input(atac, change, arguments, error, message):
    if change is not None:
        change(atac)
    before = sorted(atac.obsm), sorted(atac.uns), sorted(atac.varm)
    with pytest.raises(error, match=message):
        td.tl.sequence_deviations(atac, **arguments)
    assert (sorted(atac.obsm), sorted(atac.uns), sorted(atac.varm)) == before


def test_no_such_object():
    with pytest.raises(TypeError, match="data must be an AnnData of peaks or a MuData, got ndarray"):
        td.tl.sequence_deviations(np.ones((3, 3)))


def test_reading_before_anything_was_computed(atac):
    with pytest.raises(
        KeyError, match=r"no 'motif_deviations'; run `td.tl.sequence_deviations\(data, 'motifs'\)` first"
    ):
        td.get.sequence_deviations(atac)
    with pytest.raises(ValueError, match="features='words' is not known"):
        td.get.sequence_deviations(atac, "words")
