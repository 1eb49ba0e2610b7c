from __future__ import annotations

import logging
import time

import mudata
import numpy as np
import pandas as pd
import pytest
from anndata import ImplicitModificationWarning
from scipy import sparse

import sctandem as td
from sctandem._compat import installed, new_mudata

# worked out by hand: A starts at 10,000 on +, B at 39,999 on -, C at 5,000 on +
PAIRS = [
    ("A", "chr1:9000-9500", -750, 500),
    ("A", "chr1:10000-10200", 100, 200),
    ("B", "chr1:45000-45100", -5051, 100),
    ("B", "chr1:39000-39500", 749, 500),
    ("C", "chr2:5000-5300", 150, 300),
]
REACH = {"upstream": 6000, "downstream": 1000}


def rows(mdata, key="gene_windows") -> list[tuple]:
    return list(mdata.uns[key]["pairs"].itertuples(index=False, name=None))


def test_worked_out_by_hand(make, genes):
    mdata = make()
    assert td.pp.gene_windows(mdata, genes, **REACH) is None
    assert rows(mdata) == PAIRS
    result = mdata.uns["gene_windows"]
    assert result["pairs"].columns.tolist() == ["gene", "peak", "distance", "width"]
    assert isinstance(result["pairs"]["gene"].dtype, pd.CategoricalDtype)
    assert isinstance(result["pairs"]["peak"].dtype, pd.CategoricalDtype)
    assert result["pairs"][["distance", "width"]].dtypes.eq(np.int64).all()
    assert result["genes"].index.tolist() == ["A", "B", "C"]
    assert result["genes"]["tss"].tolist() == [10_000, 39_999, 5_000]
    assert result["genes"]["strand"].tolist() == ["+", "-", "+"]
    assert result["genes"]["n_peaks"].tolist() == [2, 2, 1]
    assert result["genes"][["tss", "n_peaks"]].dtypes.eq(np.int64).all()
    assert result["params"] | REACH == result["params"]
    assert result["params"]["n_genes"] == result["params"]["n_annotated"] == result["params"]["n_with_peaks"] == 3
    assert set(mdata.uns) == {"gene_windows"}


def test_copy_and_key_and_modalities(make, genes, contents, same):
    plain = make()
    mdata = new_mudata({"gex": plain["rna"], "peaks": plain["atac"]})
    before = contents(mdata)
    copied = td.pp.gene_windows(
        mdata, genes, **REACH, modalities={"rna": "gex", "atac": "peaks"}, key_added="near", copy=True
    )
    same(before, contents(mdata))
    assert rows(copied, "near") == PAIRS
    assert set(copied.uns) == {"near"}


def test_order_of_genes_and_rows_of_the_annotation(make, genes):
    mdata = make(genes=["C", "not annotated", "A", "B"])
    td.pp.gene_windows(mdata, genes.iloc[::-1], **REACH)
    assert rows(mdata) == [PAIRS[4], *PAIRS[:4]]
    assert mdata.uns["gene_windows"]["genes"].index.tolist() == ["C", "A", "B"]
    assert mdata.uns["gene_windows"]["params"]["n_annotated"] == 3


def test_permuted_peaks_and_cells_change_nothing(make, genes, rng):
    mdata = make()
    cells = rng.permutation(mdata.n_obs)
    shuffled = new_mudata(
        {
            "rna": mdata["rna"][cells].copy(),
            "atac": mdata["atac"][cells, rng.permutation(mdata["atac"].n_vars)].copy(),
        }
    )
    td.pp.gene_windows(shuffled, genes, **REACH)
    assert rows(shuffled) == PAIRS


def test_genes_without_peaks_stay_in_the_table_of_genes(make, genes):
    mdata = make()
    td.pp.gene_windows(mdata, genes.replace("chr2", "chr8"), **REACH)
    assert mdata.uns["gene_windows"]["genes"]["n_peaks"].tolist() == [2, 2, 0]
    assert mdata.uns["gene_windows"]["genes"]["chrom"].tolist() == ["chr1", "chr1", "chr8"]
    assert mdata.uns["gene_windows"]["params"]["n_with_peaks"] == 2


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, np.asarray])
def test_every_form_of_counts(make, genes, form):
    mdata = make(form)
    td.pp.gene_windows(mdata, genes, **REACH)
    assert rows(mdata) == PAIRS


@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame")  # mudata 0.4 on pandas 3.1
def test_views_become_actual_as_with_anndata(make, genes):
    mdata = make()
    view = mdata[:3]
    with pytest.warns(ImplicitModificationWarning, match="initializing view as actual"):
        td.pp.gene_windows(view, genes, **REACH)
    assert rows(view) == PAIRS
    assert "gene_windows" not in mdata.uns
    copied = td.pp.gene_windows(mdata[:3], genes, **REACH, copy=True)
    assert rows(copied) == PAIRS
    assert copied.n_obs == 3


def test_backed_files(make, genes, reread, tmp_path, contents, same):
    backed = reread(make(), tmp_path / "a.h5mu", backed="r")
    assert backed.isbacked
    td.pp.gene_windows(backed, genes, **REACH)
    assert rows(backed) == PAIRS
    before = contents(backed)
    with pytest.raises(ValueError, match="copy=True needs the data in memory"):
        td.pp.gene_windows(backed, genes, key_added="other", copy=True)
    same(before, contents(backed))


@pytest.mark.parametrize("suffix", [".h5mu", ".zarr"])
def test_files_keep_it(make, genes, reread, tmp_path, suffix):
    mdata = make()
    td.pp.gene_windows(mdata, genes, **REACH)
    again = reread(mdata, tmp_path / f"a{suffix}").uns["gene_windows"]
    ours = mdata.uns["gene_windows"]
    for table in ("pairs", "genes"):
        pd.testing.assert_frame_equal(ours[table], again[table])
    assert {k: np.asarray(v).item() for k, v in again["params"].items()} == ours["params"]


def test_genes_from_the_object_itself(make, genes):
    mdata = make()
    mdata["rna"].var = genes.assign(tss=[10_000, 39_999, 5_000], name="not the gene")
    td.pp.gene_windows(mdata, **REACH)
    assert rows(mdata) == PAIRS
    assert mdata.uns["gene_windows"]["params"]["tss_rule"] == "given"


def test_intervals_of_cell_ranger_have_no_strand(make, caplog):
    mdata = make()
    mdata["rna"].var = pd.DataFrame({"interval": ["chr1:9999-10001", "NA", "chr2:4900-5100"]}, index=list("ABC"))
    with caplog.at_level(logging.WARNING, "sctandem"):
        td.pp.gene_windows(mdata, **REACH)
    assert rows(mdata) == [*PAIRS[:2], PAIRS[4]]
    assert "2 of 2 genes have no strand" in caplog.text
    assert mdata.uns["gene_windows"]["params"]["n_without_strand"] == 2
    assert mdata.uns["gene_windows"]["genes"]["strand"].tolist() == [".", "."]


def test_identifiers_are_used_when_they_match_more(make, genes):
    mdata = make(genes=["A", "B.1", "C-2"])
    mdata["rna"].var["gene_ids"] = ["ENSG0", "ENSG1", "ENSG2"]
    td.pp.gene_windows(mdata, genes.assign(gene_id=["ENSG0.3", "ENSG1.2", "ENSG2.15"]), **REACH)
    assert [row[1:] for row in rows(mdata)] == [row[1:] for row in PAIRS]
    assert mdata.uns["gene_windows"]["genes"].index.tolist() == ["A", "B.1", "C-2"]
    assert mdata.uns["gene_windows"]["params"]["matched_by"] == "var['gene_ids'] = gene_id"


def test_other_names_of_chromosomes_are_mended_and_reported(make, genes, caplog):
    mdata = make()
    with caplog.at_level(logging.WARNING, "sctandem"):
        td.pp.gene_windows(mdata, genes.replace({"chr1": "1", "chr2": "2"}), **REACH)
    assert rows(mdata) == PAIRS
    assert "renamed as in the peaks: 1 -> chr1, 2 -> chr2" in caplog.text
    assert mdata.uns["gene_windows"]["params"]["renamed_chromosomes"] == "1 -> chr1, 2 -> chr2"
    assert mdata.uns["gene_windows"]["genes"]["chrom"].tolist() == ["chr1", "chr1", "chr2"]


def test_loci_on_chromosomes_without_peaks_stand_back(make, genes):
    mdata = make()
    alternative = genes.loc[["A", "A"]].assign(chrom="chr1_alt", start=1, end=900)
    td.pp.gene_windows(mdata, pd.concat([alternative, genes]), **REACH)
    assert rows(mdata) == PAIRS


def wrong_order(make):
    plain = make()
    return new_mudata({"rna": plain["rna"], "atac": plain["atac"][::-1].copy()})


def duplicated(make, name):
    mdata = make()
    index = mdata[name].var_names.to_numpy(object).copy()
    index[1] = index[0]
    mdata[name].var_names = index
    return mdata


def without_peaks(make):
    plain = make()
    return new_mudata({"rna": plain["rna"], "atac": plain["atac"][:, :0].copy()})


@pytest.mark.parametrize(
    ("build", "change", "error", "said"),
    [
        (lambda make: new_mudata({"rna": make()["rna"]}), {}, KeyError, "no modality 'atac' for atac; it has 'rna'"),
        (wrong_order, {}, ValueError, "the same cells in another order. Align them"),
        (lambda make: duplicated(make, "rna"), {}, ValueError, r"\['rna'\].var_names has 1 duplicated names: 'A'"),
        (lambda make: duplicated(make, "atac"), {}, ValueError, r"\['atac'\].var_names has 1 duplicated"),
        (without_peaks, {}, ValueError, r"mdata\['atac'\] is empty: it has 5 cells and 0 peaks"),
        (
            lambda make: make(peaks=["p1", *PEAK_NAMES]),
            {},
            ValueError,
            r"^mdata\['atac'\]: 1 of 7 peaks have no coordinates in the names",
        ),
        (lambda make: make(peaks=["chr1:5-3", *PEAK_NAMES]), {}, ValueError, "impossible coordinates .* 'chr1:5-3'"),
        (lambda make: make(), {"upstream": -1}, ValueError, "upstream=-1 is not an integer of at least 0"),
        (lambda make: make(), {"downstream": 1.5}, ValueError, "downstream=1.5 is not an integer"),
        (
            lambda make: make(),
            {"upstream": 1, "downstream": 1},
            ValueError,
            "No peak lies within 1 bp .* A at chr1:10000",
        ),
        (
            lambda make: make(genes=["X", "Y", "Z"]),
            {},
            ValueError,
            "have var_names: 'X', 'Y', 'Z'.* name: 'A', 'B', 'C'",
        ),
        (lambda make: make(), {"genes": None}, ValueError, r"\['rna'\].var has no coordinates of genes .* no columns"),
        (lambda make: make(), {"genes": "none.bed"}, FileNotFoundError, "genes='none.bed' is not a file"),
        (lambda make: make(), {"modalities": {"atac": "p"}}, KeyError, "no modality 'p' for atac"),
    ],
)
def test_bad_input_is_explained_and_changes_nothing(make, genes, contents, same, build, change, error, said):
    mdata = build(make)
    before = contents(mdata)
    with pytest.raises(error, match=said):
        td.pp.gene_windows(mdata, **{"genes": genes, **REACH, **change})
    same(before, contents(mdata))


PEAK_NAMES = [row[1] for row in PAIRS] + ["chr3:1-50"]


def test_no_common_chromosome_shows_three_of_each(make, genes):
    mdata = make()
    with pytest.raises(ValueError, match="the genes are on 'NC_1', 'NC_2', the peaks on 'chr1', 'chr2', 'chr3'"):
        td.pp.gene_windows(mdata, genes.replace({"chr1": "NC_1", "chr2": "NC_2"}), **REACH)
    assert not mdata.uns


def test_no_mudata(make, genes):
    with pytest.raises(TypeError, match="mdata is an AnnData, not a MuData"):
        td.pp.gene_windows(make()["rna"], genes)


def read(path):
    if installed("mudata", "0.4"):
        return mudata.read_h5mu(path)
    with mudata.set_options(pull_on_update=False):
        return mudata.read_h5mu(path)


def test_real_windows(shared_data):
    mdata = read(shared_data / "multiome" / "muon_pbmc_markers1000.h5mu")
    td.pp.gene_windows(mdata, shared_data / "genome" / "hg38_genes_gencode43.bed")
    pairs = td.get.gene_windows(mdata, "MS4A1")
    assert pairs.strand.iloc[0] == "+"
    assert pairs.distance.abs().min() < 500  # its promoter is open in B cells
    assert pairs.distance.is_monotonic_increasing


def test_whole_genome_takes_seconds(shared_data):
    mdata = read(shared_data / "multiome" / "pbmc10k_multiome_40cells_fullfeatures.h5mu")
    begin = time.perf_counter()
    td.pp.gene_windows(mdata, shared_data / "genome" / "hg38_genes_gencode43.bed")
    assert time.perf_counter() - begin < 15
    result = mdata.uns["gene_windows"]
    assert len(result["genes"]) > 19_000
    # the promoters of expressed genes are open: their TSS lies in a peak, and on the wrong strand it would not
    expressed = np.asarray(mdata["rna"].X.sum(axis=0)).ravel() >= 20
    pairs = result["pairs"]
    within = pairs.assign(within=pairs.distance.abs() <= pairs.width / 2).groupby("gene", observed=True)["within"].any()
    assert within.reindex(mdata["rna"].var_names[expressed]).dropna().mean() > 0.95


def test_assembly_of_other_names_on_real_data(shared_data):
    mdata = read(shared_data / "multiome" / "scicar_A549.h5mu")
    genes = td.genome.read_genes(shared_data / "genome" / "hg19_genes.bed")
    td.pp.gene_windows(mdata, genes)
    plain = mdata.uns["gene_windows"]["pairs"]
    td.pp.gene_windows(mdata, genes.assign(chrom=genes.chrom.str.removeprefix("chr")))
    pd.testing.assert_frame_equal(mdata.uns["gene_windows"]["pairs"], plain)


@pytest.mark.parametrize(("shift", "warned"), [(0, False), (1_500_000, True)])
def test_an_annotation_of_another_assembly_is_warned_of(shift, warned, caplog):
    mdata = td.datasets.simulate_multiome(n_cells=30, n_genes=200, n_peaks=2000)
    genes = mdata["rna"].var.copy()
    genes[["start", "end", "tss"]] += shift
    td.pp.gene_windows(mdata, genes, upstream=500, downstream=500)  # windows may be narrower than 1 kb
    place = td.genome.peak_coordinates(mdata["atac"])
    middle = (place["start"] + place["end"]) // 2
    near = [
        (middle[place["chrom"] == gene.chrom] - gene.tss).abs().min() <= 1000 for gene in genes.itertuples(index=False)
    ]
    assert mdata.uns["gene_windows"]["params"]["share_near_start"] == np.mean(near)
    said = (
        f"only {100 * np.mean(near):.0f} % of the genes have a peak within 1 kb of their start; are genes and peaks of"
    )
    assert (said in caplog.text) == warned


@pytest.mark.parametrize(
    ("data", "right", "wrong"),
    [
        ("muon_pbmc_markers1000", "hg38_genes_gencode43", "hg19_genes"),
        ("scicar_A549", "hg19_genes", "hg38_genes_gencode43"),
    ],
)
def test_real_annotations_of_the_right_and_the_wrong_assembly(shared_data, data, right, wrong, caplog):
    mdata = read(shared_data / "multiome" / f"{data}.h5mu")
    for annotation, warned in ((right, False), (wrong, True)):
        caplog.clear()
        td.pp.gene_windows(mdata, shared_data / "genome" / f"{annotation}.bed")
        share = mdata.uns["gene_windows"]["params"]["share_near_start"]
        assert share < 0.2 if warned else share > 0.5
        assert ("of the same assembly?" in caplog.text) == warned


def test_few_genes_in_the_annotation_are_warned_of(make, genes, caplog):
    mdata = make(genes=["A", "V", "W", "X", "Y"])
    td.pp.gene_windows(mdata, genes, **REACH)
    assert "1 of 5 genes (20 %) are in the annotation; not found: 'V', 'W', 'X', ..." in caplog.text
    assert caplog.records[-1].levelname == "WARNING"
    mdata["rna"].var["symbol"] = ["A", "B", "C", "", "none"]
    td.pp.gene_windows(mdata, genes, **REACH)
    assert "The column 'symbol' of var has names of 3 of the 5 genes" in caplog.text
    caplog.clear()
    td.pp.gene_windows(make(genes=["A", "B", "X"]), genes, **REACH)
    assert "WARNING" not in caplog.text


@pytest.mark.parametrize(
    ("names", "column", "values"),
    [
        (["ENSG1", "ENSG2", "ENSG3"], "gene_name", pd.Categorical(["A", "B", "C"])),
        (["a", "b", "c"], "accession", ["ENSG7.1", "ENSG8.3", "ENSG9"]),
    ],
)
def test_names_in_another_column_are_pointed_at_and_the_line_works(make, genes, names, column, values):
    mdata = make(genes=names)
    rna = mdata["rna"]
    rna.var["feature"], rna.var["n"] = "gene", [1, 2, 3]
    rna.var[column] = values
    genes = genes.assign(gene_id=["ENSG7", "ENSG8", "ENSG9"])
    with pytest.raises(ValueError, match=f"None of the genes .* column '{column}' of var has names of 3 of") as error:
        td.pp.gene_windows(mdata, genes, **REACH)
    exec(str(error.value).partition("Take it: ")[2], {"rna": rna})
    td.pp.gene_windows(mdata, genes, **REACH)
    assert [row[1:] for row in rows(mdata)] == [row[1:] for row in PAIRS]


def test_the_links_of_the_simulation_lie_in_the_windows():
    mdata = td.datasets.simulate_multiome(n_cells=30, n_genes=80, n_peaks=800)
    td.pp.gene_windows(mdata)
    pairs = td.get.gene_windows(mdata).astype({"gene": str, "peak": str})
    truth = mdata.uns["truth"]["links"].astype({"gene": str, "peak": str})
    found = truth.merge(pairs, on=["gene", "peak"], how="left", suffixes=("_true", ""))
    np.testing.assert_array_equal(found["distance"], found["distance_true"])
