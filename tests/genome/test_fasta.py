from __future__ import annotations

import gzip
import os
import tempfile
import time

import numpy as np
import pandas as pd
import pytest
from pyfaidx import Faidx

from sctandem.genome import peak_coordinates
from sctandem.genome._fasta import read_sequences

LETTERS = np.array(list("ACGTN"))
BASES = {"chr1": "ACGTacgtNNRYacgtACGTTTTT" * 40, "2": "GATTACA" * 30, "chrM": "ggggcc"}


def write(path, bases: dict[str, str] = BASES, width: int = 60):
    lines = (
        f">{name} described\n" + "".join(f"{text[i : i + width]}\n" for i in range(0, len(text), width))
        for name, text in bases.items()
    )
    path.write_text("".join(lines))
    return path


def squeezed(path, kind: str):
    """The same file, plain, gzipped, or with bgzip."""
    if kind == "plain":
        return path
    target = path.with_name(path.name + ".gz")
    if kind == "gzip":
        target.write_bytes(gzip.compress(path.read_bytes()))
    else:
        from Bio import bgzf

        with bgzf.open(target, "wb") as handle:
            handle.write(path.read_bytes())
    return target


def where(*peaks: str) -> pd.DataFrame:
    return peak_coordinates(pd.DataFrame(index=list(peaks)))


def texts(sequences) -> list[str]:
    return ["".join(LETTERS[part]) for part in np.split(sequences.codes, sequences.offsets[1:-1])]


PEAKS = ("2:3-160", "chr1:0-100", "chr1:55-125", "chrM:0-6", "chr2:0-7", "chr1:959-960", "chr1:20-21")
EXPECTED = [
    "".join(b if b in "ACGT" else "N" for b in BASES[name][a:b].upper())
    for name, a, b in (
        ("2", 3, 160), ("chr1", 0, 100), ("chr1", 55, 125), ("chrM", 0, 6), ("2", 0, 7), ("chr1", 959, 960), ("chr1", 20, 21),
    )
]  # fmt: skip


@pytest.mark.parametrize("kind", ["plain", "gzip", "bgzip"])
@pytest.mark.parametrize("indexed", [False, True])
def test_bases_in_any_case_and_order(tmp_path, kind, indexed):
    path = squeezed(write(tmp_path / "g.fa"), kind)
    if indexed and kind != "gzip":
        Faidx(str(path)).close()
    before = sorted(tmp_path.iterdir())
    found = read_sequences(where(*PEAKS), path)
    assert texts(found) == EXPECTED
    assert found.codes.dtype == np.uint8
    assert found.unknown == pytest.approx("".join(EXPECTED).count("N") / len("".join(EXPECTED)))
    assert sorted(tmp_path.iterdir()) == before  # nothing is left beside the genome


def test_a_plain_file_that_is_named_as_a_compressed_one(tmp_path):
    path = write(tmp_path / "genome.fa.gz")
    assert texts(read_sequences(where(*PEAKS), path)) == EXPECTED


def test_nothing_is_left_in_the_temporary_folder(tmp_path, monkeypatch):
    path = squeezed(write(tmp_path / "g.fa"), "gzip")
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    read_sequences(where("chr1:0-9"), path)
    with pytest.raises(ValueError, match="no chromosome"):
        read_sequences(where("chr9:0-9"), path)
    assert not list(folder.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path):
    folder = tmp_path / "genomes"
    folder.mkdir()
    path = write(folder / "g.fa")
    folder.chmod(0o555)
    try:
        assert texts(read_sequences(where("2:0-7"), path)) == ["GATTACA"]
    finally:
        folder.chmod(0o755)
    assert list(folder.iterdir()) == [path]


def test_an_index_that_is_there_is_used_unless_it_is_old(tmp_path, monkeypatch):
    path = write(tmp_path / "g.fa")
    Faidx(str(path)).close()
    built = []
    make = Faidx.build_index
    monkeypatch.setattr(Faidx, "build_index", lambda self: built.append(self.indexname) or make(self))
    assert texts(read_sequences(where("2:0-7"), path)) == ["GATTACA"]
    assert built == []
    old = (tmp_path / "g.fa.fai").read_text()
    write(path, {"2": "C" * 90})
    os.utime(path, (time.time() + 9, time.time() + 9))
    assert texts(read_sequences(where("2:0-7"), path)) == ["CCCCCCC"]
    assert len(built) == 1
    assert (tmp_path / "g.fa.fai").read_text() == old


def test_an_index_of_another_file_is_found_out(tmp_path):
    path = write(tmp_path / "g.fa", {"2": "C" * 90})
    (tmp_path / "g.fa.fai").write_text("2\t900\t3\t60\t61\n")
    with pytest.raises(ValueError, match=r"g\.fa\.fai does not fit g\.fa; delete it"):
        read_sequences(where("2:600-700"), path)
    (tmp_path / "g.fa.fai").write_text("nonsense\n")
    with pytest.raises(ValueError, match=r"g\.fa cannot be read with g\.fa\.fai"):
        read_sequences(where("2:0-7"), path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no sequence"),
        ("\n\n", "holds no sequence"),
        ("ACGT\n", "is no FASTA file"),
        ("@read\nACGT\n+\nIIII\n", "is no FASTA file.*looks like FASTQ"),
        (">a\nACGT\nACGTACGT\nAC\n", "cannot be indexed.*Lines of a sequence must have one length"),
        (">a\nACGT\n>a\nACGT\n", "Are names of sequences repeated"),
    ],
)
@pytest.mark.parametrize("kind", ["plain", "gzip", "bgzip"])
def test_files_that_are_no_genome(tmp_path, text, said, kind):
    path = tmp_path / "g.fa"
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        read_sequences(where("a:0-4"), squeezed(path, kind))


@pytest.mark.parametrize("kind", ["gzip", "bgzip"])
def test_a_file_that_is_cut_off(tmp_path, kind, rng):
    bases = {"chr1": "".join(rng.choice(list("ACGT"), 200_000))}
    path = squeezed(write(tmp_path / "g.fa", bases), kind)
    path.write_bytes(path.read_bytes()[:30_000])
    with pytest.raises(ValueError, match=r"g\.fa\.gz is cut off or damaged.*download it again"):
        read_sequences(where("chr1:0-9"), path)


@pytest.mark.parametrize(
    ("peaks", "said"),
    [
        (
            ["chr1:0-9", "2:200-211"],
            r"'2:200-211' ends at 211, beyond the end of '2' in g\.fa \(210 bp\), as do 1 peaks",
        ),
        (["chr1:0-9", "chrX:0-9"], r"no chromosome 'chrX', where the peak 'chrX:0-9' lies.*\(3 sequences in all\)"),
    ],
)
def test_peaks_outside(tmp_path, peaks, said):
    with pytest.raises(ValueError, match=said):
        read_sequences(where(*peaks), write(tmp_path / "g.fa"))


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a file"):
        read_sequences(where("chr1:0-9"), tmp_path)
