from __future__ import annotations

import numpy as np
from mixtures import compositions, profiles
from scipy import stats

from sctandem.kernels._type_expression import type_expression


def problem(*, spread: float = 0.5, n_samples: int = 12, n_genes: int = 200, noise: float = 0.05):
    """Types that change by themselves in each sample, and the logs of what a sample has against what is expected."""
    rng = np.random.default_rng(0)
    shares, rna = profiles(n_genes=n_genes), compositions(n_samples)
    true = spread * rng.standard_normal((3, n_samples, n_genes))
    measured = np.einsum("st,tg,tsg->sg", rna, shares, np.exp(true))
    ratio = np.log(measured / (rna @ shares)) + noise * rng.standard_normal((n_samples, n_genes))
    return ratio, rna, shares, true


def test_one_type_has_the_shrunken_ratio():
    rng = np.random.default_rng(0)
    ratio, spread, noise = rng.standard_normal((4, 9)), rng.gamma(2, 0.2, (1, 9)), rng.gamma(2, 0.1, (4, 9))
    found = type_expression(ratio, np.ones((4, 1)), profiles(n_types=1, n_genes=9), spread=spread, noise=noise)
    np.testing.assert_allclose(found[0], ratio * spread**2 / (spread**2 + noise))
    exact = type_expression(
        ratio, np.ones((4, 1)), profiles(n_types=1, n_genes=9), spread=spread, noise=np.zeros((4, 9))
    )
    np.testing.assert_allclose(exact[0], ratio)


def test_is_the_posterior_mean_of_a_gaussian_model():
    """Against the covariance written out for one gene of one sample."""
    ratio, rna, shares, _ = problem()
    spread = np.random.default_rng(1).gamma(2, 0.2, shares.shape)
    found = type_expression(ratio, rna, shares, spread=spread, noise=np.full(ratio.shape, 0.1))
    for sample, gene in ((0, 0), (3, 17), (11, 199)):
        part = rna[sample] * shares[:, gene]
        part = part / part.sum()
        prior = np.diag(spread[:, gene] ** 2)
        expected = prior @ part / (part @ prior @ part + 0.1) * ratio[sample, gene]
        np.testing.assert_allclose(found[:, sample, gene], expected)


def test_inputs_are_left_as_they_were():
    ratio, rna, shares, _ = problem()
    spread, noise = np.full(shares.shape, 0.5), np.full(ratio.shape, 0.1)
    before = [values.copy() for values in (ratio, rna, shares, spread, noise)]
    type_expression(ratio, rna, shares, spread=spread, noise=noise)
    for values, old in zip((ratio, rna, shares, spread, noise), before, strict=True):
        np.testing.assert_array_equal(values, old)


def test_with_large_noise_types_keep_their_mean():
    ratio, rna, shares, _ = problem()
    found = type_expression(ratio, rna, shares, spread=np.full(shares.shape, 0.5), noise=np.full(ratio.shape, 1e8))
    assert np.abs(found).max() < 1e-7


def test_absent_types_and_genes_that_nobody_has():
    ratio, rna, shares, _ = problem()
    rna, shares = rna.copy(), shares.copy()
    rna[:, 0], shares[:, 5] = 0, 0
    found = type_expression(ratio, rna, shares, spread=np.full(shares.shape, 0.5), noise=np.full(ratio.shape, 0.1))
    assert np.isfinite(found).all()
    assert (found[0] == 0).all()
    assert (found[:, :, 5] == 0).all()


def test_nearer_to_the_truth_than_the_pooled_change():
    ratio, rna, shares, true = problem()
    found = type_expression(ratio, rna, shares, spread=np.full(shares.shape, 0.5), noise=np.full(ratio.shape, 0.05**2))
    pooled = np.broadcast_to(ratio, true.shape)
    error, of_pooled, of_mean = ((guess - true) ** 2 for guess in (found, pooled, np.zeros_like(true)))
    assert error.mean() < 0.85 * of_mean.mean() < of_pooled.mean()
    # and ranks samples right where a type makes most of a gene
    part = (rna.T[:, :, None] * shares[:, None, :] / (rna @ shares)).mean(1)
    kind, gene = np.nonzero(part > 0.8)
    ranks = [stats.spearmanr(found[k, :, g], true[k, :, g])[0] for k, g in zip(kind, gene, strict=True)]
    assert len(ranks) > 10
    assert np.mean(ranks) > 0.8
