"""What the benchmark of adversarial training finds copies by, and that a miss is told."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks import _adversarial_cells as cells
from benchmarks import _adversarial_sequences as sequences


def test_longest_copies_are_those_of_a_plain_search():
    """On either strand; a short alphabet of words makes long runs by chance."""
    rng = np.random.default_rng(0)
    train, made = rng.integers(4, size=(30, 40)), rng.integers(4, size=(25, 40))
    made[0] = train[3]
    made[1, 5:25] = 3 - train[7, 10:30][::-1]
    texts = ["".join(map(str, row)) for row in (*train, *(3 - train[:, ::-1]))]
    among = ["".join(map(str, row)) for row in made]
    longest = [
        max(n for n in range(41) if any(text[i : i + n] in other for other in texts for i in range(41 - n)))
        for text in among
    ]
    assert sequences.longest_copies(made, train).tolist() == longest
    assert longest[0] == 40
    assert longest[1] >= 20


def test_copied_sequences_and_wrong_rates_are_told():
    rates = {"rate_a": 0.5, "rate_b": 0.2, "rate_pair": 0.1, "spacing": 20.0}
    rows = [
        {"name": name, "seed": 0, "n": n, "copy_largest": copy} | rates | {"rate_pair": pair}
        for name, n, copy, pair in (
            (sequences.TRUTH, 10_000, 0, 0.1),
            (sequences.REAL, 10_000, 18, 0.1),
            (sequences.OWN, 10_000, 20, 0.088),
        )
    ]
    told = sequences.targets(rows)
    assert [row["met"] for row in told] == ["yes", "yes", "no", "yes", "no"]
    # sqrt(2 * 0.1 * 0.9 / 10,000) / 0.1 = 4.2 %, of the two rates nearly equal
    assert told[2]["measured"] == "-12.0% (standard error 4.1%)"
    assert told[4]["measured"] == "20 (18)"
    rows[-1] |= {"copy_largest": 19, "rate_pair": 0.109}
    assert {row["met"] for row in sequences.targets(rows)} == {"yes"}


def test_copied_cells_are_told():
    """New cells of the same kind lie as far as held-out ones; a few copies show in the lowest quantile, many in both."""
    rng = np.random.default_rng(0)
    train, real, made = (rng.normal(size=(n, 20)) for n in (600, 400, 400))
    fair = cells.nearest(train, real, made)
    assert fair["nearest_median"] == pytest.approx(1, abs=0.06)
    assert fair["nearest_low"] == pytest.approx(1, abs=0.15)
    made[:20] = train[:20]
    few = cells.nearest(train, real, made)
    assert few["nearest_median"] > 0.9
    assert few["nearest_low"] < 1e-6
    assert cells.nearest(train, real, train[:400])["nearest_median"] < 1e-6
    row = {
        "set": "symphony",
        "name": cells.OWN,
        "seed": 0,
        "auc": 0.6,
        "marker_correlations": 1,
        "processor_seconds": 1,
    }
    assert [one["met"] for one in cells.targets([row | few])] == ["yes", "no", "not measured", "not measured"]
    assert [one["met"] for one in cells.targets([row | fair])][:2] == ["yes", "yes"]
