"""A kernel feature space in which groups of any connected shape are drawn together to points."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points: TypeAlias = NDArray[np.floating]

COLDEST = 0.1
"""Where the path of temperatures ends in the feature space, whose features have variance 1 before they decay."""
_LANDMARKS = 1000
_NEIGHBOUR = 5
"""The nearest landmark of this rank says how wide the kernel of a landmark is."""
_MOST = 30
_TIME = 1.5
"""Diffusion time, in units of the slowest decay of a connected curve: what decays as slowly ends at the coldest temperature."""
_FEWEST = 1e-3
"""Decayed features below it are left out."""


class Lift(NamedTuple):
    """A map of points to kernel features."""

    landmarks: NDArray[np.float64]
    widths: NDArray[np.float64]
    """Squared width of the kernel at each landmark."""
    weights: NDArray[np.float64]
    """Landmarks x features."""

    def of(self, points: Points) -> NDArray[np.float32]:
        """Give the features of a block of points, all of which are held at once."""
        return (_shares(np.asarray(points, np.float64), self.landmarks, self.widths) @ self.weights).astype(np.float32)


def fit_lift(points: Points, *, rng: np.random.Generator) -> Lift:
    """Find features that are equal within connected groups of points, whatever their shape, and differ between them.

    Parameters
    ----------
    points
        Points x dimensions.
    rng
        Draws the landmarks: half of the points, 1,000 at most.

    Returns
    -------
    The map.

    Notes
    -----
    A point has a normal kernel with each landmark, scaled to add up to 1: a random walk from points to landmarks and back. The
    squared width at a landmark is half of the squared distance to its fifth nearest landmark, between one and two times the median. Eigenvectors of the walk are the features
    (as of spectral clustering with landmarks, Liu, He and Chang 2010, and of diffusion maps, Coifman and Lafon 2006), decayed
    by the time in which the slowest mode of a half circle over the extent of the points (four standard deviations along their
    longest axis) falls to e^-1.5. What is left differs between groups that the walk leaves more slowly than that.
    Cost: points x landmarks x dimensions.
    """
    points = np.asarray(points, np.float64)
    n, d = points.shape
    landmarks = points[np.sort(rng.choice(n, max(min(_LANDMARKS, n // 2), 2), replace=False))]
    apart = _squares(landmarks, landmarks)
    widths = (
        np.partition(apart, min(_NEIGHBOUR, len(landmarks) - 1), axis=1)[:, min(_NEIGHBOUR, len(landmarks) - 1)] / 2
    )
    middle = max(float(np.median(widths)), 1e-12 * apart.max(), 1e-300)
    widths = np.clip(widths, middle, 2 * middle)  # isolated landmarks stay linked, gaps are not bridged
    shares = _shares(points, landmarks, widths)
    length = np.median(np.einsum("ij,ij->i", shares, _squares(points, landmarks)))
    extent = 4 * np.sqrt(np.linalg.eigvalsh(np.atleast_2d(np.cov(points.T)))[-1])
    slowest = length / d * (2 / extent) ** 2  # of a half circle with this diameter: there and back are two steps
    mass = np.maximum(shares.sum(axis=0), 1e-300)
    walk = shares / np.sqrt(mass)
    values, vectors = np.linalg.eigh(walk.T @ walk)
    values, vectors = values[::-1][1 : _MOST + 1], vectors[:, ::-1][:, 1 : _MOST + 1]
    rates = -np.log(np.clip(values, 1e-12, 1))
    decayed = np.exp(-_TIME * rates / slowest)
    kept = np.maximum(decayed > _FEWEST, np.arange(len(decayed)) < 1)
    weights = vectors / np.sqrt(np.maximum(values, 1e-12)) * decayed * np.sqrt(n) / np.sqrt(mass)[:, None]
    return Lift(landmarks, widths, weights[:, kept])


def _squares(points: Points, others: Points) -> NDArray[np.float64]:
    """Give squared distances."""
    both = (points**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)
    return np.maximum(both - 2 * points @ others.T, 0)


def _shares(points: Points, landmarks: Points, widths: Points) -> NDArray[np.float64]:
    """Give the step of the walk from each point to the landmarks."""
    logs = -_squares(points, landmarks) / (2 * widths)
    logs -= logs.max(axis=1, keepdims=True)
    shares = np.exp(logs)
    return shares / shares.sum(axis=1, keepdims=True)
