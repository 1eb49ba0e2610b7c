from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse, stats
from sklearn.metrics import mean_squared_error, r2_score, roc_auc_score

from sctandem.kernels import _skill as skill

N_CELLS, N_GENES = 60, 8


@pytest.fixture(name="pair")
def fixture_pair() -> tuple[np.ndarray, np.ndarray]:
    """Sparse truth with a constant zero gene, a constant non-zero gene and a gene seen in every cell; predictions with ties."""
    rng = np.random.default_rng(0)
    truth = np.log1p(rng.poisson(0.6, (N_CELLS, N_GENES)).astype(np.float64))
    truth[:, 0], truth[:, 1], truth[:, 2] = 0.0, 0.7, 1.0 + rng.random(N_CELLS)
    prediction = np.round(0.3 * truth + rng.normal(size=truth.shape), 1)
    prediction[:, 3] = 0.1
    return truth, prediction


def as_dense(values: np.ndarray) -> np.ndarray:
    return values


@pytest.fixture(name="convert", params=[as_dense, sparse.csr_matrix, sparse.csc_array], ids=["dense", "csr", "csc"])
def fixture_convert(request):
    return request.param


GROUPS = np.array(["a", "b", "c"])[np.arange(N_CELLS) % 3]


def test_pearson_equals_scipy(pair, convert):
    truth, prediction = pair
    scores = skill.pearson(convert(truth), prediction)
    assert np.isnan(scores[[0, 1, 3]]).all()
    for gene in (2, 4, 5, 6, 7):
        assert scores[gene] == pytest.approx(stats.pearsonr(truth[:, gene], prediction[:, gene]).statistic, abs=1e-12)


def test_pearson_is_invariant_to_scale_and_order_of_cells(pair):
    truth, prediction = pair
    order = np.random.default_rng(1).permutation(N_CELLS)
    expected = skill.pearson(truth, prediction)
    np.testing.assert_allclose(skill.pearson(truth[order] * 3 + 1, prediction[order] * 7 - 2), expected, atol=1e-12)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_a_constant_up_to_rounding_has_no_correlation(offset):
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(50, 3))
    nearly = offset + 1.0 + rng.integers(-1, 2, truth.shape) * np.spacing(offset + 1.0)
    assert np.isnan(skill.pearson(truth, nearly)).all()
    assert np.isnan(skill.pearson(truth, nearly.astype(np.float32))).all()


def test_pearson_keeps_a_small_signal_on_a_large_offset():
    signal = np.random.default_rng(0).normal(size=(50, 1))
    assert skill.pearson(signal, 1e5 + 1e-6 * signal)[0] == pytest.approx(1.0, abs=1e-3)


def test_within_group_pearson_equals_correlation_of_centred_values(pair, convert):
    truth, prediction = pair
    scores = skill.within_group_pearson(convert(truth), prediction, GROUPS)
    centred = [values.copy() for values in pair]
    for values in centred:
        for group in "abc":
            values[group == GROUPS] -= values[group == GROUPS].mean(axis=0)
    assert np.isnan(scores[[0, 1, 3]]).all()
    for gene in (2, 4, 5, 6, 7):
        assert scores[gene] == pytest.approx(stats.pearsonr(centred[0][:, gene], centred[1][:, gene]).statistic)


def test_within_group_pearson_ignores_what_only_the_group_explains(pair):
    truth, prediction = pair
    shift = np.array([10.0, 0.0, -20.0])[np.arange(N_CELLS) % 3][:, None]
    expected = skill.within_group_pearson(truth, prediction, GROUPS)
    shifted = skill.within_group_pearson(truth + shift, prediction - shift, GROUPS)
    np.testing.assert_allclose(shifted[2:], expected[2:], atol=1e-10)
    assert np.isnan(skill.within_group_pearson(truth, np.broadcast_to(shift, truth.shape), GROUPS)).all()


def test_rmse_equals_sklearn(pair, convert):
    truth, prediction = pair
    expected = np.sqrt(mean_squared_error(truth, prediction, multioutput="raw_values"))
    np.testing.assert_allclose(skill.rmse(convert(truth), prediction), expected, atol=1e-12)


def test_gain_over_the_mean_is_r_squared(pair, convert):
    truth, prediction = pair
    scores = skill.gain(convert(truth), prediction, reference=truth.mean(axis=0))
    expected = r2_score(truth[:, 2:], prediction[:, 2:], multioutput="raw_values")
    np.testing.assert_allclose(scores[2:], expected, atol=1e-12)
    assert np.isnan(scores[0])


def test_gain_of_reference_truth_and_worse(pair):
    truth, prediction = pair
    np.testing.assert_allclose(skill.gain(truth, prediction, prediction), 0.0, atol=1e-12)
    np.testing.assert_allclose(skill.gain(truth, truth, prediction), 1.0)
    assert skill.gain(truth, truth + 2.0, truth + 1.0) == pytest.approx(-3.0)


def test_auroc_equals_sklearn_with_ties(pair, convert):
    truth, prediction = pair
    scores = skill.auroc(convert(truth), prediction)
    assert np.isnan(scores[[0, 1, 2]]).all()
    assert scores[3] == pytest.approx(0.5)
    for gene in range(3, N_GENES):
        assert scores[gene] == pytest.approx(roc_auc_score(truth[:, gene] > 0, prediction[:, gene]))


def test_auroc_does_not_depend_on_the_block(pair, monkeypatch):
    expected = skill.auroc(*pair)
    monkeypatch.setattr(skill, "_BLOCK_VALUES", 3 * N_CELLS)
    np.testing.assert_array_equal(skill.auroc(*pair), expected)


def test_log_fold_changes_are_differences_of_group_means(pair, convert):
    truth, _ = pair
    changes = skill.log_fold_changes(convert(truth), GROUPS, target="c", baseline="a")
    np.testing.assert_allclose(changes, truth[GROUPS == "c"].mean(axis=0) - truth[GROUPS == "a"].mean(axis=0))


def test_correlation_skips_what_is_not_finite():
    left, right = np.array([1.0, np.nan, 3.0, 5.0, 0.0]), np.array([2.0, 1.0, 1.0, 4.0, np.inf])
    keep = [0, 2, 3]
    assert skill.correlation(left, right) == pytest.approx(stats.pearsonr(left[keep], right[keep]).statistic)
    assert np.isnan(skill.correlation([1.0, 1.0], [0.0, 1.0]))


def test_explicit_zeros_and_integers_change_nothing(pair):
    truth = np.round(pair[0] * 3).astype(np.int32)
    stored = sparse.csr_array(np.where(truth == 0, 99, truth))
    stored.data[stored.data == 99] = 0
    for score in (skill.pearson, skill.rmse, skill.auroc):
        np.testing.assert_allclose(score(stored, pair[1]), score(truth, pair[1]), atol=1e-12)


@pytest.mark.parametrize("score", [skill.pearson, skill.rmse, skill.auroc])
def test_other_shapes_are_refused(score):
    with pytest.raises(ValueError, match=r"\(3, 2\) and \(4, 2\)"):
        score(np.zeros((3, 2)), np.zeros((4, 2)))
    with pytest.raises(ValueError, match="no cell to score"):
        score(np.zeros((0, 2)), np.zeros((0, 2)))


def test_bad_groups_are_refused():
    values = np.zeros((3, 2))
    with pytest.raises(ValueError, match=r"one group label a cell \(3\)"):
        skill.within_group_pearson(values, values, ["a", "b"])
    with pytest.raises(ValueError, match=r"no cell of group 'c'; available groups: \['a', 'b'\]"):
        skill.log_fold_changes(values, ["a", "b", "b"], target="c", baseline="a")


def test_bad_vectors_are_refused():
    with pytest.raises(ValueError, match="two vectors of one length"):
        skill.correlation([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="no position is finite"):
        skill.correlation([np.nan], [1.0])
