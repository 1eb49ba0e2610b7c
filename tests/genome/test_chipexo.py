from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from chipexo import matched, simulate_chipexo

from sctandem.genome import call_chipexo_sites, tidy_tags


@pytest.fixture(scope="module")
def simulated():
    return simulate_chipexo(background=5, piles=40, rng=3)


@pytest.fixture(scope="module")
def found(simulated):
    return call_chipexo_sites(simulated.tags)


@pytest.mark.parametrize("background", [1, 10])
def test_planted_sites_are_found_where_they_are(background):
    """20 tags a site on both strands together, unevenly shared."""
    scores = []
    for seed in (11, 12, 13):
        s = simulate_chipexo(background=background, rng=seed)
        result = call_chipexo_sites(s.tags)
        assert result.params["footprint"] in {31, 32, 33}
        scores.append(matched(result.sites, s.sites))
    mean = pd.DataFrame(scores).mean()
    assert mean["distance"] <= 1
    assert mean["recall"] >= 0.95
    assert mean["fdr"] <= 0.05


@pytest.mark.parametrize(
    "what",
    [
        {"background": 10},
        {"background": 10, "duplicates": 0.2},
        {"background": 5, "piles": 300},
        {"background": 5, "clumps": 1.0},
        {"background": 1, "humps": 200},
    ],
)
def test_without_sites_hardly_any_is_called(what):
    s = simulate_chipexo(n_sites=0, rng=1, **what)
    result = call_chipexo_sites(s.tags, footprint=32)
    assert len(result.sites) <= 2
    assert result.residual.loc["total", "share_residual"] > 0.98


def test_a_border_on_one_strand_is_no_site(simulated, found):
    assert matched(found.sites, simulated.sites)["fdr"] <= 0.02
    total = found.residual.loc["total"]
    assert total["n_unpaired"] >= 20  # the piles
    assert total["n_borders"] >= total["n_unpaired"]


def test_copies_of_fragments_are_background_of_another_kind(found):
    s = simulate_chipexo(background=10, duplicates=0.2, rng=8)
    result = call_chipexo_sites(s.tags)
    assert found.params["dispersion"] < 1 < result.params["dispersion"]
    assert matched(result.sites, s.sites)["fdr"] <= 0.02
    given = call_chipexo_sites(s.tags, dispersion=0.0)
    assert given.params["dispersion"] == 0
    assert given.residual.loc["total", "n_unpaired"] > 2 * result.residual.loc["total", "n_unpaired"]


def test_borders_of_sites_are_not_left_over():
    s = simulate_chipexo(background=1, imbalance=np.inf, tags_per_site=40, rng=9)
    total = call_chipexo_sites(s.tags).residual.loc["total"]
    assert total["n_borders"] >= 390
    assert total["n_unpaired"] <= 10


def test_sites_lie_between_their_borders(found):
    sites = found.sites
    width = sites["right"] - sites["left"]
    assert width.between(32 - 8, 32 + 8).all()
    assert ((sites["position"] - (sites["left"] + sites["right"]) / 2).abs() <= 1).all()
    assert (sites["fdr"] <= 0.05).all()
    assert (sites["pvalue"] <= sites["fdr"]).all()
    np.testing.assert_allclose(sites["score"], -np.log10(sites["fdr"]))
    assert sites["n_replicates"].eq(1).all()
    assert found.params["n_tests"] == 4_000_000
    for _, here in sites.groupby("chrom"):
        assert here["position"].is_monotonic_increasing
        assert not here["left"].duplicated().any()
    assert {c: str(t) for c, t in sites.dtypes.items() if c != "chrom"} == {
        **dict.fromkeys(["position", "left", "right", "n_left", "n_right", "n_replicates"], "int64"),
        **dict.fromkeys(["expected_left", "expected_right", "pvalue", "fdr", "score"], "float64"),
    }


def test_residual_is_what_lies_at_no_border(simulated, found):
    reads = simulated.tags
    for chrom in ("chr1", "chr2", "total"):
        here = reads if chrom == "total" else reads[reads["chrom"] == chrom]
        explained = 0
        for strand, column in (("+", "left"), ("-", "right")):
            for name, part in here[here["strand"] == strand].groupby("chrom"):
                edges = found.sites.loc[found.sites["chrom"] == name, column].to_numpy()
                far = np.abs(part["position"].to_numpy()[:, None] - edges).min(axis=1)
                explained += part["count"].to_numpy()[far <= 4].sum()
        row = found.residual.loc[chrom]
        assert row["n_tags"] == here["count"].sum()
        assert row["n_explained"] == explained
        assert row["share_residual"] == pytest.approx(1 - explained / here["count"].sum())


def test_profile_peaks_at_the_borders(found):
    profile = found.profile.set_index("offset")
    assert profile["plus"].idxmax() in {-17, -16, -15}
    assert profile["minus"].idxmax() in {15, 16, 17}
    assert 6 < profile["plus"].sum() < 14


def test_order_of_rows_and_split_counts_change_nothing(simulated, found):
    tags = simulated.tags.sample(frac=1, random_state=1)
    single = tags.loc[tags.index.repeat(tags["count"])].drop(columns="count")
    single.attrs = tags.attrs
    for other in (tags, single):
        pd.testing.assert_frame_equal(call_chipexo_sites(other).sites, found.sites)


def test_the_other_way_round_gives_the_mirror_image(simulated, found):
    tags, size = simulated.tags.copy(), 1_000_000
    tags["position"] = size - 1 - tags["position"]
    tags["strand"] = tags["strand"].map({"+": "-", "-": "+"})
    tags.attrs = simulated.tags.attrs
    turned = call_chipexo_sites(tags).sites
    turned["position"] = size - 1 - turned["position"]
    # halves are rounded, and of equal maxima the first is taken, which then is the other one
    assert matched(turned, found.sites, reach=1)["recall"] >= 0.97
    assert abs(len(turned) - len(found.sites)) <= 2


def test_replicates_have_to_agree(simulated):
    first = simulate_chipexo(places=simulated.sites, rng=20)
    lonely = simulate_chipexo(n_sites=40, rng=21)  # sites of one replicate only
    lonely.tags.attrs = {}
    second = simulate_chipexo(places=simulated.sites, rng=22)
    spoilt = pd.concat([second.tags, lonely.tags])
    both = call_chipexo_sites([first.tags, spoilt], chromosome_sizes={"chr1": 1_000_000, "chr2": 1_000_000})
    assert both.params["n_irreproducible"] >= 30
    assert matched(both.sites, simulated.sites)["fdr"] <= 0.02
    assert matched(both.sites, simulated.sites)["recall"] >= 0.9
    assert both.sites["n_replicates"].eq(2).all()
    either = call_chipexo_sites([first.tags, spoilt], min_replicates=1)
    assert matched(either.sites, lonely.sites)["recall"] >= 0.8
    assert len(either.sites) == len(both.sites) + both.params["n_irreproducible"]


def test_more_tags_alone_do_not_move_the_border(simulated):
    """A lone tag far from any site changes nothing but the background."""
    extra = pd.DataFrame({"chrom": ["chr1"], "position": [999_990], "strand": ["+"], "count": [1]})
    tags = pd.concat([simulated.tags, extra])
    tags.attrs = simulated.tags.attrs
    sites = call_chipexo_sites(tags).sites
    assert abs(len(sites) - len(call_chipexo_sites(simulated.tags).sites)) <= 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda t: t[t["strand"] == "+"], ValueError, "All .* tags of tags are on the \\+ strand"),
        (lambda t: t.assign(strand="."), ValueError, "without strand .the first: '.'"),
        (lambda t: t.assign(count=-1), ValueError, "no whole numbers of at least 0 .the first: -1"),
        (lambda t: t.assign(count=0.5), ValueError, "no whole numbers"),
        (lambda t: t.assign(position=-4), ValueError, "tags\\['position'\\]"),
        (lambda t: t.head(0), ValueError, "holds no tags"),
        (lambda t: t.drop(columns="strand"), ValueError, "lacks the columns 'strand'"),
        (lambda t: "tags.bam", TypeError, "tags must be a DataFrame"),
        (lambda t: [], ValueError, "empty list"),
        (lambda t: [t, t.assign(chrom="other")], ValueError, "share no chromosome"),
    ],
)
def test_bad_tags(simulated, change, error, message):
    with pytest.raises(error, match=message):
        call_chipexo_sites(change(simulated.tags), footprint=32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"footprint": 0}, "footprint=0"),
        ({"tolerance": -1}, "tolerance=-1"),
        ({"border_width": 8}, "border_width=8 is even"),
        ({"fdr": 0}, "fdr=0"),
        ({"fdr": 1.5}, "fdr=1.5"),
        ({"dispersion": -0.1}, "dispersion=-0.1"),
        ({"local": (0,)}, "local=0"),
        ({"min_replicates": 2}, "min_replicates=2, but there is 1"),
        ({"chromosome_sizes": {"chr1": 10}}, "chr1 ends at 10"),
    ],
)
def test_bad_arguments(simulated, options, message):
    with pytest.raises(ValueError, match=message):
        call_chipexo_sites(simulated.tags, **options)


def test_strands_without_offset_ask_for_the_footprint():
    s = simulate_chipexo(n_sites=0, background=10)
    with pytest.raises(ValueError, match="Give the distance of the borders: footprint="):
        call_chipexo_sites(s.tags)


def test_two_tags_make_no_site():
    tags = pd.DataFrame({"chrom": "chr1", "position": [10, 40], "strand": ["+", "-"]})
    result = call_chipexo_sites(tags, footprint=30)
    assert result.sites.empty
    assert result.residual.loc["total", "n_tags"] == 2


def test_tidy_tags_adds_up_and_sorts():
    tags = pd.DataFrame(
        {"chrom": ["b", "a", "b", "a"], "position": [7, 9, 7, 3], "strand": list("+-+-"), "count": [1, 2, 4, 0]}
    )
    tidy = tidy_tags(tags)
    assert tidy.to_numpy().tolist() == [["a", 9, "-", 2], ["b", 7, "+", 5]]
    assert list(tidy["chrom"].cat.categories) == ["a", "b"]
