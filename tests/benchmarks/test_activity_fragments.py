from __future__ import annotations

import fragments as files
import numpy as np
import pandas as pd
import pytest
from benchmarks import _activity_fragments as benchmark
from benchmarks.peers import _fragments as peers


@pytest.fixture(autouse=True)
def no_snapatac2(monkeypatch):
    monkeypatch.setattr(benchmark, "snapatac2_python", lambda: None)
    monkeypatch.setattr(benchmark, "N_BARCODES", 50)
    monkeypatch.setattr(benchmark, "N_CELLS", 10)


def test_the_loop_is_right(tmp_path):
    rng = np.random.default_rng(0)
    packed = files.write(tmp_path, files.draw(rng, 300))
    peaks = pd.DataFrame({"chrom": "chr1", "start": np.arange(0, 400_000, 900)}).assign(end=lambda t: t["start"] + 400)
    counts = peers.loop(packed, list(peaks.itertuples(index=False, name=None)), files.BARCODES)
    assert counts.sum() > 50
    assert (counts.toarray() == files.naive(packed, peaks, files.BARCODES, "insertions")).all()


def test_what_a_file_covers(tmp_path):
    rows = [("chr1", i, i + 100, "A", 1) for i in range(0, 10_000, 50)]
    rows += [("chr1", i, i + 100, "A", 1) for i in range(50_000, 60_000, 50)]
    packed = files.write(tmp_path, rows)
    names = ["chr1:100-9900", "chr1:99-300", "chr1:9000-9951", "chr1:9000-55000", "chr1:50100-50101", "chr2:500-900"]
    peaks = pd.DataFrame(
        [(n.split(":")[0], *map(int, n.split(":")[1].split("-"))) for n in names], columns=["chrom", "start", "end"]
    )
    assert benchmark.covered(peaks, packed).tolist() == [True, False, False, False, True, False]


def test_the_simulated_file_is_counted_alike(tmp_path):
    peaks = benchmark.simulate(tmp_path, 0, n_fragments=3000, n_peaks=400)
    assert (peaks["start"].to_numpy()[1:] >= peaks["end"].to_numpy()[:-1])[
        peaks["chrom"].eq(peaks["chrom"].shift())[1:]
    ].all()
    mine, loop = benchmark.ours(str(tmp_path))["counts"], benchmark.plain_loop(str(tmp_path))["counts"]
    assert mine.shape == (10, len(peaks))
    assert mine.sum() > 500
    assert (mine != loop).nnz == 0


def row(name: str, seed: int, cpu: float, **more) -> dict:
    return {"name": name, "seed": seed, "set": "simulated", "cpu": cpu, "peak_mb": 1.0, "equal": 1.0, **more}


def test_targets():
    matrix = {"seed": 0, "set": benchmark.MATRIX, "name": benchmark.OURS, "agreement": 0.99995}
    times = [row(benchmark.OURS, s, 1.0 + s) for s in range(3)]
    quick = [row(benchmark.SNAP, s, (1.0 + s) * ratio) for s, ratio in enumerate([0.5, 3.0, 2.0])]
    said = benchmark.targets([matrix, *times, *quick])
    assert [target["met"] for target in said] == ["yes", "yes"]
    assert "2.0 times as long (median of 3)" in said[1]["measured"]
    said = benchmark.targets([{**matrix, "agreement": 0.9998}, *times, *[row(benchmark.SNAP, 0, 0.9)]])
    assert [target["met"] for target in said] == ["no", "no"]
    assert [target["met"] for target in benchmark.targets(times)] == ["not measured", "not measured"]
    shown = benchmark.table([matrix, *times, *quick])
    assert [line["method"] for line in shown] == [benchmark.SNAP, benchmark.OURS]
    assert shown[1]["equal to the peak matrix"] == "99.9950 %"


def test_snapatac2_is_asked_for_by_name(monkeypatch, tmp_path):
    monkeypatch.setenv("SCTANDEM_SNAPATAC2", "/bin/false")
    assert peers.snapatac2_python() is None
    with pytest.raises(ImportError, match=r"SCTANDEM_SNAPATAC2 names the Python"):
        peers.snapatac2(tmp_path / "a", tmp_path / "b", tmp_path / "c", {}, tmp_path / "d")
