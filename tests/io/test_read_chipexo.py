from __future__ import annotations

import gzip
import sys

import numpy as np
import pysam
import pytest

import sctandem as td

HEADER = {"HD": {"VN": "1.6"}, "SQ": [{"SN": "chr1", "LN": 5000}, {"SN": "chr2", "LN": 900}]}


def write_bam(file, reads, header=HEADER):
    """Reads of (chromosome, start, CIGAR, flag, mapping quality, fragment length)."""
    with pysam.AlignmentFile(str(file), "wb", header=header) as out:
        for i, (chrom, start, cigar, flag, quality, length) in enumerate(reads):
            read = pysam.AlignedSegment(out.header)
            read.query_name, read.flag, read.mapping_quality = f"r{i}", flag, quality
            read.reference_id, read.reference_start, read.template_length = chrom, start, length
            if cigar:
                read.cigarstring = cigar
                n = sum(n for op, n in read.cigartuples if op in {0, 1, 4})
                read.query_sequence = "A" * n
            out.write(read)
    return file


def rows(tags):
    return [tuple(row) for row in tags.astype({"chrom": str, "strand": str}).itertuples(index=False)]


def test_five_prime_ends_of_a_bam_file_in_any_order(tmp_path):
    reads = [
        (1, 50, "30M", 0, 60, 0),
        (0, 400, "30M", 16, 60, 0),  # 5' end at 429
        (0, 100, "5S25M", 0, 60, 0),  # clipped bases are not aligned
        (0, 100, "30M", 0, 60, 0),
        (0, 200, "10M5D20M", 16, 60, 0),  # 5' end at 234
        (0, 300, "30M", 4, 0, 0),  # unmapped
        (0, 300, "30M", 256, 60, 0),  # secondary
        (0, 300, "30M", 2048, 60, 0),  # supplementary
        (0, 300, "30M", 512, 60, 0),  # failed
        (0, 300, "30M", 0, 3, 0),  # maps badly
    ]
    tags = td.io.read_chipexo(write_bam(tmp_path / "a.bam", reads))
    assert rows(tags) == [("chr1", 100, "+", 2), ("chr1", 234, "-", 1), ("chr1", 429, "-", 1), ("chr2", 50, "+", 1)]
    assert tags.dtypes.astype(str).to_dict() == {
        "chrom": "category",
        "position": "int64",
        "strand": "category",
        "count": "int64",
    }
    assert tags.attrs["chromosome_sizes"] == {"chr1": 5000, "chr2": 900}
    left = {"unmapped": 1, "secondary": 2, "failed": 1, "read 2": 0, "mapping quality": 1, "duplicates": 0}
    assert tags.attrs["left_out"] == left


def test_of_paired_reads_the_first_counts(tmp_path):
    first, second = 1 | 2 | 64, 1 | 2 | 128
    reads = [
        (0, 100, "30M", first | 32, 60, 200),
        (0, 270, "30M", second | 16, 60, -200),
        (0, 100, "30M", first | 32, 60, 200),  # the same fragment again
        (0, 100, "30M", first | 32 | 1024, 60, 180),  # another fragment, flagged
        (0, 500, "30M", first | 16, 60, -150),
        (0, 380, "30M", second | 32, 60, 150),
    ]
    file = write_bam(tmp_path / "a.bam", reads)
    keep = [("chr1", 100, "+", 3), ("chr1", 529, "-", 1)]
    assert rows(td.io.read_chipexo(file)) == keep
    assert rows(td.io.read_chipexo(file, duplicates="flagged"))[0] == ("chr1", 100, "+", 2)
    collapsed = td.io.read_chipexo(file, duplicates="collapse")
    assert rows(collapsed)[0] == ("chr1", 100, "+", 2)
    assert collapsed.attrs["left_out"]["duplicates"] == 1
    assert collapsed.attrs["left_out"]["read 2"] == 2


def test_blocks_give_the_same(tmp_path, monkeypatch, rng):
    reads = [
        (int(c), int(p), "30M", int(f) * 16, 60, 0)
        for c, p, f in zip(rng.integers(0, 2, 500), rng.integers(0, 60, 500), rng.integers(0, 2, 500), strict=True)
    ]
    file = write_bam(tmp_path / "a.bam", reads)
    whole = {how: td.io.read_chipexo(file, duplicates=how) for how in ("keep", "collapse")}
    monkeypatch.setattr(sys.modules["sctandem.io._read_chipexo"], "BLOCK", 7)
    for how, tags in whole.items():
        assert rows(td.io.read_chipexo(file, duplicates=how)) == rows(tags)
    assert whole["keep"]["count"].sum() == 500
    assert whole["collapse"]["count"].eq(1).all()


def test_a_bed_file_of_reads(tmp_path):
    text = "track name=x\n" + "".join(f"chr1\t{s}\t{s + 36}\tr\t1\t{d}\n" for s, d in [(9, "-"), (5, "+"), (5, "+")])
    (tmp_path / "a.bed").write_text(text)
    expected = [("chr1", 5, "+", 2), ("chr1", 44, "-", 1)]
    assert rows(td.io.read_chipexo(tmp_path / "a.bed")) == expected
    with gzip.open(tmp_path / "b.bed.gz", "wt") as handle:
        handle.write(text)
    assert rows(td.io.read_chipexo(str(tmp_path / "b.bed.gz"))) == expected
    collapsed = td.io.read_chipexo(tmp_path / "a.bed", duplicates="collapse")
    assert rows(collapsed)[0] == ("chr1", 5, "+", 1)
    assert collapsed.attrs["left_out"] == {"duplicates": 1}


def test_a_pair_of_bedgraph_files(tmp_path, caplog):
    plus, minus = tmp_path / "p.bedgraph", tmp_path / "m.bedgraph"
    plus.write_text("track type=bedGraph\nchr1\t10\t11\t3\nchr1\t20\t23\t2\nchr1\t30\t31\t0\nchrX\t1\t2\t1\n")
    minus.write_text("chr1\t40\t41\t5\n")
    expected = [
        ("chr1", 10, "+", 3),
        *(("chr1", p, "+", 2) for p in (20, 21, 22)),
        ("chr1", 40, "-", 5),
        ("chrX", 1, "+", 1),
    ]
    assert rows(td.io.read_chipexo(plus, minus)) == expected
    assert "chromosomes with tags on one strand only: 'chrX'" in caplog.text
    minus.write_text("chr1\t40\t41\t-5\n")  # as many tools write the other strand
    assert rows(td.io.read_chipexo(plus, minus)) == expected
    assert "all values are negative" in caplog.text
    plus.write_text("chr1\t10\t90\t3\n")
    td.io.read_chipexo(plus, minus)
    assert "is this coverage" in caplog.text


@pytest.mark.parametrize(
    ("plus", "minus", "message"),
    [
        ("chr1\t1\t2\t-3\nchr1\t5\t6\t1\n", "chr1\t9\t10\t1\n", "no counts .the first: -3"),
        ("chr1\t1\t2\t3\n", "chr1\t9\t10\t-1\nchr1\t19\t20\t1\n", "no counts .the first: -1"),
        ("chr1\t1\t2\t0.5\n", "chr1\t9\t10\t1\n", "no counts .the first: 0.5"),
        ("chr1\t1\t2\t3\n", "chr2\t9\t10\t1\n", "share no chromosome"),
        ("chr1\t1\t2\t3\n", "", "is empty"),
        ("chr1\t5\t2\t3\n", "chr1\t9\t10\t1\n", "impossible coordinates"),
        ("chr1\t1\t2\n", "chr1\t9\t10\t1\n", "a bedGraph file has 4"),
        ("chr1\t1\t2\t0\n", "chr1\t9\t10\t1\n", "share no chromosome"),
    ],
)
def test_bad_bedgraphs(tmp_path, plus, minus, message):
    (tmp_path / "p.bg").write_text(plus)
    (tmp_path / "m.bg").write_text(minus)
    with pytest.raises(ValueError, match=message):
        td.io.read_chipexo(tmp_path / "p.bg", tmp_path / "m.bg")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("chr1\t1\t20\n", "has 3 tab-separated columns; 6 are needed"),
        ("chr1\t1\t20\ta\t0\t.\n", "without strand"),
        ("chr1\t1\t20\ta\t0\t+\n", "All 1 tags of .* are on the \\+ strand"),
        ("chr1\t30\t20\ta\t0\t+\n", "impossible coordinates"),
    ],
)
def test_bad_beds(tmp_path, text, message):
    (tmp_path / "a.bed").write_text(text)
    with pytest.raises(ValueError, match=message):
        td.io.read_chipexo(tmp_path / "a.bed")


def test_bad_bams(tmp_path):
    with pytest.raises(ValueError, match="has no reads to take .it holds none"):
        td.io.read_chipexo(write_bam(tmp_path / "a.bam", []))
    with pytest.raises(ValueError, match="has no reads to take .1 mapping quality"):
        td.io.read_chipexo(write_bam(tmp_path / "b.bam", [(0, 5, "30M", 0, 0, 0)]))
    with pytest.raises(ValueError, match="on the - strand"):
        td.io.read_chipexo(write_bam(tmp_path / "c.bam", [(0, 5, "30M", 16, 60, 0)] * 9))
    (tmp_path / "d.bam").write_text("no bam")
    with pytest.raises(ValueError, match=r"d.bam cannot be read"):
        td.io.read_chipexo(tmp_path / "d.bam")
    good = write_bam(tmp_path / "e.bam", [(0, i, "30M", 16 * (i % 2), 60, 0) for i in range(4000)]).read_bytes()
    (tmp_path / "f.bam").write_bytes(good[: len(good) // 2])
    with pytest.raises(ValueError, match=r"f.bam cannot be read"):
        td.io.read_chipexo(tmp_path / "f.bam")


def test_bad_arguments(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a file"):
        td.io.read_chipexo(tmp_path / "no.bam")
    with pytest.raises(TypeError, match="path must be a path"):
        td.io.read_chipexo(3)
    (tmp_path / "a.bg").write_text("chr1\t1\t2\t3\n")
    with pytest.raises(ValueError, match="give that of the - strand as well"):
        td.io.read_chipexo(tmp_path / "a.bg")
    with pytest.raises(ValueError, match="duplicates='drop' is not known"):
        td.io.read_chipexo(tmp_path / "a.bg", duplicates="drop")
    (tmp_path / "a.bed").write_text("chr1\t1\t20\ta\t0\t+\nchr1\t1\t20\ta\t0\t-\n")
    with pytest.raises(ValueError, match="needs a BAM file"):
        td.io.read_chipexo(tmp_path / "a.bed", duplicates="flagged")
    with pytest.raises(ValueError, match="mapping_quality=-1"):
        td.io.read_chipexo(tmp_path / "a.bed", mapping_quality=-1)


def test_without_pysam_the_message_says_what_to_install(tmp_path, monkeypatch):
    file = write_bam(tmp_path / "a.bam", [(0, 5, "30M", 0, 60, 0)])
    monkeypatch.setitem(sys.modules, "pysam", None)
    with pytest.raises(ImportError, match="pip install pysam"):
        td.io.read_chipexo(file)


def test_sites_from_a_bam_file(tmp_path, rng):
    centre = np.arange(300, 4800, 300)
    reads = []
    for c in centre:
        reads += [(0, int(c - 15 + d), "30M", 0, 60, 0) for d in rng.integers(-1, 2, 10)]
        reads += [(0, int(c + 15 - 29 + d), "30M", 16, 60, 0) for d in rng.integers(-1, 2, 10)]
    sites = td.genome.call_chipexo_sites(td.io.read_chipexo(write_bam(tmp_path / "a.bam", reads))).sites
    assert len(sites) == len(centre)
    assert np.abs(sites["position"] - centre).max() <= 1
