from __future__ import annotations

import numpy as np
import pytest
from mixtures import profiles
from scipy import sparse, stats

from sctandem.kernels._signature import (
    _SPREAD_WEIGHT,
    DONOR_SPREAD,
    PRIOR_MOLECULES,
    Signature,
    common_genes,
    marker_genes,
    signature,
    telling_genes,
)


def cells(seed: int = 0, *, n_types: int = 3, n_donors: int = 2, n_genes: int = 40, n: int = 90):
    rng = np.random.default_rng(seed)
    types, donors = rng.integers(n_types, size=n), rng.integers(n_donors, size=n)
    counts = rng.poisson(rng.gamma(0.5, 4, (n_types, n_genes))[types])
    return sparse.csr_matrix(counts.astype(np.float32)), types, donors


def test_sums_are_those_of_a_loop():
    counts, types, donors = cells()
    dense = counts.toarray()
    found = signature(counts, types, donors)
    for kind in range(3):
        expected = np.zeros(40)
        for row, own in zip(dense, types, strict=True):
            expected += row * (own == kind)
        np.testing.assert_array_equal(found.molecules[kind], expected)


def test_shares_are_the_posterior_mean_under_a_gamma_prior():
    counts, types, _ = cells()
    found = signature(counts, types)
    mean = (found.molecules / found.molecules.sum(1, keepdims=True)).mean(0)
    expected = (found.molecules + PRIOR_MOLECULES * mean) / (found.molecules.sum(1, keepdims=True) + PRIOR_MOLECULES)
    np.testing.assert_allclose(found.shares, expected, rtol=1e-12)
    np.testing.assert_allclose(found.shares.sum(1), 1, rtol=1e-12)
    assert (found.spread == DONOR_SPREAD).all()


def test_a_gene_that_no_type_has_gets_a_share_below_all_others():
    counts, types, _ = cells()
    with_empty = sparse.hstack([counts, sparse.csr_matrix((90, 7))]).tocsr()
    found = signature(with_empty, types)
    np.testing.assert_allclose(found.shares.sum(1), 1, rtol=1e-12)
    assert (found.shares > 0).all()
    others = found.shares[:, :40].mean(0)
    assert found.shares[:, 40:].max() < others[found.molecules[:, :40].sum(0) > 0].min()


def test_a_type_without_molecules_has_the_mean_profile():
    counts, types, _ = cells()
    found = signature(counts, types, n_types=4)
    mean = (found.molecules / np.maximum(found.molecules.sum(1, keepdims=True), 1)).mean(0)
    np.testing.assert_allclose(found.shares[3], np.maximum(mean, mean[mean > 0].min() / 10) / mean.sum(), rtol=1e-6)
    nothing = signature(sparse.csr_matrix((5, 8)), np.array([0, 0, 1, 1, 1]))
    np.testing.assert_allclose(nothing.shares, 1 / 8)


@pytest.mark.parametrize("order", ["cells", "genes", "types"])
def test_order_does_not_matter(order):
    counts, types, donors = cells()
    found = signature(counts, types, donors)
    rng = np.random.default_rng(1)
    if order == "cells":
        rows = rng.permutation(90)
        again = signature(counts[rows], types[rows], donors[rows])
    elif order == "genes":
        columns = rng.permutation(40)
        again = signature(counts[:, columns], types, donors)
        found = Signature(*(values[:, columns] for values in found))
    else:
        again = signature(counts, 2 - types, donors)
        found = Signature(*(values[::-1] for values in found))
    for one, other in zip(found, again, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-9)


@pytest.mark.parametrize("planted", [0.1, 0.3, 0.8])
def test_spread_between_donors_is_recovered(planted):
    rng = np.random.default_rng(0)
    n_donors, n_genes = 60, 300
    level = rng.uniform(50, 500, n_genes)
    rate = level * np.exp(planted * rng.standard_normal((n_donors, n_genes)))
    counts = sparse.csr_matrix(rng.poisson(rate).astype(float))
    found = signature(counts, np.zeros(n_donors, dtype=int), np.arange(n_donors)).spread[0]
    expected = np.sqrt((n_donors * planted**2 + _SPREAD_WEIGHT * DONOR_SPREAD**2) / (n_donors + _SPREAD_WEIGHT))
    assert np.median(found) == pytest.approx(expected, rel=0.05)


def test_counting_alone_makes_no_spread():
    rng = np.random.default_rng(0)
    counts = sparse.csr_matrix(rng.poisson(30, (60, 300)).astype(float))
    found = signature(counts, np.zeros(60, dtype=int), np.arange(60)).spread[0]
    prior = np.sqrt(_SPREAD_WEIGHT * DONOR_SPREAD**2 / (60 + _SPREAD_WEIGHT))
    assert np.median(found) == pytest.approx(prior, rel=0.15)


def test_spread_is_that_of_the_prior_where_donors_say_nothing():
    counts, types, donors = cells(n=300)
    rich = sparse.csr_matrix(counts.toarray() * 100)
    one = signature(rich, types, np.where(types == 1, 0, donors))  # type 1 has one donor only
    assert (one.spread[1] == DONOR_SPREAD).all()
    assert (one.spread[0] != DONOR_SPREAD).any()
    assert (
        signature(counts[:20], types[:20], donors[:20], n_types=3).spread == DONOR_SPREAD
    ).all()  # too few molecules
    assert (signature(rich, types, np.zeros(300, dtype=int)).spread == DONOR_SPREAD).all()


# --- genes ------------------------------------------------------------------------------------------------------------


def known(shares: np.ndarray, molecules: float = 1e6) -> Signature:
    shares = shares / shares.sum(1, keepdims=True)
    return Signature(shares * molecules, shares, np.full(shares.shape, 0.3), np.zeros(shares.shape))


def test_genes_that_related_types_share_are_chosen():
    shares = np.ones((3, 1000))
    shares[0, :50] = 10  # markers of one type
    shares[:2, 50:100] = 10  # shared by two
    shares[:, 100:150] = 10  # by all
    shares[2, 150:200] = 1.5  # too little
    np.testing.assert_array_equal(telling_genes(known(shares)), np.arange(100))
    mask = np.arange(1000) % 2 == 0
    np.testing.assert_array_equal(telling_genes(known(shares), usable=mask), np.arange(0, 100, 2))
    assert len(telling_genes(known(shares), usable=np.zeros(1000, dtype=bool))) == 0
    assert len(telling_genes(known(np.ones((3, 1000))))) == 0


def test_scarce_genes_are_chosen_only_where_needed():
    shares = np.ones((2, 1000)) / 1000
    shares[0, :300] *= 4
    found = Signature(shares, shares, shares, shares)
    molecules = np.full((2, 1000), 1000.0)
    molecules[:, 150:300] = 60  # below 100
    np.testing.assert_array_equal(telling_genes(found._replace(molecules=molecules)), np.arange(150))
    molecules[:, 50:150] = 30
    # 50 are not enough: the demand is halved, to 50 molecules
    np.testing.assert_array_equal(
        telling_genes(found._replace(molecules=molecules)), np.r_[np.arange(50), np.arange(150, 300)]
    )
    assert len(telling_genes(found, per_million=1e6)) == 0


def test_genes_below_thirty_per_million_are_left_out():
    shares = np.full((2, 1000), 1e-3)
    shares[:, :20] = [[32e-6], [5e-6]]
    shares[:, 20:40] = [[28e-6], [5e-6]]
    found = Signature(1e9 * shares, shares, np.ones_like(shares), np.zeros_like(shares))
    np.testing.assert_array_equal(telling_genes(found), np.arange(20))


def test_common_genes_are_those_that_differ_least():
    shares = np.ones((2, 1000)) * np.exp(np.linspace(0, 3, 1000) * np.array([[1], [0]]))
    found = known(shares)
    gap = np.ptp(np.log(found.shares), axis=0)
    among = np.arange(1000) % 3 > 0
    chosen = common_genes(found, among, 100)
    assert len(chosen) == 100
    assert among[chosen].all()
    assert gap[chosen].max() <= np.delete(gap, chosen)[among[np.delete(np.arange(1000), chosen)]].min()
    assert len(common_genes(found._replace(molecules=found.molecules * 0), among, 100)) == 0


def test_some_genes_of_a_signature():
    found = known(np.random.default_rng(0).gamma(1, 1, (3, 50)))
    part = found.at(np.array([4, 7, 9]))
    np.testing.assert_allclose(part.shares.sum(1), 1)
    np.testing.assert_allclose(part.shares[:, 0] / part.shares[:, 1], found.shares[:, 4] / found.shares[:, 7])
    np.testing.assert_array_equal(part.molecules, found.molecules[:, [4, 7, 9]])


def test_clarity_is_the_least_t_of_log_normalised_cells():
    counts, types, donors = cells()
    found = signature(counts, types, donors).clarity
    dense = counts.toarray().astype(float)
    logs = np.log1p(1e4 * dense / dense.sum(1, keepdims=True))
    for kind in range(3):
        others = [
            stats.ttest_ind(logs[types == kind], logs[types == k], equal_var=False) for k in range(3) if k != kind
        ]
        np.testing.assert_allclose(found[kind], np.min([one.statistic for one in others], axis=0), rtol=1e-6)


def test_markers_are_clear_ranked_by_ratio_and_of_one_type():
    shares = np.full((3, 300), 1e-3)
    shares[0, :60] = np.linspace(9e-3, 2e-3, 60)  # of one type, falling
    shares[1:, 60:100] = 5e-3  # shared by two: marks none
    shares[1, 100:110] = 4e-3
    shares[2, 110:120] = 4e-3
    clarity = np.zeros((3, 300))
    clarity[0, :60], clarity[1, 100:110], clarity[2, 110:120] = 4, 3.5, 2  # the last are not clear
    clarity[0, 0] = -1
    found = known(shares)._replace(clarity=clarity)
    every = np.ones(300, dtype=bool)
    np.testing.assert_array_equal(marker_genes(found, usable=every, most=20), np.r_[1:21, 100:110, 110:120])
    odd = np.arange(300) % 2 == 1
    np.testing.assert_array_equal(marker_genes(found, usable=odd, most=20), np.r_[1:41:2, 101:110:2, 111:120:2])
    # where the last type has a clear gene, those that are not have no place; nor have genes that are scarce
    clarity[2, 110] = 3
    np.testing.assert_array_equal(marker_genes(found, usable=every, most=20), np.r_[1:21, 100:110, 110])
    scarce = found._replace(
        shares=np.where(np.isin(np.arange(300), range(1, 11)), 1e-5 * np.eye(3)[0][:, None], found.shares)
    )
    np.testing.assert_array_equal(marker_genes(scarce, usable=every, most=20), np.r_[11:31, 100:110, 110])


def test_the_genes_that_tell_most_are_kept_where_there_are_many():
    shares = profiles(n_genes=400, change=2.0)
    known_ = Signature(1e6 * shares, shares, np.ones_like(shares), np.zeros_like(shares))
    every, few = telling_genes(known_, most=400), telling_genes(known_, most=20)
    assert len(every) > 100
    assert len(few) == 20
    ratio = np.ptp(np.log(shares), axis=0)
    np.testing.assert_array_equal(few, np.sort(every[np.argsort(-ratio[every])[:20]]))
