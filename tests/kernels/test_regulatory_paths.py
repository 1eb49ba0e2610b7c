from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from sctandem.kernels._regulatory_paths import find_paths, rewired
from sctandem.kernels._regulatory_scores import standardise
from sctandem.kernels._regulatory_states import PairStatistics, cell_states, path_statistics, state_means


@pytest.fixture
def graph():
    rng = np.random.default_rng(0)
    binding = sparse.random(12, 4, 0.4, format="csr", random_state=1)
    near = sparse.random(12, 5, 0.4, format="csr", random_state=2)
    near = near.tolil()
    near[:, 3] = 0  # a gene without sites
    return standardise(rng.normal(size=(30, 12))), standardise(rng.normal(size=(30, 5))), binding, near.tocsr()


def test_paths_are_those_of_naive_loops(graph):
    open_, expression, binding, near = graph
    paths = find_paths(open_, expression, binding=binding, near=near)
    b, w = binding.toarray(), near.toarray()
    expected = [(t, g) for g in range(5) for t in range(4) if (b[:, t] * w[:, g]).any()]
    assert list(zip(paths.tf, paths.gene, strict=True)) == expected
    for i, (t, g) in enumerate(expected):
        weight = b[:, t] * w[:, g]
        linked = weight * np.abs([np.mean(open_[:, s] * expression[:, g]) for s in range(12)])
        assert paths.prior[i] == pytest.approx(weight.sum(), rel=1e-5)
        assert paths.link[i] == pytest.approx(linked.sum(), rel=1e-4)
        assert paths.site[i] == linked.argmax()
        assert paths.signal[:, i] == pytest.approx(standardise(open_ @ weight[:, None])[:, 0], abs=1e-4)
    order = np.random.default_rng(1).permutation(30)
    orders = np.stack([np.arange(30), order])
    found = path_statistics(sparse.csc_matrix(open_), expression, orders, binding=binding, near=near)
    for i, (t, g) in enumerate(expected):
        signal = open_ @ (b[:, t] * w[:, g])
        for row, gene in zip(found, (expression[:, g], expression[order, g]), strict=True):
            assert row[i] == pytest.approx(np.corrcoef(signal, gene)[0, 1] ** 2 * 29, rel=1e-3, abs=1e-5)


def test_without_paths_everything_is_empty(graph):
    open_, expression, binding, near = graph
    paths = find_paths(open_, expression, binding=binding * 0, near=near)
    assert paths.tf.size == paths.gene.size == 0
    assert paths.signal.shape == (30, 0)


def test_rewiring_keeps_degrees_and_changes_edges(graph):
    big = sparse.random(60, 20, 0.2, format="csr", random_state=3)
    other = rewired(big, np.random.default_rng(0))
    assert other.nnz == big.nnz
    assert (other.getnnz(axis=0) == big.getnnz(axis=0)).all()
    assert (other.getnnz(axis=1) == big.getnnz(axis=1)).all()
    assert other.sum(axis=0) == pytest.approx(big.sum(axis=0))  # a column keeps its weights
    kept = ((other > 0).multiply(big > 0)).nnz / big.nnz
    assert kept < 0.5
    assert rewired(sparse.csr_matrix((3, 2)), np.random.default_rng(0)).nnz == 0


def test_states_hold_alike_cells_and_average_them():
    rng = np.random.default_rng(0)
    centre = np.repeat(rng.normal(size=(10, 6)) * 20, 15, axis=0)
    values = centre + rng.normal(size=centre.shape)
    states = cell_states(standardise(values), 10, 0)
    assert set(states) == set(range(states.max() + 1))
    assert all(len(set(np.repeat(np.arange(10), 15)[states == s])) == 1 for s in set(states)) or states.max() < 9
    means = state_means(sparse.csr_matrix(values), states)
    assert means == pytest.approx(np.array([values[states == s].mean(0) for s in range(states.max() + 1)]))
    assert state_means(values, states) == pytest.approx(means)


def test_permuted_statistics_are_those_of_permuted_genes(graph):
    """Whichever side of the pairs is moved."""
    sites, expression, _, _ = graph
    ranks, regulators, order = sites, np.array([3, 0]), np.random.default_rng(2).permutation(30)
    activity = expression[:, :2]
    found = PairStatistics(ranks, sites, regulators, activity).common(order)
    for i, regulator in enumerate(regulators):
        for gene in range(sites.shape[1]):
            by_rank = np.corrcoef(ranks[:, regulator], ranks[order, gene])[0, 1]
            by_site = np.corrcoef(activity[:, i], sites[order, gene])[0, 1]
            assert found[i, gene] == pytest.approx(29 * (by_rank**2 + by_site**2), rel=1e-3, abs=1e-5)
