from __future__ import annotations

import gzip

import numpy as np
import pytest

from sctandem.genome import read_motifs

MATRIX = np.array([[0.1, 0.2, 0.3, 0.4], [1, 0, 0, 0], [0, 0.5, 0.5, 0]])

JASPAR = """>MA0001.1 AGL3
A  [ 0  3 79 ]
C  [94 75  4 ]
G  [ 1  0  3 ]
T  [ 2  3  1 ]
>MA0002.1\tRUNX1
10 12 4
2 2 7
3 1 1
11 9 12
"""
MEME = """MEME version 4

ALPHABET= ACGT

strands: + -

Background letter frequencies
A 0.25 C 0.25 G 0.25 T 0.25

MOTIF MA0004.1 Arnt
letter-probability matrix: alength= 4 w= 3 nsites= 20 E= 0
 0.200000  0.800000  0.000000  0.000000
 0.950000  0.000000  0.050000  0.000000
 0.000000  1.000000  0.000000  0.000000
URL http://jaspar.genereg.net/matrix/MA0004.1

MOTIF second
letter-probability matrix: alength= 4 w= 2 nsites= 20 E= 0
0.333 0.333 0.333 0
0 0 0 1
"""


def test_matrices_at_hand():
    motifs = read_motifs({"a": MATRIX, "b": (MATRIX * 10).astype(int).tolist(), "c": [[9, 1, 0, 0], [0, 0, 4, 4]]})
    np.testing.assert_allclose(motifs["a"], MATRIX)
    np.testing.assert_allclose(motifs["b"], MATRIX)
    assert motifs["c"].tolist() == [[0.9, 0.1, 0, 0], [0, 0, 0.5, 0.5]]
    assert all(matrix.dtype == np.float64 for matrix in motifs.values())
    again = read_motifs(motifs)
    assert list(again) == ["a", "b", "c"]
    np.testing.assert_array_equal(again["a"], motifs["a"])


def test_file_of_jaspar(tmp_path):
    (tmp_path / "m.jaspar").write_text(JASPAR)
    motifs = read_motifs(tmp_path / "m.jaspar")
    assert list(motifs) == ["MA0001.1 AGL3", "MA0002.1 RUNX1"]
    np.testing.assert_allclose(motifs["MA0001.1 AGL3"][0], np.array([0, 94, 1, 2]) / 97)
    np.testing.assert_allclose(motifs["MA0002.1 RUNX1"][2], np.array([4, 7, 1, 12]) / 24)


@pytest.mark.parametrize("text", [JASPAR, MEME])
def test_packed_files_and_other_line_ends(text, tmp_path):
    (tmp_path / "plain").write_text(text)
    expected = read_motifs(tmp_path / "plain")
    packed = gzip.compress(text.replace("\n", "\r\n").encode())
    (tmp_path / "m.gz").write_bytes(packed)
    found = read_motifs(tmp_path / "m.gz")
    assert list(found) == list(expected)
    for name, matrix in expected.items():
        np.testing.assert_array_equal(found[name], matrix)
    (tmp_path / "m.gz").write_bytes(packed[:-12])
    with pytest.raises(ValueError, match=r"m\.gz is cut off or damaged: it does not unpack"):
        read_motifs(tmp_path / "m.gz")


def test_file_of_meme_as_memelite_reads_it(tmp_path):
    memelite = pytest.importorskip("memelite.io")
    (tmp_path / "m.meme").write_text(MEME)
    ours, theirs = read_motifs(str(tmp_path / "m.meme")), memelite.read_meme(str(tmp_path / "m.meme"))
    assert list(ours) == list(theirs) == ["MA0004.1 Arnt", "second"]
    for name, matrix in ours.items():
        np.testing.assert_allclose(matrix, theirs[name].T, atol=1e-3)
        np.testing.assert_allclose(matrix.sum(1), 1)


def test_a_release_of_jaspar():
    motifs = read_motifs("JASPAR2018", taxon="nematodes")
    assert 10 < len(motifs) < 60
    from pyjaspar import jaspardb

    database = jaspardb(release="JASPAR2018")
    for name, matrix in list(motifs.items())[:5]:
        identifier, factor = name.split(" ", 1)
        theirs = database.fetch_motif_by_id(identifier)
        assert theirs.name == factor
        counts = np.array([theirs.counts[base] for base in "ACGT"]).T
        np.testing.assert_allclose(matrix, counts / counts.sum(1, keepdims=True))
    database.conn.close()
    with pytest.raises(ValueError, match=r"taxon='martians' is not known in JASPAR2018; it has .*'vertebrates'"):
        read_motifs("JASPAR2018", taxon="martians")


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        ([[1, 0, 0, 0]], "motif 'a' of motifs has 1 position; a motif has at least 2"),
        (np.zeros((0, 4)), "has 0 position"),
        (MATRIX.T, "has the shape 4 x 3, not width x 4 .*give its transpose"),
        ([[0.1, 0.9]], r"has the shape 1 x 2, not width x 4 \(A, C, G, T\)\."),
        (MATRIX - 0.05, "has the entry -0.05; probabilities and counts are finite and not negative"),
        ([[1, np.nan, 0, 0], [1, 0, 0, 0]], "has the entry nan"),
        (MATRIX * 0.9, "adds up to 0.9 at position 1, not to 1"),
        ([[1, 2, 0, 0], [0, 0, 0, 0]], "adds up to 0 at position 2"),
        ("ACGT", "is no matrix of numbers"),
        ([[1, 0, 0, 0], [1, 0]], "is no matrix of numbers"),
    ],
)
def test_what_is_no_motif(matrix, said):
    with pytest.raises(ValueError, match=said):
        read_motifs({"a": matrix})


def test_names_and_sources(tmp_path):
    with pytest.raises(ValueError, match=r"motifs has a motif 'a/b'; a name is text without a slash"):
        read_motifs({"a/b": MATRIX})
    with pytest.raises(ValueError, match="motifs holds no motif"):
        read_motifs({})
    (tmp_path / "m").write_text(JASPAR.replace("MA0002.1\tRUNX1", "MA0001.1 AGL3"))
    with pytest.raises(ValueError, match=r"m has the motif 'MA0001.1 AGL3' more than once"):
        read_motifs(tmp_path / "m")
    (tmp_path / "m").write_text(JASPAR.replace("94 75  4", "94 75"))
    with pytest.raises(ValueError, match=r"the motif 'MA0001.1 AGL3' of m has the shape 0 x 0"):
        read_motifs(tmp_path / "m")
    (tmp_path / "m").write_text("something else\n")
    with pytest.raises(ValueError, match="holds no motif in JASPAR or MEME format"):
        read_motifs(tmp_path / "m")
    with pytest.raises(
        FileNotFoundError, match=r"source of motifs, 'JASPAR1999', is neither a file nor .* JASPAR2014, .*JASPAR2024"
    ):
        read_motifs("JASPAR1999")
    with pytest.raises(TypeError, match="source of motifs must be a JASPAR release .* got int: 3"):
        read_motifs(3)
