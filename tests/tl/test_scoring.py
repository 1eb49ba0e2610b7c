"""Verdicts on predictions that are written down here."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import ttest_rel

from sctandem._keys import PredictionKeys
from sctandem.tl._scoring import _superiority, score_prediction

N_CELLS, KEYS = 400, PredictionKeys("tape")


@pytest.fixture(name="truth")
def fixture_truth(rng):
    """A signal that can be known, and noise that cannot; all values above zero."""
    signal = rng.normal(size=(N_CELLS, 1))
    return signal, 5 + signal + rng.normal(size=(N_CELLS, 1))


def verdict(truth, predicted, by_neighbours):
    """Score one gene of which the neighbours predict given values (each has one training cell of its own)."""
    table = score_prediction(
        sparse.csr_matrix(truth),
        predicted,
        train=sparse.csr_matrix(by_neighbours),
        neighbours=sparse.eye_array(N_CELLS, format="csr"),
        scorable=np.array([True]),
        keys=KEYS,
    )
    return table[KEYS.verdict].iloc[0]


def test_knowing_what_the_neighbours_do_not_is_better_than_knn(truth):
    signal, values = truth
    assert verdict(values, 5 + signal, np.full_like(values, 5.0)) == "better than kNN"


def test_knowing_what_the_neighbours_know_is_better_than_the_mean_only(truth, rng):
    signal, values = truth
    knn = 5 + signal + 0.05 * rng.normal(size=values.shape)
    assert verdict(values, 5 + signal + 0.05 * rng.normal(size=values.shape), knn) == "better than the mean"


def test_knowing_nothing_is_no_better_than_the_mean(truth, rng):
    _, values = truth
    assert verdict(values, 5 + rng.normal(size=values.shape), 5 + rng.normal(size=values.shape)) == (
        "no better than the mean"
    )


def test_a_level_that_is_wrong_by_more_than_the_cells_tell_gets_no_praise(truth):
    """The cells are ranked well, but every value is so far too low that the mean has the smaller error."""
    signal, values = truth
    assert verdict(values, 2 + signal, np.full_like(values, 5.0)) == "no better than the mean"


def test_superiority_equals_a_paired_t_test(truth, rng):
    signal, values = truth
    ours, reference = 5 + signal + 0.3 * rng.normal(size=values.shape), 5 + 0.5 * signal
    shifted = ours - ours.mean() + reference.mean()
    expected = ttest_rel((values - reference) ** 2, (values - shifted) ** 2, alternative="greater").pvalue
    np.testing.assert_allclose(_superiority(values, ours, reference), expected)
