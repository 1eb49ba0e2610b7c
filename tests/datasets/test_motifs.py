"""The genome of the simulator: the motifs are where the truth says, and the file is whole or absent."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pyfaidx import Fasta

import sctandem as td
from sctandem.datasets._simulation import _motifs

if TYPE_CHECKING:
    from mudata import MuData


@pytest.fixture(name="fasta", scope="module")
def fixture_fasta(tmp_path_factory):
    return tmp_path_factory.mktemp("genome") / "genome.fa"


@pytest.fixture(name="mdata", scope="module")
def fixture_mdata(fasta) -> MuData:
    return td.datasets.simulate_multiome(20, 60, 700, fasta=fasta, rng=1)


@pytest.fixture(name="truth", scope="module")
def fixture_truth(mdata) -> SimpleNamespace:
    return SimpleNamespace(**mdata.uns["truth"])


def test_planted_motifs_are_in_the_genome(mdata, truth, fasta):
    with Fasta(str(fasta)) as genome:
        assert {name: len(genome[name]) for name in genome.keys()} == truth.chromosomes["size"].to_dict()  # noqa: SIM118
        found = [
            str(genome[chrom][start:end])
            for chrom, start, end in truth.sites[["chrom", "start", "end"]].itertuples(index=False)
        ]
        background = str(genome["chr1"][:100_000])
    assert found == truth.sites["sequence"].tolist()
    assert background.count("C") + background.count("G") == pytest.approx(41_000, abs=1500)
    where = mdata["atac"].var.loc[truth.sites["peak"]]
    assert (truth.sites["start"].to_numpy() >= where["start"].to_numpy()).all()
    assert (truth.sites["end"].to_numpy() <= where["end"].to_numpy()).all()


def test_sites_follow_their_motifs_on_their_strand(truth):
    codes = str.maketrans("ACGT", "0123")
    matched, wrong_strand = [], []
    for tf, word, strand in truth.sites[["tf", "sequence", "strand"]].itertuples(index=False):
        letters = np.array([int(c) for c in word.translate(codes)])
        matrix = truth.motifs[tf]
        turned = 3 - letters[::-1]
        own, other = (letters, turned) if strand == "+" else (turned, letters)
        best = matrix.argmax(1)
        matched.append((best == own).mean())
        wrong_strand.append((best == other).mean())
    assert np.mean(matched) == pytest.approx(0.94, abs=0.01)
    assert np.mean(wrong_strand) < 0.5


def test_sites_do_not_overlap(truth):
    for _, here in truth.sites.sort_values(["chrom", "start"]).groupby("chrom"):
        assert (here["start"].to_numpy()[1:] >= here["end"].to_numpy()[:-1]).all()


def test_fasta_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    def broken(chrom, *args, **kwargs):
        if chrom == "chr3":
            msg = "disk full"
            raise OSError(msg)
        return np.full(100, ord("A"), dtype=np.uint8)

    monkeypatch.setattr(_motifs, "_chromosome", broken)
    with pytest.raises(OSError, match="disk full"):
        td.datasets.simulate_multiome(20, 20, 40, fasta=tmp_path / "genome.fa")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError, match=r"the folder '.*nowhere' does not exist"):
        td.datasets.simulate_multiome(20, 20, 40, fasta=tmp_path / "nowhere" / "genome.fa")
