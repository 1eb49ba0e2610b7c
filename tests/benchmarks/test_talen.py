"""The benchmark of TALENs, called on little data."""

import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from benchmarks import _parts, _results, _talen_design, _talen_parity, _talen_speed

from sctandem.genome import scan_talens


@pytest.mark.skipif(not os.environ.get("SCTANDEM_DATA"), reason="needs the outputs of TALE-NT in SCTANDEM_DATA")
def test_parity():
    rows = _talen_parity.measure(0)
    assert len(rows) == len(_talen_parity.table(rows)) == 18
    assert _talen_parity.targets(rows)[0]["met"] == "yes"
    assert _talen_parity.targets([*rows[:-1], rows[-1] | {"exact": False}])[0]["met"] == "no"


def test_design():
    (row,) = _talen_design.measure(0)
    assert row["same"]
    assert row["first_places"] < row["median_places"] / 100
    assert row["talenwf"] is None or row["talenwf_ours"] == row["talenwf"]
    assert len(_talen_design.table([row])) == 1
    assert _talen_design.targets([row])[0]["met"] == "yes"


def test_the_baseline_finds_what_the_search_finds(tmp_path, monkeypatch):
    monkeypatch.setattr(_talen_speed, "ORDINARY", _talen_parity.PAIR)
    row = _talen_speed.numpy_baseline(3)
    codes = np.random.default_rng(3).choice(4, size=2_000_000, p=_talen_speed.SHARES)
    path = tmp_path / "a.fa"
    path.write_bytes(b">a\n" + np.frombuffer(b"ACGT", dtype=np.uint8)[codes].tobytes())
    assert row["places"] == scan_talens(path, _talen_parity.PAIR).attrs["n_found"] > 10_000


def test_speed(tmp_path):
    path = tmp_path / "a.fa"
    _talen_speed.generate(path, 600_000, 0)
    letters = np.frombuffer(path.read_bytes().split(b"\n", 1)[1].replace(b"\n", b""), dtype=np.uint8)
    shares = [float((letters == ord(base)).mean()) for base in "ACGT"]
    assert len(letters) == 600_000
    assert shares == pytest.approx(_talen_speed.SHARES, abs=0.005)
    row = _talen_speed.child(str(path), "NN-rich", 1)
    assert row["bases"] == 600_000
    rows = [
        {"name": "ordinary, part, 1 threads", **row, "processor": 0.001, "peak_mb": 500.0},
        {"name": "ordinary, genome, 2 threads", **row, "wall": 70.0, "peak_mb": 1200.0},
    ]
    none = ["not measured"] * 2
    assert [target["met"] for target in _talen_speed.targets(rows)] == ["yes", "no", *none, "no"]
    assert [target["met"] for target in _talen_speed.targets([])] == ["not measured"] * 5
    rich = [row | {"name": row["name"].replace("ordinary", "NN-rich")} for row in rows]
    assert [target["met"] for target in _talen_speed.targets(rich)] == [*none, "yes", "no", "no"]
    assert len(_talen_speed.table(rows)) == 2


def test_parts_keep_what_was_measured(tmp_path, monkeypatch):
    calls = []

    def measure(seed):
        calls.append(seed)
        return [{"seed": seed, "name": "a", "value": seed * 10}]

    part = types.SimpleNamespace(
        TITLE="T", CAPTION="C", SEEDS=(1, 2), measure=measure, data=list,
        table=lambda rows: [{"value": str(row["value"])} for row in rows],
        targets=lambda rows: [{"target": "t", "measured": str(len(rows)), "met": "yes"}],
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "benchmarks._made_up_one", part)
    kept = {}
    monkeypatch.setattr(_results, "read", lambda _: kept)
    monkeypatch.setattr(_results, "write", lambda _, document, **__: kept.update(document))
    benchmark = _parts.Parts("made_up", "made_up", ("one",), "Title", "Text")
    benchmark.main([])
    assert calls == [1, 2]
    assert [row["value"] for row in kept["measured"]["one"]] == [10, 20]
    assert kept["tables"][1]["rows"] == [{"value": "10"}, {"value": "20"}]
    benchmark.main(["--seeds", "2", "3"])
    assert calls == [1, 2, 3]
    benchmark.main(["--seeds", "2", "--again"])
    assert calls == [1, 2, 3, 2]
    other = Path(tmp_path, "other.json")
    other.write_text('{"measured": {"one": [{"seed": 1, "name": "b", "value": 5}]}}')
    benchmark.main(["--take", str(other)])
    assert len(kept["measured"]["one"]) == 4
