"""Residual coordinates of samples, and the covariance that genes have in common."""

from __future__ import annotations

import numpy as np

from sctandem.kernels._nb_glm import fit_nb
from sctandem.kernels._sample_correlation import residual_coordinates, sample_covariance

DESIGN = np.column_stack([np.ones(8), np.repeat([0.0, 1], 4)])


def test_coordinates_hold_the_deviance_and_are_independent_at_any_depth():
    """Poisson noise of samples whose depths differ a hundredfold: white coordinates, whose squares add up to the deviance."""
    rng = np.random.default_rng(0)
    depth = np.array([1, 10, 100, 30, 3, 100, 10, 1.0]) * 20
    level, dispersion = np.exp(rng.uniform(0, 2, 6000)), np.full(6000, 1e-8)
    counts = rng.poisson(depth[:, None] * level).astype(float)
    fit = fit_nb(counts, DESIGN, depth, dispersion)
    found = residual_coordinates(counts, DESIGN, dispersion, fit)
    np.testing.assert_allclose((found**2).sum(1), fit.deviance, rtol=1e-6)
    np.testing.assert_allclose(found.T @ found / 6000, np.eye(6), atol=0.08)


def test_a_few_loud_genes_do_not_decide_the_covariance():
    rng = np.random.default_rng(0)
    residual = rng.normal(size=(4000, 5))
    residual[:80] += np.outer(rng.normal(0, 12, 80), [1, 0, 0, 0, 0])
    found = sample_covariance(residual, np.ones(4000))
    np.testing.assert_allclose(found, np.eye(5), atol=0.25)  # 2 and 0.7 on the diagonal where all count alike
