"""What a peak does in its place: kernel regression of the profiles of genes on the peaks of their windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import solve_triangular
from scipy.spatial.distance import cdist
from threadpoolctl import threadpool_limits

from sctandem.kernels._window_features import peak_behaviour

if TYPE_CHECKING:
    from sctandem.kernels._window_features import Windows

#: Length scales of the kernel: between unit vectors, sides of the gene (-1 and 1), decades of bp, and passed peaks in
#: their standard deviations.
DIRECTION, SIDE, DECADES, PASSED = 0.7, 1.3, 2.0, 2.0
#: Distance in bp below which distances do not differ.
NEAR = 1000.0
#: Pairs that stand for all in the kernel (Nystroem), at most.
LANDMARKS = 500
#: Parts of the genes with which the penalty is chosen, and penalties (inverse prior variances of a weight).
N_PARTS, PENALTIES = 5, np.logspace(1, 6, 11)


def pair_places(
    windows: Windows, response: np.ndarray, accessibility: np.ndarray, *, direction_scale: float = DIRECTION
) -> tuple[np.ndarray, np.ndarray]:
    """Describe where each pair stands, in length scales of the kernel.

    Parameters
    ----------
    windows
        The windows.
    response
        From `peak_response`, peaks x components.
    accessibility
        Mean log count, (peaks,).
    direction_scale
        Length scale between the directions of responses.

    Returns
    -------
    The peak itself (direction of its response, side of the gene, distance), pairs x coordinates; and what lies between it
    and the gene (number of peaks, sums of their accessibility, size of response, and product of both), pairs x 4.
    """
    size, behaviour = peak_behaviour(response, accessibility)
    direction = response / np.maximum(size, 1e-6)[:, None]
    change, level = behaviour.T
    far = np.log10(np.abs(windows.distance) + NEAR)
    own = np.column_stack([direction[windows.peak] / direction_scale, np.sign(windows.distance) / SIDE, far / DECADES])

    right, pair = windows.distance > 0, np.arange(windows.gene.size)
    # the first peak of each window that lies downstream of the gene
    start = pair - windows.slot + np.bincount(windows.gene, ~right, windows.n_genes).astype(np.int64)[windows.gene]
    sums = np.column_stack([np.ones(size.size), level, change, level * change])[windows.peak].cumsum(0)
    sums = np.vstack([np.zeros(sums.shape[1]), sums])
    passed = np.where(right[:, None], sums[pair] - sums[start], sums[start] - sums[pair + 1])
    return own, passed / np.maximum(passed.std(0), 1e-9) / PASSED


def place_kernel(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Covariance of the weights of pairs: a Gaussian kernel of the peaks themselves, half of it only for like surroundings.

    The sum lets a peak teach about the same kind of peak in all surroundings, and more about those in its own.
    """
    own, passed = (np.exp(-0.5 * cdist(a, b, "sqeuclidean")) for a, b in zip(one, other, strict=True))
    return own * (1 + passed) / 2


def kernel_weights(
    windows: Windows,
    places: tuple[np.ndarray, np.ndarray],
    *,
    response: np.ndarray,
    target: np.ndarray,
    information: np.ndarray,
    fold: np.ndarray,
    n_landmarks: int = LANDMARKS,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Weigh the pairs of all windows by kernel regression.

    A gene's profile is taken as the sum of the responses of its peaks, each times a weight, and noise. The weight is a
    function of the pair's place alone, the same for all genes: a Gaussian process with covariance `place_kernel`
    [Rasmussen06]_, of which the posterior mean is computed on landmarks [Williams01]_. Being convex and smooth, it learns
    from hundreds of genes what a recurrent network learns from thousands, but only of the surroundings it is told of.

    Parameters
    ----------
    windows
        The windows.
    places
        From `pair_places`.
    response
        Response of each peak to the functions of the cells, peaks x functions, in a basis in which these are white.
    target
        Profile of each gene in the same basis, genes x functions; what all genes that are learned from share is taken
        away.
    information
        Fisher information of each gene, (genes,).
    fold
        Fold of each gene, -1 for genes not to learn from, (genes,).
    n_landmarks
        Pairs that stand for all, at most.
    rng
        Draws landmarks and parts.

    Returns
    -------
    Weight of each pair, (pairs,): learned from all genes, and from those of the other folds. 0 where the weights of no
    penalty explain genes that they were not learned from.

    References
    ----------
    .. [Rasmussen06] Rasmussen & Williams, Gaussian Processes for Machine Learning, MIT Press (2006), chapter 2.
    .. [Williams01] Williams & Seeger, Using the Nystroem method to speed up kernel machines, NIPS 13 (2001).
    """
    n_pairs, n_folds = windows.gene.size, int(fold.max(initial=-1)) + 1
    seen, unseen = np.zeros(n_pairs), np.zeros(n_pairs)
    if n_folds == 0:
        return seen, unseen
    chosen = np.sort(rng.choice(n_pairs, min(n_landmarks, n_pairs), replace=False))
    landmarks = places[0][chosen], places[1][chosen]
    gram = place_kernel(landmarks, landmarks)
    factor = np.linalg.cholesky(gram + 1e-6 * np.eye(chosen.size))

    def features(pairs: np.ndarray) -> np.ndarray:
        near = place_kernel(landmarks, (places[0][pairs], places[1][pairs]))
        return solve_triangular(factor, near, lower=True).T

    part = rng.permutation(len(fold)) % N_PARTS
    grams = np.zeros((n_folds, N_PARTS, chosen.size, chosen.size))
    moments = np.zeros(grams.shape[:3])
    shares = np.zeros((*moments.shape, target.shape[1]))
    for i in range(n_folds):
        for j in range(N_PARTS):
            genes = np.flatnonzero((fold == i) & (part == j))
            pairs = np.flatnonzero(np.isin(windows.gene, genes))
            grams[i, j], moments[i, j], shares[i, j] = _normal_equations(
                features(pairs),
                response[windows.peak[pairs]],
                windows.gene[pairs],
                target=target,
                information=information,
            )

    def solve(folds: np.ndarray) -> np.ndarray:
        known = np.isin(fold, np.flatnonzero(folds))
        common = information[known] @ target[known] / max(information[known].sum(), 1e-300)
        return _ridge(grams[folds].sum(0), (moments[folds] - shares[folds] @ common).sum(0))

    by_all = solve(np.ones(n_folds, dtype=bool))
    for i in range(-1, n_folds):
        pairs = np.flatnonzero(fold[windows.gene] == i)
        here = features(pairs)
        seen[pairs] = here @ by_all
        others = np.arange(n_folds) != i
        if i < 0:
            unseen[pairs] = seen[pairs]
        elif others.any():
            unseen[pairs] = here @ solve(others)
    return seen, unseen


def _normal_equations(
    features: np.ndarray, response: np.ndarray, gene: np.ndarray, *, target: np.ndarray, information: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sum up the information that genes hold on the coefficients, its product with their profiles, and with any common one."""
    n_features = features.shape[1]
    gram, moment = np.zeros((n_features, n_features)), np.zeros(n_features)
    share = np.zeros((n_features, target.shape[1]))
    names, starts = np.unique(gene, return_index=True)
    if names.size == 0:
        return gram, moment, share
    ends = np.append(starts[1:], gene.size)
    root = np.sqrt(information)
    design = np.concatenate(
        [root[name] * response[a:b].T @ features[a:b] for name, a, b in zip(names, starts, ends, strict=True)]
    )
    weighted = design.reshape(names.size, -1, n_features) * root[names, None, None]
    return design.T @ design, np.einsum("gfp,gf->p", weighted, target[names]), weighted.sum(0).T


def _ridge(grams: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Solve with the penalty whose coefficients gain most likelihood in the parts that they were not learned from."""
    gram, moment = grams.sum(0), moments.sum(0)
    gains = np.zeros(PENALTIES.size)
    for own_gram, own_moment in zip(grams, moments, strict=True):
        solved = _path(gram - own_gram, moment - own_moment)
        gains += solved @ own_moment - 0.5 * np.einsum("pi,ij,pj->p", solved, own_gram, solved, optimize=True)
    best = int(np.argmax(gains))
    return _path(gram, moment)[best] if gains[best] > 0 else np.zeros(moment.size)


def _path(gram: np.ndarray, moment: np.ndarray) -> np.ndarray:
    """Solve for each penalty, penalties x coefficients."""
    with threadpool_limits(1, user_api="blas"):  # more only wait for each other where cores are shared
        values, vectors = np.linalg.eigh(gram)
    return ((vectors.T @ moment) / (np.maximum(values, 0) + PENALTIES[:, None])) @ vectors.T
