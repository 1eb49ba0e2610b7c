from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from benchmarks import _regulation_chipexo as part
from chipexo import matched, simulate_chipexo


def test_matches_are_one_to_one_and_the_closest():
    truth = pd.DataFrame({"chrom": ["a", "a", "b"], "position": [100, 108, 100]})
    called = pd.DataFrame({"chrom": ["a", "a", "a", "b"], "position": [103, 101, 300, 111]})
    found = matched(called, truth)
    assert found == {"n_called": 4, "recall": 2 / 3, "fdr": 0.5, "distance": 3.0}
    assert matched(called.head(0), truth)["recall"] == 0
    assert matched(called, truth.head(0))["fdr"] == 1


@pytest.mark.parametrize("method", part.METHODS)
def test_every_method_finds_sites_in_plain_data(method):
    s = simulate_chipexo(n_sites=40, size=200_000, background=2, tags_per_site=40, rng=5)
    scores = matched(part.METHODS[method](s.tags, ""), s.sites)
    assert scores["recall"] >= 0.95
    assert scores["fdr"] <= 0.05
    assert scores["distance"] <= 1


def test_tags_on_one_strand_alone_are_no_site_where_both_are_asked_for():
    s = simulate_chipexo(n_sites=40, size=200_000, background=2, tags_per_site=40, rng=5)
    half = s.tags[s.tags["strand"] == "+"]
    half.attrs = s.tags.attrs
    assert len(part.METHODS["local Poisson"](half, "")) > 30
    assert part.METHODS["local Poisson, both strands"](half, "").empty


def test_targets_hold_the_worst_setting():
    assert len(part.TARGETED) == 5
    rows = [
        {"seed": 0, "setting": setting, "method": "sctandem", "n_called": 9, "seconds": 1.0}
        | {"recall": recall, "fdr": 0.01, "distance": distance}
        for setting, recall, distance in zip(
            part.TARGETED, (0.99, 0.94, 0.98, 0.99, 0.97), (1.0, 0.0, 2.0, 0.0, 1.0), strict=True
        )
    ]
    found = part.targets(rows)
    assert [row["met"] for row in found] == ["yes", "no", "yes"]
    assert found[1]["measured"] == (
        "0.940 (the worst of 5 settings, 20 tags, 5 per kb; mean of seeds); met in the other 4"
    )
    assert {row["met"] for row in part.targets(rows[:4])} == {"not measured"}
    text = part.table(rows)[0]["sctandem: recall, FDR, distance"]
    assert text == "0.990, 0.010, 1.0 bp"


def test_simulated_tags_lie_at_the_borders():
    s = simulate_chipexo(
        n_sites=20, size=100_000, background=0, jitter=0, footprint_sd=0, imbalance=np.inf, chroms=("a",)
    )
    left = s.tags.loc[s.tags["strand"] == "+", "position"]
    assert set(left) <= set(s.sites["position"] - 16)
    assert set(s.tags.loc[s.tags["strand"] == "-", "position"]) <= set(s.sites["position"] + 16)
    assert 15 < s.tags["count"].sum() / 20 < 25
