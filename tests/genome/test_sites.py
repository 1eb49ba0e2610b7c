from __future__ import annotations

import gzip

import pandas as pd
import pytest

from sctandem.genome import read_sites

NARROW = "chr1\t100\t200\ta\t50\t.\t7.5\t{p}\t{q}\t{summit}\nchr2\t10\t31\tb\t10\t.\t2.5\t{p}\t{q}\t{summit}\n"


@pytest.mark.parametrize(
    ("p", "q", "summit", "score", "which", "position"),
    [
        (9.0, 4.0, 20, [4, 4], "q-value", [120, 30]),
        (9.0, -1, 20, [9, 9], "p-value", [120, 30]),
        (-1, -1, -1, [7.5, 2.5], "signal", [150, 20]),
    ],
)
def test_narrow_peaks(tmp_path, p, q, summit, score, which, position):
    file = tmp_path / "a.narrowPeak.gz"
    with gzip.open(file, "wt") as handle:
        handle.write("track type=narrowPeak\n" + NARROW.format(p=p, q=q, summit=summit))
    sites = read_sites(file)
    assert sites["score"].tolist() == score
    assert sites["position"].tolist() == position
    assert sites.attrs["score"] == which
    assert sites["end"].tolist() == [200, 31]


def test_bed_and_tables(tmp_path):
    file = tmp_path / "a.bed"
    file.write_text("chr1\t5\t8\n")
    assert read_sites(file).iloc[0].tolist() == ["chr1", 6, 5, 8, 1.0]
    file.write_text("chr1\t5\t8\tx\t77\t+\n")
    assert read_sites(str(file))["score"].tolist() == [77]
    table = pd.DataFrame({"chrom": ["1"], "position": [40]})
    assert read_sites(table).iloc[0].tolist() == ["1", 40, 40, 41, 1.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no sites"),
        ("# nothing\n", "holds no sites"),
        ("chr1\t5\n", "3 are needed"),
        ("chr1\t9\t5\n", "impossible"),
    ],
)
def test_bad_files(tmp_path, text, message):
    file = tmp_path / "a.bed"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_sites(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": [-2.0]}, "scores that are no numbers of at least 0 .the first: -2"),
        ({"position": [99]}, "lies outside of start and end"),
        ({"start": [-5]}, "impossible coordinates"),
    ],
)
def test_bad_tables(change, message):
    table = pd.DataFrame({"chrom": ["1"], "start": [5], "end": [9], "score": [1.0]}).assign(**change)
    with pytest.raises(ValueError, match=message):
        read_sites(table)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a file"):
        read_sites(tmp_path / "no.bed")
    with pytest.raises(TypeError, match="sites must be a path"):
        read_sites(3)
