"""Sets of the benchmark of deconvolution: what is drawn is what is said, and the real data are read as their papers describe them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from benchmarks import _deconvolution_data as data
from benchmarks import _deconvolution_methods as methods
from benchmarks import _deconvolution_runs as runs
from benchmarks import _deconvolution_sets as sets
from benchmarks import _deconvolution_simulated as simulated
from benchmarks import _results, deconvolution
from scipy.stats import spearmanr

import sctandem as td

FOLDER = os.environ.get("SCTANDEM_DATA")
real = pytest.mark.skipif(
    not FOLDER or not (Path(FOLDER) / data.ZHENG).exists(), reason="the real data are named by SCTANDEM_DATA"
)


@real
def test_pairs_are_of_two_studies_and_no_set_of_the_targets():
    assert len(sets.PAIRS) == 22
    assert not set(sets.PAIRS) & {*sets.REAL, *sets.SIMULATED}
    blood = sets.load("hoek_by_3pv1")
    pd.testing.assert_frame_equal(blood.truth, sets.load("hoek").truth)
    chemistry = data.read(data.SYMPHONY).obs.loc[blood.reference.obs_names, "batch"]
    assert set(chemistry) == {"3pv1"}
    mixed = sets.load("zheng_by_kang", 1)
    assert list(mixed.bulk.var_names) == list(data.zheng(5).var_names)
    assert mixed.reference.obs[data.DONOR].nunique() == 8
    # two types that are one: as many cells as both
    whole = sets.load("5p_by_kang").reference.obs[data.TYPE].value_counts()
    parts = data.read(data.KANG).obs[data.TYPE].value_counts()
    assert whole["Mono"] == parts["CD14+ Monocytes"] + parts["FCGR3A+ Monocytes"]


def test_technical_genes():
    yes = ["RPL13A", "RPS4X", "RPLP1", "RPSA", "MT-CO1", "HBB", "HBA1", "MALAT1", "RPS27A", "RPL22L1"]
    no = ["RPS6KA1", "RPS6KB2", "HBEGF", "HBP1", "MTOR", "RPA1", "RPN1", "RPP25", "RPRD1A", "ENSG00000000003", "CD3D"]
    assert data.technical(pd.Index(yes)).all()
    assert not data.technical(pd.Index(no)).any()


def test_contents_are_those_of_the_coarse_type():
    assert data.published(["CD8 T", "CD16 Mono", "NK"]) == {"CD8 T": 0.40, "CD16 Mono": 1.42, "NK": 0.44}


def test_unknown_set_and_missing_folder(monkeypatch):
    with pytest.raises(ValueError, match="unknown set 'x'"):
        sets.load("x")
    monkeypatch.delenv("SCTANDEM_DATA")
    with pytest.raises(ValueError, match="SCTANDEM_DATA"):
        data.file("a")


@real
@pytest.mark.parametrize("name", list(sets.SETS))
def test_every_set_is_whole(name):
    found = sets.load(name)
    np.testing.assert_allclose(found.truth.sum(axis=1), 1)
    assert list(found.truth.index) == list(found.bulk.obs_names) == list(found.other.index)
    assert sorted(found.reference.obs[data.TYPE].unique()) == sorted(found.types) == found.types
    assert found.reference.obs[data.TYPE].value_counts().min() >= 10
    assert set(found.contents) == set(found.types)
    for part in (found.bulk, found.reference):
        assert part.var_names.is_unique
        assert part.obs_names.is_unique
    values = found.reference.X.data
    np.testing.assert_array_equal(values, np.round(values))
    assert len(found.bulk.var_names.intersection(found.reference.var_names)) > (200 if name in sets.PAIRS else 1000)
    if found.kind == "counts":
        np.testing.assert_array_equal(found.bulk.X, np.round(found.bulk.X))
    assert found.other.between(0, 0.3).all()


@real
def test_flow_cytometry_agrees_with_markers_and_with_the_other_table_of_it():
    """The other file of the same samples gives the same shares, and genes of one type follow its share."""
    found = sets.load("gse107011_5")
    other = pd.read_csv(data.file("bulk/GSE107011_truth_6types_quasar.csv.gz"), index_col=0).loc[found.truth.index]
    names = {"B": "Bcells", "CD4 T": "CD4Tcells", "CD8 T": "CD8Tcells", "Mono": "Monocytes", "NK": "NK"}
    for kind, column in names.items():
        np.testing.assert_allclose(found.absolute[kind], other[column], atol=0.011)
    for gene, kind, least in (("MS4A1", "B", 0.9), ("CD8A", "CD8 T", 0.8)):
        level = found.bulk[:, gene].X.ravel()
        assert spearmanr(level, found.absolute[kind])[0] > least


@real
def test_hoek_leaves_out_dendritic_cells():
    found = sets.load("hoek")
    flow = pd.read_csv(data.file(data.HOEK_FLOW), index_col=0)
    np.testing.assert_allclose(found.other, 1 - flow[["T", "Mono", "B", "NK"]].sum(axis=1))
    assert (found.other >= flow["DC"] - 1e-9).all()


@real
def test_rna_mixtures_are_named_by_the_right_line():
    """The wells of one line correlate best with the cells of that line: two columns of the file are exchanged."""
    found = sets.load("rnamix")
    genes = found.bulk.var_names.intersection(found.reference.var_names)
    profile = np.log1p(methods.regressions.per_million(found.bulk[:, genes].X))
    labels = found.reference.obs[data.TYPE].astype(str)
    cells = np.stack(
        [np.asarray(found.reference[(labels == k).to_numpy(), genes].X.sum(axis=0)).ravel() for k in found.types]
    )
    cells = np.log1p(methods.regressions.per_million(cells))
    cells -= cells.mean(axis=0)
    for k, kind in enumerate(found.types):
        pure = (found.truth[kind] > 0.99).to_numpy()
        assert pure.sum() == 2
        level = profile[pure].mean(axis=0) - profile.mean(axis=0)
        assert np.argmax([np.corrcoef(level, one)[0, 1] for one in cells]) == k
    assert len(found.truth.round(2).drop_duplicates()) == 7
    assert found.bulk.var_names.isin(["EGFR"]).any()


@real
def test_without_a_type_its_cells_are_others():
    whole = sets.load("kang_sim")
    found = whole.without("NK")
    np.testing.assert_allclose(found.other, whole.truth["NK"])
    pd.testing.assert_frame_equal(found.absolute, whole.truth.drop(columns="NK"))
    assert "NK" not in set(found.reference.obs[data.TYPE])
    assert found.bulk is whole.bulk
    with pytest.raises(ValueError, match="no type 'T'"):
        whole.without("T")


@real
@pytest.mark.parametrize("name", ["kang_sim", "zheng_platform", "symphony_3pv2_5p", "kang_expression"])
def test_a_draw_is_that_of_its_seed(name):
    one, two, other = sets.load(name, 0), sets.load(name, 0), sets.load(name, 1)
    np.testing.assert_array_equal(one.bulk.X, two.bulk.X)
    assert not np.allclose(one.truth, other.truth)


@real
def test_cells_of_mixtures_are_not_in_the_reference():
    """Donors, halves and chemistries are apart: the counts of cells that are in both would be rare."""
    source = data.zheng(5)
    found = sets.load("zheng_sim")
    assert found.reference.n_obs == sum(n // 2 for n in source.obs[data.TYPE].value_counts())
    assert sets.load("kang_sim").reference.obs[data.DONOR].nunique() == 5
    known = data.read(data.SYMPHONY)
    chemistry = known.obs.loc[sets.load("symphony_5p_3pv2").reference.obs_names, "batch"]
    assert set(chemistry) == {"5p"}


@real
def test_simulated_bulk_has_the_rna_that_the_truth_and_the_contents_give():
    """The share of RNA of a type, found by its own genes alone, is that of its cells times their content."""
    rng = np.random.default_rng(0)
    source = data.zheng(5)
    truth = simulated.shares(sorted(source.obs[data.TYPE].cat.categories), rng)
    level = simulated.levels(source, simulated.chosen(source, truth, rng), data.published(list(truth.columns)))
    kept = ~data.technical(source.var_names)
    rna = pd.DataFrame({kind: values[:, kept].sum(axis=1) for kind, values in level.items()}, index=truth.index)
    expected = truth * pd.Series(data.published(list(truth.columns))) * simulated.N_CELLS
    np.testing.assert_allclose(rna, expected, rtol=0.35, atol=2)
    np.testing.assert_allclose(rna.sum(), expected.sum(), rtol=0.02)


@real
def test_platforms_change_each_gene_alike_in_all_samples():
    plain, moved = sets.load("zheng_sim"), sets.load("zheng_platform")
    pd.testing.assert_frame_equal(plain.truth, moved.truth)
    seen = (plain.bulk.X > 100).all(axis=0) & (moved.bulk.X > 100).all(axis=0)
    change = np.log(moved.bulk.X[:, seen]) - np.log(plain.bulk.X[:, seen])
    change -= change.mean(axis=1, keepdims=True)
    assert change.mean(axis=0).std() > 0.5
    assert change.std(axis=0).mean() < 0.1


@real
def test_expression_of_types_adds_up_to_the_bulk():
    found = sets.load("kang_expression")
    level = sum(found.expression[k].mul(found.truth[k] * found.contents[k], axis=0) for k in found.types)
    expected = level.div(level.sum(axis=1), axis=0) * simulated.DEPTH
    np.testing.assert_allclose(found.bulk.X.sum(axis=0), expected.sum(), rtol=0.1, atol=60)
    spread = np.log(found.expression["NK"].loc[:, found.expression["NK"].mean() > 1e-4]).std()
    assert 0.15 < spread.median() < 0.8


@real
def test_peers_see_no_technical_genes_and_the_donors():
    found = sets.load("kang_sim")
    given, genes = methods.task(found, 3)
    assert given.bulk.shape == (30, len(genes))
    assert not data.technical(genes).any()
    assert given.seed == 3
    np.testing.assert_array_equal(given.donors, found.reference.obs[data.DONOR])
    shares = methods.peer(found, "nnls", 0)
    rna = shares[True] * pd.Series(found.contents)
    pd.testing.assert_frame_equal(rna.div(rna.sum(axis=1), axis=0), shares[False])


@pytest.fixture(name="kept")
def fixture_kept(tmp_path, monkeypatch):
    """A folder of results of its own, and a method that is not there yet."""
    folder = tmp_path / "results"
    read, write = _results.read, _results.write
    monkeypatch.setattr(_results, "read", lambda name: read(name, folder=folder))
    monkeypatch.setattr(
        _results, "write", lambda name, document, **run: write(name, document, **run | {"data": ()}, folder=folder)
    )
    monkeypatch.setattr(data, "file", Path)
    return folder / "deconvolution.json"


def test_rows_are_measured_once_and_deterministic_peers_once_a_set(kept, monkeypatch):
    asked = []

    def fake(mixtures, method, seed):
        asked.append((mixtures, method, seed))
        shared = {
            "set": mixtures,
            "method": method,
            "seed": seed,
            "ccc": 0.5,
            "ccc_types": 0.5,
            "rmse": 0.1,
            "uniform": 0.2,
        }
        return [shared | {"contents": told} for told in (False, True)]

    monkeypatch.setattr(runs, "fractions", fake)
    monkeypatch.setattr(deconvolution, "_set", lambda name, seed: name)
    command = [
        "--part",
        "fractions",
        "--sets",
        "hoek",
        "kang_sim",
        "--methods",
        "nnls",
        "dampened",
        "--seeds",
        "0",
        "1",
    ]
    deconvolution.main(command)
    assert [one for one in asked if one[1] == "nnls"] == [
        ("hoek", "nnls", 0),
        ("kang_sim", "nnls", 0),
        ("kang_sim", "nnls", 1),
    ]
    assert len([one for one in asked if one[1] == "dampened"]) == 4
    before = len(asked)
    deconvolution.main(command)
    assert len(asked) == before
    deconvolution.main(["--take", str(kept)])
    document = _results.read("deconvolution")
    assert len(document["measured"]["fractions"]) == 2 * before
    assert {"commit", "date", "threads"} <= document["measured"]["fractions"][0].keys()
    assert document["tables"][0]["title"] == "Targets"


@real
def test_own_rows_hold_intervals_and_the_unknown_share(monkeypatch):
    """A method that knows the truth reaches the best of every score; shares, intervals and the unknown are of all cells."""
    whole = sets.load("kang_sim")
    lacking = whole.without("CD16 Mono")
    monkeypatch.setattr(runs.own, "fractions", lambda mixtures, seed: perfect(mixtures))

    def perfect(mixtures):
        share = mixtures.absolute
        fit = pd.Series(1.0, share.index)
        return {"fractions": share, "low": share - 0.01, "high": share + 0.01, "unknown": mixtures.other, "fit": fit}

    (row,) = runs.fractions(lacking, "rsd", 0)
    assert (row["ccc"], row["rmse"], row["coverage"], row["contents"]) == (pytest.approx(1), pytest.approx(0), 1, True)
    assert row["unknown"] == pytest.approx(row["other"])
    found = runs.missing(whole, "CD16 Mono", "rsd", 0)
    assert (found["unknown_error"], found["worst_bias"], found["hidden"]) == (0, pytest.approx(0), "CD16 Mono")
    blind = runs.missing(whole, "CD16 Mono", "nnls", 0)
    assert blind["unknown_error"] == pytest.approx(whole.truth["CD16 Mono"].mean())


def test_the_large_simulation_can_be_taken_apart(monkeypatch):
    monkeypatch.setattr(runs, "COST_GENES", 800)
    monkeypatch.setattr(runs, "COST_CELLS", 1000)
    found = runs.large(0)
    assert found.reference.shape == (1000, 800)
    row = runs.fractions(found, "em", 0)[0]
    assert row["rmse"] < 0.01


def test_rsd_is_looked_for():
    assert runs.own.available() == hasattr(td.tl, "deconvolve")


@pytest.mark.usefixtures("kept")
def test_runs_at_the_same_time_lose_no_rows(monkeypatch):
    """Between the reading of one and its writing the other waits."""
    from concurrent.futures import ThreadPoolExecutor

    slow = deconvolution._read
    monkeypatch.setattr(deconvolution, "_read", lambda: (slow(), time.sleep(0.02))[0])
    shared = {
        "set": "hoek",
        "method": "nnls",
        "contents": True,
        "ccc": 0.5,
        "ccc_types": 0.5,
        "rmse": 0.1,
        "uniform": 0.2,
    }
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seed: deconvolution._keep("fractions", shared | {"seed": seed}), range(12)))
    assert [row["seed"] for row in slow()["fractions"]] == sorted(range(12), key=str)
