from __future__ import annotations

import numpy as np
import pytest
from mixtures import bulk, compositions, profiles
from scipy import optimize

from sctandem.kernels import _unknown
from sctandem.kernels._deconvolution import bulk_logs
from sctandem.kernels._unknown import unknown_share

PLANTED = np.array([0, 0, 0, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.5, 0.6])


@pytest.fixture(scope="module")
def shares():
    return profiles(n_types=4, n_genes=600, change=1.0)


def planted(shares: np.ndarray, seed: int, *, platform: float = 0.0):
    """Samples as in the model: something of the mean profile, each gene of it a factor away; and what the known types give them."""
    rng = np.random.default_rng(seed)
    other = shares.mean(0) * np.exp(rng.standard_normal(shares.shape[1]))
    rna = compositions(len(PLANTED), 4, seed=seed)
    mixed = np.hstack([rna * (1 - PLANTED)[:, None], PLANTED[:, None]])
    every = np.vstack([shares, other])
    return bulk(every, mixed, platform=platform, noise=0.03, seed=seed), rna @ shares


@pytest.mark.parametrize("n_samples", [1, 2, 10])
def test_nothing_is_unknown_in_exact_mixtures(shares, n_samples):
    rna = compositions(n_samples, 4)
    found = unknown_share(bulk_logs(bulk(shares, rna).X, counts=False), rna @ shares, shares, sigma=0.05, tau=0.2)
    assert found.max() < 0.02


@pytest.mark.parametrize("platform", [0.0, 0.3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_planted_type_is_recovered(shares, seed, platform):
    adata, known = planted(shares, seed, platform=platform)
    found = unknown_share(
        bulk_logs(adata.X, counts=False), known, shares, sigma=0.05, tau=max(platform, 0.2), n_steps=1000
    )
    np.testing.assert_allclose(found, PLANTED, atol=0.06)


def test_order_and_scale_do_not_matter(shares):
    adata, known = planted(shares, 0)
    options = {"sigma": 0.05, "tau": 0.2, "n_steps": 500}
    found = unknown_share(bulk_logs(adata.X, counts=False), known, shares, **options)
    rng = np.random.default_rng(0)
    genes, samples = rng.permutation(600), rng.permutation(len(PLANTED))
    again = unknown_share(
        bulk_logs(3 * adata.X[np.ix_(samples, genes)], counts=False),
        known[np.ix_(samples, genes)],
        shares[:, genes],
        **options,
    )
    np.testing.assert_allclose(again, found[samples], atol=0.02)


def test_what_is_all_unknown_leaves_a_rest_for_the_known(shares):
    other = profiles(7, n_types=1, n_genes=600)
    found = unknown_share(bulk_logs(other * 1e6, counts=False), shares[:1], shares, sigma=1e-3, tau=1e-3)
    assert 0 < found[0] < 1


def test_gradient_is_the_numeric_one(shares, monkeypatch):
    caught = []

    def catch(function, start, **options):
        caught.append(function)
        return optimize.minimize(function, start, **options)

    monkeypatch.setattr(_unknown, "minimize", catch)
    adata, known = planted(shares, 0)
    unknown_share(bulk_logs(adata.X[:3], counts=False), known[:3], shares, sigma=0.1, tau=0.3, n_steps=3)
    point = 0.5 * np.random.default_rng(2).standard_normal(3 + 3 + 600 + 4 + 600)
    numeric = optimize.approx_fprime(point, lambda free: caught[0](free)[0], 1e-7)
    np.testing.assert_allclose(caught[0](point)[1], numeric, rtol=1e-3, atol=2e-3)
