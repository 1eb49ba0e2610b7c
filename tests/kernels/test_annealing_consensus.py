from __future__ import annotations

from itertools import combinations

import anndata
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from sctandem.kernels._annealing_consensus import FEWEST, most_agreed, overlapping_parts
from sctandem.kernels._annealing_fit import anneal


@pytest.mark.parametrize("n", [FEWEST, 810, 5003])
def test_parts_are_two_thirds_that_hold_each_point_six_times(n):
    parts = overlapping_parts(n)
    assert len(parts) == 9
    np.testing.assert_array_equal(np.bincount(np.concatenate(parts), minlength=n), 6)
    for part in parts:
        assert (np.diff(part) > 0).all()
        assert abs(len(part) - 2 * n / 3) <= 9


def test_parts_by_different_digits_share_four_ninths():
    """An orthogonal array: what one digit leaves out says nothing of what another does."""
    n = 27 * 40
    for (i, one), (j, other) in combinations(enumerate(overlapping_parts(n)), 2):
        shared = len(np.intersect1d(one, other)) / n
        assert shared == pytest.approx(1 / 3 if i // 3 == j // 3 else 4 / 9)


def test_sorted_points_are_in_every_part_alike():
    kind = np.repeat(np.arange(5), [500, 200, 100, 90, 27])
    shares = [np.bincount(kind[part], minlength=5) / len(part) for part in overlapping_parts(len(kind))]
    np.testing.assert_allclose(shares, np.tile(np.bincount(kind) / len(kind), (9, 1)), atol=0.01)


def test_the_one_that_others_agree_with_is_kept():
    rng = np.random.default_rng(0)
    truth = rng.integers(4, size=600)

    def changed(share: float) -> np.ndarray:
        other = rng.permutation(4)[truth]
        moved = rng.random(600) < share
        other[moved] = rng.integers(4, size=moved.sum())
        return other

    labellings = [changed(share) for share in (0.5, 0.3, 0.02, 0.4, 0.6)]
    assert most_agreed(labellings) == 2
    sums = [sum(adjusted_rand_score(a, b) for b in labellings) for a in labellings]
    assert int(np.argmax(sums)) == 2
    assert most_agreed([np.zeros(10, int), np.zeros(10, int)]) == 0


def close_clouds(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Uneven clouds, so close that whether two of them are parted depends on few points."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(8, n, p=np.geomspace(1, 8, 8) / np.geomspace(1, 8, 8).sum())
    means = 1.6 * np.random.default_rng(5).normal(size=(8, 10))
    return (means[kind] + rng.normal(size=(n, 10))).astype(np.float32), kind


@pytest.mark.slow
def test_parts_make_draws_of_real_cells_agree_more(shared_data):
    """Six draws of two thirds of 1,000 blood cells: of normal clouds, which need no agreement, this would not hold."""
    import scanpy as sc

    adata = anndata.read_h5ad(shared_data / "rna" / "kang_harmony_ctrl1000_stim1000.h5ad")
    adata = adata[adata.obs["condition"] == "ctrl"].copy()
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    sc.pp.pca(adata, n_comps=30)
    points = adata.obsm["X_pca"].astype(np.float32)
    most, agreed = 2 * len(points) // 3, {}
    for consensus in (True, False):
        labels = [
            anneal(
                points,
                shoulders=True,
                consensus=consensus,
                max_points=2 * most // 3 if consensus else most,  # as many points for all parts as for the one
                rng=np.random.default_rng(draw),
            ).memberships.argmax(axis=1)
            for draw in range(6)
        ]
        agreed[consensus] = np.mean([adjusted_rand_score(a, b) for a, b in combinations(labels, 2)])
    assert agreed[True] > agreed[False]


def test_parts_change_nothing_where_they_are_not_asked_for():
    points, kind = close_clouds(99, 0)
    for arguments in ({}, {"n_clusters": 3}, {"temperature": 1.0}, {"lift": True}):
        one, other = (
            anneal(points, **arguments, consensus=consensus, rng=np.random.default_rng(0))
            for consensus in (True, False)
        )
        np.testing.assert_array_equal(one.memberships, other.memberships)
    far = 30 * np.eye(3, 10)[kind % 3].repeat(2, axis=0) + np.random.default_rng(0).normal(size=(198, 10))
    far = far.astype(np.float32)
    one, other = (anneal(far, consensus=consensus, rng=np.random.default_rng(0)) for consensus in (True, False))
    assert not np.array_equal(one.tree.evidence, other.tree.evidence)  # found on parts
    assert adjusted_rand_score(one.memberships.argmax(1), other.memberships.argmax(1)) == 1
