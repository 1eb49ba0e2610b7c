from __future__ import annotations

import json

import pytest
from benchmarks import _results, gene_activity
from benchmarks._parts import Parts

BENCHMARK = gene_activity.BENCHMARK


@pytest.fixture(name="folder")
def fixture_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(_results, "FOLDER", tmp_path)
    written = {}
    monkeypatch.setattr(Parts, "_write", lambda _, measured=None: written.update(measured or {}))
    monkeypatch.setattr(Parts, "_measured", lambda _: json.loads(json.dumps(written)))
    return written


def test_rows_of_one_method_on_two_data_sets_are_both_kept(folder):
    rows = [{"seed": 4, "name": "learned", "set": name, "pearson": i} for i, name in enumerate(("A549", "simulation"))]
    BENCHMARK._keep("learned", *rows)
    assert [row["set"] for row in folder["learned"]] == ["A549", "simulation"]
    BENCHMARK._keep("learned", {**rows[0], "pearson": 5})
    assert {row["set"]: row["pearson"] for row in folder["learned"]} == {"A549": 5, "simulation": 1}
    BENCHMARK._keep("motifs", {"seed": 0, "name": "variability"}, {"seed": 1, "name": "variability"})
    assert len(folder["motifs"]) == 2
