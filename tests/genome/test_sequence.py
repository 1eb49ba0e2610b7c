from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest

from sctandem.genome import sequence_features

PAIR = str.maketrans("ACGTN", "TGCAN")


def write_fasta(path, chromosomes: dict[str, str], width: int = 60):
    text = "".join(
        f">{name} dna\n" + "\n".join(bases[i : i + width] for i in range(0, len(bases), width)) + "\n"
        for name, bases in chromosomes.items()
    )
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt") as handle:
        handle.write(text)
    return path


def described(bases: str, k: int) -> dict[str, float]:
    """The features of one sequence, letter by letter."""
    bases = bases.upper()
    known = sum(bases.count(b) for b in "ACGT")
    expected = bases.count("C") * bases.count("G")
    features = {
        "gc": (bases.count("G") + bases.count("C")) / max(known, 1),
        "cpg_oe": bases.count("CG") * known / expected if expected else 0.0,
    }
    kmers = [bases[i : i + k] for i in range(len(bases) - k + 1)]
    kmers = [min(kmer, kmer.translate(PAIR)[::-1]) for kmer in kmers if set(kmer) <= set("ACGT")]
    for kmer in kmers:
        features[f"kmer_{kmer}"] = features.get(f"kmer_{kmer}", 0.0) + 1 / len(kmers)
    return features


@pytest.fixture
def genome(rng) -> dict[str, str]:
    letters = np.array(list("ACGTacgtN"))
    weights = np.array([3, 2, 2, 3, 1, 1, 1, 1, 0.5])
    return {
        name: "".join(rng.choice(letters, n, p=weights / weights.sum())) for name, n in (("chr1", 5000), ("chr2", 777))
    }


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("suffix", [".fa", ".fa.gz"])
def test_equal_to_letter_by_letter(tmp_path, rng, genome, k, suffix):
    path = write_fasta(tmp_path / f"genome{suffix}", genome)
    chrom = rng.choice(["chr2", "chr1"], 40)
    start = rng.integers(0, 600, 40)
    peaks = pd.DataFrame({"chrom": chrom, "start": start, "end": start + rng.integers(1, 177, 40)})
    peaks.index = [f"peak {i}" for i in range(40)]
    found = sequence_features(peaks, path, k=k)
    sequences = [genome[c][s:e] for c, s, e in peaks.itertuples(index=False)]
    expected = pd.DataFrame([described(bases, k) for bases in sequences], index=peaks.index).fillna(0.0)
    assert set(expected.columns) <= set(found.columns)
    pd.testing.assert_frame_equal(
        found, expected.reindex(columns=found.columns, fill_value=0.0).astype(np.float32), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize(("k", "n"), [(1, 2), (2, 10), (3, 32), (4, 136), (5, 512), (6, 2080)])
def test_number_of_kmers_up_to_their_reverse_complement(tmp_path, k, n):
    path = write_fasta(tmp_path / "g.fa", {"chr1": "ACGT" * 9})
    found = sequence_features(pd.DataFrame(index=["chr1:0-36"]), path, k=k)
    assert found.shape == (1, 2 + n)
    assert found.iloc[0, 2:].sum() == pytest.approx(1, abs=1e-6)


def test_the_other_strand_gives_the_same_features(tmp_path, genome):
    turned = {name: bases.upper().translate(PAIR)[::-1] for name, bases in genome.items()}
    peaks = pd.DataFrame({"chrom": "chr1", "start": [10, 900], "end": [510, 1100]}, index=["a", "b"])
    other = peaks.assign(start=5000 - peaks.end, end=5000 - peaks.start)
    ours = sequence_features(peaks, write_fasta(tmp_path / "a.fa", genome))
    theirs = sequence_features(other, write_fasta(tmp_path / "b.fa", turned))
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-6)


def test_parts_of_any_size_give_the_same(tmp_path, genome, monkeypatch):
    import importlib

    module = importlib.import_module("sctandem.genome._sequence")
    path = write_fasta(tmp_path / "g.fa", genome)
    peaks = pd.DataFrame({"chrom": "chr1", "start": np.arange(0, 4000, 100), "end": np.arange(0, 4000, 100) + 333})
    whole = sequence_features(peaks, path)
    monkeypatch.setattr(module, "_CHUNK", 500)
    pd.testing.assert_frame_equal(sequence_features(peaks, path), whole)


def test_unknown_bases_only_and_peaks_shorter_than_k(tmp_path):
    path = write_fasta(tmp_path / "g.fa", {"1": "N" * 50 + "AC" * 20})
    found = sequence_features(pd.DataFrame(index=["chr1:0-50", "chr1:50-52"]), path)
    assert (found.iloc[0] == 0).all()
    assert found.loc["chr1:50-52", "gc"] == 0.5
    assert (found.iloc[1, 2:] == 0).all()


@pytest.mark.parametrize(
    ("peak", "said"),
    [
        ("chr2:700-778", r"'chr2:700-778' ends at 778, beyond the end of 'chr2' in g.fa \(777 bp\), as do 1 peaks"),
        (
            "chr7:1-9",
            r"g.fa has no chromosome 'chr7', where the peak 'chr7:1-9' lies \(1 peaks .* has 'chr1', 'chr2' \(2",
        ),
    ],
)
def test_peaks_outside_the_genome(tmp_path, genome, peak, said):
    path = write_fasta(tmp_path / "g.fa", genome)
    with pytest.raises(ValueError, match=said):
        sequence_features(pd.DataFrame(index=["chr1:1-9", peak]), path)


def test_exact_names_of_chromosomes_go_first_and_two_readings_are_an_error(tmp_path):
    peaks = pd.DataFrame(index=["chr1:0-8"])
    for order in (["1", "chr1"], ["chr1", "1"]):
        bases = {"1": "A" * 8, "chr1": "C" * 8}
        path = write_fasta(tmp_path / "g.fa", {name: bases[name] for name in order})
        assert sequence_features(peaks, path).gc.item() == 1
    path = write_fasta(tmp_path / "g.fa", {"1": "A" * 8, "Chr1": "C" * 8})
    with pytest.raises(
        ValueError, match="g.fa has '1' and 'Chr1'; which of them the peaks on 'chr1' mean is not clear"
    ):
        sequence_features(peaks, path)


@pytest.mark.parametrize(("text", "said"), [("ACGT\n", "is no FASTA file"), ("", "holds no sequence")])
def test_files_that_are_no_fasta(tmp_path, text, said):
    (tmp_path / "g.fa").write_text(text)
    with pytest.raises(ValueError, match=said):
        sequence_features(pd.DataFrame(index=["chr1:0-8"]), tmp_path / "g.fa")


@pytest.mark.parametrize("k", [0, 7, 2.0, True])
def test_bad_arguments(tmp_path, k):
    with pytest.raises(ValueError, match="k=.* is not an integer between 1 and 6"):
        sequence_features(pd.DataFrame(index=["chr1:0-8"]), write_fasta(tmp_path / "g.fa", {"chr1": "A" * 9}), k=k)
    with pytest.raises(FileNotFoundError, match=r"fasta='none.fa' is not a file"):
        sequence_features(pd.DataFrame(index=["chr1:0-8"]), "none.fa")


def test_against_a_real_chromosome(shared_data):
    path = shared_data / "genome" / "hg38_chr2_1-2333275.fa.gz"
    # the first 10 kb of the chromosome are unknown; the promoter of ACP1 is a CpG island
    found = sequence_features(pd.DataFrame(index=["chr2:0-5000", "chr2:264300-265300", "chr2:500000-501000"]), path)
    assert (found.iloc[0] == 0).all()
    assert found.gc.iloc[1] > 0.6
    assert found.cpg_oe.iloc[1] > 0.6
    assert found.cpg_oe.iloc[2] < 0.5
