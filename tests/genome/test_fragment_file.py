from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import fragments
import numpy as np
import pandas as pd
import pysam
import pytest
from anndata import AnnData

from sctandem.genome._fragment_file import FragmentFile
from sctandem.genome._regions import read_regions

if TYPE_CHECKING:
    from pathlib import Path

LINES = [("chr1", i, i + 9, "AAAA-1", 1) for i in range(5000)] + [("chr2", 40_000, 40_100, "CCCC-1", 2)]


@pytest.fixture
def packed(tmp_path) -> Path:
    return fragments.write(tmp_path, LINES)


def read_all(file: FragmentFile, offset: int = 0, size: int | None = None) -> bytes:
    parts = [text[:n].tobytes() for text, n in file.blocks(offset, size)]
    assert all(part.endswith(b"\n") for part in parts)
    return b"".join(parts)


@pytest.mark.parametrize("size", [None, 30, 31, 1000, 4096, 100_000])
def test_blocks_hold_the_whole_text_in_whole_lines(packed, size):
    file = FragmentFile.open(packed)
    assert file.contigs == ["chr1", "chr2"]
    assert read_all(file, size=size) == gzip.decompress(packed.read_bytes())


def test_a_last_line_without_a_line_feed(tmp_path):
    text = "chr1\t1\t2\tA\t1\nchr1\t3\t4\tBBB\t1"  # longer than the first: what was held before must not end it
    file = FragmentFile.open(fragments.write(tmp_path, text))
    assert read_all(file) == read_all(file, size=16) == text.encode() + b"\n"


def test_a_line_longer_than_what_is_held(packed):
    with pytest.raises(ValueError, match=r"no line end in 10 bytes: it is no fragment file"):
        read_all(FragmentFile.open(packed), size=10)


def test_offsets_lead_to_places(tmp_path):
    rng = np.random.default_rng(0)
    rows = fragments.draw(rng, 4000)
    file = FragmentFile.open(fragments.write(tmp_path, rows))
    found = file.offsets()
    assert len(found) == 3
    for chrom, offsets in zip(file.contigs, found, strict=True):
        assert offsets.size > 20
        for window in (0, 3, offsets.size - 1):
            first = next(row for row in rows if row[0] == chrom and row[2] > window << 14)
            lines = [line.split("\t") for line in read_all(file, int(offsets[window])).decode().splitlines()]
            mine = [row for row in rows if row[0] == chrom and row[1] >= int(lines[0][1])]
            assert lines[0][0] == chrom
            assert int(lines[0][1]) <= first[1]
            assert [row[1] for row in mine] == [int(line[1]) for line in lines if line[0] == chrom]


def test_a_csi_index_has_contigs_and_no_offsets(packed):
    (packed.parent / (packed.name + ".tbi")).unlink()
    pysam.tabix_index(str(packed), preset="bed", csi=True, force=True)
    file = FragmentFile.open(packed)
    assert file.contigs == ["chr1", "chr2"]
    with pytest.raises(ValueError, match=r"has no offsets of places; make a \.tbi index .*read='file'"):
        file.offsets()


def test_an_index_that_is_none(packed):
    (packed.parent / (packed.name + ".tbi")).write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"\.tbi cannot be read as an index .* `tabix -f -p bed fragments\.tsv\.gz`"):
        FragmentFile.open(packed)


def test_first_barcodes(tmp_path):
    rows = "# a comment\n" + "".join(f"chr1\t{i}\t{i + 5}\tA{i // 2}\t1\n" for i in range(9))
    file = FragmentFile.open(fragments.write(tmp_path, rows))
    assert file.first_barcodes() == ["A0", "A1", "A2"]


# --- regions ----------------------------------------------------------------------------------------------------------


def test_a_bed_file(tmp_path):
    bed = tmp_path / "regions.bed"
    bed.write_text("track name=x\n# comment\nchr1\t5\t9\nchr2\t0\t3\r\n\n")
    where = read_regions(bed)
    assert where.index.tolist() == ["chr1:5-9", "chr2:0-3"]
    assert where[["start", "end"]].to_numpy().tolist() == [[5, 9], [0, 3]]
    assert where["start"].dtype == np.int64
    bed.write_text("chr1\t5\t9\tMS4A1\t0\t+\nchr1\t6\t9\tCD3D\t0\t-\n")
    assert read_regions(str(bed)).index.tolist() == ["MS4A1", "CD3D"]
    bed.write_text("chr1\t5\t9\tpeak\nchr1\t6\t9\tpeak\n")
    assert read_regions(bed).index.tolist() == ["chr1:5-9", "chr1:6-9"]
    packed = tmp_path / "regions.bed.gz"
    packed.write_bytes(gzip.compress(b"chr1\t5\t9\n"))
    assert read_regions(packed).index.tolist() == ["chr1:5-9"]


def test_tables_and_objects():
    table = pd.DataFrame({"chrom": ["chr1", "1"], "start": [5, 0], "end": [9, 2]}, index=["a", "b"])
    assert read_regions(table).index.tolist() == ["a", "b"]
    assert read_regions(table.reset_index(drop=True)).index.tolist() == ["chr1:5-9", "1:0-2"]
    adata = AnnData(np.zeros((1, 2)), var=pd.DataFrame(index=["chr1:5-9", "chrX-1-2"]))
    assert read_regions(adata).to_numpy().tolist() == [["chr1", 5, 9], ["chrX", 1, 2]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chr1\t-5\t9\n", r"regions\.bed: 1 of 1 peaks have impossible coordinates .*chr1, start -5, end 9"),
        ("chr1\t0\t3\nchr1\t9\t5\n", r"1 of 2 peaks have impossible coordinates .*start 9, end 5"),
        ("chr1\t9\t9\n", r"impossible coordinates"),
        ("chr1\tx\t9\n", r"1 of 1 peaks have no coordinates"),
        ("chr1 5 9\n", r"has 1 tab-separated columns in line 1; 3 are needed"),
        ("# nothing\n", r"holds no regions"),
        ("chr1\t5\t9\nchr1\t5\t9\n", r"1 names of regions more than once: 'chr1:5-9'\. Name them apart"),
    ],
)
def test_bad_regions(tmp_path, text, message):
    bed = tmp_path / "regions.bed"
    bed.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_regions(bed)


def test_what_is_no_regions(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"regions='.*none\.bed' is not a file"):
        read_regions(tmp_path / "none.bed")
    with pytest.raises(TypeError, match=r"regions must be a BED file, a table or an AnnData, got int: 5"):
        read_regions(5)
