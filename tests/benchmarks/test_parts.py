"""Parts of benchmarks that have no rows."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from benchmarks import _results, adversarial, gene_activity, longtail, regulation, talen, transfer
from benchmarks._parts import Parts

PARTS = [
    (benchmark.BENCHMARK, part)
    for benchmark in (adversarial, gene_activity, longtail, regulation, talen, transfer)
    for part in benchmark.BENCHMARK.parts
]


@pytest.mark.parametrize(("benchmark", "part"), PARTS, ids=[f"{b.name}-{part}" for b, part in PARTS])
def test_targets_without_rows_are_not_measured(benchmark, part):
    found = benchmark._module(part).targets([])
    assert found
    assert {row["met"] for row in found} == {"not measured"}


def test_parts_without_rows_are_among_the_targets(monkeypatch):
    for name in ("one", "two"):
        part = SimpleNamespace(
            TITLE=name, CAPTION="", SEEDS=(0,), measure=lambda seed: [{"seed": seed, "name": "a"}], table=list, data=list,
            targets=lambda rows, name=name: [{"target": name, "met": "yes" if rows else "not measured"}],
        )  # fmt: skip
        monkeypatch.setitem(sys.modules, f"benchmarks._made_up_{name}", part)
    kept = {}
    monkeypatch.setattr(_results, "read", lambda _: kept)
    monkeypatch.setattr(_results, "write", lambda _, document, **__: kept.update(document))
    Parts("made_up", "made_up", ("one", "two"), "Title", "Text").main(["--part", "one"])
    assert [(row["target"], row["met"]) for row in kept["tables"][0]["rows"]] == [
        ("one", "yes"),
        ("two", "not measured"),
    ]
    assert [table["title"] for table in kept["tables"]] == ["Targets", "one"]
