"""Peers of deconvolution: exact mixtures give exact shares, and what they are told they use."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from benchmarks.peers import _deconvolution as peers
from benchmarks.peers import _deconvolution_em as em
from benchmarks.peers import _deconvolution_mlp as mlp
from benchmarks.peers import _deconvolution_plain as plain
from benchmarks.peers import _deconvolution_tape as tape
from scipy import sparse

TYPES, CELLS, GENES = 3, 60, 300


@pytest.fixture(name="task", scope="module")
def fixture_task():
    """Cells of three types with twenty markers each, of different depths; mixtures of their own mean profiles."""
    rng = np.random.default_rng(0)
    level = np.tile(rng.gamma(2, 1, GENES), (TYPES, 1))
    for k in range(TYPES):
        level[k, 20 * k : 20 * (k + 1)] *= 15
    level /= level.sum(axis=1, keepdims=True)
    kind = np.repeat(np.arange(TYPES), CELLS)
    depth = np.array([2000, 4000, 6000])
    counts = sparse.csr_matrix(rng.poisson(level[kind] * depth[kind, None]).astype(np.float32))
    labels = np.array(["b", "a", "c"])[kind]
    signature = peers.Task(np.ones((1, GENES)), counts, labels).signature
    shares = rng.dirichlet(np.ones(TYPES), 8)
    shares[0] = [0, 0.4, 0.6]
    return peers.Task(shares @ signature, counts, labels, 0), shares


@pytest.fixture(autouse=True)
def _shorter(monkeypatch):
    """Train on fewer mixtures for fewer steps: the genes here are few."""
    monkeypatch.setattr(mlp, "STEPS", 100)
    monkeypatch.setattr(mlp, "N_MIXTURES", 400)


EXACT = [
    peers.least_squares,
    peers.least_squares_markers,
    peers.weighted,
    peers.dampened,
    em.em_fixed,
    em.em,
    em.em_markers,
]


@pytest.mark.parametrize("method", EXACT, ids=lambda one: one.__name__)
def test_exact_mixtures_give_exact_shares(task, method):
    given, shares = task
    found = method(given)
    rna = found.told(np.ones(TYPES))  # shares of RNA, whatever was assumed of a cell
    np.testing.assert_allclose(rna, shares, atol=0.02 if method is peers.weighted else 2e-3)
    np.testing.assert_allclose(found.shares.sum(axis=1), 1)


@pytest.mark.parametrize(
    "method", [peers.support_vectors, mlp.networks, plain.likelihood], ids=lambda one: one.__name__
)
def test_regularised_methods_come_near(task, method):
    given, shares = task
    assert np.sqrt(np.mean((method(given).told(np.ones(TYPES)) - shares) ** 2)) < 0.06


@pytest.mark.parametrize("method", [*EXACT, peers.support_vectors], ids=lambda one: one.__name__)
def test_the_depth_of_a_sample_and_the_order_of_genes_and_cells_change_nothing(task, method):
    given, _ = task
    rng = np.random.default_rng(1)
    genes, cells = rng.permutation(GENES), rng.permutation(len(given.labels))
    depth = np.linspace(0.5, 3, len(given.bulk))[:, None]
    other = peers.Task(given.bulk[:, genes] * depth, given.counts[cells][:, genes], given.labels[cells], 0)
    tolerance = (
        1e-2 if method in {peers.dampened, em.em, em.em_markers} else 1e-3
    )  # halves of genes, a stop of the search
    np.testing.assert_allclose(method(other).shares, method(given).shares, atol=tolerance)


def test_contents_turn_shares_of_rna_into_shares_of_cells():
    cells = np.array([[0.5, 0.3, 0.2]])
    content, assumed = np.array([1.0, 2.0, 4.0]), np.array([3.0, 1.0, 1.0])
    rna = peers.to_shares(cells * content)
    np.testing.assert_allclose(peers.Composition(rna).told(content), cells)
    under_another = peers.Composition(peers.to_shares(rna / assumed), assumed)
    np.testing.assert_allclose(under_another.told(content), cells)


def test_what_takes_the_rna_of_a_cell_from_the_reference_gives_shares_of_cells(task):
    given, _ = task
    size = given.cell_content
    bulk = peers.to_shares(np.array([[0.5, 0.3, 0.2]]) * size) @ given.signature
    one = peers.Task(bulk, given.counts, given.labels, 0)
    for method in (peers.weighted, mlp.networks):
        np.testing.assert_allclose(method(one).shares, [[0.5, 0.3, 0.2]], atol=0.07)


def test_markers_are_the_genes_that_were_raised(task):
    given, _ = task
    assert set(range(60)) <= set(given.markers) | set(given.differing)
    ratio, t = given.contrast
    assert (ratio[0, 20:40] > 2).all()  # "a" is the second type that was made
    assert (t[0, 20:40] > 3).all()
    assert len(given.markers) < 120


def test_the_updated_reference_takes_up_a_change_of_platform(task):
    """A factor for every gene moves the shares under a fixed reference; the update comes nearer to the truth."""
    given, shares = task
    factor = np.exp(np.random.default_rng(2).normal(0, 0.5, GENES))
    shifted = peers.Task(given.bulk * factor, given.counts, given.labels, 0)
    errors = [np.abs(method(shifted).shares - shares).mean() for method in (em.em_fixed, em.em)]
    assert errors[1] < errors[0]


def test_em_deals_reads_to_types(task):
    """Parts of the bulk that fall to the types add up to it, and the profile of an unchanged type comes back."""
    given, shares = task
    found = em.em_expression(given)
    assert list(found) == ["a", "b", "c"]
    whole = sum(found[kind] * shares[:, [k]] for k, kind in enumerate(found))
    np.testing.assert_allclose(whole, given.bulk / given.bulk.sum(axis=1, keepdims=True), atol=2e-4)
    sure = shares[:, 0] > 0.3
    profile = given.signature[0] / given.signature[0].sum()
    assert np.corrcoef(found["a"][sure].mean(axis=0), profile)[0, 1] > 0.99


def test_the_posterior_has_the_gradient_it_says(task):
    given, _ = task
    rng = np.random.default_rng(3)
    reads, profile = rng.gamma(1, 100, GENES), given.signature[0] / 1e6 + 1e-8
    where, along = rng.normal(size=GENES), rng.normal(size=GENES)
    value, gradient = em._posterior(where, reads, np.log(profile))
    ahead = em._posterior(where + 1e-5 * along, reads, np.log(profile))[0]
    behind = em._posterior(where - 1e-5 * along, reads, np.log(profile))[0]
    assert (ahead - behind) / 2e-5 == pytest.approx(gradient @ along, rel=1e-4)


def test_the_same_seed_gives_the_same(task):
    given, _ = task
    again = peers.Task(given.bulk, given.counts, given.labels, 0)
    other = peers.Task(given.bulk, given.counts, given.labels, 1)
    first = mlp.simulate(given, np.random.default_rng(0))[0]
    np.testing.assert_array_equal(first, mlp.simulate(again, np.random.default_rng(0))[0])
    np.testing.assert_array_equal(peers.dampened(given).shares, peers.dampened(again).shares)
    assert not np.array_equal(mlp.networks(given).shares, mlp.networks(other).shares)


def test_simulated_mixtures_are_sums_of_cells(task):
    given, _ = task
    mixtures, share = mlp.simulate(given, np.random.default_rng(0))
    np.testing.assert_allclose(share.sum(axis=1), 1)
    assert 0.2 < (share[: len(share) // 2] == 0).any(axis=1).mean() <= 1
    content = share * given.cell_content
    expected = content @ (given.signature / 1e6)
    assert np.corrcoef(mixtures.ravel(), expected.ravel())[0, 1] > 0.999


def test_scaling_ends_at_0_and_1(task):
    found = mlp.scaled(task[0].bulk, np.arange(100))
    np.testing.assert_array_equal([found.min(axis=1).max(), found.max(axis=1).min()], [0, 1])


def test_what_is_not_installed_says_so(task, monkeypatch):
    monkeypatch.setitem(sys.modules, "TAPE", None)
    monkeypatch.setitem(sys.modules, "TAPE.simulation", None)
    with pytest.raises(tape.NotInstalledError, match="scTAPE is not installed"):
        tape.autoencoder(task[0])
