"""Clusters of two domains that are each other's nearest."""

from __future__ import annotations

import numpy as np

from sctandem.kernels._matched_clusters import match_clusters


def types_in_domains(seed):
    """Three types in both domains, which are shifted, and one of the first domain alone, near to another."""
    rng = np.random.default_rng(seed)
    means = 8 * np.eye(4, 6)
    means[3] = means[0] + [0, 0, 0, 0, 5, 0]
    kind = np.concatenate([np.repeat([0, 1, 2, 3], [50, 100, 25, 50]), np.repeat([0, 1, 2], [100, 25, 75])])
    domain = np.repeat([0, 1], [225, 200])
    return means[kind] + domain[:, None] * 1.5 + rng.normal(0, 0.5, (425, 6)), domain, kind


def test_types_are_matched_and_what_one_domain_has_is_not():
    for seed in range(3):
        points, domain, kind = types_in_domains(seed)
        found = match_clusters(points, domain, rng=seed)
        assert len(found.centres) == found.cluster.max() + 1 == len(found.domain)
        assert np.array_equal(found.domain[found.cluster], domain)
        assert np.array_equal(found.matched, found.matched.T)
        assert found.matched.diagonal().all()
        of = np.array([np.bincount(kind[found.cluster == number]).argmax() for number in range(len(found.centres))])
        pairs = np.argwhere(np.triu(found.matched, 1))
        assert len(pairs) >= 3
        assert all(of[a] == of[b] and found.domain[a] != found.domain[b] for a, b in pairs)
        assert not found.matched[of == 3][:, found.domain == 1].any()


def test_same_seed_same_clusters():
    points, domain, _ = types_in_domains(0)
    first, again = (match_clusters(points, domain, rng=4) for _ in range(2))
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
