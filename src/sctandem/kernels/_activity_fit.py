"""Ridge regressions from the windows of genes to what these follow, for learned gene activity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Folds of chromosomes that settings are chosen by.
N_FOLDS = 4
#: What is tried: components that the maps connect, and their penalty in units of the mean square of what they read.
RANKS = (5, 10, 20, 50)
PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, np.inf)
#: Penalty of the coefficients of the features, and of the weights of the components.
FEATURE_PENALTY, COMPONENT_PENALTY = 0.3, 0.1
#: Rounds in which coefficients and weights of components are fitted in turn.
N_ROUNDS = 3


def chromosome_folds(chromosome: np.ndarray, n_folds: int) -> np.ndarray:
    """Put chromosomes in folds of about equal numbers of genes, the same ones for every order of the genes.

    Parameters
    ----------
    chromosome
        Of each gene, (genes,).
    n_folds
        How many folds; fewer where there are fewer chromosomes.

    Returns
    -------
    Fold of each gene, (genes,).
    """
    names, code, size = np.unique(chromosome.astype(str), return_inverse=True, return_counts=True)
    load, fold = np.zeros(min(n_folds, len(names))), np.zeros(len(names), dtype=np.int64)
    for at in np.argsort(-size, kind="stable"):
        fold[at] = load.argmin()
        load[fold[at]] += size[at]
    return fold[code]


@dataclass(frozen=True, slots=True)
class Base:
    """Coefficients of the features and weights of the components."""

    coefficients: np.ndarray
    components: np.ndarray


def fit_features(sums: np.ndarray, target: np.ndarray) -> Base:
    """Fit `target_gj ~ mean_j + d_j sums_gj. c` by ridge regressions for `c` and for `d >= 0` in turn."""
    scale = np.sqrt((sums**2).mean((0, 1))) + 1e-12
    centred = (sums - sums.mean(0)) / scale
    wanted = target - target.mean(0)
    components = np.ones(target.shape[1])
    n_features = len(scale)
    for _ in range(N_ROUNDS):
        design = (centred * components[:, None]).reshape(-1, n_features)
        gram = design.T @ design
        gram += FEATURE_PENALTY * np.trace(gram) / n_features * np.eye(n_features)
        coefficients = np.linalg.solve(gram, design.T @ wanted.ravel())
        predicted = centred @ coefficients
        square = (predicted**2).sum(0)
        components = np.maximum((predicted * wanted).sum(0), 0.0) / (square + COMPONENT_PENALTY * square.mean() + 1e-12)
        size = np.sqrt((components**2).mean())
        if size == 0:  # nothing is predicted at all
            break
        components /= size
    # the scale of the weights is that of the regression on them
    fitted = (centred @ coefficients) * components
    factor = (fitted * wanted).sum() / max((fitted**2).sum(), 1e-12)
    return Base(max(factor, 0.0) * coefficients / scale, components)


def _blocks(base: Base, sums: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """Stack the weighted sum and those upstream and downstream: 3 x genes x components."""
    return np.concatenate([(sums @ base.coefficients)[None], outer])


def fit_maps(
    base: Base, sums: np.ndarray, outer: np.ndarray, target: np.ndarray
) -> tuple[dict[tuple[int, int], np.ndarray], np.ndarray]:
    """Predict what the weighted components leave, by ridge regression on the first components.

    Returns
    -------
    The maps, 3 x components x components, by the positions of the rank and of the penalty; and what the sums are centred by.
    """
    blocks = _blocks(base, sums, outer)
    offset = blocks.mean(1)
    blocks = blocks - offset[:, None]
    left = target - target.mean(0) - blocks[0] * base.components
    n = target.shape[1]
    found = {}
    for i, rank in enumerate(RANKS):
        top = min(rank, n)
        scale = np.sqrt((blocks[:, :, :top] ** 2).mean((1, 2))) + 1e-12
        design = np.concatenate(list(blocks[:, :, :top] / scale[:, None, None]), axis=1)
        gram, moments = design.T @ design, design.T @ left[:, :top]
        unit = np.trace(gram) / len(gram) + 1e-12
        for j, penalty in enumerate(PENALTIES):
            found[i, j] = np.zeros((len(blocks), n, n))
            if np.isfinite(penalty):
                solved = np.linalg.solve(gram + penalty * unit * np.eye(len(gram)), moments)
                found[i, j][:, :top, :top] = solved.reshape(len(blocks), top, top) / scale[:, None, None]
    return found, offset


def held_out_skill(sums: np.ndarray, outer: np.ndarray, target: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Correlate genes with what is predicted for them from the others: mean over genes, ranks x penalties."""
    skill = np.zeros((len(RANKS), len(PENALTIES)))
    for held in range(fold.max() + 1):
        seen, rest = fold != held, fold == held
        base = fit_features(sums[seen], target[seen])
        found, offset = fit_maps(base, sums[seen], outer[:, seen], target[seen])
        blocks = _blocks(base, sums[rest], outer[:, rest]) - offset[:, None]
        for (i, j), maps in found.items():
            profile = blocks[0] * base.components + sum(block @ part for block, part in zip(blocks, maps, strict=True))
            size = np.linalg.norm(profile, axis=1)
            inner = (profile * target[rest]).sum(1)
            skill[i, j] += np.divide(inner, size, out=np.zeros(len(size)), where=size > 0).sum() / len(fold)
    return skill
