"""Scores of compositions against closed forms, and the targets against rows that are made up."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from benchmarks import _deconvolution_report as report
from benchmarks import _deconvolution_scores as scores
from benchmarks import _deconvolution_targets as judged
from scipy.stats import spearmanr

RNG = np.random.default_rng(0)


def frame(values, types=("a", "b", "c")):
    values = np.asarray(values, dtype=float)
    return pd.DataFrame(values, [f"s{i}" for i in range(len(values))], list(types))


def test_ccc_of_a_shift_and_a_scale():
    """Lin 1989: CCC = Pearson x 2 / (v + 1/v + u^2), v the ratio of spreads, u the shift over their geometric mean."""
    x = RNG.normal(size=200)
    assert scores.ccc(x, x) == pytest.approx(1)
    assert scores.ccc(x, -x + 2 * x.mean()) == pytest.approx(-1)
    shift = 0.7
    assert scores.ccc(x, x + shift) == pytest.approx(2 * x.var() / (2 * x.var() + shift**2))
    y = 0.5 * x + 0.3 * RNG.normal(size=200) + 1
    v, u = x.std() / y.std(), (x.mean() - y.mean()) / np.sqrt(x.std() * y.std())
    assert scores.ccc(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1] * 2 / (v + 1 / v + u**2))
    assert scores.ccc(x, np.full(200, x.mean())) == pytest.approx(0)
    assert np.isnan(scores.ccc(np.ones(3), np.ones(3)))


def test_composition_is_scaled_and_matched_by_name():
    truth = frame(RNG.dirichlet(np.ones(3), 20))
    estimate = (3 * truth)[["c", "a", "b"]].iloc[::-1]
    found = scores.composition(truth, estimate)
    assert (found["ccc"], found["ccc_types"], found["rmse"]) == pytest.approx((1, 1, 0))
    moved = truth + [0.1, -0.1, 0.0]
    found = scores.composition(truth, moved)
    assert list(found["bias"].values()) == pytest.approx([0.1, -0.1, 0.0])
    assert found["rmse"] == pytest.approx(np.sqrt(0.02 / 3))


def test_uniform_and_contents():
    truth = frame([[0.5, 0.25, 0.25], [1, 0, 0]])
    assert scores.uniform(truth) == pytest.approx(np.sqrt(np.mean((truth.to_numpy() - 1 / 3) ** 2)))
    contents = {"a": 2.0, "b": 1.0, "c": 4.0}
    rna = truth * pd.Series(contents)
    back = scores.with_contents(rna.div(rna.sum(axis=1), axis=0), contents)
    pd.testing.assert_frame_equal(back, truth)


def test_coverage_counts_pairs():
    truth = frame([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]])
    low, high = truth - [0.1, -0.05, 0.0], truth + [0.1, 0.1, 0.0]
    found = scores.coverage(truth, low, high)
    assert found["coverage"] == pytest.approx(4 / 6)
    assert found["coverage_types"] == pytest.approx({"a": 1, "b": 0, "c": 1})
    assert found["width"] == pytest.approx((0.2 + 0.05 + 0) / 3)


def test_missing_compares_shares_of_all_cells():
    absolute = frame([[0.2, 0.3, 0.1], [0.3, 0.3, 0.2]])
    other = 1 - absolute.sum(axis=1)
    perfect = scores.missing(absolute, other, absolute.div(absolute.sum(axis=1), axis=0), other)
    assert (perfect["unknown_error"], perfect["worst_bias"]) == pytest.approx((0, 0))
    blind = scores.missing(absolute, other, absolute, other * 0)
    assert blind["unknown_error"] == pytest.approx(other.mean())
    assert blind["unknown_bias"] == pytest.approx(-other.mean())
    known = absolute.div(absolute.sum(axis=1), axis=0)
    assert blind["bias"]["b"] == pytest.approx((known["b"] - absolute["b"]).mean())
    assert blind["worst_bias"] == pytest.approx((known - absolute).mean().max())


def test_expression_is_the_mean_rank_correlation_of_expressed_genes():
    names = [f"g{i}" for i in range(6)]
    level = np.array([1e-5, 0.1, 0.2, 0.3, 0.2, 0.2])
    true = pd.DataFrame(level * RNG.lognormal(0, 0.1, (15, 6)), columns=names)
    estimate = true + RNG.normal(0, 0.02, true.shape)
    estimate["g5"] = 0.2
    expected = [spearmanr(true[name], estimate[name])[0] for name in names[1:5]]
    found = scores.expression({"a": true, "b": true}, {"a": estimate, "b": true})
    assert found["spearman_types"]["a"] == pytest.approx(sum(expected) / 5)
    assert found["spearman_types"]["b"] == pytest.approx(1)
    flat = pd.DataFrame(1.0, true.index, names)
    assert scores.expression({"a": true}, {"a": flat})["spearman"] == 0


def rows(values, **more):
    return [
        {"set": name, "method": method, "contents": told, "seed": seed, "ccc": value, "rmse": 1 - value} | more
        for name in judged.REAL
        for (method, told), value in values.items()
        for seed in (0, 1)
    ]


def verdicts(table):
    return [row["met"] for row in table]


def test_the_best_single_peer_and_the_median_are_what_counts():
    peers = {("nnls", False): 0.5, ("nnls", True): 0.9, ("svr", True): 0.6, ("em", True): 0.5}
    assert verdicts(judged.against_peers(rows(peers | {("rsd", True): 0.95}))) == ["yes"] * 4
    table = judged.against_peers(rows(peers | {("rsd", True): 0.8}))
    assert verdicts(table) == ["no", "no", "yes", "yes"]
    assert table[0]["asked"] == "NNLS, all genes, contents 0.900"
    worse = rows(peers | {("rsd", True): 0.95})
    worse = [row | {"ccc": 0.3} if (row["set"], row["method"]) == ("hoek", "rsd") else row for row in worse]
    found = judged.against_peers(worse)[2]
    assert (found["met"], found["found"]) == ("no", "worse on hoek")


def test_the_median_of_peers_without_contents_counts_where_it_is_the_better():
    peers = {("nnls", False): 0.7, ("nnls", True): 0.3, ("svr", False): 0.7, ("svr", True): 0.3}
    table = judged.against_peers(rows(peers | {("rsd", True): 0.5}))
    assert verdicts(table)[2:] == ["no", "no"]
    turned = {("nnls", False): 0.3, ("nnls", True): 0.7}
    assert verdicts(judged.against_peers(rows(turned | {("rsd", True): 0.5})))[2:] == ["no", "no"]
    assert verdicts(judged.against_peers(rows(turned | {("rsd", True): 0.7})))[2:] == ["yes", "yes"]


def test_a_plain_likelihood_is_to_be_beaten_on_every_set():
    both = rows({("rsd", True): 0.99, ("plain", True): 0.95})
    assert verdicts([judged.above_plain(both)]) == ["yes"]
    behind = [row | {"ccc": 0.9} if (row["set"], row["method"]) == ("hoek", "rsd") else row for row in both]
    found = judged.above_plain(behind)
    assert (found["met"], found["found"]) == ("no", "CCC 0.900 against 0.950 on hoek")
    far = [row | {"rmse": 0.2} if (row["set"], row["method"]) == ("rnamix", "rsd") else row for row in both]
    assert judged.above_plain(far)["found"] == "RMSE 0.200 against 0.050 on rnamix"
    assert judged.above_plain(both[:-4])["met"] == "-"
    assert judged.above_plain(rows({("rsd", True): 0.99, ("plain", False): 0.95}))["met"] == "-"


def test_small_cohorts_do_not_hide_false_drivers_of_large_ones():
    own = {"method": judged.DRIVERS, "level": "genes"}
    found = [own | {"set": size, "fdp": fdp} for size, fdp in [("10 v 10", 0.0), ("20 v 20", 0.06), ("20 v 20", 0.12)]]
    genes, types = judged.drivers([*found, own | {"set": "20 v 20", "fdp": 0.01, "level": "types"}])
    assert (genes["met"], genes["found"]) == ("no", "worst 0.090 ± 0.030 (20 v 20, 2 cohorts)")
    assert types["met"] == "yes"


def test_methods_are_compared_on_the_pairs_that_rsd_has():
    own = {"method": "rsd", "contents": True, "rmse": 0.1}
    peer = {"method": "plain", "contents": True, "rmse": 0.2}
    found = [own | {"set": "a", "ccc": 0.9}, own | {"set": "b", "ccc": 0.5}]
    found += [peer | {"set": name, "ccc": ccc} for name, ccc in (("b", 0.7), ("c", 0.0), ("a", 0.8))]
    found += [peer | {"set": "a", "ccc": 0.1, "contents": False}]  # lacks b
    first, second = report.over_pairs(found)
    assert first == {
        "method": "RSD",
        "contents": "its own",
        "mean CCC": "0.700",
        "lowest CCC": "0.500",
        "mean RMSE": "0.100",
        "pairs": 2,
        "CCC above RSD": "-",
    }
    assert (second["mean CCC"], second["lowest CCC"], second["mean RMSE"]) == ("0.750", "0.700", "0.200")
    assert second["CCC above RSD"] == 1
    assert report.over_pairs(found[2:]) == []


def test_groups_count_once():
    """Three orders of symphony weigh as much as Hoek."""
    found = [row for row in rows({("rsd", True): 0.0}) if row["seed"] == 0]
    found = [row | {"ccc": 1.0} if row["set"].startswith("symphony") else row for row in found]
    assert judged.overall(found, "ccc")["rsd", True] == pytest.approx(1 / 4)
    assert judged.overall([row for row in found if row["set"] != "hoek"], "ccc") == {}


def test_nothing_is_met_before_it_is_measured():
    assert {row["met"] for row in judged.targets({})} == {"-"}
    assert {row["found"] for row in judged.targets({})} == {"not measured"}
    some = [row for row in rows({("rsd", True): 0.99, ("nnls", True): 0.1}) if row["set"] == "hoek"]
    assert {row["met"] for row in judged.targets({"fractions": some})} == {"-"}


def test_intervals_are_judged_on_the_set_that_is_furthest_off():
    own = {"method": "rsd", "contents": True, "seed": 0}
    found = [own | {"set": name, "coverage": 0.9} for name in (*judged.SIMULATED, *judged.REAL)]
    assert verdicts(judged.covered(found)) == ["yes", "yes", "yes"]
    found[0]["coverage"], found[-1]["coverage"] = 0.99, 0.7
    # on average over simulated sets, on each of them, on each real set
    assert verdicts(judged.covered(found)) == ["yes", "no", "no"]
    for row in found[: len(judged.SIMULATED)]:
        row["coverage"] = 0.96
    assert verdicts(judged.covered(found)) == ["no", "no", "no"]


def test_unknown_shares():
    own = {"method": "rsd", "set": "kang_sim", "seed": 0}
    gone = own | {"hidden": "NK", "unknown_error": 0.04, "mean_bias": 0.05, "unknown": 0.2}
    whole = own | {"hidden": "none", "unknown_error": 0.01, "mean_bias": 0.0, "unknown": 0.01}
    assert verdicts(judged.unknown([gone, whole])) == ["yes", "no", "yes"]
    assert verdicts(judged.unknown([row | {"method": "nnls"} for row in (gone, whole)])) == ["-"] * 3
