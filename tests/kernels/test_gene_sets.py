"""Scores of gene sets, against scanpy's and against those worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData
from scipy import sparse

from sctandem.kernels import _gene_sets
from sctandem.kernels._gene_sets import expression_bins, gene_set_scores, matched_sets, membership


@pytest.fixture
def values(rng):
    """Log-normalised values of 40 cells x 300 genes; some genes are never seen."""
    counts = rng.poisson(rng.gamma(0.4, 1.0, 300) * (rng.random(300) > 0.1), (40, 300))
    return np.log1p(counts * 1e4 / counts.sum(1, keepdims=True))


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csr_array])
@pytest.mark.parametrize("n_bins", [5, 25])
def test_score_is_that_of_scanpy_with_all_reference_genes(values, rng, form, n_bins):
    sets = [rng.choice(300, size, replace=False) for size in (1, 5, 40, 150)]
    bins = expression_bins(values.mean(0), n_bins)
    found = gene_set_scores(form(values), bins, membership(sets, 300))
    adata = AnnData(values.copy())
    for column, genes in enumerate(sets):
        sc.tl.score_genes(adata, adata.var_names[genes], ctrl_as_ref=False, ctrl_size=1000, n_bins=n_bins)
        np.testing.assert_allclose(found[:, column], adata.obs["score"], rtol=1e-10, atol=1e-10)


def test_score_by_hand():
    values = np.array([[1.0, 2.0, 3.0, 10.0]])
    bins = np.array([0, 0, 0, 1])
    sets = [np.array([0]), np.array([0, 3]), np.array([3]), np.arange(4)]
    # 1 - mean(2, 3); (1 + 10) / 2 - mean(2, 3); nothing to compare with, twice
    np.testing.assert_allclose(gene_set_scores(values, bins, membership(sets, 4)), [[-1.5, 3.0, 10.0, 4.0]])


def test_blocks_do_not_change_the_score(values, monkeypatch):
    bins, members = expression_bins(values.mean(0)), membership([np.arange(10)], 300)
    whole = gene_set_scores(values, bins, members)
    monkeypatch.setattr(_gene_sets, "_BLOCK_VALUES", 3 * 300)
    np.testing.assert_allclose(gene_set_scores(values, bins, members), whole, rtol=1e-12)


def test_constant_shift_of_all_genes_does_not_show(values):
    bins, members = expression_bins(values.mean(0)), membership([np.arange(10)], 300)
    np.testing.assert_allclose(
        gene_set_scores(values + 7, bins, members), gene_set_scores(values, bins, members), atol=1e-10
    )


def test_random_sets_match_the_bins_and_reach_every_gene(rng):
    bins = np.repeat([0, 1, 2], [10, 20, 5])
    sets = matched_sets(bins, [0, 1, 10, 11, 12, 30, 31, 32, 33, 34], 500, rng=rng)
    assert len(sets) == 500
    for genes in sets:
        assert len(set(genes)) == 10
        np.testing.assert_array_equal(np.bincount(bins[genes], minlength=3), [2, 3, 5])
    counts = np.bincount(np.concatenate(sets), minlength=35)
    # each gene comes up as often as its bin says: 2 of 10, 3 of 20, 5 of 5
    expected = np.repeat([100, 75, 500], [10, 20, 5])
    assert (np.abs(counts - expected) <= 5 * np.sqrt(expected * (1 - expected / 500)) + 1e-9).all()


def test_random_sets_repeat_with_the_seed():
    bins = np.repeat([0, 1], 50)
    draws = [matched_sets(bins, [0, 60], 5, rng=np.random.default_rng(seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
