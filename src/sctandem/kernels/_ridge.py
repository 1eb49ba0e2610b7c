"""Ridge regression on kernels, with honest predictions of the training cells in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import nnls

#: Penalties that are tried, in units of the mean squared norm of the features.
PENALTIES = np.logspace(-1, 2.5, 11)
#: Eigenvalues of the kernel of the landmarks below this part of the largest are dropped.
RANK_TOLERANCE = 1e-7


@dataclass(frozen=True, slots=True)
class RidgeFit:
    """Ridge regressions of several targets on one kernel.

    Attributes
    ----------
    coefficients
        Weights of the kernel with each landmark, landmarks x targets.
    intercept
        Of each target, (targets,).
    honest
        Prediction of each training cell by the fit to all others, cells x targets.
    penalty
        The penalty that predicted left-out cells best, for each target, (targets,).
    """

    coefficients: np.ndarray
    intercept: np.ndarray
    honest: np.ndarray
    penalty: np.ndarray


def kernel_ridge(kernel: np.ndarray, targets: np.ndarray, landmarks: np.ndarray) -> RidgeFit:
    """Fit kernel ridge regressions with a penalty of its own for each target, chosen by leaving out one cell.

    Parameters
    ----------
    kernel
        Kernel of the cells with the landmarks, cells x landmarks.
    targets
        Cells x targets.
    landmarks
        Positions of the landmarks among the cells; all cells for the exact regression, fewer for the Nystroem
        approximation.

    Returns
    -------
    The fits.

    Notes
    -----
    Leave-one-out residuals are the residuals divided by one minus the leverage: no fit is repeated. Cost:
    `landmarks^2 x (cells + landmarks)`.
    """
    values, vectors = eigh(kernel[landmarks], driver="evd")
    keep = values > RANK_TOLERANCE * np.abs(values).max()
    root = vectors[:, keep] / np.sqrt(values[keep])
    features = kernel @ root
    # cells that are all alike have features that differ by rounding only: these are penalised away
    rounding = 1e-10 * float((features**2).sum()) / len(features)
    center, mean = features.mean(0), targets.mean(0)
    features -= center
    scale, basis = eigh(features.T @ features, driver="evd")
    scale = np.maximum(scale, 0.0)
    rotated = features @ basis
    moments = rotated.T @ (targets - mean)
    unit = max(scale.sum() / len(features), rounding)
    best = np.full(targets.shape[1], np.inf)
    honest, beta = np.zeros_like(targets), np.zeros_like(moments)
    chosen = np.zeros(targets.shape[1])
    squares = rotated**2
    for penalty in PENALTIES * unit:
        trial = moments / (scale + penalty)[:, None]
        leverage = squares @ (1 / (scale + penalty)) + 1 / len(features)
        # a leverage of 1 (more parameters than cells say) leaves no honest residual: cap it
        residual = (targets - mean - rotated @ trial) / np.maximum(1 - leverage, 1e-3)[:, None]
        error = (residual**2).sum(0)
        better = error < best
        best[better], chosen[better] = error[better], penalty
        honest[:, better] = (targets - residual)[:, better]
        beta[:, better] = trial[:, better]
    weights = basis @ beta
    return RidgeFit(root @ weights, mean - center @ weights, honest, chosen)


def stack(fits: list[RidgeFit], targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weigh several fits of the same targets by how well they predict left-out cells [Breiman96]_.

    Parameters
    ----------
    fits
        One a kernel.
    targets
        Cells x targets.

    Returns
    -------
    Weights of the fits, fits x targets and not negative, and offsets, (targets,): the prediction is
    `offset + sum_k weight_k (fit_k - mean)` with `mean` that of the targets.

    References
    ----------
    .. [Breiman96] Breiman, Stacked regressions, Machine Learning 24 (1996).
    """
    mean = targets.mean(0)
    weights = np.empty((len(fits), targets.shape[1]))
    for j in range(targets.shape[1]):
        columns = np.stack([fit.honest[:, j] - mean[j] for fit in fits], axis=1)
        weights[:, j] = nnls(columns, targets[:, j] - mean[j])[0]
    return weights, mean
