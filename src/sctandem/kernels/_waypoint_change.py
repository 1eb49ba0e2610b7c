"""Edges between waypoints directed by a predicted change of expression, as far as the change can be trusted."""

from __future__ import annotations

import numpy as np

from sctandem.kernels._waypoints import squared_distances


def pull(measured: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Give where predicted expression draws what was measured, without regression to the mean.

    What is predicted varies less than what is measured, and the noise of the latter is not predicted at all: the difference points to the
    mean, along the manifold or not. What is left is not linear in the measured value: genes that are behind what their regulators say.

    Parameters
    ----------
    measured, predicted
        States x genes.

    Returns
    -------
    States x genes; each gene uncorrelated with its measured values, mean 0. NaN where a gene has no finite prediction.
    """
    centred = measured - measured.mean(axis=0)
    residual = predicted - measured
    residual = residual - residual.mean(axis=0)
    power = np.square(centred).sum(axis=0)
    slope = np.divide((residual * centred).sum(axis=0), power, out=np.zeros_like(power), where=power > 0)
    return residual - slope * centred


def cosines(state: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Give the cosine of the change of a state with the way to another.

    Parameters
    ----------
    state, change
        Of each waypoint, and what it is predicted to change by, waypoints x features.

    Returns
    -------
    From rows to columns, waypoints x waypoints; 0 where there is no change or no way.
    """
    along = change @ state.T - np.einsum("ij,ij->i", change, state)[:, None]
    length = np.sqrt(squared_distances(state, state)) * np.linalg.norm(change, axis=1)[:, None]
    cosine = np.divide(along, length, out=np.zeros_like(along), where=length > 0)
    return np.clip(cosine, -1, 1)


def agreement(affinity: np.ndarray, cosine: np.ndarray, time: np.ndarray) -> float:
    """Say how far a predicted change agrees with pseudotime.

    Parameters
    ----------
    affinity
        Waypoints x waypoints, symmetric.
    cosine
        As `cosines` gives it.
    time
        Pseudotime of the waypoints.

    Returns
    -------
    From 1, where the change never leads back along an edge, over 0, where it says nothing, to -1, where it leads back to the root.
    """
    # the mean of both directions is taken out: a change that points everywhere alike, or out of the manifold, has no direction
    lean = affinity * (cosine - cosine.T)
    total = np.abs(lean).sum()
    return float((lean * np.sign(time - time[:, None])).sum() / total) if total > 0 else 0.0


def directed(affinity: np.ndarray, cosine: np.ndarray, strength: float) -> np.ndarray:
    """Favour edges that lead where the change of a state points.

    Parameters
    ----------
    affinity
        Waypoints x waypoints.
    cosine
        As `cosines` gives it.
    strength
        Edges are multiplied by the exponential of this times the cosine.

    Returns
    -------
    Affinities that need not be symmetric.
    """
    return affinity * np.exp(strength * cosine)
