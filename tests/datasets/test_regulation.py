"""The grammar of the simulator on genomes small enough to write down, and what the loss of a site does."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sctandem.datasets._simulation import _regulation as regulation
from sctandem.datasets._simulation._config import SimulationDesign
from sctandem.datasets._simulation._genome import Genome, lay_out

TFS = pd.DataFrame(
    {
        "role": ["boundary", "activator", "upstream", "downstream", "repressor", "pair", "helper", "decoy"],
        "partner": ["", "", "", "", "", "h", "", ""],
        "gene": [""] * 8,
    },
    index=["b", "a", "u", "d", "r", "p", "h", "x"],
)
ROLE = {**TFS["role"].to_dict(), ".": "none"}


def allowed(peaks: str, strand: str = "+") -> str:
    """Write a window as letters with the gene as `|`; get back which peaks can be links (`-` marks those that cannot)."""
    at = peaks.index("|")
    letters = peaks.replace("|", "")
    middle = np.array([1000 * (i - at) + (1000 if i >= at else 0) for i in range(len(letters))]) + 50_000
    table = pd.DataFrame({"chrom": "chr1", "start": middle - 100, "end": middle + 100}, index=list(map(str, middle)))
    tss = 50_000 + 10 - 1000 * (at == 0)
    genes = pd.DataFrame({"chrom": ["chr1"], "tss": [50_500 if at else tss], "strand": [strand]}, index=["g"])
    genes["tss"] = middle[at] - 500 if at < len(letters) else middle[-1] + 500
    genome = Genome(pd.Series({"chr1": 100_000}), genes, table, np.zeros(len(letters), dtype=bool))
    pairs = regulation.window_pairs(genome).assign(scale=1.0)
    role = np.array([ROLE[letter] for letter in letters])
    factor = np.array([letter if letter != "." else "" for letter in letters], dtype=object)
    result = regulation.apply_grammar(pairs, role, factor, TFS, genome=genome)
    verdict = np.full(len(letters), "-")
    verdict[result["peak"]] = np.where(result["allowed"], np.array(list(letters))[result["peak"]], "-")
    return "".join([*verdict[:at], "|", *verdict[at:]])


@pytest.mark.parametrize(
    ("window", "strand", "expected"),
    [
        ("a.ar|r.a", "+", "a-ar|r-a"),  # from anywhere
        ("ab.a|abbar", "+", "---a|a----"),  # nothing passes a boundary, on either side
        ("b|a", "+", "-|a"),  # a boundary does not block itself, nor the other side
        ("ud|ud", "+", "u-|-d"),  # upstream and downstream, in the direction of transcription
        ("ud|ud", "-", "-d|u-"),
        ("ph|hp", "+", "p-|-p"),  # the helper next to it, on the side of the gene
        ("hp|ph", "+", "--|--"),  # on the other side it does not help
        ("p.h|h.p", "+", "---|---"),  # nor from further away
        ("p|h", "+", "-|-"),  # nor across the gene
        ("pbh|hbp", "+", "---|---"),
        ("xh|xh", "+", "--|--"),  # decoys and helpers do nothing by themselves
        ("|hpa", "+", "|-pa"),
        ("aph|", "-", "ap-|"),
    ],
)
def test_grammar(window, strand, expected):
    assert allowed(window, strand) == expected


def test_chromosomes_do_not_touch():
    """A helper at the end of one chromosome is no neighbour of the first peak of the next."""
    peaks = pd.DataFrame(
        {"chrom": ["chr1", "chr2"], "start": [49_000, 9_000], "end": [49_200, 9_200]}, index=["1", "2"]
    )
    genes = pd.DataFrame({"chrom": ["chr2"], "tss": [8_000], "strand": ["+"]}, index=["g"])
    genome = Genome(pd.Series({"chr1": 50_000, "chr2": 50_000}), genes, peaks, np.zeros(2, dtype=bool))
    pairs = regulation.window_pairs(genome).assign(scale=1.0)
    assert pairs["peak"].tolist() == [1]
    result = regulation.apply_grammar(
        pairs, np.array(["helper", "pair"]), np.array(["h", "p"], dtype=object), TFS, genome=genome
    )
    assert not result["allowed"].any()


def test_window_pairs_equals_brute_force(rng):
    genome = lay_out(40, 500, design=SimulationDesign(), rng=rng)
    pairs = regulation.window_pairs(genome)
    tss, strand = genome.genes["tss"].to_numpy(), genome.genes["strand"].to_numpy()
    same = genome.genes["chrom"].to_numpy()[:, None] == genome.peaks["chrom"].to_numpy()[None]
    offset = genome.midpoints[None] - tss[:, None]
    gene, peak = np.nonzero(same & (np.abs(offset) <= 100_000))
    np.testing.assert_array_equal(pairs[["gene", "peak"]].to_numpy(), np.column_stack([gene, peak]))
    np.testing.assert_array_equal(pairs["distance"], np.where(strand == "+", 1, -1)[gene] * offset[gene, peak])


@pytest.fixture(name="world", scope="module")
def fixture_world() -> tuple[Genome, regulation.Regulation, np.ndarray]:
    place, rule, cells = np.random.default_rng(0).spawn(3)
    genome = lay_out(100, 1200, design=SimulationDesign(), rng=place)
    drawn = regulation.draw_regulation(genome, design=SimulationDesign(), rng=rule)
    return genome, drawn, cells.normal(0, 1, (400, len(drawn.tfs)))


def rates(drawn: regulation.Regulation, activity: np.ndarray) -> np.ndarray:
    return drawn.log_rate(drawn.openness(activity), activity)


def test_log_rate_equals_its_formula(world):
    """Written out link by link; at zero activities a gene has its base rate, and no gene leaves e^2 around that."""
    _, drawn, activity = world
    activity = np.vstack([np.zeros(activity.shape[1]), activity])
    openness = 1 / (1 + np.exp(-(drawn.baseline + activity @ drawn.gains)))
    drive = np.zeros((len(activity), drawn.base.size))
    for gene, peak, helper, weight in drawn.links[["gene", "peak", "helper", "weight"]].itertuples(index=False):
        drive[:, gene] += weight * openness[:, peak] * (openness[:, helper] if helper >= 0 else 1)
    for factor, role in enumerate(drawn.tfs["role"]):
        drive[:, factor] += 0.6 * activity[:, factor] * (role != "boundary")
    expected = drawn.base + 2 * np.tanh((drive - drive[0]) / 2)
    np.testing.assert_allclose(rates(drawn, activity), expected, atol=1e-4)
    np.testing.assert_allclose(rates(drawn, activity)[0], drawn.base, atol=1e-6)
    assert np.abs(expected - drawn.base).max() <= 2


def test_without_grammar_distance_alone_decides():
    place, rule = np.random.default_rng(1).spawn(2)
    design = SimulationDesign(grammar=False, link_loss=0)
    genome = lay_out(400, 4000, design=design, rng=place)
    drawn = regulation.draw_regulation(genome, design=design, rng=rule)
    opened = drawn.pairs[~np.isin(drawn.role[drawn.pairs["peak"]], ["none", "boundary"])]
    linked = opened.index.isin(drawn.links.index)
    # the share of links falls as exp(-distance / 20 kb), on both sides of the gene and behind boundaries
    for side in (-1, 1):
        for low in (0, 10_000, 30_000, 60_000):
            here = (side * opened["distance"] >= low) & (side * opened["distance"] < low + 5_000)
            expected = np.exp(-opened.loc[here, "distance"].abs() / 20_000).mean()
            assert abs(linked[here].mean() - expected) < 4 * np.sqrt(expected / here.sum())
    assert (drawn.links["helper"] == -1).all()
    assert set(drawn.role[drawn.links["peak"]]) == set(regulation.ROLES) - {"boundary"}


def test_regression_on_linked_peaks_recovers_the_signs(world):
    """Beyond the genes of the factors: least squares of the unsaturated log rate on what each link contributes."""
    _, drawn, activity = world
    openness = drawn.openness(activity)
    rate = 2 * np.arctanh(np.clip((rates(drawn, activity) - drawn.base) / 2, -0.9999, 0.9999))
    agree = []
    for gene, links in drawn.links[drawn.links["gene"] >= len(drawn.tfs)].groupby("gene"):
        helper = links["helper"].to_numpy()
        drive = openness[:, links["peak"]] * np.where(helper >= 0, openness[:, helper], 1)
        design = np.column_stack([drive, np.ones(len(drive))])
        found = np.linalg.lstsq(design, rate[:, gene], rcond=None)[0][:-1]
        agree.extend(np.sign(found) == np.sign(links["weight"]))
    assert len(agree) > 200
    assert np.mean(agree) > 0.97


def test_activity_opens_the_peaks_of_its_factor_only(world):
    _, drawn, activity = world
    more = activity.copy()
    more[:, 2] += 1
    change = drawn.openness(more) - drawn.openness(activity)
    name = drawn.tfs.index[2]
    bound = drawn.bound.loc[drawn.bound["tf"] == name, "peak"].unique()
    others = np.setdiff1d(np.arange(change.shape[1]), bound)
    assert (change[:, bound] > 0).all()
    assert (change[:, others] == 0).all()


def test_loss_of_a_boundary_releases_what_it_blocked(world):
    genome, drawn, activity = world
    before = rates(drawn, activity)
    released = 0
    for boundary in np.flatnonzero(drawn.role == "boundary")[:40]:
        opened = drawn.without_peak(int(boundary), genome)
        fresh = opened.links.index.difference(drawn.links.index)
        assert drawn.links.index.difference(opened.links.index).empty
        changed = np.flatnonzero(np.abs(rates(opened, activity) - before).max(0) > 1e-6)
        assert set(changed) == set(opened.links.loc[fresh, "gene"])
        released += len(fresh)
        for _, link in opened.links.loc[fresh].iterrows():  # it lay between the gene and the peak
            tss, middle = genome.genes["tss"].iloc[int(link["gene"])], genome.midpoints
            low, high = sorted([tss, middle[int(link["peak"])]])
            assert low <= middle[boundary] <= high
    assert released > 20


def test_loss_of_other_sites(world):
    genome, drawn, activity = world
    before = rates(drawn, activity)
    decoys = np.flatnonzero(drawn.role == "decoy")[:10]
    for peak in decoys:
        np.testing.assert_allclose(rates(drawn.without_peak(int(peak), genome), activity), before, atol=1e-6)
    link = drawn.links[(drawn.links["helper"] < 0) & (drawn.links["weight"] > 0)].iloc[0]
    after = rates(drawn.without_peak(int(link["peak"]), genome), activity)
    assert (after[:, int(link["gene"])] < before[:, int(link["gene"])]).all()
