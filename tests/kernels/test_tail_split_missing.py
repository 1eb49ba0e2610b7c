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


def test_a_cluster_of_fewer_donors_than_parts_does_not_count():
    # two donors cannot have it in three parts: the even division, which has both in one, is best
    counts = np.array([[30, 1], [30, 1], [61, 0], [61, 0]])
    for seed in range(5):
        parts = split_groups(counts, np.full(3, 1 / 3), rng=np.random.default_rng(seed))
        assert parts[0] == parts[1]
        assert np.bincount(parts, counts.sum(1)).tolist() in ([62, 61, 61], [61, 62, 61], [61, 61, 62])
