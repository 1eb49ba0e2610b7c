"""How far apart sites of two motifs lie: a density as smooth as the sites themselves say, and nothing of a sequence in what it is told."""

from __future__ import annotations

import numpy as np

#: Widths of the kernel in bases, how far what a pair alone says is taken for chance, and numbers of pairs that lie as by chance and are there beforehand:
#: likelihood of left-out pairs chooses.
_WIDTHS, _ALONE, _BEFOREHAND = (0, 1, 2, 4, 8, 16), (0.0, 1.0), (0.5, 2.0, 8.0, 32.0, 128.0, 1e4)
_LEAST = 1e-9


def chance_distances(width: int, other: int, length: int, *, both: bool) -> np.ndarray:
    """Say how often two sites that know nothing of each other lie at each distance.

    Parameters
    ----------
    width, other
        Of the two motifs.
    length
        Bases of a sequence.
    both
        Whether sites lie on either strand.

    Returns
    -------
    Probabilities, 2 (on opposite strands, on the same) x distances of the middles, from -length to length; sites that overlap are counted too.
    """
    apart = np.arange(-length, length + 1)
    usual = np.clip(length - max(width, other) + 1 - np.abs(apart), 0, None).astype(float)
    out = np.stack([usual if both else np.zeros_like(usual), usual])
    return out / out.sum()


def distance_ratios(found: np.ndarray, usual: np.ndarray, nearest: float) -> tuple[np.ndarray, float]:
    """Compare how often pairs of sites lie at each distance with chance.

    Parameters
    ----------
    found
        Pairs of sites, folds x 2 x distances.
    usual
        As from `chance_distances`.
    nearest
        Middles that are closer belong to sites that overlap, which there are none of.

    Returns
    -------
    Log ratios, folds x 2 x distances: each fold as the others have it, or a sequence that has its site at an odd distance by a mistake would hold it there; and
    what the distance of a pair says, in nats.

    Notes
    -----
    The density is a mixture of pairs smoothed by a normal kernel and of chance, to which pairs may go that have no other near them (absolute discounting). Width and shares are those under which pairs are
    likeliest that are left out one at a time. Sites of fixed distance, sites within a range, and sites that do not know of each other all are such mixtures.

    References
    ----------
    Ney, Essen and Kneser, On structuring probabilistic dependences in stochastic language modelling, Computer Speech and Language (1994).
    """
    middle = usual.shape[1] // 2
    apart = np.abs(np.arange(usual.shape[1]) - middle)
    free = np.where(apart < nearest, 0, usual)
    free /= free.sum()
    chosen = _chosen(found.sum(0), free)
    density = np.stack([_density(found.sum(0) - own, free, *chosen) for own in found])
    there = free > 0
    logs = np.where(there, np.log(np.where(there, density, 1) / np.where(there, usual, 1) + _LEAST), 0)
    return logs, float((density * logs).sum((1, 2)).mean())


def _density(found: np.ndarray, free: np.ndarray, width: int, alone: float, beforehand: float) -> np.ndarray:
    """Smooth pairs, and mix them with chance."""
    smooth = _smoothed(found, width) * (free > 0)
    kept = np.maximum(smooth - alone * _kernel(width).max(), 0)
    density = kept + (smooth.sum() - kept.sum() + beforehand) * free
    return density / density.sum()


def _chosen(found: np.ndarray, free: np.ndarray) -> tuple[int, float, float]:
    """Choose width and shares by the likelihood of each pair given the others."""
    n, best, chosen = found.sum(), -np.inf, (_WIDTHS[0], _ALONE[0], _BEFOREHAND[-1])
    if n < 2:
        return chosen
    there = found > 0
    for width in _WIDTHS:
        smooth, own = _smoothed(found, width), _kernel(width).max()
        for alone in _ALONE:
            chance = np.minimum(smooth, alone * own).sum()
            others = np.maximum(smooth[there] - (1 + alone) * own, 0)
            for beforehand in _BEFOREHAND:
                density = (others + (chance + beforehand) * free[there]) / (n - 1 + beforehand)
                likelihood = found[there] @ np.log(density + _LEAST)
                if likelihood > best:
                    best, chosen = likelihood, (width, alone, beforehand)
    return chosen


def _kernel(width: int) -> np.ndarray:
    if width == 0:
        return np.ones(1)
    kernel = np.exp(-0.5 * (np.arange(-3 * width, 3 * width + 1) / width) ** 2)
    return kernel / kernel.sum()


def _smoothed(found: np.ndarray, width: int) -> np.ndarray:
    """Smooth along the last axis."""
    kernel = _kernel(width)
    side = len(kernel) // 2
    rows = found.reshape(-1, found.shape[-1])
    return np.stack([np.convolve(row, kernel)[side : side + len(row)] for row in rows]).reshape(found.shape)
