"""`io.read_multiome`: the formats of Cell Ranger ARC, mudata and anndata, written here by hand or by their own libraries."""

from __future__ import annotations

import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

import sctandem as td
from sctandem._compat import new_mudata

N_CELLS = 7
GENES = ["CD2", "LEF1", "MATR3", "MATR3", "MT-CO1"]
GENE_IDS = [f"ENSG{i:011d}" for i in range(5)]
GENE_INTERVALS = ["chr1:116754429-116754467", "chr4:108166300-108168956", "chr5:1-20", "chr5:100-101", "NA"]
PEAKS = ["chr1:100-600", "chr1:900-1500", "chr4:108166000-108166900", "GL000194.1:55-700"]


@pytest.fixture(name="counts")
def fixture_counts(rng) -> np.ndarray:
    """Cells x (genes, peaks, a protein)."""
    return rng.poisson(1.0, (N_CELLS, len(GENES) + len(PEAKS) + 1)).astype(np.int32)


def write_tenx(path, counts: np.ndarray, kinds: list[str], *, interval: bool = True) -> None:
    """Write the HDF5 layout of Cell Ranger 3 and newer: features x cells, compressed by columns, fixed-length bytes."""
    names = [*GENES, *PEAKS, "CD19"]
    by_column = sparse.csc_matrix(counts.T)
    keep = len(kinds)
    with h5py.File(path, "w") as file:
        matrix = file.create_group("matrix")
        matrix["barcodes"] = np.array([f"AAAC{i}-1" for i in range(len(counts))], dtype="S18")
        matrix["data"] = by_column.data
        matrix["indices"] = by_column.indices.astype(np.int64)
        matrix["indptr"] = by_column.indptr.astype(np.int64)
        matrix["shape"] = np.array(by_column.shape, dtype=np.int32)
        features = matrix.create_group("features")
        features["id"] = np.array([*GENE_IDS, *PEAKS, "CD19"][:keep], dtype="S32")
        features["name"] = np.array(names[:keep], dtype="S32")
        features["feature_type"] = np.array(kinds, dtype="S32")
        features["genome"] = np.array(["GRCh38"] * keep, dtype="S16")
        features["_all_tag_keys"] = np.array([b"genome", b"interval"])
        if interval:
            features["interval"] = np.array([*GENE_INTERVALS, *PEAKS, ""][:keep], dtype="S32")


KINDS = ["Gene Expression"] * len(GENES) + ["Peaks"] * len(PEAKS) + ["Antibody Capture"]


def test_tenx_is_read_as_it_was_counted(tmp_path, counts, caplog):
    write_tenx(tmp_path / "filtered.h5", counts, KINDS)
    mdata = td.io.read_multiome(tmp_path / "filtered.h5")
    rna, atac = mdata["rna"], mdata["atac"]
    assert rna.X.format == atac.X.format == "csr"
    assert rna.X.dtype == atac.X.dtype == np.int32
    np.testing.assert_array_equal(rna.X.toarray(), counts[:, : len(GENES)])
    np.testing.assert_array_equal(atac.X.toarray(), counts[:, len(GENES) : -1])
    assert rna.obs_names.tolist() == atac.obs_names.tolist() == [f"AAAC{i}-1" for i in range(N_CELLS)]
    assert rna.var_names.tolist() == ["CD2", "LEF1", "MATR3", "MATR3-1", "MT-CO1"]
    assert rna.var["gene_ids"].tolist() == GENE_IDS
    assert atac.var_names.tolist() == PEAKS
    assert "Antibody Capture were left out" in caplog.text


def test_tenx_coordinates(tmp_path, counts):
    write_tenx(tmp_path / "filtered.h5", counts, KINDS)
    mdata = td.io.read_multiome(tmp_path / "filtered.h5")
    peaks, genes = mdata["atac"].var, mdata["rna"].var
    assert list(peaks[["chrom", "start", "end"]].itertuples(index=False, name=None)) == [
        ("chr1", 100, 600),
        ("chr1", 900, 1500),
        ("chr4", 108166000, 108166900),
        ("GL000194.1", 55, 700),
    ]
    assert genes.loc["LEF1", ["chrom", "start", "end"]].tolist() == ["chr4", 108166300, 108168956]
    assert genes["start"].dtype == "Int64"  # MT-CO1 has none
    assert pd.isna(genes.loc["MT-CO1", "start"])
    td.pp.gene_windows(mdata)
    windows = mdata.uns["gene_windows"]["pairs"]
    assert set(zip(windows["gene"], windows["peak"], strict=True)) == {("LEF1", PEAKS[2])}


def test_tenx_without_intervals_takes_the_names_of_the_peaks(tmp_path, counts):
    write_tenx(tmp_path / "filtered.h5", counts, KINDS, interval=False)
    mdata = td.io.read_multiome(tmp_path / "filtered.h5")
    assert mdata["atac"].var["end"].tolist() == [600, 1500, 108166900, 700]
    assert "start" not in mdata["rna"].var


def test_tenx_survives_writing(tmp_path, counts):
    write_tenx(tmp_path / "filtered.h5", counts, KINDS)
    first = td.io.read_multiome(tmp_path / "filtered.h5")
    first.write(tmp_path / "again.h5mu")
    again = td.io.read_multiome(tmp_path / "again.h5mu")
    for name in ("rna", "atac"):
        assert (first[name].X != again[name].X).nnz == 0
        pd.testing.assert_frame_equal(first[name].var.astype(str), again[name].var.astype(str))


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        (KINDS[:5], r"no features of the type 'Peaks', only 'Gene Expression' \(5\)"),
        (["Peaks"] * 4, r"no features of the type 'Gene Expression', only 'Peaks' \(4\)"),
    ],
)
def test_tenx_with_one_feature_type(tmp_path, counts, kinds, message):
    write_tenx(tmp_path / "filtered.h5", counts[:, : len(kinds)], kinds)
    with pytest.raises(ValueError, match=message):
        td.io.read_multiome(tmp_path / "filtered.h5")


@pytest.fixture(name="pair")
def fixture_pair(counts) -> tuple[AnnData, AnnData]:
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(N_CELLS)])
    rna = AnnData(counts[:, :4].astype(np.float32), obs=obs.copy(), var=pd.DataFrame(index=list("abcd")))
    atac = AnnData(sparse.csc_matrix(counts[:, 5:9]), obs=obs.copy(), var=pd.DataFrame(index=PEAKS))
    return rna, atac


def test_pair_in_another_order_is_aligned(tmp_path, pair, rng):
    rna, atac = pair
    rna.write_h5ad(tmp_path / "rna.h5ad")
    atac[rng.permutation(N_CELLS)].copy().write_h5ad(tmp_path / "atac.h5ad")
    mdata = td.io.read_multiome(tmp_path / "rna.h5ad", tmp_path / "atac.h5ad")
    assert mdata["atac"].obs_names.equals(mdata["rna"].obs_names)
    np.testing.assert_array_equal(mdata["atac"].X.toarray(), atac.X.toarray())
    np.testing.assert_array_equal(mdata["rna"].X.toarray(), rna.X)
    assert mdata["atac"].X.format == mdata["rna"].X.format == "csr"
    assert mdata["atac"].var["start"].tolist() == [100, 900, 108166000, 55]


def test_pair_has_the_columns_that_are_known_of_the_cells(tmp_path, pair):
    rna, atac = pair
    rna.obs["donor"] = pd.Categorical(["a", "b", None, "a", "b", "a", "b"])
    rna.obs["n_counts"], rna.obs["phase"] = np.arange(N_CELLS), pd.Categorical(["S", "G1", *["G2M"] * 5])
    atac.obs["n_counts"], atac.obs["fragments"] = np.arange(N_CELLS) + 1, np.arange(N_CELLS) / 2
    atac.obs["donor"] = rna.obs["donor"].cat.set_categories(["b", "a", "c"])
    rna.write_h5ad(tmp_path / "rna.h5ad")
    atac[::-1].copy().write_h5ad(tmp_path / "atac.h5ad")
    mdata = td.io.read_multiome(tmp_path / "rna.h5ad", tmp_path / "atac.h5ad")
    assert mdata.obs.columns.tolist() == ["donor", "phase", "fragments"]
    assert mdata.obs["fragments"].tolist() == atac.obs["fragments"].tolist()
    pd.testing.assert_series_equal(mdata.obs["donor"], rna.obs["donor"])
    assert mdata["rna"].obs["n_counts"].tolist() == list(range(N_CELLS))
    assert mdata["atac"].obs["n_counts"].tolist() == list(range(1, N_CELLS + 1))
    mdata.write(tmp_path / "both.h5mu")
    again = td.io.read_multiome(tmp_path / "both.h5mu")
    pd.testing.assert_frame_equal(again.obs[mdata.obs.columns], mdata.obs)


def test_pair_the_wrong_way_round_or_twice_the_same(tmp_path, pair):
    rna, atac = pair
    rna.var = rna.var.assign(chrom="chr1", start=5, end=9)  # genes may have coordinates
    rna.write_h5ad(tmp_path / "rna.h5ad")
    atac.write_h5ad(tmp_path / "atac.h5ad")
    first, second = tmp_path / "rna.h5ad", tmp_path / "atac.h5ad"
    usage = r"path= names the file of the genes, atac_path= that of the peaks"
    with pytest.raises(
        ValueError, match=r"atac\.h5ad, given as the expression, holds peaks \('chr1:100-600', .*" + usage
    ):
        td.io.read_multiome(second, first)
    for twice in (first, second):
        with pytest.raises(ValueError, match=r"hold the same 4 features \('.*\)\. Give .*" + usage):
            td.io.read_multiome(twice, twice)


def test_pair_of_different_cells(tmp_path, pair):
    rna, atac = pair
    rna[:5].copy().write_h5ad(tmp_path / "rna.h5ad")
    atac[2:].copy().write_h5ad(tmp_path / "atac.h5ad")
    with pytest.raises(ValueError, match=r"5 with expression, 5 with accessibility, 3 with both .*'cell0', 'cell5'"):
        td.io.read_multiome(tmp_path / "rna.h5ad", tmp_path / "atac.h5ad")


def test_repeated_cells(tmp_path, pair):
    rna, atac = pair
    atac.obs_names = ["cell0", *atac.obs_names[:-1]]
    rna.write_h5ad(tmp_path / "rna.h5ad")
    atac.write_h5ad(tmp_path / "atac.h5ad")
    with (
        pytest.warns(UserWarning, match="not unique"),
        pytest.raises(ValueError, match=r"accessibility has 1 duplicated names: 'cell0'"),
    ):
        td.io.read_multiome(tmp_path / "rna.h5ad", tmp_path / "atac.h5ad")


def test_h5mu_with_other_names_and_order(tmp_path, pair, rng):
    rna, atac = pair
    order = rng.permutation(N_CELLS)
    protein = AnnData(np.ones((N_CELLS, 1), dtype=np.float32), obs=rna.obs.copy(), var=pd.DataFrame(index=["p"]))
    mdata = new_mudata({"gex": rna, "peaks": atac[order].copy(), "protein": protein})
    mdata.obs["donor"] = [f"d{name[-1]}" for name in mdata.obs_names]
    mdata.obsm["X_joint"] = np.array([[int(name[-1])] for name in mdata.obs_names], dtype=float)
    mdata.uns["note"] = "kept"
    mdata.write(tmp_path / "named.h5mu")
    again = td.io.read_multiome(tmp_path / "named.h5mu", modalities={"rna": "gex", "atac": "peaks"})
    assert set(again.mod) == {"rna", "atac", "protein"}
    np.testing.assert_array_equal(again["atac"][again["rna"].obs_names].X.toarray(), atac.X.toarray())
    assert again["atac"].obs_names.equals(again["rna"].obs_names)
    assert again.obs["donor"].tolist() == [f"d{name[-1]}" for name in again.obs_names]
    assert again.obsm["X_joint"].ravel().tolist() == [int(name[-1]) for name in again.obs_names]
    assert again.uns["note"] == "kept"


def test_h5mu_without_a_modality(tmp_path, pair):
    new_mudata({"rna": pair[0], "peaks": pair[1]}).write(tmp_path / "named.h5mu")
    with pytest.raises(KeyError, match=r"no modality 'atac' for atac; it has 'rna', 'peaks'"):
        td.io.read_multiome(tmp_path / "named.h5mu")


def test_peaks_without_coordinates(tmp_path, pair):
    rna, atac = pair
    atac.var_names = ["one", "two", "three", "four"]
    new_mudata({"rna": rna, "atac": atac}).write(tmp_path / "named.h5mu")
    with pytest.raises(ValueError, match=r"4 of 4 peaks have no coordinates .*'one'"):
        td.io.read_multiome(tmp_path / "named.h5mu")


def test_files_of_other_kinds(tmp_path, pair):
    with pytest.raises(FileNotFoundError, match=r"There is no file '.*missing\.h5'"):
        td.io.read_multiome(tmp_path / "missing.h5")
    (tmp_path / "text.h5").write_text("barcodes")
    with pytest.raises(ValueError, match=r"text\.h5 is no HDF5 file"):
        td.io.read_multiome(tmp_path / "text.h5")
    with pytest.raises(FileNotFoundError, match=r"is a folder; give a file in it: text\.h5"):
        td.io.read_multiome(tmp_path)
    pair[0].write_h5ad(tmp_path / "rna.h5ad")
    with pytest.raises(ValueError, match=r"one modality; give the other as well"):
        td.io.read_multiome(tmp_path / "rna.h5ad")
    with pytest.raises(ValueError, match=r"read from \.h5ad, not from 'text\.h5'"):
        td.io.read_multiome(tmp_path / "text.h5", tmp_path / "rna.h5ad")
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.create_group("GRCh38")
    with pytest.raises(ValueError, match=r"lacks 'matrix/features' and has 'GRCh38'"):
        td.io.read_multiome(tmp_path / "old.h5")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("muon_pbmc_markers1000.h5mu", (1000, 45, 174)),
        ("pbmc10k_multiome_40cells_fullfeatures.h5mu", (40, 36601, 108377)),
        ("scicar_A549.h5mu", (2641, 1185, 52761)),
    ],
)
def test_real_multiomes(shared_data, name, shape):
    mdata = td.io.read_multiome(shared_data / "multiome" / name)
    rna, atac = mdata["rna"], mdata["atac"]
    assert (rna.n_obs, rna.n_vars, atac.n_vars) == shape
    assert rna.X.format == atac.X.format == "csr"
    assert rna.obs_names.equals(atac.obs_names)
    assert (atac.var["end"] > atac.var["start"]).all()


@pytest.mark.parametrize(
    ("content", "looks"),
    [
        (b"gene\tcell\nA\t1\n", r"it looks like text that begins with 'gene cell'"),
        ("gène,cell\n".encode() * 60, r"it looks like text that begins with 'gène,cell'"),
        (b"", r"it is empty"),
        (b"\x1f\x8b\x08\x00", r"it looks like a gzip archive; unpack it"),
        (b"\x89HDF\r", r"it looks like an HDF5 file that was cut short or damaged"),
        (b"\x00\xff\xfe\x80" * 20, r"its kind is not known"),
    ],
)
def test_what_is_no_hdf5_is_named_and_told_by_its_looks(tmp_path, content, looks):
    path = tmp_path / "mine.h5mu"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"mine\.h5mu is no HDF5 file, whatever its name says; {looks}"):
        td.io.read_multiome(path)


def test_hdf5_that_is_cut_short_or_no_mudata_is_named(tmp_path, pair):
    whole = tmp_path / "rna.h5ad"
    pair[0].write_h5ad(whole)
    (tmp_path / "cut.h5ad").write_bytes(whole.read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"cut\.h5ad cannot be opened .* Was it cut short"):
        td.io.read_multiome(tmp_path / "cut.h5ad", whole)
    whole.rename(tmp_path / "rna.h5mu")
    with pytest.raises(
        ValueError, match=r"rna\.h5mu is no MuData, .* it holds an AnnData, one modality: call it \.h5ad"
    ):
        td.io.read_multiome(tmp_path / "rna.h5mu")


def test_modalities_are_for_h5mu_alone(tmp_path):
    for name in ("a.h5", "a.h5ad"):
        (tmp_path / name).write_text("")
    for given in (("a.h5",), ("a.h5ad", "a.h5ad")):
        with pytest.raises(ValueError, match=r"modalities=\{'rna': 'gex'\} names the modalities of an .h5mu; 'a.h5"):
            td.io.read_multiome(*(tmp_path / name for name in given), modalities={"rna": "gex"})


@pytest.mark.parametrize("path", [3, None, ["a.h5"]])
def test_what_is_no_path(path, tmp_path):
    with pytest.raises(TypeError, match=r"path must be a path to a file, got (int|NoneType|list)"):
        td.io.read_multiome(path)
