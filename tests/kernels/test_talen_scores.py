"""Scores of every repeat, against the counts that TALE-NT's source has and the definition of the scores."""

import math

import numpy as np
import pytest
from tests.genome.test_talens import COUNTS

from sctandem.kernels._talens import RVD_COUNTS, importance_matrix, score_matrix

#: The repeats that neither TALE-NT's outputs nor the searches below hold, as `bcutils.c` of TALE-NT 2.0 has them.
RARE_COUNTS = {
    "N*": (1, 11, 1, 7), "HG": (1, 2, 0, 15), "HA": (1, 4, 1, 0), "ND": (0, 4, 0, 0), "NK": (0, 0, 2, 0), "HI": (0, 1, 0, 0),
    "HN": (0, 0, 1, 0), "NA": (0, 0, 1, 0), "IG": (0, 0, 0, 1), "H*": (0, 0, 0, 1),
    **dict.fromkeys(("S*", "YG", "SN", "SS", "NC", "HH", "XX"), (1, 1, 1, 1)),
}  # fmt: skip


def test_scores_of_every_repeat():
    expected = COUNTS | RARE_COUNTS
    assert set(RVD_COUNTS) == set(expected)
    for rvd, counts in expected.items():
        scores = [-math.log(0.9 * count / sum(counts) + 0.1 / 4) for count in counts]
        np.testing.assert_allclose(score_matrix([rvd])[0], scores, err_msg=rvd)


@pytest.mark.parametrize(
    ("rvd", "share"), [("HD", 0.95), ("NN", 0.95), ("NH", 0.85), ("N*", 0.85), ("NI", 0.7), ("NG", 0.7), ("NK", 0.7)]
)
def test_importance_of_strong_intermediate_and_weak_repeats(rvd, share):
    """What the worst base costs above the best one, where the repeat decides on a share of the binding only."""
    counts = np.array((COUNTS | RARE_COUNTS)[rvd])
    bound = share * (0.9 * counts / counts.sum() + 0.025) + (1 - share) / 4
    np.testing.assert_allclose(importance_matrix([rvd])[0], np.log(bound.max() / bound))
