from __future__ import annotations

import gzip
import logging
import shutil
from collections import Counter
from typing import TYPE_CHECKING

import fragments
import numpy as np
import pandas as pd
import pysam
import pytest
from anndata import AnnData
from scipy import sparse

import sctandem as td
from sctandem._compat import new_mudata
from sctandem.genome import _fragment_file, _fragments

if TYPE_CHECKING:
    from pathlib import Path

CELLS = fragments.BARCODES[::-1]
PEAK = pd.DataFrame(index=["chr1:100-200"])


@pytest.fixture(scope="module")
def rows() -> list[tuple]:
    return fragments.draw(np.random.default_rng(0))


@pytest.fixture(scope="module")
def packed(rows, tmp_path_factory) -> Path:
    header = "# id=sample\n# primary_contig=chr1\n"
    text = header + "".join("\t".join(map(str, row)) + "\n" for row in rows)
    return fragments.write(tmp_path_factory.mktemp("fragments"), text)


@pytest.fixture(scope="module")
def regions() -> pd.DataFrame:
    return fragments.draw_regions(np.random.default_rng(1))


def params(counted: AnnData) -> dict:
    return counted.uns["count_fragments"]["params"]


# --- right ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", ["file", "regions"])
@pytest.mark.parametrize("counting", ["insertions", "fragments"])
def test_equal_to_a_loop_over_the_lines(packed, rows, regions, counting, read):
    counted = td.pp.count_fragments(packed, regions, CELLS, counting=counting, read=read)
    expected = fragments.naive(packed, regions, CELLS, counting)
    assert (expected > 1).any()
    assert (counted.X.toarray() == expected).all()
    assert isinstance(counted.X, sparse.csr_matrix)
    assert counted.X.dtype == np.int32
    assert counted.X.has_canonical_format
    assert counted.obs_names.tolist() == CELLS
    assert counted.var_names.tolist() == regions.index.tolist()
    assert (counted.var == regions).all(axis=None)
    assert counted.var["start"].dtype == counted.obs["n_fragments"].dtype == np.int64
    if read == "file":
        total = Counter(row[3] for row in rows)
        assert counted.obs["n_fragments"].tolist() == [total[cell] for cell in CELLS]


@pytest.mark.parametrize("counting", ["insertions", "fragments"])
def test_the_sums_add_up(packed, rows, regions, counting):
    regions = regions.drop(regions.index[regions["end"] - regions["start"] > 90_000])  # not the one that holds all
    counted = td.pp.count_fragments(packed, regions, CELLS, counting=counting)
    said = params(counted)
    assert said["n_fragments"] == len(rows)
    assert said["n_fragments"] == said["n_fragments_in_cells"] + said["n_fragments_other_barcodes"]
    assert said["n_fragments_in_cells"] == counted.obs["n_fragments"].sum() == sum(row[3] in CELLS for row in rows)
    assert said["n_in_cells"] == said["n_fragments_in_cells"] * (2 if counting == "insertions" else 1)
    assert said["n_in_cells"] == said["n_in_regions"] + said["n_outside_regions"]
    # each base once: in any region or in none
    covered = {c: np.zeros(500_000, dtype=bool) for c in fragments.CONTIGS}
    for chrom, start, end in regions.itertuples(index=False):
        covered[chrom][start:end] = True
    mine = [row for row in rows if row[3] in CELLS]
    if counting == "insertions":
        inside = sum(int(covered[c][a]) + int(covered[c][b - 1]) for c, a, b, *_ in mine)
    else:
        inside = sum(bool(covered[c][a:b].any()) for c, a, b, *_ in mine)
    assert said["n_outside_regions"] > 0
    assert said["n_in_regions"] == inside
    assert said["n_counts"] == counted.X.sum() > said["n_in_regions"]


@pytest.mark.parametrize("size", [70, 999, 65_536])
def test_neither_the_size_of_blocks_nor_the_room_for_hits_matters(packed, regions, monkeypatch, size):
    expected = td.pp.count_fragments(packed, regions, CELLS)
    monkeypatch.setattr(_fragment_file, "BLOCK", size)
    monkeypatch.setattr(_fragments, "HITS", 1)
    monkeypatch.setattr(_fragments, "SMALL_BLOCK", max(size, 70))
    monkeypatch.setattr(_fragments, "NEAR", 10)
    counted = td.pp.count_fragments(packed, regions, CELLS)
    assert (counted.X != expected.X).nnz == 0
    assert counted.obs.equals(expected.obs)
    assert params(counted) == params(expected)
    few = regions[regions["end"] - regions["start"] < 300]
    jumped = td.pp.count_fragments(packed, few, CELLS, read="regions")
    assert (jumped.X != expected[:, few.index].X).nnz == 0
    every = td.pp.count_fragments(packed, few)
    assert (every[CELLS].X != expected[:, few.index].X).nnz == 0


def test_all_barcodes(packed, rows, regions):
    counted = td.pp.count_fragments(packed, regions)
    total = Counter(row[3] for row in rows)
    assert counted.obs_names.tolist() == sorted(total)
    assert counted.obs["n_fragments"].tolist() == [total[name] for name in sorted(total)]
    assert (counted[CELLS].X != td.pp.count_fragments(packed, regions, CELLS).X).nnz == 0
    assert params(counted)["n_fragments_other_barcodes"] == 0
    assert params(counted)["n_cells_found"] == len(total)


def test_of_regions_only_their_fragments_are_counted(packed, rows):
    some = pd.DataFrame({"chrom": "chr2", "start": [100, 150, 300_000], "end": [900, 2000, 300_400]}, index=list("abc"))
    counted = td.pp.count_fragments(packed, some, read="regions")
    overlaps = [
        r for r in rows if r[0] == "chr2" and ((r[1] < 2000 and r[2] > 100) or (r[1] < 300_400 and r[2] > 300_000))
    ]
    total = Counter(row[3] for row in overlaps)
    assert counted.obs["n_fragments"].to_dict() == dict(sorted(total.items()))
    assert params(counted)["n_fragments"] == len(overlaps)
    whole = td.pp.count_fragments(packed, some)
    assert (whole[counted.obs_names].X != counted.X).nnz == 0
    assert whole.X.sum() == counted.X.sum()


def test_a_fragment_from_one_stretch_into_the_next_counts_once(tmp_path):
    packed = fragments.write(tmp_path, [("chr1", 150, 400_000, "A", 1), ("chr1", 399_990, 400_020, "A", 1)])
    far = pd.DataFrame(index=["chr1:100-200", "chr1:399950-400100"])
    for counting, expected in (("insertions", [1, 3]), ("fragments", [1, 2])):
        counted = td.pp.count_fragments(packed, far, ["A"], counting=counting, read="regions")
        assert counted.X.toarray().tolist() == [expected]
        assert counted.obs["n_fragments"].tolist() == [2]


def test_duplicates_are_no_weight_and_four_columns_do(tmp_path):
    packed = fragments.write(tmp_path, "chr1\t110\t150\tA\t9\nchr1\t120\t130\tA\nchr1\t199\t300\tB\t1\r\n")
    counted = td.pp.count_fragments(packed, PEAK)
    assert counted.to_df().iloc[:, 0].to_dict() == {"A": 4, "B": 1}


def test_a_csi_index_does_for_the_whole_file(packed, regions, tmp_path):
    copied = shutil.copy(packed, tmp_path / "long.tsv.gz")
    pysam.tabix_index(str(copied), preset="bed", csi=True)
    counted = td.pp.count_fragments(copied, regions, CELLS)
    assert (counted.X != td.pp.count_fragments(packed, regions, CELLS).X).nnz == 0
    fails(r"\.csi has no offsets of places; make a \.tbi index", copied, read="regions")


def test_cells_from_an_object(packed, regions):
    cells = AnnData(np.zeros((2, 1)), obs=pd.DataFrame(index=CELLS[:2]))
    counted = td.pp.count_fragments(packed, regions, cells)
    assert (counted.X != td.pp.count_fragments(packed, regions, CELLS[:2]).X).nnz == 0
    assert counted.obs_names.tolist() == CELLS[:2]


def test_counts_of_the_cells_of_a_peak_matrix(packed, tmp_path):
    counted = td.pp.count_fragments(packed, PEAK, CELLS)
    counted.write_h5ad(tmp_path / "counts.h5ad")
    assert (td.pp.count_fragments(packed, counted, counted).X != counted.X).nnz == 0


def test_chromosomes_named_otherwise(packed, regions, caplog):
    bare = regions.assign(chrom=regions["chrom"].str.removeprefix("chr"))
    with caplog.at_level(logging.WARNING):
        counted = td.pp.count_fragments(packed, bare, CELLS)
    assert "1 -> chr1" in caplog.text
    assert "X -> chrX" in params(counted)["renamed_chromosomes"]
    assert counted.var["chrom"].tolist() == bare["chrom"].tolist()
    assert (counted.X != td.pp.count_fragments(packed, regions, CELLS).X).nnz == 0


def test_regions_elsewhere_and_beyond_are_logged(packed, caplog):
    some = pd.DataFrame(index=["chr1:0-5000", "chr9:1-50", "chr2:900000-900100", "chr1:7000000-7000100"])
    with caplog.at_level(logging.WARNING):
        counted = td.pp.count_fragments(packed, some, CELLS)
    assert "1 of 4 regions lie on chromosomes without fragments ('chr9') and count 0" in caplog.text
    assert (
        "2 of 4 regions start beyond the last fragment of their chromosome, the first is 'chr2:900000-900100'"
        in caplog.text
    )
    assert counted.X.sum(0).A1[1:].tolist() == [0, 0, 0]
    assert (params(counted)["n_regions_elsewhere"], params(counted)["n_regions_beyond"]) == (1, 2)
    assert (td.pp.count_fragments(packed, some, CELLS, read="regions").X != counted.X).nnz == 0


def test_cells_that_are_not_there_are_logged(packed, caplog):
    with caplog.at_level(logging.INFO):
        counted = td.pp.count_fragments(packed, PEAK.set_axis(["chr1:0-9000"]), [*CELLS, "ACGT-9"])
    assert "5 of 6 cells (83 %) have fragments in the file; without: 'ACGT-9'" in caplog.text
    assert "WARNING" not in caplog.text
    assert counted.obs["n_fragments"]["ACGT-9"] == 0
    assert params(counted)["n_cells_found"] == 5
    with caplog.at_level(logging.INFO):
        td.pp.count_fragments(packed, PEAK.set_axis(["chr1:0-9000"]), [CELLS[0], "a", "b"])
    assert "WARNING" in caplog.text
    assert "1 of 3 cells (33 %)" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO):
        td.pp.count_fragments(packed, PEAK.set_axis(["chr1:0-9000"]), [CELLS[0], "a", "b"], read="regions")
    assert "1 of 3 cells (33 %) have fragments that overlap a region" in caplog.text
    assert "WARNING" not in caplog.text  # cells without fragments in a few regions are nothing to worry about


# --- wrong ------------------------------------------------------------------------------------------------------------


def fails(message: str, path: Path, regions=PEAK, cells=None, error=ValueError, **how) -> None:
    with pytest.raises(error, match=message):
        td.pp.count_fragments(path, regions, cells, **how)


def test_missing_files(packed, tmp_path):
    fails(r"fragments='.*none\.tsv\.gz' is not a file", tmp_path / "none.tsv.gz", error=FileNotFoundError)
    alone = shutil.copy(packed, tmp_path / "alone.tsv.gz")
    fails(
        r"alone\.tsv\.gz has no index alone\.tsv\.gz\.tbi .*`tabix -p bed alone.tsv.gz`, or `pysam\.tabix_index",
        alone,
        error=FileNotFoundError,
    )


def test_compression(tmp_path):
    plain = tmp_path / "plain.tsv"
    plain.write_text("chr1\t1\t5\tA\t1\n")
    fails(r"plain\.tsv is not compressed \(it starts with b'chr1", plain)
    zipped = tmp_path / "zipped.tsv.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    fails(r"compressed by gzip and not by bgzip.*bgzip > fragments", zipped)
    empty = tmp_path / "empty.tsv.gz"
    empty.touch()
    fails(r"empty\.tsv\.gz is empty \(0 bytes\)", empty)


@pytest.mark.parametrize("text", ["", "# only a comment\n"])
def test_no_lines(tmp_path, text):
    fails(r"fragments\.tsv\.gz holds no fragments", fragments.write(tmp_path, text))


@pytest.mark.parametrize("read", ["file", "regions"])
def test_truncated(packed, tmp_path, read):
    whole, index = packed.read_bytes(), packed.with_name(packed.name + ".tbi").read_bytes()
    cut, end = tmp_path / "cut.tsv.gz", whole[-28:]
    (tmp_path / "cut.tsv.gz.tbi").write_bytes(index)
    cut.write_bytes(whole[:-28])
    fails(r"cut\.tsv\.gz is truncated: the mark .* is missing", cut, read=read)
    cut.write_bytes(whole[: len(whole) // 2])
    fails(r"cut\.tsv\.gz is truncated", cut, read=read)
    everywhere = pd.DataFrame(index=["chr1:0-400000", "chr2:0-400000", "chrX:0-400000"])
    cut.write_bytes(whole[: len(whole) // 2] + end)  # glued to a right end
    fails(r"cut\.tsv\.gz is truncated or damaged: .*Copy or download", cut, everywhere, read=read)
    last = r"truncated, or its index belongs to another file" if read == "regions" else "truncated or damaged"
    fails(rf"cut\.tsv\.gz is {last}", cut, everywhere[-1:], read=read)
    middle = len(whole) // 2
    cut.write_bytes(whole[:middle] + bytes(50) + whole[middle + 50 :])
    fails(r"cut\.tsv\.gz is truncated or damaged", cut, everywhere, read=read)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([("chr1", 500, 600, "A", 1), ("chr1", 100, 200, "A", 1)], r"line 3 \('chr1\\t100\\t200\\tA\\t1'\): it starts before the line above"),
        ([("chr2", 1, 5, "A", 1), ("chr1", 1, 5, "A", 1)], r"line 3 .*its chromosome ended further up: the file is not sorted\. Sort"),
        ([("chr1", 1, "x", "A", 1)], r"line 2 .*start or end is no whole number"),
        ([("chr1", 1, 5)], r"line 2 \('chr1\\t1\\t5'\): it has fewer than the 4 columns"),
        ([("chr1", 5, 5, "A", 1)], r"line 2 .*does not end after its start"),
        ([("chr7", 1, 5, "A", 1)], r"line 2 .*not in the index.*`tabix -f -p bed other\.tsv\.gz`"),
    ],
)  # fmt: skip
def test_bad_lines(tmp_path, lines, message):
    good = [("chr1", 1, 150, "A", 1), ("chr2", 1, 5, "A", 1)]
    index = fragments.write(tmp_path, good).with_name("fragments.tsv.gz.tbi")
    text = "".join("\t".join(map(str, row)) + "\n" for row in [good[0], *lines])
    (tmp_path / "other.tsv").write_text(text)
    other = fragments.compress(tmp_path / "other.tsv")
    shutil.copy(index, other.with_name(other.name + ".tbi"))
    fails(r"other\.tsv\.gz, " + message, other)


def test_a_bad_line_where_only_a_place_is_read(tmp_path):
    index = fragments.write(tmp_path, [("chr1", 1, 150, "A", 1)]).with_name("fragments.tsv.gz.tbi")
    (tmp_path / "other.tsv").write_text("chr1\t120\t190\tA\t1\nchr1\t12\t190\tA\t1\n")
    other = fragments.compress(tmp_path / "other.tsv")
    shutil.copy(index, other.with_name(other.name + ".tbi"))
    fails(r"a line \('chr1\\t12\\t190\\tA\\t1'\): it starts before", other, read="regions")


def test_chromosomes_of_another_kind(packed):
    fails(
        r"share no chromosome: the regions are on 'scaffold_7', fragments\.tsv\.gz has 'chr1', 'chr2', 'chrX'",
        packed,
        pd.DataFrame(index=["scaffold_7:1-50"]),
    )


def test_impossible_regions(packed):
    wrong = pd.DataFrame({"chrom": ["chr1", "chr1"], "start": [5, 90], "end": [9, 50]}, index=["a", "b"])
    fails(
        r"regions: 1 of 2 peaks have impossible coordinates .* 'b' \(chr1, start 90, end 50\)",
        packed,
        wrong,
    )
    fails(r"impossible coordinates .* start -5", packed, wrong.assign(start=-5))


def test_barcodes_that_match_nothing(packed):
    cells = [f"pbmc_{name.removesuffix('-1')}" for name in CELLS]
    message = r"None of the 5 barcodes of cells has a fragment among those read from .*named like 'pbmc_ACACACACAC'.*those of the file like '"
    fails(message, packed, PEAK, cells)


def test_what_differs_in_barcodes_is_said(tmp_path):
    packed = fragments.write(tmp_path, [("chr1", 110, 150, "ACGTACGTAC-1", 1)])
    message = (
        r"The cells have 'pbmc#' before and '' after the sequence, the file '' and '-1': name the cells as in the file"
    )
    fails(message, packed, PEAK, ["pbmc#ACGTACGTAC"])
    fails(r"Are they of the same sample\?", packed, PEAK, ["AAAAACGTAC-1"])
    fails(r"those of the file like 'ACGTACGTAC-1'\.$", packed, PEAK, ["cell1"])


@pytest.mark.parametrize(
    ("cells", "error", "message"),
    [
        ("AAAA-1", TypeError, r"cells='AAAA-1' is one text; give a list"),
        ([], ValueError, r"cells names no cells; cells=None takes every barcode"),
        ([1, 2], TypeError, r"a barcode of cells must be a str, got int: 1"),
        (["A", "B", "A"], ValueError, r"cells has repeated barcodes: 'A'"),
    ],
)
def test_bad_cells(packed, cells, error, message):
    fails(message, packed, PEAK, cells, error)


def test_cells_of_objects(packed):
    cells = AnnData(np.ones((2, 1)), obs=pd.DataFrame(index=CELLS[1::-1]), var=pd.DataFrame(index=["chr1:0-500000"]))
    expected = td.pp.count_fragments(packed, cells, list(cells.obs_names)).to_df()
    mdata = new_mudata({"atac": cells})
    for each in (cells, mdata, cells.obs):
        pd.testing.assert_frame_equal(td.pp.count_fragments(packed, cells, each).to_df(), expected)
    with pytest.raises(TypeError, match=r"regions is a MuData; give the modality with the peaks: mdata\['atac'\]"):
        td.pp.count_fragments(packed, mdata)


def test_bad_options(packed):
    fails(r"counting='cuts' is not known; choose one of 'insertions', 'fragments'", packed, counting="cuts")
    fails(r"read='all' is not known; choose one of 'file', 'regions'", packed, read="all")
    fails(r"fragments must be a path to a file, got int", 5, error=TypeError)


def test_nothing_counted(tmp_path):
    packed = fragments.write(tmp_path, [("chr1", 500, 600, "A", 1), ("chr1", 900_000, 900_100, "B", 1)])
    fails(r"Nothing was counted: none of the 2 fragments .*chr1:100-200.*of the same assembly", packed)
    fails(
        r"fragments\.tsv\.gz: no fragments overlap a region; the first regions are chr1:100-200", packed, read="regions"
    )
