from __future__ import annotations

import anndata
import mudata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import sctandem as td
from sctandem.kernels._kmers import COMPOSITION, count_words

SIZES = {"chr1": 46_000, "chr2": 6_000, "chr3": 60}
MOTIFS = {
    "ETS": np.array([[0.02, 0.94, 0.02, 0.02]] * 4 + [[0.02, 0.02, 0.94, 0.02]] * 5),
    "tiny": np.eye(4)[[0, 1, 2]],
    "MA0004.1 Arnt": np.eye(4)[[1, 0, 1, 2, 3, 2, 0, 0, 1]] * 0.9 + 0.025,
}


@pytest.fixture
def bases(rng) -> dict[str, str]:
    return {name: "".join(rng.choice(list("ACGTacgt"), n)) for name, n in SIZES.items()}


@pytest.fixture
def fasta(tmp_path, bases):
    path = tmp_path / "genome.fa"
    path.write_text("".join(f">{name}\n{text}\n" for name, text in bases.items()))
    return path


def peaks_of(adata: anndata.AnnData) -> pd.DataFrame:
    return td.genome.peak_coordinates(adata)


def held(adata: anndata.AnnData) -> tuple:
    return sorted(adata.varm), sorted(adata.uns), sorted(adata.var.columns)


def test_what_is_written(make, fasta, bases, contents, same):
    mdata = make()
    before = contents(mdata)
    copied = td.pp.nucleotide_spectrum(mdata, fasta, k=4, motifs=MOTIFS, p_value=1e-3, copy=True)
    same(before, contents(mdata))
    assert td.pp.nucleotide_spectrum(mdata, fasta, k=4, motifs=MOTIFS, p_value=1e-3) is None
    alone = mdata["atac"].copy()
    for name in ("nucleotides", "kmers", "motifs"):
        del alone.varm[name], alone.uns[name]
    assert td.pp.nucleotide_spectrum(alone, fasta, k=4, motifs=MOTIFS, p_value=1e-3) is None
    texts = [bases[p.chrom][p.start : p.end].upper() for p in peaks_of(alone).itertuples()]
    codes = np.concatenate([np.array(["ACGT".index(b) for b in text], np.uint8) for text in texts])
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in texts])])
    for adata in (mdata["atac"], copied["atac"], alone):
        table, words = adata.varm["nucleotides"], adata.varm["kmers"]
        assert tuple(table.columns) == COMPOSITION
        assert table.index.equals(adata.var_names)
        assert table.dtypes.eq(np.float32).all()
        gc = [(text.count("G") + text.count("C")) / len(text) for text in texts]
        np.testing.assert_allclose(table["gc"], gc, rtol=1e-6)
        assert isinstance(words, sparse.csr_matrix)
        assert words.dtype == np.int32
        assert (words != count_words(codes, offsets, 4)).nnz == 0
        assert list(adata.uns["kmers"]["names"][:2]) == ["AAAA", "AAAC"]
        assert adata.uns["kmers"]["params"]["k"] == 4
        assert adata.uns["nucleotides"]["params"]["fasta"] == "genome.fa"
    assert mdata["atac"].uns["nucleotides"]["params"]["atac"] == "atac"
    assert "atac" not in alone.uns["nucleotides"]["params"]


def test_hits_of_motifs(make, fasta, bases, caplog):
    adata = make()["atac"].copy()
    peaks = peaks_of(adata)
    td.pp.nucleotide_spectrum(adata, fasta, motifs=MOTIFS, p_value=1e-2)
    about, counts = adata.uns["motifs"], adata.varm["motifs"]
    hits, table = about["hits"], about["table"]
    assert isinstance(counts, sparse.csr_matrix)
    assert counts.dtype == np.int32
    assert counts.shape == (len(peaks), 3)
    assert list(about["names"]) == table["motif"].tolist() == list(MOTIFS)
    assert table["name"].tolist() == ["ETS", "tiny", "Arnt"]
    assert table["width"].tolist() == [9, 3, 9]
    assert np.isinf(table["threshold"]).tolist() == [False, True, False]
    assert "1 of 3 motifs are too short or too vague to have a hit at p_value=0.01: 'tiny'" in caplog.text
    dense = np.zeros((len(peaks), 3), dtype=int)
    np.add.at(dense, (hits["peak"], hits["motif"]), 1)
    np.testing.assert_array_equal(counts.toarray(), dense)
    np.testing.assert_array_equal(table["n_peaks"], (dense > 0).sum(0))
    assert [str(kind) for kind in hits.dtypes] == ["int32", "int32", "int32", "int8", "float32"]
    assert len(hits) > 3
    names = list(MOTIFS.values())
    for hit in hits.itertuples():
        peak = peaks.iloc[hit.peak]
        matrix = names[hit.motif] if hit.strand == 1 else names[hit.motif][::-1, ::-1]
        word = bases[peak.chrom][peak.start + hit.start :][: len(matrix)].upper()
        score = sum(np.log2(4 * (matrix[i, "ACGT".index(b)] + 2.5e-5) / 1.0001) for i, b in enumerate(word))
        assert score == pytest.approx(hit.score, abs=0.05)
        assert hit.score >= table["threshold"][hit.motif] - 1e-4


def test_motifs_stay_when_they_are_not_asked_for(make, fasta):
    adata = make()["atac"].copy()
    td.pp.nucleotide_spectrum(adata, fasta, k=2, motifs=MOTIFS)
    td.pp.nucleotide_spectrum(adata, fasta, k=2, gapped=True)
    assert sorted(adata.varm) == ["kmers", "motifs", "nucleotides"]
    assert adata.varm["kmers"].shape[1] == 50
    assert adata.uns["kmers"]["names"][10] == "AnA"


def test_a_modality_of_another_name_and_other_names_of_chromosomes(make, fasta, bases, tmp_path):
    mdata = make()
    other = mudata.MuData({"peaks": mdata["atac"].copy()})
    bare = tmp_path / "bare.fa"
    bare.write_text("".join(f">{name[3:]}\n{text.lower()}\n" for name, text in bases.items()))
    td.pp.nucleotide_spectrum(mdata, fasta, k=3)
    td.pp.nucleotide_spectrum(other, bare, k=3, modalities={"atac": "peaks"})
    pd.testing.assert_frame_equal(other["peaks"].varm["nucleotides"], mdata["atac"].varm["nucleotides"])
    assert (other["peaks"].varm["kmers"] != mdata["atac"].varm["kmers"]).nnz == 0
    assert other["peaks"].uns["kmers"]["params"]["atac"] == "peaks"


def equal(first: anndata.AnnData, second: anndata.AnnData) -> None:
    pd.testing.assert_frame_equal(first.varm["nucleotides"], second.varm["nucleotides"])
    for name in ("kmers", "motifs"):
        assert second.varm[name].dtype == np.int32
        assert (first.varm[name] != second.varm[name]).nnz == 0
        assert list(first.uns[name]["names"]) == list(second.uns[name]["names"])
        assert first.uns[name]["params"] == second.uns[name]["params"]
    for name in ("table", "hits"):
        pd.testing.assert_frame_equal(
            first.uns["motifs"][name], second.uns["motifs"][name], check_index_type=False, check_column_type=False
        )


@pytest.mark.parametrize("suffix", [".h5mu", ".zarr"])
def test_files_of_a_mudata(make, fasta, reread, tmp_path, suffix):
    mdata = make()
    td.pp.nucleotide_spectrum(mdata, fasta, gapped=True, motifs=MOTIFS, p_value=1e-3)
    equal(mdata["atac"], reread(mdata, tmp_path / f"a{suffix}")["atac"])


@pytest.mark.parametrize("none", [False, True])
def test_files_of_an_anndata(make, fasta, tmp_path, none):
    adata = make()["atac"].copy()
    td.pp.nucleotide_spectrum(adata, fasta, motifs={"tiny": MOTIFS["tiny"]} if none else MOTIFS, p_value=1e-3)
    assert (len(adata.uns["motifs"]["hits"]) == 0) == none
    adata.write_h5ad(tmp_path / "a.h5ad")
    equal(adata, anndata.read_h5ad(tmp_path / "a.h5ad"))


def test_planted_sites_are_found(tmp_path):
    path = tmp_path / "genome.fa"
    mdata = td.datasets.simulate_multiome(n_cells=50, n_genes=60, n_peaks=600, fasta=path)
    truth = mdata.uns["truth"]
    td.pp.nucleotide_spectrum(mdata, path, motifs=truth["motifs"])
    adata = mdata["atac"]
    about, peaks = adata.uns["motifs"], peaks_of(adata)
    hits, names = about["hits"], np.asarray(about["names"])
    found = set(zip(names[hits.motif], hits.start + peaks.start.to_numpy()[hits.peak], hits.strand, strict=True))
    sites = truth["sites"]
    strong = [  # a planted word may differ from the motif's best one by a base or two, and then be no hit
        sum("ACGT"[row.argmax()] == b for row, b in zip(m if s == "+" else m[::-1, ::-1], word, strict=True))
        >= len(m) - 1
        for m, s, word in zip((truth["motifs"][tf] for tf in sites.tf), sites.strand, sites.sequence, strict=True)
    ]
    strand = np.where(sites.strand == "+", 1, -1)
    recovered = [key in found for key in zip(sites.tf, sites.start, strand, strict=True)]
    assert np.mean(strong) > 0.8
    assert np.mean(np.array(recovered)[strong]) > 0.99


def test_real_sequence(shared_data):
    mdata = mudata.read_h5mu(shared_data / "multiome" / "pbmc10k_multiome_40cells_fullfeatures.h5mu")
    atac = mdata["atac"]
    where = peaks_of(atac)
    adata = atac[:, ((where.chrom == "chr2") & (where.end <= 2_333_275)).to_numpy()].copy()
    assert adata.n_vars == 57
    path = shared_data / "genome" / "hg38_chr2_1-2333275.fa.gz"
    td.pp.nucleotide_spectrum(adata, path, motifs=td.genome.read_motifs("JASPAR2018"))
    table = adata.varm["nucleotides"]
    assert (table["unknown"] == 0).all()
    features = td.genome.sequence_features(adata.var, path, k=6)
    shares = adata.varm["kmers"].toarray() / adata.varm["kmers"].sum(1).A
    np.testing.assert_allclose(features.iloc[:, 2:], shares, atol=1e-6)
    np.testing.assert_allclose(features[["gc", "cpg_oe"]], table[["gc", "cpg_oe"]], rtol=1e-5)
    # what is known of mammals: CpG is rare, TpG and CpA stand in for it
    assert table["rho_CG"].median() < 0.7
    assert table["rho_CA"].median() > 1.05
    hits = adata.uns["motifs"]["table"].set_index("name")["n_peaks"]
    assert hits["CTCF"] >= 5


def test_peaks_of_another_genome(make, fasta, tmp_path, bases, contents, same):
    masked = tmp_path / "masked.fa"
    masked.write_text("".join(f">{n}\n{text.replace('A', 'N').replace('a', 'n')}\n" for n, text in bases.items()))
    mdata = make()
    before = contents(mdata)
    with pytest.raises(
        ValueError, match=r"2\d% of the bases under the peaks are unknown \(N\) in masked.fa.*max_unknown=0.1"
    ):
        td.pp.nucleotide_spectrum(mdata, masked)
    same(before, contents(mdata))
    td.pp.nucleotide_spectrum(mdata, masked, max_unknown=1)
    assert mdata["atac"].varm["nucleotides"]["unknown"].mean() == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize(
    ("peaks", "change", "error", "said"),
    [
        (["chr3:1-61"], {}, ValueError, "'chr3:1-61' ends at 61, beyond the end of 'chr3'"),
        (["chr4:1-61"], {}, ValueError, "no chromosome 'chr4'"),
        (["a"], {}, ValueError, "1 of 1 peaks have no coordinates"),
        (["chr1:1-9"], {"k": 9}, ValueError, "k=9 is not an integer between 1 and 8"),
        (["chr1:1-9"], {"k": 0}, ValueError, "k=0 is not an integer between 1 and 8"),
        (["chr1:1-9"], {"k": 6.0}, ValueError, "k=6.0 is not an integer between 1 and 8"),
        (["chr1:1-9"], {"k": 5, "gapped": True}, ValueError, "k=5 is odd, but gapped words have two halves"),
        (["chr1:1-9"], {"gapped": 3}, TypeError, "gapped must be a bool"),
        (["chr1:1-9"], {"p_value": 0}, ValueError, "p_value=0 is not a number between 0 and 1"),
        (["chr1:1-9"], {"p_value": 1.0}, ValueError, "p_value=1.0 is not a number between 0 and 1"),
        (["chr1:1-9"], {"max_unknown": 2}, ValueError, "max_unknown=2 is not a number between 0 and 1"),
        (["chr1:1-9"], {"motifs": {"a": [[1, 0, 0, 0]]}}, ValueError, "motif 'a' of motifs has 1 position"),
        (["chr1:1-9"], {"motifs": "JASPAR1"}, FileNotFoundError, "'JASPAR1', is neither a file nor"),
        (["chr1:1-9"], {"fasta": "none.fa"}, FileNotFoundError, "fasta='none.fa' is not a file"),
        (["chr1:1-9"], {"fasta": 3}, TypeError, "fasta must be a path to a file, got int"),
        (["chr1:1-9"], {"modalities": {"atac": "x"}}, KeyError, "no modality 'x' for atac; it has 'rna', 'atac'"),
    ],
)
def test_bad_input_is_explained_and_changes_nothing(make, fasta, contents, same, peaks, change, error, said):
    mdata = make(peaks=peaks)
    before = contents(mdata)
    with pytest.raises(error, match=said):
        td.pp.nucleotide_spectrum(mdata, **{"fasta": fasta, **change})
    same(before, contents(mdata))


def test_bad_objects(make, fasta):
    with pytest.raises(TypeError, match="data must be an AnnData of peaks or a MuData, got DataFrame"):
        td.pp.nucleotide_spectrum(pd.DataFrame(), fasta)
    adata = make()["atac"].copy()
    with pytest.raises(ValueError, match="modalities=.* names modalities of a MuData, but data is an AnnData"):
        td.pp.nucleotide_spectrum(adata, fasta, modalities={"atac": "atac"})
    adata.var_names = [*adata.var_names[:-1], adata.var_names[0]]
    before = held(adata)
    with pytest.raises(ValueError, match=r"adata\.var_names has 1 duplicated names"):
        td.pp.nucleotide_spectrum(adata, fasta)
    assert held(adata) == before


def test_genes_are_told_from_peaks(make, fasta):
    mdata = make()
    n_peaks = mdata["atac"].n_vars
    mdata["atac"].var["feature_types"] = ["Peaks"] * (n_peaks - 1) + ["Gene Expression"]
    with pytest.raises(ValueError, match=r"mdata\['atac'\] has 1 genes among its .* take the peaks alone: peaks = "):
        td.pp.nucleotide_spectrum(mdata, fasta)
    mdata["atac"].var["feature_types"] = "Gene Expression"
    with pytest.raises(ValueError, match="modalities={'atac': <its name>}"):
        td.pp.nucleotide_spectrum(mdata, fasta)
    assert not mdata["atac"].varm
    mdata["atac"].var["feature_types"] = "Peaks"
    td.pp.nucleotide_spectrum(mdata, fasta, k=2)
