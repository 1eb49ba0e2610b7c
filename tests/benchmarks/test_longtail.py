"""The parts of the benchmark of long tails that its figures rest on."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks._longtail_data import tail_sizes
from benchmarks._longtail_labels import _gain, scores, targets
from benchmarks._longtail_speed import simulate, types_found
from benchmarks._longtail_split import _stratified


def test_tails_fall_by_a_hundred_and_are_available():
    available = np.array([900, 400, 700, 50, 80])
    sizes = tail_sizes(available)
    assert (sizes <= available).all()
    assert sizes.tolist() == [900, 285, 90, 28, 9]
    assert tail_sizes(np.array([900, 100, 700, 50, 80]))[0] == 316


def test_scores_as_in_training():
    """With the composition of the training, the accuracy is that of types weighed by their training cells."""
    truth, found = np.array(["a"] * 4 + ["b"] * 4), np.array(["a"] * 4 + ["b", "a", "a", "a"])
    row = scores(truth, found, ["a", "b"], np.array(["a"] * 9 + ["b"]))
    assert row["accuracy"] == 5 / 8
    assert row["accuracy_tailed"] == pytest.approx(0.9 + 0.1 / 4)
    assert row["tail_f1"] == pytest.approx(0.4)
    assert row["macro_f1_tailed"] == pytest.approx((2 * 0.9 / (0.9 + 0.975) + 0.4) / 2)


def test_gains_are_of_shared_seeds():
    rows = [
        {"set": "s", "seed": seed, "name": name, "x": value}
        for seed, name, value in ((0, "mine", 0.9), (1, "mine", 0.5), (0, "theirs", 0.8))
    ]
    assert _gain(rows, "s", "mine", "theirs", "x") == pytest.approx(10)
    assert _gain(rows, "s", "mine", "nobody", "x") is None


def test_a_miss_is_told():
    rows = [
        {
            "set": "zheng",
            "seed": 0,
            "name": f"network: {name}",
            "accuracy": 0.5,
            "accuracy_tailed": tailed,
            "macro_f1": f1,
        }
        | {"macro_f1_tailed": f1}
        for name, tailed, f1 in (("plain", 0.9, 0.5), ("HCM", 0.8, 0.6), ("logit adjustment", 0.9, 0.7))
    ]
    told = {row["target"]: row["met"] for row in targets(rows)}
    assert told["network, HCM: macro F1 up by 5 points over plain training"] == "yes"
    assert told["network, HCM: at most 1 point of accuracy lost, test composed as the training"] == "no"
    assert told["network, HCM: macro F1 not below that of logit adjustment"] == "no"


def test_types_found():
    types = np.repeat([0, 1, 2], [100, 50, 10])
    assert types_found(types, types) == 3
    assert types_found(types, np.minimum(types, 1)) == 1
    points, drawn = simulate(2000, 0)
    assert (points.shape, len(np.unique(drawn))) == ((2000, 50), 30)


def test_stratified_split_has_its_sizes():
    codes = np.repeat([0, 1, 2, 3], [180, 15, 4, 1])
    parts = _stratified(codes, 0)
    assert np.bincount(parts).tolist() == [160, 20, 20]
