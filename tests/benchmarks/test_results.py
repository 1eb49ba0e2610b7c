from __future__ import annotations

import json
import os

import numpy as np
import pytest
from benchmarks import __main__, _measure, _results, _tables

DOCUMENT = {"title": "A title", "text": "A text.", "tables": []}


def test_a_document_comes_back_with_its_run(tmp_path):
    data = tmp_path / "data.txt"
    data.write_text("abc")
    document = {**DOCUMENT, "figures": np.array([1.0, np.nan]), "count": np.int64(3), "pair": (np.float32(0.5), True)}
    path = _results.write("one", document, seeds=[0, 1], data=[data], folder=tmp_path)
    found = _results.read("one", folder=tmp_path)
    assert path == tmp_path / "one.json"
    assert found["figures"] == [1.0, None]
    assert (found["count"], found["pair"]) == (3, [0.5, True])
    run = found["run"]
    assert run["seeds"] == [0, 1]
    assert run["data"] == {"data.txt": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}
    assert run["packages"]["numpy"] == np.__version__
    assert run["cpu_count"] == os.cpu_count()
    assert {"date", "python", "threads", "processor", "system"} <= run.keys()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    _results.write("one", DOCUMENT, seeds=[], folder=tmp_path)
    before = (tmp_path / "one.json").read_text()
    with pytest.raises(TypeError, match="not JSON serializable"):
        _results.write("one", {**DOCUMENT, "bad": object()}, seeds=[], folder=tmp_path)
    with pytest.raises(KeyError, match="has no 'tables'"):
        _results.write("one", {"title": "", "text": ""}, seeds=[], folder=tmp_path)
    assert (tmp_path / "one.json").read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["one.json"]


def test_a_benchmark_that_never_ran_is_empty(tmp_path):
    assert _results.read("none", folder=tmp_path) == {}


def test_threads_are_those_of_the_environment(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert _results.n_threads() == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert _results.n_threads() == (os.cpu_count() or 1)


def test_table_aligns_numbers_and_shows_what_is_missing():
    rows = [{"method": "a|b", "skill": 0.123456, "note": "0.1 ± 0.2"}, {"method": "c", "skill": None, "other": 2}]
    assert _tables.table(rows).splitlines() == [
        "| method | skill | note | other |",
        "| --- | ---: | ---: | ---: |",
        "| a\\|b | 0.1235 | 0.1 ± 0.2 | - |",
        "| c | - | - | 2 |",
    ]


def test_page_is_in_order_and_names_how_to_run(tmp_path):
    table = {"title": "Sub", "caption": "Note.", "rows": [{"x": 1}]}
    for name in ("zebra", "tape", "alpha"):
        _results.write(name, {**DOCUMENT, "title": name.title(), "tables": [table]}, seeds=[7], folder=tmp_path)
    page = _tables.page(folder=tmp_path)
    assert [page.index(f"## {title}") for title in ("Tape", "Alpha", "Zebra")] == sorted(
        page.index(f"## {title}") for title in ("Tape", "Alpha", "Zebra")
    )
    assert "`python -m benchmarks tape`\n\nA text.\n\n### Sub\n\n| x |\n| ---: |\n| 1 |\n\nNote." in page
    assert "seeds 7" in page


def test_the_page_in_the_documentation_is_what_the_results_give():
    assert _tables.PAGE.read_text() == _tables.page(), "run `python -m benchmarks tables`"


@pytest.mark.parametrize("path", sorted(_results.FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_results_are_json_without_nan(path):
    document = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert {"title", "text", "tables", "run"} <= document.keys()


def test_names_are_public_modules_and_commands(capsys):
    assert {"tables", "tape"} <= set(__main__.names())
    assert not any(name.startswith("_") for name in __main__.names())
    assert __main__.main(["nothing"]) == 2
    assert "unknown benchmark 'nothing'" in capsys.readouterr().err
    assert __main__.main([]) == 0


@pytest.mark.slow
def test_measure_gives_value_seconds_and_peak_memory():
    small, large = (_measure.measure(np.ones, n_mb * 125_000) for n_mb in (1, 300))
    assert large.value.nbytes == 300 * 10**6
    assert 200 < large.peak_mb - small.peak_mb < 1500
    assert 0 < large.seconds < 60


@pytest.mark.slow
def test_measure_hands_on_errors():
    with pytest.raises(RuntimeError, match="failed in its process") as caught:
        _measure.measure(np.ones, "shape")
    assert "TypeError" in str(caught.value)


def test_peak_memory_is_at_least_what_is_held():
    held = np.ones(10**6)
    assert _measure.peak_memory_mb() > held.nbytes / 1e6


def test_every_split_of_the_cells_is_disjoint_and_reproducible():
    from benchmarks import _a549

    first, again, other = _a549.split(101, 0), _a549.split(101, 0), _a549.split(101, 1)
    np.testing.assert_array_equal(np.sort(np.concatenate([first.train, first.test])), np.arange(101))
    assert first.test.size == 20
    assert first.digest == again.digest != other.digest


def test_real_data_are_found_by_the_environment(monkeypatch, tmp_path):
    from benchmarks import _a549

    monkeypatch.delenv("SCTANDEM_DATA", raising=False)
    with pytest.raises(ValueError, match="set SCTANDEM_DATA"):
        _a549.files()
    monkeypatch.setenv("SCTANDEM_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"scicar_A549\.h5mu"):
        _a549.files()


def test_overview_counts_verdicts_and_names_what_is_not_met(tmp_path):
    rows = [
        {"target": "a", "measured": "1", "met": "yes (a tie)"},
        {"target": "b", "asked": "at least 2", "found": "1.5", "met": "no"},
        {"target": "c", "measured": None, "met": "-"},
        {"target": "[d]", "measured": "0", "met": "no"},
        {"quantity": "epoch", "ratio": 6.446, "target": 7.0, "met": "no"},
    ]
    tables = [{"title": "Targets", "rows": rows}, {"title": "Others", "rows": [{"score": 1, "met": "no"}]}]
    _results.write("one", {**DOCUMENT, "tables": tables}, seeds=[], folder=tmp_path)
    _results.write("two", {**DOCUMENT, "title": "None"}, seeds=[], folder=tmp_path)
    page = _tables.page(folder=tmp_path)
    assert "| A title | 1 | 2 | 1 |" in page
    missed = [line for line in page.splitlines() if line.startswith("- ")]
    assert missed == [
        "- A title: b (at least 2): 1.5.",
        "- A title: epoch, target 7: 6.45.",
    ]
    assert "| None |" not in page
