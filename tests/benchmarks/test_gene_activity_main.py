from __future__ import annotations

import json

import pytest
from benchmarks import _results, gene_activity


@pytest.fixture(name="folder")
def fixture_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(_results, "FOLDER", tmp_path)
    written = {}
    monkeypatch.setattr(gene_activity, "write", lambda measured=None: written.update(measured or {}))
    monkeypatch.setattr(gene_activity, "_measured", lambda: json.loads(json.dumps(written)))
    return written


def test_rows_of_one_method_on_two_data_sets_are_both_kept(folder):
    rows = [{"seed": 4, "name": "learned", "data": data, "pearson": i} for i, data in enumerate(("A549", "simulation"))]
    gene_activity._keep("learned", *rows)
    assert [row["data"] for row in folder["learned"]] == ["A549", "simulation"]
    gene_activity._keep("learned", {**rows[0], "pearson": 5})
    assert {row["data"]: row["pearson"] for row in folder["learned"]} == {"A549": 5, "simulation": 1}
    gene_activity._keep("fragments", *({"seed": 0, "name": "ours", "set": each} for each in ("oracle", "simulated")))
    assert [row["set"] for row in folder["fragments"]] == ["oracle", "simulated"]
    gene_activity._keep("motifs", {"seed": 0, "name": "variability"}, {"seed": 1, "name": "variability"})
    assert len(folder["motifs"]) == 2
