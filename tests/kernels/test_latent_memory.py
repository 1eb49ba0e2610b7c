from __future__ import annotations

import numpy as np

from sctandem.kernels._latent_memory import latent_groups, recall, remember


def test_drawn_states_have_the_moments_of_their_group():
    rng = np.random.default_rng(0)
    root = np.array([[[1.0, 0.0], [0.8, 0.6]], [[0.3, 0.0], [0.0, 0.3]]])
    label = np.repeat([0, 1], [2000, 500])
    points = np.array([[0.0, 0.0], [5.0, -2.0]])[label] + np.einsum(
        "nij,nj->ni", root[label], rng.normal(size=(2500, 2))
    )
    depth = np.exp(np.array([6.0, 8.0])[label] + 0.2 * rng.normal(size=2500))
    group, codes = latent_groups(points, label, np.zeros(2500, dtype=int), rng)
    totals = np.full((2, 3), 7.0), np.full((2, 3), 3.0)
    memory = remember(points, group, codes, depth, totals)
    np.testing.assert_array_equal(codes, [[0, 0], [0, 1]])
    np.testing.assert_allclose(memory.residuals, np.log(2), rtol=1e-6)
    drawn, deep, of = recall(memory, 20_000, rng)
    assert np.bincount(of).tolist() == [10_000, 10_000]
    for name in (0, 1):
        np.testing.assert_allclose(drawn[of == name].mean(0), points[label == name].mean(0), atol=0.05)
        np.testing.assert_allclose(np.cov(drawn[of == name].T), np.cov(points[label == name].T), atol=0.05)
        np.testing.assert_allclose(np.log(deep[of == name]).mean(), [6, 8][name], atol=0.05)


def test_cells_without_a_label_are_grouped_by_where_they_lie():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(0, 0.1, (90, 2)), rng.normal(5, 0.1, (90, 2)), rng.normal(9, 0.1, (4, 2))])
    label = np.repeat([-1, -1, 0], [90, 90, 4])
    group, codes = latent_groups(points, label, np.zeros(184, dtype=int), rng)
    assert codes[group[180]].tolist() == [0, 0]
    assert len(np.unique(group[180:])) == 1
    assert not set(group[:90]) & set(group[90:180])
