from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest

from sctandem.genome import gene_tss, match_genes, read_genes

BED = "chr1\t100\t900\tA\t0\t+\nchr1\t2000\t2500\tB\t0\t-\n"
GTF = """#!genome-build GRCh38
chr1\tH\tgene\t101\t900\t.\t+\t.\tgene_id "ENSG01.4"; gene_type "x"; gene_name "A";
chr1\tH\ttranscript\t301\t900\t.\t+\t.\tgene_id "ENSG01.4"; gene_name "A";
chr1\tH\texon\t301\t900\t.\t+\t.\tgene_id "ENSG01.4"; gene_name "A";
chr1\tH\tgene\t2001\t2500\t.\t-\t.\tgene_id "ENSG02.1";
"""


def test_bed_tss_is_the_five_prime_end(tmp_path):
    path = tmp_path / "genes.bed"
    path.write_text("track name=genes\nbrowser position chr1\n" + BED)
    genes = read_genes(path)
    assert genes.tss.tolist() == [100, 2499]
    assert genes.name.tolist() == ["A", "B"]
    assert genes.gene_id.tolist() == ["", ""]
    assert genes.strand.tolist() == ["+", "-"]
    assert genes[["start", "end", "tss"]].dtypes.eq(np.int64).all()
    assert genes.attrs["tss_rule"] == "5' end"


def test_bed_header_and_gzip_and_ensembl_columns(tmp_path):
    plain, zipped = tmp_path / "genes.bed", tmp_path / "genes.bed.gz"
    rows = "".join(f"{line}\tENSG0{i}\tlncRNA\n" for i, line in enumerate(BED.splitlines()))
    plain.write_text("#chr\tstart\tend\tname\tscore\tstrand\tEnsembl_ID\tgene_type\n" + rows)
    with gzip.open(zipped, "wt") as handle:
        handle.write(rows)
    assert read_genes(plain).gene_id.tolist() == ["ENSG00", "ENSG01"]
    pd.testing.assert_frame_equal(read_genes(plain), read_genes(zipped))


def test_gtf_counts_from_one_and_prefers_gene_lines(tmp_path):
    path = tmp_path / "genes.gtf.gz"
    with gzip.open(path, "wt") as handle:
        handle.write(GTF)
    genes = read_genes(path)
    assert genes.name.tolist() == ["A", "ENSG02.1"]  # a gene without a name goes by its identifier
    assert genes.gene_id.tolist() == ["ENSG01.4", "ENSG02.1"]
    assert genes[["start", "end", "tss"]].to_numpy().tolist() == [[100, 900, 100], [2000, 2500, 2499]]


@pytest.mark.parametrize("feature", ["transcript", "exon"])
def test_gtf_without_gene_lines(tmp_path, feature):
    path = tmp_path / "genes.gtf"
    path.write_text("\n".join(line for line in GTF.splitlines() if f"\t{feature}\t" in line))
    assert read_genes(path).tss.tolist() == [300]


def test_gff3(tmp_path):
    path = tmp_path / "genes.gff3"
    path.write_text("chr1\tH\tgene\t101\t900\t.\t-\t.\tID=ENSG01.4;gene_id=ENSG01.4;gene_name=A\n")
    assert read_genes(path)[["name", "gene_id", "tss"]].iloc[0].tolist() == ["A", "ENSG01.4", 899]


def test_tables(tmp_path):
    table = pd.DataFrame({"chr": ["1", "1", None], "start": [5, 50, 7], "end": [9, 90, 9]}, index=["A", "B", "C"])
    genes = read_genes(table)
    assert genes.name.tolist() == ["A", "B"]  # C lies nowhere
    assert genes.strand.tolist() == [".", "."]
    assert genes.tss.tolist() == [7, 70]
    assert "no strand" in genes.attrs["tss_rule"]
    given = read_genes(table.assign(strand=["-", 1, "."], tss=[6, 60, 7], gene_name=["x", "y", "z"]))
    assert given.tss.tolist() == [6, 60]
    assert given.name.tolist() == ["x", "y"]
    assert given.strand.tolist() == ["-", "+"]
    ranger = read_genes(
        pd.DataFrame({"interval": ["chr1:10-20", "NA"], "gene_ids": ["ENSG1", "ENSG2"]}, index=["A", "B"])
    )
    assert ranger[["name", "gene_id", "tss"]].to_numpy().tolist() == [["A", "ENSG1", 15]]


def test_many_intervals_of_one_width_are_windows_around_the_tss():
    start = np.arange(100) * 1000
    windows = pd.DataFrame({"chrom": "chr1", "start": start, "end": start + 500, "strand": "-"})
    assert read_genes(windows).tss.tolist() == (start + 250).tolist()
    assert read_genes(windows[:99]).tss.tolist() == (start + 499)[:99].tolist()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.bed", "chr1\t1\t9\tA\n", r"a.bed has 4 tab-separated columns in line 1; 6 are needed"),
        ("a.bed", "#nothing\n", "a.bed holds no lines of genes"),
        ("a.gtf", "chr1\t1\t9\tA\n", "a.gtf has no lines of genes, transcripts or exons"),
        ("a.bed", "chr1\t9\t1\tA\t0\t+\n", r"1 genes with impossible coordinates, the first is 'A' \(start 9, end 1\)"),
        ("a.bed", "chr1\there\tthere\tA\t0\t+\n", "has no gene with coordinates"),
    ],
)
def test_files_that_are_no_annotation(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=said):
        read_genes(tmp_path / name)


def test_no_file_and_no_columns(tmp_path):
    with pytest.raises(FileNotFoundError, match="genes='.*none.bed' is not a file"):
        read_genes(str(tmp_path / "none.bed"))
    with pytest.raises(ValueError, match="needs the columns chrom, start and end, or interval; it has gene, tss"):
        read_genes(pd.DataFrame({"gene": ["A"], "tss": [5]}))


def transcripts(rows) -> pd.DataFrame:
    return read_genes(pd.DataFrame(rows, columns=["gene", "chrom", "start", "end", "strand"]))


def test_the_tss_furthest_to_the_five_prime_end_counts():
    found = gene_tss(
        transcripts(
            [
                ("B", "chr1", 5000, 9000, "-"),
                ("A", "chr1", 300, 900, "+"),
                ("A", "chr1", 100, 900, "+"),
                ("B", "chr1", 5000, 9500, "-"),
            ]
        )
    )
    assert found.index.tolist() == ["B", "A"]
    assert found.tss.tolist() == [9499, 100]


@pytest.mark.parametrize(
    ("rows", "place"),
    [
        # most transcripts, then the longest, then the first
        ([("A", "chr1", 10, 90, "+"), ("A", "chr2", 5, 9, "+"), ("A", "chr2", 7, 9, "+")], ("chr2", 5)),
        ([("A", "chr1", 10, 20, "+"), ("A", "chr2", 10, 90, "-")], ("chr2", 89)),
        ([("A", "chrX", 10, 20, "+"), ("A", "chrY", 10, 20, "+")], ("chrX", 10)),
        # far apart on one chromosome: two loci, although one gene lies over the other's neighbour
        ([("A", "chr1", 10, 20, "+"), ("A", "chr1", 900_000, 900_090, "+")], ("chr1", 900_000)),
        (
            [("A", "chr1", 10, 700_000, "+"), ("A", "chr1", 20, 30, "+"), ("A", "chr1", 900_000, 950_000, "+")],
            ("chr1", 10),
        ),
    ],
)
def test_the_main_locus_of_a_name_that_occurs_in_several_places(rows, place):
    assert tuple(gene_tss(transcripts(rows)).loc["A", ["chrom", "tss"]]) == place


def test_genes_are_matched_by_what_finds_more():
    genes = read_genes(
        pd.DataFrame(
            {
                "chrom": "chr1",
                "start": [1, 1, 1],
                "end": 9,
                "gene_name": ["A", "B", "C"],
                "gene_id": [f"ENSG{i}.2" for i in range(3)],
            }
        )
    )
    names, ids = pd.Index(["A", "x", "y"]), pd.Series(["ENSG0.7", "ENSG1", None])
    found = match_genes(genes, {"var_names": names, "ids": ids})
    assert (found.by, found.to, found.n_matched) == ("gene_id", "ids", 2)
    assert match_genes(genes, {"var_names": names}).by == "name"
    assert match_genes(genes, {"var_names": pd.Index(["ENSG2_PAR", "ENSG2.1_PAR_Y"])}).n_matched == 1
    with pytest.raises(
        ValueError, match=r"The data have var_names: 'p', 'q', 'r', \.\.\.; .* name: 'A', 'B', 'C'; gene_id: 'ENSG0.2'"
    ):
        match_genes(genes, {"var_names": pd.Index(list("pqrs"))})


@pytest.mark.parametrize("genes", [3, ["genes.bed"]])
def test_what_is_no_annotation(genes):
    with pytest.raises(TypeError, match="genes must be a path to a file, got (int|list)"):
        read_genes(genes)
