from __future__ import annotations

import numpy as np
import pytest
from benchmarks import _regulation_lineages as part


def test_the_truth_of_lineages():
    kind = np.array(["stem", "A", "B1", "A2", "A2"])
    truth = np.array([[1, 1, 1, 1], [2, 2, 0, 0], [0, 0, 4, 0], [0, 4, 0, 0], [0, 4, 0, 0]]) / 4
    every = np.ones(5, dtype=bool)
    assert part._brier(truth, kind, every)["brier"] == 0
    even = part._brier(np.full((5, 4), 0.25), kind, every)
    assert even["brier_ends"] == pytest.approx(0.75)
    assert even["brier"] == pytest.approx((0 + 0.25 + 3 * 0.75) / 5)
    # by share the end types have 0, 2, 1 and 0 cells
    by_share = np.array([[0, 2 / 3, 1 / 3, 0], [0, 1, 0, 0], *truth[2:]])
    assert part._brier(by_share, kind, every)["brier_share"] == pytest.approx(0)
    wrong = truth.copy()
    wrong[0] = [1, 0, 0, 0]
    assert part._brier(wrong, kind, np.arange(5) > 0)["brier"] == 0  # what is left out does not count


def test_the_published_order():
    kind = np.array([*part.ERYTHROID, "9GMP", "10GMP", *(name for late in part.COMMITTED for name in late)])
    when = np.arange(len(kind), dtype=float)
    found = part._order(when, kind)
    assert found["erythroid"] == pytest.approx(1)
    assert found["spearman"] > 0.8
    assert part._order(-when, kind)["spearman"] == pytest.approx(-found["spearman"])


@pytest.mark.parametrize("method", [part.OWN, "distance"])
def test_every_method_follows_a_line(method):
    rng = np.random.default_rng(0)
    x = np.sort(rng.random(300))
    points = np.column_stack([10 * x, rng.normal(size=(300, 2)) * 0.05]).astype(np.float32)
    found = part.METHODS[method](points, 0, None)
    assert np.corrcoef(np.argsort(np.argsort(found["time"])), x)[0, 1] > 0.98


def test_targets_and_table():
    rows = [
        {"seed": 0, "set": name, "method": method, "seconds": 1.0, "spearman": value}
        for name in part.SETS
        for method, value in ((part.OWN, 0.6), (part.DPT, 0.6), (part.PALANTIR, 0.5 if name == "paul15" else 0.7))
    ]
    rows += [
        {"seed": 0, "set": "simulation, terminals given", "method": method, "seconds": 1.0, "brier": value}
        for method, value in ((part.OWN, 0.2), (part.PALANTIR, 0.3))
    ]
    assert [row["met"] for row in part.targets(rows)] == ["no", "yes", "no", "yes"]
    assert part.targets(rows)[3]["measured"].startswith("0.200; Palantir 0.300")
    assert {row["met"] for row in part.targets(rows[:1])} == {"not measured"}
    assert len(part.table(rows)) == 11
