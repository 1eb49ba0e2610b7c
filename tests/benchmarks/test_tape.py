from __future__ import annotations

import numpy as np
import pytest
from benchmarks import _a549, _results, _skill, _tables, _tape_methods, _tape_report, tape

from sctandem.kernels import pearson

ROW = {
    "pearson": 0.1,
    "within_group_pearson": 0.05,
    "rmse": 0.7,
    "auroc": 0.6,
    "fold_change_pearson": 0.9,
    "given_library_pearson": 0.08,
    "seconds": 10.0,
    "processor_seconds": 9.0,
    "peak_mb": 100.0,
    "settings": {"pearson_without_windows": 0.09},
}


def rows(**changes: float) -> list[dict]:
    return [{**ROW, "seed": seed, **{key: value + 0.01 * seed for key, value in changes.items()}} for seed in (0, 1, 2)]


def test_skill_of_the_truth_and_of_the_mean(rng):
    library = rng.normal(size=60)
    truth = np.maximum(rng.normal(size=(60, 10)), 0)
    truth[:, 0] = 0.0
    groups = np.arange(60) % 2
    perfect = _skill.skill(truth, truth, groups, target=1, baseline=0, log_library=library)
    assert perfect.as_dict() == pytest.approx(
        {
            "pearson": 1,
            "within_group_pearson": 1,
            "rmse": 0,
            "auroc": 1,
            "fold_change_pearson": 1,
            "given_library_pearson": 1,
        }
    )
    mean = _skill.skill(truth, np.tile(truth.mean(axis=0), (60, 1)), groups, target=1, baseline=0, log_library=library)
    assert (mean.pearson, mean.within_group_pearson, mean.auroc) == (0, 0, pytest.approx(0.5))
    assert mean.rmse == pytest.approx(np.sqrt(truth.var(axis=0).mean()))
    assert np.isnan(mean.fold_change_pearson)


def test_partial_correlation_equals_that_of_statsmodels_residuals(rng):
    import statsmodels.api as sm

    library = rng.normal(size=80)
    truth, predicted = (rng.normal(size=(80, 3)) + library[:, None] for _ in range(2))
    found = _skill.skill(truth, predicted, np.arange(80) % 2, target=1, baseline=0, log_library=library)
    left = [sm.OLS(values, sm.add_constant(library)).fit().resid for values in (truth, predicted)]
    expected = np.mean([np.corrcoef(left[0][:, gene], left[1][:, gene])[0, 1] for gene in range(3)])
    assert found.given_library_pearson == pytest.approx(expected)
    assert found.pearson > found.given_library_pearson + 0.2


def test_a_constant_prediction_of_one_gene_counts_as_zero(rng):
    library = rng.normal(size=30)
    truth = np.maximum(rng.normal(size=(30, 2)), 0)
    predicted = truth.copy()
    predicted[:, 1] = 0.5
    assert _skill.skill(
        truth, predicted, np.arange(30) % 2, target=1, baseline=0, log_library=library
    ).pearson == pytest.approx(0.5)


def test_rows_are_mean_and_standard_deviation():
    (row,) = _tape_report.rows({"ridge": rows(pearson=0.1)})
    assert row["method"] == "ridge on LSI"
    assert row["splits"] == "3"
    assert row["Pearson a gene"] == "0.1100 ± 0.0100"
    assert row["RMSE"] == "0.7000 ± 0.0000"


def test_fewer_epochs_are_marked():
    found = [{**ROW, "seed": 0, "settings": {"epochs": 3, "epochs_limit": 3, "seconds_per_epoch": 1.0}}]
    assert _tape_report.rows({"multivi": found})[0]["method"] == "MultiVI (at most 3 epochs)"
    found[0]["settings"]["epochs_limit"] = "default"
    assert _tape_report.rows({"multivi": found})[0]["method"] == "MultiVI"


def test_differences_are_paired_by_split():
    cells = {"tape": rows(pearson=0.2, rmse=0.6)[1:], "ridge": rows(pearson=0.1, rmse=0.65)}
    (row,) = _tape_report.paired(cells)
    assert (row["TAPE against"], row["splits"]) == ("ridge on LSI", "2")
    assert row["Pearson a gene"] == "+0.1000 ± 0.0000 (2/2)"
    assert row["RMSE"] == "-0.0500 ± 0.0000 (2/2)"
    assert row["AUROC"] == "+0.0000 ± 0.0000 (0/2)"


def test_chosen_settings_are_counted():
    found = rows(pearson=0.1)
    for row, alpha in zip(found, (1.0, 10.0, 1.0), strict=True):
        row["settings"] = {"alpha": alpha, "scale": row["pearson"]}
    assert _tape_report.chosen({"ridge": found}) == [
        {"method": "ridge on LSI", "settings": "alpha 1", "splits": "2"},
        {"method": "ridge on LSI", "settings": "alpha 10", "splits": "1"},
    ]


def test_document_has_what_the_page_needs():
    document = _tape_report.document({"cells": {"tape": rows(pearson=0.2), "mean": rows(pearson=0.0)}})
    assert [table["title"] for table in document["tables"]] == [
        "Held-out cells",
        "TAPE against each: held-out cells",
        "Settings chosen on the training cells",
        "Targets",
    ]
    assert document["measured"]["cells"]["mean"][0]["seed"] == 0


def test_fresh_splits_have_a_table_of_their_own():
    fresh = [{**row, "seed": row["seed"] + _tape_report.FRESH} for row in rows(pearson=0.5)]
    document = _tape_report.document({"cells": {"tape": [*rows(pearson=0.2), *fresh]}})
    figures = {table["title"]: table["rows"] for table in document["tables"]}
    assert figures["Held-out cells"][0]["Pearson a gene"] == "0.2100 ± 0.0100"
    assert figures["Held-out cells, splits that nobody had looked at"][0]["Pearson a gene"] == "0.5100 ± 0.0100"


def test_seeds_are_those_of_the_rows():
    nested = {"cells": {"tape": rows(), "mean": [{"seed": 100}]}, "simulation": {"links": {"wide": [{"seed": 7}]}}}
    assert _tape_report.seeds(nested) == [0, 1, 2, 7, 100]


def test_a_row_takes_the_place_of_the_older_one_and_of_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(_results, "FOLDER", tmp_path)
    monkeypatch.setattr(_tables, "write_page", lambda: None)
    monkeypatch.setattr(_a549, "files", list)
    kept = {}
    monkeypatch.setattr(_results, "read", lambda _: kept)
    monkeypatch.setattr(_results, "write", lambda _, document, **run: kept.update(document, run=run))
    for row in (*rows(pearson=0.1)[:2], rows(pearson=0.9)[0]):
        tape._keep(row, "cells", "ridge")
    tape._keep({**ROW, "seed": 4}, "cells", "mean")
    assert [row["pearson"] for row in kept["measured"]["cells"]["ridge"]] == pytest.approx([0.9, 0.11])
    assert list(kept["run"]["seeds"]) == [0, 1, 4]


@pytest.mark.usefixtures("shared_data")
def test_real_cells_are_read_and_split():
    mdata = _a549.read()
    split = _a549.split(mdata.n_obs, 0)
    train = _a549.train_data(mdata, split.train)
    assert (split.train.size, split.test.size) == (2113, 528)
    assert train.rna.shape == (2113, 1185)
    assert {"gene", "peak", "distance", "gene_length"} <= set(train.pairs)
    assert set(_a549.times(mdata, split.test)) == {0, 1, 3}
    # normalised by the whole library, of which the genes here are a part
    assert np.expm1(train.rna).sum(axis=1).max() < 1e4


@pytest.mark.usefixtures("shared_data")
def test_the_true_time_point_gives_the_published_figure():
    mdata = _a549.read()
    split = _a549.split(mdata.n_obs, 0)
    prediction = _tape_methods.true_time_point(mdata, split)
    truth = _a549.truth(mdata, split.test)
    assert np.nan_to_num(pearson(truth, prediction.values)).mean() == pytest.approx(0.1, abs=0.005)


@pytest.mark.slow
@pytest.mark.usefixtures("shared_data")
def test_no_peer_sees_the_expression_of_test_cells():
    """What a peer is given is the same whatever the test cells express."""
    mdata = _a549.read()
    split = _a549.split(mdata.n_obs, 0)
    before = _tape_methods.entries()["linear_kernel"].predict(mdata, split).values
    counts = mdata["rna"].X.tolil()
    counts[split.test] = 0
    counts[split.test, 3] = 7
    mdata["rna"].X = counts.tocsr()
    np.testing.assert_array_equal(_tape_methods.entries()["linear_kernel"].predict(mdata, split).values, before)
