"""The search for places of a TALEN pair, held against TALE-NT's own output and against a plain reading of its rules."""

import bz2
import gzip
import math
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sctandem.genome._talens as talens_module
from sctandem.genome import scan_talens
from sctandem.genome._sequence_stream import stretches
from sctandem.genome._talens import parse_rvds

ORACLE = Path(os.environ.get("SCTANDEM_DATA") or "/nonexistent") / "talen"
ORACLE_PAIR = (
    "NN HD HD HD NI NG NN HD NG NN NI NN NI NN NN",
    "NN HD NN NG NN NG NN HD NN NG NN NG NN NG NN NG",
)
PAIR = ("NN NI HD NN NG NN NI HD NN NN", "NN NN NI HD NG NN NS NG NN NI NN")
COUNTS = {
    "HD": (7, 99, 0, 1),
    "NI": (58, 6, 0, 0),
    "NG": (6, 6, 1, 57),
    "NN": (21, 8, 26, 2),
    "NS": (20, 6, 4, 0),
    "NH": (0, 0, 1, 0),
}
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


def reverse_complement(sequence):
    return sequence.translate(COMPLEMENT)[::-1]


def random_sequence(rng, n, unknown=0.0):
    letters = rng.choice(list("ACGT"), size=n, p=[0.295, 0.205, 0.205, 0.295])
    letters[rng.random(n) < unknown] = "N"
    return "".join(letters)


def write(folder, sequences, name="genome.fa", width=60):
    text = "".join(
        f">{header}\n" + "".join(f"{bases[at : at + width]}\n" for at in range(0, len(bases), width))
        for header, bases in sequences.items()
    )
    path = Path(folder, name)
    path.write_text(text)
    return path


def naive_score(rvds, site):
    """TALE-NT's score, straight from its definition; None where a base is unknown."""
    total = 0.0
    for rvd, base in zip(rvds, site, strict=True):
        if base == "N":
            return None
        counts = COUNTS[rvd]
        total -= math.log(0.9 * counts["ACGT".index(base)] / sum(counts) + 0.1 / 4)
    return total


def naive_scan(sequences, pair, spacer, cutoff, upstream="T", dimers="all"):
    """All pairs of sites by comparing every position with every spacer: slow and plain."""
    arrays = [rvds.split() for rvds in pair]
    best = [sum(min(naive_score([rvd], base) for base in "ACGT") for rvd in rvds) for rvds in arrays]
    allowed = {"T": "T", "C": "C"}.get(upstream, "TC")
    rows = set()
    for name, bases in sequences.items():
        for left in range(2):
            for right in range(2):
                if (dimers == "hetero" and left == right) or (dimers == "homo" and left != right):
                    continue
                for start in range(1, len(bases)):
                    end = start + len(arrays[left])
                    if bases[start - 1] not in allowed or end > len(bases):
                        continue
                    score = naive_score(arrays[left], bases[start:end])
                    if score is None or score > cutoff * best[left]:
                        continue
                    for gap in range(spacer[0], spacer[1] + 1):
                        first, last = end + gap, end + gap + len(arrays[right])
                        if last >= len(bases):
                            continue
                        before = bases[last].translate(COMPLEMENT)
                        if before not in allowed or (upstream == "either" and before != bases[start - 1]):
                            continue
                        site = reverse_complement(bases[first:last])
                        other = naive_score(arrays[right], site)
                        if other is not None and other <= cutoff * best[right]:
                            rows.add((
                                name, f"RVD{left + 1}", f"RVD{right + 1}", start, last - 1, gap, round(score, 6),
                                round(other, 6), bases[start:end], site,
                            ))  # fmt: skip
    return rows


def as_rows(found):
    columns = list(found.columns[:10])
    return {tuple(row) for row in found[columns].round(6).itertuples(index=False, name=None)}


@pytest.mark.skipif(not ORACLE.is_dir(), reason="needs the outputs of TALE-NT in SCTANDEM_DATA")
def test_talent_is_reproduced_exactly():
    files = sorted(ORACLE.glob("cutoff*.txt"))
    assert len(files) == 18
    for path in files:
        cutoff, shortest, longest = re.fullmatch(r"cutoff(\d_\d)_pair0_min(\d+)_max(\d+)", path.stem).groups()
        expected = pd.read_csv(path, sep="\t", skiprows=2)
        expected.columns = [
            "sequence", "left", "right", "left_score", "right_score", "left_start", "right_start", "spacer",
            "left_target", "right_target",
        ]  # fmt: skip
        found = scan_talens(
            ORACLE / "paired_input.fasta",
            ORACLE_PAIR,
            spacer=(int(shortest), int(longest)),
            cutoff=float(cutoff.replace("_", ".")),
        )
        columns = list(found.columns[:10])
        found = found.round({"left_score": 2, "right_score": 2})[columns]
        pd.testing.assert_frame_equal(found, expected[columns], check_dtype=False, rtol=0, atol=1e-9)
    best = path.read_text().split("\n")[:2]
    scores = scan_talens(ORACLE / "paired_input.fasta", ORACLE_PAIR).attrs["best_scores"]
    assert [line.split(":")[1] for line in best] == [f"{score:.2f}" for score in scores.values()]


@pytest.mark.parametrize("upstream", ["T", "C", "either", "mixed"])
@pytest.mark.parametrize("dimers", ["all", "hetero", "homo"])
def test_the_plain_definition(tmp_path, upstream, dimers):
    rng = np.random.default_rng(5)
    sequences = {"b": random_sequence(rng, 700, 0.01), "a": random_sequence(rng, 500), "short": "TACG"}
    expected = naive_scan(sequences, PAIR, (3, 21), 3.2, upstream, dimers)
    found = scan_talens(
        write(tmp_path, sequences), PAIR, spacer=(3, 21), cutoff=3.2, upstream=upstream, dimers=dimers, n_threads=1
    )
    assert len(expected) > 20
    assert as_rows(found) == expected
    assert len(found) == len(expected)  # no place twice
    assert found.attrs["n_bases"] == 1204


def test_either_and_mixed_differ(tmp_path):
    """TALE-NT's `either` wants the same base on both sides."""
    rng = np.random.default_rng(6)
    path = write(tmp_path, {"a": random_sequence(rng, 3000)})
    n = {rule: len(scan_talens(path, PAIR, cutoff=3.2, upstream=rule)) for rule in ("T", "C", "either", "mixed")}
    assert n["either"] == n["T"] + n["C"]
    assert n["mixed"] > n["either"]


@pytest.mark.parametrize("size", [37, 64, 1000])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_borders_of_stretches_and_threads(tmp_path, monkeypatch, size, n_threads):
    rng = np.random.default_rng(size)
    path = write(tmp_path, {"a": random_sequence(rng, 3001, 0.002), "b": random_sequence(rng, 997), "c": "ACGTACGT"})
    whole = scan_talens(path, PAIR, spacer=(0, 30), cutoff=3.3, n_threads=1)
    monkeypatch.setattr(talens_module, "_SIZE", size)
    monkeypatch.setattr("sctandem.genome._sequence_stream._BLOCK", size // 2 + 1)
    parts = scan_talens(path, PAIR, spacer=(0, 30), cutoff=3.3, n_threads=n_threads)
    assert len(whole) > 100
    pd.testing.assert_frame_equal(parts, whole)
    assert parts.attrs == whole.attrs


def test_a_site_at_every_border(tmp_path, monkeypatch):
    """One perfect pair, moved base by base over the border between two stretches."""
    left, right = "NI HD NG NH NI HD NG NH NI HD", "HD HD NG NG NI NI NH NH HD HD"
    site = "T" + "ACTGACTGAC" + "G" * 15 + reverse_complement("CCTTAAGGCC") + "A"
    monkeypatch.setattr(talens_module, "_SIZE", 50)
    for shift in range(120):
        path = write(tmp_path, {"a": "G" * shift + site + "G" * (130 - shift)})
        found = scan_talens(path, (left, right), cutoff=1.0)
        assert found[["left_start", "right_start", "spacer"]].to_numpy().tolist() == [[shift + 1, shift + 35, 15]], (
            shift
        )
        assert found[["polarity_score", "importance_score"]].to_numpy().tolist() == [[0, 0]]


def test_pruning_changes_nothing():
    from sctandem.kernels._talens import TILE, pair_tables, scan_pairs

    rng = np.random.default_rng(2)
    codes = rng.choice(5, size=TILE + 5000, p=[0.294, 0.205, 0.205, 0.294, 0.002]).astype(np.uint8)
    for cutoff in (2.7, 3.0, 3.4):
        tables = pair_tables(*(rvds.split() for rvds in PAIR), cutoff)
        runs = [
            scan_pairs(codes, 1, len(codes), tables, spacer=(10, 30), upstream="T", prune=prune)
            for prune in (True, False)
        ]
        assert len(runs[0][0]) > 50
        assert runs[0][2] == len(runs[0][0])
        for one, other in zip(*runs, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_score_at_the_cutoff_is_kept(tmp_path):
    """The best possible site has the ratio 1.0 exactly."""
    site = "T" + "ACTGACTGAC" + "G" * 15 + reverse_complement("CCTTAAGGCC") + "A"
    pair = ("NI HD NG NN NI HD NG NN NI HD", "HD HD NG NG NI NI NN NN HD HD")
    found = scan_talens(write(tmp_path, {"a": site}), pair, cutoff=1.0)
    assert len(found) == 1
    assert found[["left_score", "right_score"]].to_numpy().ravel().tolist() == list(found.attrs["best_scores"].values())


def test_the_other_strand(tmp_path):
    rng = np.random.default_rng(8)
    bases = random_sequence(rng, 2000)
    forward = scan_talens(write(tmp_path, {"a": bases}, "f.fa"), PAIR, cutoff=3.2)
    backward = scan_talens(write(tmp_path, {"a": reverse_complement(bases)}, "b.fa"), PAIR, cutoff=3.2)
    mirrored = backward.assign(
        left=backward["right"], right=backward["left"],
        left_start=1999 - backward["right_start"], right_start=1999 - backward["left_start"],
        left_score=backward["right_score"], right_score=backward["left_score"],
        left_target=backward["right_target"], right_target=backward["left_target"],
    )  # fmt: skip
    order = ["left", "right", "left_start", "right_start"]
    assert len(forward) > 50
    pd.testing.assert_frame_equal(
        mirrored.sort_values(order, ignore_index=True), forward, check_exact=False, rtol=1e-12
    )


def test_case_wrapping_and_compression(tmp_path):
    rng = np.random.default_rng(9)
    bases = random_sequence(rng, 2500, 0.003)
    expected = scan_talens(write(tmp_path, {"a": bases}), PAIR, cutoff=3.2)
    variants = {
        "lower.fa": f">a some words\n{bases.lower()}".encode(),
        "dos.fa": write(tmp_path, {"a": bases}, "x.fa", 70).read_bytes().replace(b"\n", b"\r\n"),
        "blank.fa": b"\n\n" + write(tmp_path, {"a": bases}, "x.fa", 50).read_bytes().replace(b"\n", b"\n\n"),
        "ambiguous.fa": f">a\n{bases.replace('N', 'R')}\n".encode(),
        "plain.fa.gz": gzip.compress(f">a\n{bases}\n".encode()),
        "named_wrongly.fa": gzip.compress(f">a\n{bases}\n".encode()),
    }
    for name, content in variants.items():
        Path(tmp_path, name).write_bytes(content)
        pd.testing.assert_frame_equal(scan_talens(tmp_path / name, PAIR, cutoff=3.2), expected, obj=name)


def test_the_best_of_many(tmp_path, monkeypatch, caplog):
    rng = np.random.default_rng(11)
    path = write(tmp_path, {"b": random_sequence(rng, 9000), "a": random_sequence(rng, 9000)})
    whole = scan_talens(path, PAIR, cutoff=3.4, n_best=None)
    assert not caplog.records
    monkeypatch.setattr(talens_module, "_SIZE", 500)
    monkeypatch.setattr(talens_module, "_SLACK", 20)
    best = scan_talens(path, PAIR, cutoff=3.4, n_best=100, n_threads=2)
    possible = whole.attrs["best_scores"]
    total = (whole["left_score"] + whole["right_score"]) / (whole["left"].map(possible) + whole["right"].map(possible))
    assert len(whole) > 1000
    kept = whole.assign(total=total, file=whole["sequence"] == "a")
    kept = kept.sort_values(["total", "file", "left", "right", "left_start", "right_start"], ignore_index=True).head(
        100
    )
    kept = kept.sort_values(["sequence", "left", "right", "left_start", "right_start"], ignore_index=True)
    pd.testing.assert_frame_equal(best, kept[best.columns])
    assert best.attrs["n_found"] == len(whole) == whole.attrs["n_found"]
    assert f"{len(whole)} places were found, of which the best 100 are kept" in caplog.text


def test_the_best_of_places_that_tie(tmp_path, monkeypatch):
    """Twice the same array at copies of one site: all four dimers tie everywhere, and the first dimer goes first."""
    array = "NI HD NG NN NI HD NG NN NI HD"
    site = "T" + "ACTGACTGAC" + "G" * 15 + reverse_complement("ACTGACTGAC") + "A" + "G" * 20
    path = write(tmp_path, {"a": site * 60})
    whole = scan_talens(path, (array, array), cutoff=1.0)
    assert len(whole) == 240
    monkeypatch.setattr(talens_module, "_SIZE", 100)
    monkeypatch.setattr(talens_module, "_SLACK", 1)
    best = scan_talens(path, (array, array), cutoff=1.0, n_best=70)
    pd.testing.assert_frame_equal(best, whole.head(70))


def test_further_scores(tmp_path):
    """Where a mismatch lies, and under which repeat, changes the two scores as they say."""
    array = "NI HD NG NN HD NI NN NG HD NI"
    other = "HD " * 10
    best = "ACTGCAGTCA"

    def scores(target):
        site = "T" + target + "G" * 15 + "G" * 10 + "A"
        found = scan_talens(write(tmp_path, {"a": site}), (array, other), cutoff=20, dimers="hetero")
        found = found[found["left_start"] == 1]
        return found[["left_score", "polarity_score", "importance_score"]].to_numpy()[0]

    perfect, first, last, under_hd = (scores(t) for t in (best, "GCTGCAGTCA", "ACTGCAGTCG", "AGTGCAGTCA"))
    assert perfect[1:].tolist() == [0, 0]
    penalty = math.log((0.9 * 58 / 64 + 0.025) / 0.025)
    assert first[0] - perfect[0] == pytest.approx(penalty)
    assert first[0] == pytest.approx(last[0])  # TALE-NT knows no polarity
    assert [first[1], last[1]] == pytest.approx([1.5 * penalty, 0.5 * penalty])
    specific = 0.9 * 58 / 64 + 0.025
    assert first[2] == pytest.approx(math.log((0.7 * specific + 0.3 / 4) / (0.7 * 0.025 + 0.3 / 4)))
    assert first[2] == pytest.approx(last[2])
    assert under_hd[2] > first[2]  # HD binds strongly, and so a mismatch under it costs more


def test_nothing_found(tmp_path):
    for content in ("A" * 500, "NNNN", "", "T" * 10):
        found = scan_talens(write(tmp_path, {"a": content}), PAIR)
        assert found.shape == (0, 12)
        assert found["left_start"].dtype == np.int64
        assert found.attrs["n_found"] == 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"pair": ("NI HD QQ" + " NN" * 10, PAIR[1])}, ValueError, "not known: 'QQ'"),
        ({"pair": ("ACTGACTGACTGACTG", PAIR[1])}, ValueError, "these look like bases; write the repeats"),
        ({"pair": ("NI HD", PAIR[1])}, ValueError, "has 2 RVDs; an array has 10 to 40"),
        ({"pair": PAIR[0]}, ValueError, "must be two arrays"),
        ({"pair": (PAIR[0], 5)}, TypeError, "must be text such as"),
        ({"spacer": (30, 15)}, ValueError, r"reversed: the shortest comes first, \(15, 30\)"),
        ({"spacer": 15}, ValueError, "not a pair"),
        ({"spacer": (-1, 15)}, ValueError, "between 0 and 1000"),
        ({"cutoff": 0.5}, ValueError, "between 1 and 100"),
        ({"upstream": "G"}, ValueError, "choose one of 'T', 'C', 'either', 'mixed'"),
        ({"dimers": "both"}, ValueError, "'hetero'"),
        ({"n_best": 0}, ValueError, "above 0"),
        ({"n_threads": 0}, ValueError, "above 0"),
        ({"fasta": "nowhere.fa"}, FileNotFoundError, "is not a file"),
        ({"fasta": None}, TypeError, "must be a path"),
    ],
)
def test_bad_arguments(tmp_path, change, error, message):
    arguments = {"fasta": write(tmp_path, {"a": "ACGT" * 50}), "pair": PAIR} | change
    with pytest.raises(error, match=message):
        scan_talens(arguments.pop("fasta"), arguments.pop("pair"), **arguments)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ACGT\n", "does not start with '>'"),
        (b"", "holds no sequence"),
        (b">p\nMKLVE\n", "the sequence 'p' holds 'L'"),
        (b">a\nACGT\n>a\nACGT\n", "two sequences named 'a'"),
        (gzip.compress(b">a\n" + b"ACGT" * 1000, mtime=0)[:-12], "cut short or damaged"),
        (bz2.compress(b">a\n" + b"ACGT" * 1000), "looks like bzip2; unpack it"),
        (b"\x43\x27\x41\x1a" + bytes(60), "looks like 2bit; convert it"),
    ],
)
def test_bad_files(tmp_path, content, message):
    path = Path(tmp_path, "bad.fa")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        scan_talens(path, PAIR)


@pytest.mark.parametrize("block", range(1, 12))
def test_a_mark_in_a_line_begins_no_sequence(tmp_path, monkeypatch, block):
    path = Path(tmp_path, "bad.fa")
    path.write_text(">a\nACG>b\nACGT\n")
    monkeypatch.setattr("sctandem.genome._sequence_stream._BLOCK", block)
    with pytest.raises(ValueError, match="the sequence 'a' holds '>'"):
        scan_talens(path, PAIR)


def test_ways_to_write_an_array():
    expected = PAIR[0].split()
    for text in (
        PAIR[0],
        PAIR[0].lower(),
        PAIR[0].replace(" ", "_"),
        PAIR[0].replace(" ", ""),
        expected,
        tuple(expected),
    ):
        assert parse_rvds(text) == expected
    assert parse_rvds("N* " * 10) == ["N*"] * 10


def test_stretches_show_everything_once(tmp_path):
    rng = np.random.default_rng(3)
    sequences = {f"s{n}": random_sequence(rng, n) for n in (1, 2, 30, 61, 200)}
    path = write(tmp_path, sequences, width=7)
    for size in (1, 13, 64):
        own = dict.fromkeys(sequences, "")
        for part in stretches(path, before=1, after=9, size=size):
            text = "".join("ACGTN"[code] for code in part.codes)
            assert sequences[part.name][part.offset : part.offset + len(text)] == text
            own[part.name] += text[part.begin : part.stop]
            assert len(text) - part.stop == 9 or part.offset + len(text) == len(sequences[part.name])
        assert own == {name: bases[1:] for name, bases in sequences.items()}
