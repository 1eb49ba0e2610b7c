"""What TALENs take from the data and say of places, each piece against a plain loop."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import sctandem as td
from sctandem.genome._overlaps import peaks_over
from sctandem.kernels._talens import chance_of_site, score_matrix
from sctandem.tl._talen_data import open_shares
from sctandem.tl._talen_places import annotate_genes, safety_table, unknown_places


@pytest.mark.parametrize(
    "rvds", ["NI HD NG NN NI HD NN NG NN NI", "NN " * 9 + "NN", "HD " * 10, "NH NI NG NS HD NN NG NI NK HD"]
)
def test_chance_of_a_site(rvds):
    """All 4^10 sites, each with its probability."""
    scores = score_matrix(rvds.split())
    total, share = np.zeros(1), np.ones(1)
    for row in scores:
        total = (total[:, None] + row).ravel()
        share = (share[:, None] * np.array([0.295, 0.205, 0.205, 0.295])).ravel()
    for cutoff in (2.0, 3.0):
        exact = share[total <= cutoff * scores.min(axis=1).sum()].sum()
        assert chance_of_site(rvds.split(), cutoff) == pytest.approx(exact, rel=0.1)


def test_where_positions_lie():
    """Against a look at every gene for every position."""
    rng = np.random.default_rng(3)
    n = 60
    start = rng.integers(0, 90_000, n)
    genes = td.genome.read_genes(pd.DataFrame({
        "chrom": rng.choice(["chr1", "chr2"], n), "start": start, "end": start + rng.integers(50, 6000, n),
        "strand": rng.choice(["+", "-"], n), "gene": [f"G{i}" for i in range(n)],
    }))  # fmt: skip
    exons = pd.DataFrame({"chrom": genes["chrom"], "start": genes["start"], "end": genes["start"] + 40})
    chrom, position = rng.choice(["1", "2", "3"], 500), rng.integers(0, 100_000, 500)
    # the ends of promoters, to the base
    borders = (genes["tss"].to_numpy()[:, None] + np.array([-1001, -1000, -101, -100, 100, 101, 1000, 1001])).ravel()
    position = np.concatenate([position, borders])
    chrom = np.concatenate([chrom, np.repeat(genes["chrom"].str[3:].to_numpy(str), 8)])
    found = annotate_genes(chrom.astype(object), position, genes, exons)
    for row, (name, at) in enumerate(zip(chrom, position, strict=True)):
        here = genes[genes["chrom"] == f"chr{name}"]
        sign = np.where(here["strand"] == "-", -1, 1)
        after = sign * (at - here["tss"].to_numpy())
        place = "intergenic"
        if ((here["start"] <= at) & (at < here["end"])).any():
            place = "gene body"
        if ((after >= -1000) & (after <= 100)).any():
            place = "promoter"
        of = exons[exons["chrom"] == f"chr{name}"]
        if ((of["start"] <= at) & (at < of["end"])).any():
            place = "exon"
        assert found["place"].iloc[row] == place
        assert abs(found["distance"].iloc[row]) == (np.abs(after).min() if len(here) else 0)
        if len(here):
            assert found["distance"].iloc[row] == after[here["name"] == found["gene"].iloc[row]][0]
        else:
            assert found["gene"].iloc[row] == ""


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix, np.asarray])
def test_shares_of_open_cells(kind):
    rng = np.random.default_rng(4)
    counts = rng.poisson(0.5, size=(50, 8))
    groups = pd.Series(pd.Categorical(rng.choice(["a", "b", None], size=50)))
    shares = open_shares(kind(counts), groups)
    for group in "ab":
        np.testing.assert_allclose(shares[group], (counts[(groups == group).to_numpy()] > 0).mean(axis=0))


def test_peaks_over_positions():
    peaks = pd.DataFrame({"chrom": ["chr1", "chr1", "chr2"], "start": [10, 15, 0], "end": [20, 30, 5]})
    chrom = np.array(["chr1", "chr1", "chr1", "chr1", "chr2", "chr2", "chr9"], dtype=object)
    found = peaks_over(peaks, chrom, np.array([9, 10, 17, 29, 4, 5, 1]))[2]
    assert found.tolist() == [-1, 0, 0, 1, 2, -1, -1]


def test_what_the_annotation_does_not_hold_is_not_counted_as_none():
    """A zero for exons, of an annotation without exons, would say that none is hit."""
    genes = td.genome.read_genes(
        pd.DataFrame({"chrom": ["1"], "start": [5000], "end": [9000], "strand": ["+"], "gene": ["G"]})
    )
    starts = genes.copy()
    starts.attrs["tss_rule"] = "middle of intervals"
    exons = pd.DataFrame({"chrom": ["1"], "start": [5000], "end": [5100]})
    chrom, cut = np.array(["1", "1"], dtype=object), np.array([6000, 5050])
    for annotation, known, unknown in (
        (genes, exons, []),
        (genes, None, ["exon"]),
        (starts, None, ["exon", "gene body"]),
    ):
        assert unknown_places(annotation, known) == unknown
        places = annotate_genes(chrom, cut, annotation, known).assign(
            on_target=False, left="RVD1", right="RVD2", mismatches=3, relative_score=[2.0, 2.5], sequence="1", cut=cut
        )
        table = safety_table(places, "TALEN1", 2, [], unknown=unknown).set_index("item")
        counted = {name: table.loc[f"places in {name}", "value"] for name in ("exon", "promoter", "gene body")}
        told = {"exon": 1, "promoter": 0, "gene body": 1} if known is not None else {"promoter": 1, "gene body": 1}
        assert {name for name, value in counted.items() if np.isnan(value)} == set(unknown)
        assert {name: counted[name] for name in told if name not in unknown} == {
            name: value for name, value in told.items() if name not in unknown
        }
        for name in unknown:
            assert "not known" in table.loc[f"places in {name}", "detail"]
            assert f"best score in {name}" not in table.index
