"""Pairs of half sites in a region, held against a naive enumeration, and the files around them."""

import gzip
import re

import numpy as np
import pandas as pd
import pytest

from sctandem.genome import scan_talens, write_talens
from sctandem.genome._exons import read_exons
from sctandem.genome._locus_bases import LocusBases, locus_bases
from sctandem.genome._talen_design import read_variants, rvds_for, talen_pairs, touches_variant

COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


def reverse_complement(sequence):
    return sequence.translate(COMPLEMENT)[::-1]


def as_bases(sequence, start=0):
    return LocusBases("chr1", start, np.array(["ACGTN".index(base) for base in sequence], dtype=np.uint8))


def naive_pairs(sequence, start, end, array, spacer, upstream="T"):
    """Every window of the sequence, whatever its shape, that has the right bases at its ends."""
    after = {"T": "A", "C": "G"}[upstream]
    rows = set()
    for at in range(1, len(sequence)):
        for left in range(array[0], array[1] + 1):
            for gap in range(spacer[0], spacer[1] + 1):
                for right in range(array[0], array[1] + 1):
                    last = at + left + gap + right
                    if last >= len(sequence) or sequence[at - 1] != upstream or sequence[last] != after:
                        continue
                    first, second = sequence[at : at + left], sequence[at + left + gap : last]
                    cut = at + left + gap // 2
                    if "N" in first + second or not start <= cut < end:
                        continue
                    rows.add(
                        (
                            cut,
                            at,
                            last - 1,
                            gap,
                            first,
                            reverse_complement(second),
                            sequence[at + left : at + left + gap],
                        )
                    )
    return rows


def follows_streubel(site):
    return (site.count("C") + site.count("G")) / len(site) >= 0.25 and not re.search("[AT]{6,}", site)


def follows_cermak(site):
    limits = {"A": (0.31, 0.16), "C": (0.37, 0.13), "G": (0.09, 0.08), "T": (0.22, 0.10)}
    shares = {base: site.count(base) / len(site) for base in limits}
    composition = all(abs(shares[base] - mean) <= 2 * deviation for base, (mean, deviation) in limits.items())
    return site[0] != "T" and site[1] != "A" and site[-1] == "T" and composition


@pytest.mark.parametrize("upstream", ["T", "C"])
def test_pairs_are_those_of_a_naive_enumeration(upstream):
    rng = np.random.default_rng(1)
    sequence = "".join(rng.choice(list("ACGTN"), p=[0.3, 0.195, 0.195, 0.3, 0.01], size=260))
    for start, end in ((0, 260), (90, 140)):
        expected = naive_pairs(sequence, start, end, (10, 13), (9, 12), upstream)
        table = talen_pairs(as_bases(sequence), start, end, array=(10, 13), spacer=(9, 12), upstream=upstream)
        columns = ["cut", "left_start", "right_start", "spacer", "left_target", "right_target", "spacer_sequence"]
        assert len(expected) > 20
        assert set(table[columns].itertuples(index=False, name=None)) == expected
        assert len(table) == len(expected)
        assert set(table["sequence"]) == {"chr1"}


def test_positions_count_from_the_start_of_the_sequence():
    rng = np.random.default_rng(2)
    sequence = "".join(rng.choice(list("ACGT"), size=200))
    near = talen_pairs(as_bases(sequence), 50, 150, array=(10, 12), spacer=(10, 12))
    far = talen_pairs(as_bases(sequence, 1000), 1050, 1150, array=(10, 12), spacer=(10, 12))
    shifted = near.assign(**{name: near[name] + 1000 for name in ("cut", "left_start", "right_start")})
    pd.testing.assert_frame_equal(far, shifted)


def test_guidelines():
    rng = np.random.default_rng(3)
    shares = [0.28, 0.3, 0.14, 0.28]  # near the natural composition, so that some pairs follow all rules
    seen = {"streubel": set(), "cermak": set()}
    for _ in range(4):
        sequence = "".join(rng.choice(list("ACGT"), p=shares, size=2000))
        table = talen_pairs(as_bases(sequence), 0, 2000, array=(12, 14), spacer=(14, 16))
        for name, rule in (("streubel", follows_streubel), ("cermak", follows_cermak)):
            expected = [
                rule(left) and rule(right) for left, right in zip(table.left_target, table.right_target, strict=True)
            ]
            assert table[name].tolist() == expected
            seen[name] |= set(expected)
        strong = [
            min((site.count("C") + site.count("G")) / len(site) for site in pair)
            for pair in zip(table.left_target, table.right_target, strict=True)
        ]
        np.testing.assert_allclose(table["strong_share"], strong)
    assert seen == {"streubel": {True, False}, "cermak": {True, False}}


def test_repeats():
    assert rvds_for(pd.Series(["ACGT"]), "NN") == ["NI HD NN NG"]
    assert rvds_for(pd.Series(["ACGT"]), "NH") == ["NI HD NH NG"]


def test_a_design_is_found_by_the_search(tmp_path):
    rng = np.random.default_rng(4)
    sequence = "".join(rng.choice(list("ACGT"), size=400))
    path = tmp_path / "a.fa"
    path.write_text(f">chr1\n{sequence}\n")
    table = talen_pairs(as_bases(sequence), 150, 250, array=(15, 17), spacer=(15, 16))
    for row in table.sample(5, random_state=0).itertuples():
        pair = [rvds_for(pd.Series([site]), "NN")[0] for site in (row.left_target, row.right_target)]
        found = scan_talens(path, pair, cutoff=1.0)
        columns = ["left_start", "right_start", "spacer", "left_target", "right_target"]
        assert tuple(getattr(row, column) for column in columns) in set(
            found[columns].itertuples(index=False, name=None)
        )


def test_bases_of_loci(tmp_path, monkeypatch):
    rng = np.random.default_rng(5)
    sequences = {"chr1": "".join(rng.choice(list("ACGTN"), size=500)), "2": "".join(rng.choice(list("ACGT"), size=90))}
    text = "".join(f">{name} x\n" + "\n".join(re.findall(".{1,60}", bases)) + "\n" for name, bases in sequences.items())
    loci = pd.DataFrame(
        [["chr2", 10, 40], ["chr1", 0, 5], ["chr1", 480, 500], ["chr1", 30, 400]],
        columns=["chrom", "start", "end"],
        index=list("abcd"),
    )
    monkeypatch.setattr("sctandem.genome._locus_bases._SIZE", 64)
    for content in (text.encode(), gzip.compress(text.encode())):
        path = tmp_path / "a.fa"
        path.write_bytes(content)
        found = locus_bases(loci, path, flank=7)
        for (_, (_, start, end)), bases in zip(loci.iterrows(), found, strict=True):
            whole = sequences[bases.name]
            assert bases.start == max(start - 7, 0)
            assert "".join("ACGTN"[code] for code in bases.codes) == whole[bases.start : end + 7]
        assert [bases.name for bases in found] == ["2", "chr1", "chr1", "chr1"]
    for wrong, message in (
        (["chr3", 1, 5], "has no sequence 'chr3', where 'a' lies; it has 'chr1', '2'"),
        (["chr1", 450, 501], r"'a' ends at 501, beyond the end of 'chr1' .*\(500 bp\)"),
    ):
        with pytest.raises(ValueError, match=message):
            locus_bases(pd.DataFrame([wrong], columns=loci.columns, index=["a"]), path)


def test_the_exact_name_of_a_chromosome_wins(tmp_path):
    path = tmp_path / "a.fa"
    locus = pd.DataFrame({"chrom": ["chr1"], "start": [0], "end": [4]}, index=["a"])
    for text in (">1\nAAAA\n>chr1\nCCCC\n", ">chr1\nCCCC\n>1\nAAAA\n"):
        path.write_text(text)
        (found,) = locus_bases(locus, path)
        assert found.name == "chr1"
        assert found.codes.tolist() == [1] * 4


def test_variants(tmp_path):
    vcf = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\nchr1\t11\t.\tACG\tA\t.\n1\t5\trs1\tA\tT\t.\n"
    bed = "track x\nchr1\t10\t13\n1\t4\t5\tname\n"
    table = pd.DataFrame({"chrom": ["chr1", "1"], "start": [10, 4], "end": [13, 5]})
    (tmp_path / "a.vcf").write_text(vcf)
    (tmp_path / "a.vcf.gz").write_bytes(gzip.compress(vcf.encode()))
    (tmp_path / "a.bed").write_text(bed)
    for source in (tmp_path / "a.vcf", tmp_path / "a.vcf.gz", tmp_path / "a.bed", table):
        pd.testing.assert_frame_equal(read_variants(source), table, check_dtype=False)
    (tmp_path / "b.bed").write_text("chr1\tten\t13\n")
    with pytest.raises(ValueError, match="neither VCF .* nor BED"):
        read_variants(tmp_path / "b.bed")
    with pytest.raises(ValueError, match=r"row 2 \(1, 4, 3\) is no interval"):
        read_variants(table.assign(end=[13, 3]))
    with pytest.raises(ValueError, match="needs the columns"):
        read_variants(table[["chrom"]])
    with pytest.raises(FileNotFoundError, match="is not a file"):
        read_variants(tmp_path / "none.vcf")


def test_pairs_that_touch_a_variant():
    rng = np.random.default_rng(6)
    sequence = "".join(rng.choice(list("ACGT"), size=300))
    table = talen_pairs(as_bases(sequence), 100, 200, array=(12, 14), spacer=(12, 14))
    at = int(table["left_start"].median()) - 1  # under an upstream base of some
    ends = [(at, at + 1), (170, 176), (int(table["right_start"].max()) + 1, 299)]
    variants = pd.DataFrame([("chr1", *end) for end in ends] + [("chr2", 0, 300)], columns=["chrom", "start", "end"])
    touched = touches_variant(table, np.full(len(table), "chr1", dtype=object), variants)
    changed = {position for start, end in ends for position in range(start, end)}
    expected = []
    for row in table.itertuples():
        first_right = row.right_start + 1 - len(row.right_target)
        bound = set(range(row.left_start - 1, row.left_start + len(row.left_target)))
        bound |= set(range(first_right, row.right_start + 2))
        expected.append(bool(bound & changed))
    assert touched.tolist() == expected
    assert 0 < touched.sum() < len(table)
    assert (table["left_start"] == at + 1).any()


def test_exons(tmp_path):
    rows = [("gene", 101, 900), ("exon", 101, 200), ("exon", 151, 300), ("exon", 801, 900), ("CDS", 120, 180)]
    text = "#!x\n" + "".join(f'chr1\ts\t{kind}\t{a}\t{b}\t.\t+\t.\tgene_id "G";\n' for kind, a, b in rows)
    (tmp_path / "a.gtf").write_text(text)
    (tmp_path / "a.gtf.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("a.gtf", "a.gtf.gz"):
        assert read_exons(tmp_path / name).to_numpy().tolist() == [["chr1", 100, 300], ["chr1", 800, 900]]
    assert read_exons(tmp_path / "a.bed") is None
    assert read_exons(pd.DataFrame()) is None


def a_table():
    return pd.DataFrame({
        "pair": ["TALEN1", "TALEN2"], "left_rvds": ["NI HD", "NG NN"], "right_rvds": ["NN NN", "HD HD"],
        "left_target": ["AC", "TG"], "right_target": ["GG", "CC"], "spacer": [15, 16],
    })  # fmt: skip


def test_files_for_ordering(tmp_path):
    table = a_table()
    write_talens(table, tmp_path / "a.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "a.csv"), table)
    write_talens(table, str(tmp_path / "a.fasta"))
    lines = (tmp_path / "a.fasta").read_text().split("\n")
    assert lines[:4] == [">TALEN1_left NI-HD", "AC", ">TALEN1_right NN-NN", "GG"]
    assert lines[6:] == [">TALEN2_right HD-HD", "CC", ""]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.fasta"]


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text("before")
    for table, name, message in (
        (a_table(), "a.txt", "ends in '.txt'"),
        (a_table().drop(columns="pair"), "a.csv", "lacks the columns 'pair'"),
        (a_table().head(0), "a.csv", "has no rows"),
        (a_table().assign(pair="TALEN1"), "a.csv", "more than once"),
    ):
        with pytest.raises(ValueError, match=message):
            write_talens(table, tmp_path / name)
    with pytest.raises(TypeError, match="table must be a DataFrame"):
        write_talens([1], path)

    def fail(*_):
        msg = "disk full"
        raise OSError(msg)

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_talens(a_table(), path)
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["a.csv"]
