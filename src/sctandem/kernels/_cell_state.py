"""The state of a cell, read from its chromatin: what is predictable of the factors of expression."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.distance import cdist

from sctandem._random import as_generator
from sctandem.kernels._atac_views import ChiView, log_view, truncated_svd
from sctandem.kernels._ridge import kernel_ridge, stack

if TYPE_CHECKING:
    from scipy import sparse

    from sctandem._random import RNG

#: Cells that are treated at once.
BLOCK = 4096
#: Least standard deviation of a component, in units of the root mean square of the first.
MIN_SPREAD = 1e-3


@dataclass(frozen=True, slots=True)
class CellState:
    """A map from chromatin counts to targets: three stacked kernel regressions.

    The kernels are linear in log counts, linear in chi-squared residuals, and Gaussian in the leading singular vectors
    of the log counts. The linear ones are kept as one weight a peak.

    Attributes
    ----------
    loadings
        Singular vectors of the log counts, peaks x components.
    center, spread
        Mean and standard deviation of the components over the training cells, (components,).
    accessibility
        Mean log count of each peak, (peaks,).
    by_log, by_chi
        Weights of the linear views, peaks x targets.
    by_level
        Weight of the level of the chi-squared view, (targets,).
    landmarks
        Components of the landmark cells, landmarks x components.
    by_landmark
        Weights of the Gaussian kernel with each landmark, landmarks x targets.
    intercept
        (targets,)
    chi_weight, chi_mean, chi_depth
        The chi-squared view.
    bandwidth
        Squared distance over which the Gaussian kernel falls by the factor e, (1,).
    low, high
        Range of each target in the honest predictions of the training cells, (targets,): what lies beyond is set to its
        end. A training cell that the map was fitted to comes out several times too far from the mean, and an expression
        that is exponential in that explodes.
    """

    loadings: np.ndarray
    center: np.ndarray
    spread: np.ndarray
    accessibility: np.ndarray
    by_log: np.ndarray
    by_chi: np.ndarray
    by_level: np.ndarray
    landmarks: np.ndarray
    by_landmark: np.ndarray
    intercept: np.ndarray
    chi_weight: np.ndarray
    chi_mean: np.ndarray
    chi_depth: np.ndarray
    bandwidth: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all arrays by name."""
        return asdict(self)

    def components(self, counts: sparse.csr_matrix) -> np.ndarray:
        """Return the leading components of cells, standardised over the training cells, cells x components."""
        return (log_view(counts) @ self.loadings - self.center) / self.spread

    def predict(self, counts: sparse.csr_matrix) -> np.ndarray:
        """Predict the targets of cells.

        Parameters
        ----------
        counts
            Chromatin counts, cells x peaks.

        Returns
        -------
        Cells x targets, float64.
        """
        chi = ChiView(self.chi_weight, self.chi_mean, float(self.chi_depth[0]))
        out = np.empty((counts.shape[0], self.intercept.size))
        for start in range(0, counts.shape[0], BLOCK):
            block = counts[start : start + BLOCK]
            logs = log_view(block)
            part, level = chi(block)
            near = np.exp(-cdist(logs @ self.loadings, self.landmarks, "sqeuclidean") / self.bandwidth[0])
            out[start : start + BLOCK] = (
                self.intercept
                + logs @ self.by_log
                + part @ self.by_chi
                - np.outer(level, self.by_level)
                + near @ self.by_landmark
            )
        return np.clip(out, self.low, self.high)


def fit_cell_state(
    counts: sparse.csr_matrix,
    targets: np.ndarray,
    *,
    n_components: int = 50,
    n_landmarks: int = 2500,
    rng: RNG = 0,
) -> tuple[CellState, np.ndarray]:
    """Learn to read targets from chromatin.

    Parameters
    ----------
    counts
        Chromatin counts of the training cells, cells x peaks.
    targets
        What to predict, cells x targets.
    n_components
        Singular vectors of the Gaussian kernel.
    n_landmarks
        Cells the kernels compare with; with no more cells than that the regression is exact.
    rng
        Seed of the choice of landmarks.

    Returns
    -------
    The map, and for each training cell the prediction of the map that was fitted to all other cells (cells x targets):
    what is trained on top of it must see these, or it learns to trust a fit to noise.

    Notes
    -----
    With 300 open peaks a cell, a network trained by gradient on single cells memorises them; these regressions are
    convex, have one penalty a target and kernel, and that is chosen by leaving out each cell in turn.
    """
    generator = as_generator(rng)
    n_cells = counts.shape[0]
    chosen = np.arange(n_cells)
    if n_cells > n_landmarks:
        chosen = np.sort(generator.choice(n_cells, n_landmarks, replace=False))
    logs = log_view(counts)
    chi = ChiView.fit(counts)
    part, level = chi(counts)
    components, loadings = truncated_svd(logs, n_components, rng=generator)
    some = components[generator.choice(n_cells, min(n_cells, 1000), replace=False)]
    distances = cdist(some, some, "sqeuclidean")
    positive = distances[distances > 0]
    bandwidth = float(np.median(positive)) if positive.size else 1.0

    fits = []
    fits.append(kernel_ridge(_dense(logs @ logs[chosen].T), targets, chosen))
    inner, own = chi.mean @ chi.mean, part @ chi.mean
    kernel = _dense(part @ part[chosen].T)
    kernel -= np.outer(level, own[chosen]) + np.outer(own, level[chosen]) - inner * np.outer(level, level[chosen])
    fits.append(kernel_ridge(kernel, targets, chosen))
    kernel = np.exp(-cdist(components, components[chosen], "sqeuclidean") / bandwidth)
    fits.append(kernel_ridge(kernel, targets, chosen))

    weights, mean = stack(fits, targets)
    by_fit = [fit.coefficients * weight for fit, weight in zip(fits, weights, strict=True)]
    by_chi = part[chosen].T @ by_fit[1] - np.outer(chi.mean, level[chosen] @ by_fit[1])
    honest = mean + sum((fit.honest - mean) * weight for fit, weight in zip(fits, weights, strict=True))
    intercept = mean + sum((fit.intercept - mean) * weight for fit, weight in zip(fits, weights, strict=True))
    state = CellState(
        loadings=loadings,
        center=components.mean(0),
        spread=np.maximum(components.std(0), MIN_SPREAD * np.sqrt((components[:, 0] ** 2).mean())),
        accessibility=np.asarray(logs.mean(0)).ravel(),
        by_log=logs[chosen].T @ by_fit[0],
        by_chi=by_chi,
        by_level=chi.mean @ by_chi,
        landmarks=components[chosen],
        by_landmark=by_fit[2],
        intercept=np.asarray(intercept),
        chi_weight=chi.weight,
        chi_mean=chi.mean,
        chi_depth=np.array([chi.depth]),
        bandwidth=np.array([bandwidth]),
        low=honest.min(axis=0),
        high=honest.max(axis=0),
    )
    return state, np.asarray(honest)


def _dense(product: sparse.csr_matrix) -> np.ndarray:
    """Return a product of sparse matrices as a dense array in double precision."""
    return np.asarray(product.todense(), dtype=np.float64)
