"""The demonstration: what it chooses, what it refuses, and that it leaves all or nothing."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from benchmarks import _demo_data, _demo_figures, _demo_notebook, _demo_run, _demo_tables, demo
from scipy import sparse

import sctandem as td
from sctandem._compat import new_mudata, read_h5mu

FIGURES = {"links.png", "predicted_expression.png", "skill_per_gene.png"}
MADE = {"demo.h5mu", "demo.ipynb", "demo.html", "tables.txt", *FIGURES}


@pytest.fixture(scope="module")
def simulated():
    mdata = td.datasets.simulate_multiome(80, 160, 1600, rng=0)
    td.pp.gene_windows(mdata)
    return mdata


class Model:
    """Predicts the truth."""

    def __init__(self, heldout_genes):
        self.heldout_genes = heldout_genes

    def predict_expression(self, mdata, *, scale):
        assert scale == "log1p"
        rna = mdata["rna"]
        rate = rna.layers["true_rate"]
        rate = rate / rate[:, ~rna.var_names.isin(self.heldout_genes)].sum(axis=1, keepdims=True) * 1e4
        return pd.DataFrame(np.log1p(rate), index=rna.obs_names, columns=rna.var_names)


@pytest.fixture
def predicted(simulated):
    mdata = simulated.copy()
    mdata.obs["tape_heldout"] = np.arange(80) % 4 == 0
    _, hidden = _demo_data.genes_to_hide(mdata)
    return mdata, Model(hidden)


def test_whole_chromosomes_are_hidden_and_not_too_many(simulated):
    chromosomes, hidden = _demo_data.genes_to_hide(simulated)
    placed = simulated.uns["gene_windows"]["genes"]
    assert 1 <= len(chromosomes) <= 2
    assert set(hidden) == set(placed.index[placed["chrom"].isin(chromosomes) & (placed["n_peaks"] > 0)])
    assert 0.05 <= len(hidden) / len(placed) <= 0.2


def test_nothing_is_hidden_where_genes_are_few(simulated):
    few = simulated.copy()
    few.uns["gene_windows"]["genes"] = few.uns["gene_windows"]["genes"].iloc[:40]
    assert _demo_data.genes_to_hide(few) == ([], [])


def test_groups_are_those_named_or_known_or_made():
    counts = sparse.csr_matrix(np.random.default_rng(0).poisson(1.0, (60, 30)).astype("f4"))
    names = pd.Index([f"c{i}" for i in range(60)])
    obs = pd.DataFrame({"barcode": names, "sample": ["a", "b"] * 30, "cell_type": ["T", "B", "T"] * 20}, index=names)

    def multiome(columns):
        parts = {name: [f"{name}{i}" for i in range(30)] for name in ("rna", "atac")}
        return new_mudata(
            {name: AnnData(counts, obs=obs[columns], var=pd.DataFrame(index=var)) for name, var in parts.items()}
        )

    mdata = multiome(["barcode", "sample", "cell_type"])
    assert _demo_data.choose_groups(mdata, "sample") == "sample"
    assert mdata.obs["sample"].cat.categories.tolist() == ["a", "b"]
    assert _demo_data.choose_groups(multiome(["barcode", "sample", "cell_type"])) == "cell_type"
    assert _demo_data.choose_groups(multiome(["barcode", "sample"])) == "sample"
    bare = multiome(["barcode"])
    assert _demo_data.choose_groups(bare) == "leiden"
    with pytest.raises(KeyError, match="column 'donor' that --groupby names; there are barcode, leiden"):
        _demo_data.choose_groups(bare, "donor")


def test_table_tells_who_needs_the_counts_of_a_gene(predicted):
    mdata, model = predicted
    heldout = _demo_tables.predict_heldout(mdata, model)
    table = _demo_tables.skill_table(heldout)
    hidden = table.loc["hidden in training", "Pearson"]
    assert (hidden[["mean per gene", "kNN on LSI", "ridge on LSI"]] == "-").all()
    numbers = hidden[["TAPE", "distance-weighted gene score", "true rates (ceiling)"]].astype(float)
    # the model of this test knows the true rates
    assert numbers["TAPE"] == numbers["true rates (ceiling)"] > numbers["distance-weighted gene score"]
    learned = table.loc["learned from"]
    assert learned.loc["mean per gene", "Pearson"] == "0.000"
    assert learned.loc["mean per gene", "AUROC"] == "0.500"
    assert float(learned.loc["TAPE", "Pearson"]) > float(learned.loc["kNN on LSI", "Pearson"])


def test_hidden_counts_do_not_reach_the_simple_answers(predicted):
    mdata, model = predicted
    before = _demo_tables.predict_heldout(mdata, model).predicted
    hidden = mdata["rna"].var_names.isin(model.heldout_genes)
    changed = mdata.copy()
    counts = changed["rna"].X.tolil()
    counts[:, np.flatnonzero(hidden)[0]] = 50
    changed["rna"].X = counts.tocsr()
    data = _demo_data.train_data(mdata, np.arange(60), size_factor=None)
    other = _demo_data.train_data(changed, np.arange(60), size_factor=None)
    # the same library sizes: the counts of the gene themselves must not matter
    other = type(other)(other.counts, other.atac, data.library_size, other.genes, other.peaks, other.pairs)
    np.testing.assert_array_equal(*(_demo_tables._gene_score(d, mdata["atac"].X[60:], hidden) for d in (data, other)))
    assert np.isnan(before["kNN on LSI"][:, hidden]).all()


def test_links_are_compared_with_the_truth_of_learned_genes(predicted):
    mdata, model = predicted
    pairs = mdata.uns["gene_windows"]["pairs"]
    true = mdata.uns["truth"]["links"]
    known = pd.MultiIndex.from_frame(true[["gene", "peak"]].astype(str))
    weight = pd.MultiIndex.from_frame(pairs[["gene", "peak"]].astype(str)).isin(known).astype(float)
    mdata.uns["tape_links"] = {"table": pairs.assign(weight=weight, sign=1, fdr=np.where(weight, 0.01, 0.5))}
    scored = _demo_tables.link_scores(mdata, model)
    table = _demo_tables.precision_table(scored)
    assert table.loc["TAPE", "average precision"] == "1.000"
    assert len(scored[0]) == (~pairs["gene"].isin(model.heldout_genes)).sum()
    counted = _demo_tables.link_counts(mdata)
    assert counted.loc["0.05", "links"] == weight.sum()
    assert counted.loc["0.05", "true"] == "100%"
    gene, fdr = _demo_figures.gene_to_show(mdata)
    assert fdr == 0.05
    figure = _demo_figures.links_of_gene(mdata, gene, "cell_type")
    (marks,) = [c for c in figure.axes[1].collections if len(c.get_offsets()) == (true["gene"] == gene).sum()]
    assert np.allclose(np.ma.getdata(marks.get_offsets())[:, 1], 0.42)
    plt.close("all")


def test_hidden_genes_are_not_counted_as_not_scored(predicted):
    mdata, model = predicted
    hidden = model.heldout_genes
    verdicts = pd.Series("better than kNN", index=mdata["rna"].var_names)
    verdicts[hidden] = "not scored"
    other = verdicts.index[~verdicts.index.isin(hidden)][0]
    verdicts[other] = "not scored"
    mdata["rna"].var["tape_verdict"] = verdicts.astype("category")
    table = _demo_tables.verdict_table(mdata, hidden)
    assert table["genes"].to_dict() == {
        "better than kNN": 160 - len(hidden) - 1,
        "not scored": 1,
        "hidden in training": len(hidden),
    }
    assert _demo_tables.verdict_table(mdata)["genes"].to_dict() == {
        "better than kNN": 160 - len(hidden) - 1,
        "not scored": len(hidden) + 1,
    }


def test_larger_errors_are_admitted_below_the_table(predicted):
    mdata, model = predicted
    heldout = _demo_tables.predict_heldout(mdata, model)
    skill = _demo_tables.skill_table(heldout)
    skill["RMSE"] = ["0.500", "0.700", "0.500", "0.499", "0.600", "", "0.520", "", "", "", "0.510", ""]
    assert _demo_tables.note_on_rmse(skill) == (
        "By RMSE TAPE loses to ridge on LSI (0.499 against 0.500, genes learned from); distance-weighted gene score (0.510 "
        "against 0.520, genes hidden in training)."
    )
    nothing = _demo_tables.Heldout(heldout.truth, heldout.predicted, np.zeros(160, dtype=bool), heldout.genes)
    alone = _demo_tables.skill_table(nothing)
    assert set(alone.index.get_level_values("genes")) == {"all genes"}
    alone["RMSE"] = ["0.500", "0.700", "0.499", "0.500", "0.600", ""]
    assert _demo_tables.note_on_rmse(alone) == "By RMSE TAPE loses to kNN on LSI (0.499 against 0.500)."
    alone["RMSE"] = ["0.400", "0.700", "0.499", "0.500", "0.600", ""]
    assert _demo_tables.note_on_rmse(alone) == "No simple answer has a smaller RMSE than TAPE."


def test_links_that_are_none_are_not_passed_off_as_links(predicted, capsys):
    mdata, _ = predicted
    pairs = mdata.uns["gene_windows"]["pairs"]
    mdata.uns["tape_links"] = {"table": pairs.assign(weight=1.0, sign=1, fdr=0.6)}
    assert _demo_figures.gene_to_show(mdata) == (pairs["gene"].iloc[0], 0.2)
    assert "No link has a false discovery rate of 20 % or less" in capsys.readouterr().out


def test_cautions_tell_of_few_genes_and_of_unknown_strands(simulated):
    def said(*, genes: int, unknown: int, renamed: str = "", **other: float) -> str:
        mdata = simulated.copy()
        found = mdata.uns["gene_windows"]
        found["genes"] = pd.concat([found["genes"]] * 3).iloc[:genes].assign(n_peaks=5)
        found["params"] |= {"n_without_strand": unknown, "n_annotated": genes, "renamed_chromosomes": renamed, **other}
        return "\n".join(_demo_data.cautions(mdata))

    assert said(genes=400, unknown=0) == ""
    assert re.search("only 12% of the genes .* same assembly", said(genes=400, unknown=0, share_near_start=0.12))
    assert "only 400 of 1,000 genes are in the annotation" in said(genes=400, unknown=0, n_genes=1000)
    assert "only 45 genes have peaks in their windows" in said(genes=45, unknown=0)
    assert re.search("strand of 390 of 400 genes is not known.*GENES=genes.gtf", said(genes=400, unknown=390))
    assert "renamed as in the peaks: 1 -> chr1" in said(genes=400, unknown=0, renamed="1 -> chr1")


@pytest.mark.parametrize("live", [True, False])
def test_steps_are_told_with_what_they_print_and_how_long_they_take(live, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(_demo_run.time, "perf_counter", lambda: now[0])
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: live)
    teller = _demo_run.Teller(stream)
    teller.start("Training")
    teller.progress("\rReading windows: 10%")
    teller.progress("\rReading windows: 15%\rReading windows: 20%")
    now[0] = 40.0
    teller.beat()
    teller.say("800 cells to learn from")
    teller.finish()
    teller.beat()
    lines = re.sub(r"[^\n]*\r\x1b\[K", "", stream.getvalue()).split("\n")
    first = "Training: states of the cells from their chromatin ..."
    middle = [] if live else [first, "Training: window networks ...", "Training goes on: 40 s; Reading windows: 20%"]
    expected = ["[   0 s] Training", *middle, "800 cells to learn from", "done in 40 s", ""]
    assert [line.strip() for line in lines] == expected
    assert ("40 s  Reading windows: 20%" in stream.getvalue()) == live


def test_page_needs_no_network():
    notebook = _demo_notebook.build(_demo_notebook.Settings())
    page = _demo_run.to_html(notebook)
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)\s*=\s*.?(?:https?:)?//", page)
    assert "<script" not in page
    assert "@import" not in page
    assert "<title>Expression from chromatin</title>" in page


def test_notebook_runs_code_that_compiles():
    for data in (None, "my.h5mu"):
        notebook = _demo_notebook.build(_demo_notebook.Settings(DATA=data, DRAFT=True))
        nbformat.validate(notebook)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        for cell in code:
            compile(cell.source, "cell", "exec")
        assert code[0].metadata["tags"] == ["parameters"]
        assert len(re.findall(r'save\(.*, "(\w+\.png)", draft=DRAFT\)', "\n".join(cell.source for cell in code))) == 4


@pytest.mark.parametrize("data", [None, "my.h5mu"])
@pytest.mark.parametrize("draft", [False, True])
def test_notebook_in_the_checkout_passes_its_linter(data, draft):
    ruff = Path(sys.executable).parent / "ruff"
    if not ruff.exists():
        pytest.skip("ruff is not installed in this environment")
    notebook = nbformat.writes(_demo_notebook.build(_demo_notebook.Settings(DATA=data, DRAFT=draft)))
    command = [ruff, "check", "--no-cache", "--stdin-filename", "results/demo.ipynb", "-"]
    checked = subprocess.run(command, input=notebook, capture_output=True, text=True, check=False, cwd=demo.ROOT)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "absent.h5mu"], r"there is no file 'absent.h5mu', which --data \(DATA=\) names"),
        (["--genes", "absent.bed"], r"there is no file 'absent.bed', which --genes \(GENES=\) names"),
        (["--groupby", "donor"], r"--groupby says something about your own data"),
    ],
)
def test_wrong_arguments_are_refused_at_once(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert demo.main([*arguments, "--out", "demo"]) == 1
    assert re.search(message, capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_something_else_is_left_alone(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("all of it")
    assert demo.main(["--out", str(tmp_path)]) == 1
    assert "is not empty and not from an earlier run" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_earlier_run_is_replaced_whole(tmp_path):
    new, out = tmp_path / "new", tmp_path / "demo"
    for folder, name in ((new, "fresh"), (out, "stale")):
        folder.mkdir()
        (folder / name).touch()
    demo._replace(new, out)
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
    assert [path.name for path in out.iterdir()] == ["fresh"]


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_a_signal_ends_it_with_one_line_and_leaves_the_earlier_run(number, name, tmp_path, monkeypatch, capsys):
    out = tmp_path / "demo"
    out.mkdir()
    (out / demo.NOTEBOOK).write_text("earlier")

    def make(settings, folder):
        (folder / "half").touch()
        signal.raise_signal(number)

    monkeypatch.setattr(demo, "_make", make)
    before = signal.getsignal(number)
    assert demo.main(["--out", str(out)]) == 128 + number
    assert signal.getsignal(number) is before
    assert capsys.readouterr().err == f"\ndemo: stopped by {name}; nothing was written.\n"
    assert [path.name for path in tmp_path.rglob("*")] == ["demo", demo.NOTEBOOK]


@pytest.mark.parametrize("after", ["the old is away", "the new is there"])
def test_a_signal_in_the_last_moment_leaves_one_whole_folder(after, tmp_path, monkeypatch):
    new, out = tmp_path / "new", tmp_path / "demo"
    for folder, name in ((new, "fresh"), (out, "stale")):
        folder.mkdir()
        (folder / name).touch()
    rename = Path.rename

    def interrupted(self, target):
        found = rename(self, target)
        if self == (out if after == "the old is away" else new):
            monkeypatch.undo()
            raise demo.Stopped(signal.SIGTERM)
        return found

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(demo.Stopped, match="15"):
        demo._replace(new, out)
    assert [path.name for path in out.iterdir()] == ["stale" if after == "the old is away" else "fresh"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_stops_at_once_while_the_notebook_runs(number, tmp_path):
    command = [sys.executable, "-u", "-m", "benchmarks.demo", "--out", str(tmp_path / "demo")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=demo.ROOT) as process:
        for line in process.stdout:
            if "Data" in line:
                break
        time.sleep(0.5)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert errors.strip().splitlines()[-1].endswith("nothing was written.")
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_simulated_data_leave_everything(tmp_path, capsys):
    out = tmp_path / "demo"
    assert demo.main(["--draft", "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == MADE | {"links_precision_recall.png"}
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
    printed = capsys.readouterr().out
    for row in ("TAPE", "mean per gene", "kNN on LSI", "ridge on LSI", "hidden in training", "average precision"):
        assert row in printed
    mdata = read_h5mu(out / "demo.h5mu")
    assert {"tape", "tape_links", "gene_windows"} <= set(mdata.uns)
    cells = [cell for cell in nbformat.read(out / "demo.ipynb", as_version=4).cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    # a bar of progress is for the terminal
    assert "\\r" not in str([cell.outputs for cell in cells])
    assert "320 cells to learn from" in printed


@pytest.mark.slow
def test_own_data_without_places_of_genes_say_what_to_give(tmp_path, capsys):
    mdata = td.datasets.simulate_multiome(60, 60, 600, rng=0)
    mdata["rna"].var = mdata["rna"].var[[]]
    path = tmp_path / "mine.h5mu"
    mdata.write_h5mu(path)
    assert demo.main(["--data", str(path), "--out", str(tmp_path / "demo")]) == 1
    assert "does not say where its genes lie" in capsys.readouterr().err
    assert [found.name for found in tmp_path.iterdir()] == ["mine.h5mu"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("muon_pbmc_markers1000", []),
        ("scicar_A549", ["--genes", "genome/hg19_genes.bed", "--size-factor", "library_size"]),
    ],
)
def test_own_data_leave_everything(name, arguments, tmp_path, capsys):
    folder = os.environ.get("SCTANDEM_DATA")
    if not folder:
        pytest.skip("SCTANDEM_DATA does not name the folder of the real data")
    arguments = [str(Path(folder) / a) if a.endswith(".bed") else a for a in arguments]
    out = tmp_path / "demo"
    data = str(Path(folder) / "multiome" / f"{name}.h5mu")
    assert demo.main(["--draft", "--data", data, *arguments, "--out", str(out)]) == 0, capsys.readouterr().err
    assert {path.name for path in out.iterdir()} == MADE | {"programmes.png"}
