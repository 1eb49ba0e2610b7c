"""What a part may not lack, where sizes and compositions would have it otherwise."""

from __future__ import annotations

import numpy as np

from sctandem.kernels._tail_split import split_groups


def test_a_rare_cluster_counts_more_than_even_parts():
    # the two donors with the rare cluster together are as large as the third: the even division would lack it in one part
    counts = np.array([[50, 1], [50, 1], [101, 0]])
    for seed in range(5):
        parts = split_groups(counts, np.array([0.5, 0.5]), rng=np.random.default_rng(seed))
        assert parts[0] != parts[1]


def test_a_cluster_of_too_few_donors_does_not_count():
    counts = np.array([[50, 1], [51, 0], [50, 0], [51, 0]])  # no division has it in both parts: the even ones are best
    parts = split_groups(counts, np.array([0.5, 0.5]), rng=np.random.default_rng(0))
    assert np.bincount(parts).tolist() == [2, 2]
