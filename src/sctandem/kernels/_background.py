"""Background peaks of the same accessibility and base composition, as a distribution and not as a draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Weights below this part of the largest of their row are left out: the normal density never quite ends.
_LEAST = 1e-9


@dataclass(frozen=True, slots=True)
class PeakBackground:
    """For each peak, the distribution that its background peak is drawn from.

    Attributes
    ----------
    bins
        Bin of each peak, 0, 1, ..., int32 (peaks,); -1 for peaks that take no part.
    size
        Peaks in each bin, float64 (bins,).
    weights
        For a peak in one bin (row), the probability that its background peak is in another (column), CSR (bins, bins); rows
        add up to 1. Within a bin all peaks are equally likely.
    """

    bins: NDArray[np.int32]
    size: NDArray[np.float64]
    weights: Any

    def draw(self, n_draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw background peaks, peaks x draws; a peak that takes no part stands for itself."""
        order = np.argsort(self.bins, kind="stable")[int((self.bins < 0).sum()) :]
        first = np.concatenate([[0], np.cumsum(self.size)[:-1]]).astype(np.int64)
        drawn = np.repeat(np.arange(len(self.bins))[:, None], n_draws, axis=1)
        for u in range(len(self.size)):
            start, stop = self.weights.indptr[u : u + 2]
            shape = (int(self.size[u]), n_draws)
            v = rng.choice(self.weights.indices[start:stop], shape, p=self.weights.data[start:stop])
            inside = (rng.random(shape) * self.size[v]).astype(np.int64)
            drawn[order[first[u] : first[u] + shape[0]]] = order[first[v] + inside]
        return drawn


def peak_background(
    totals: NDArray[Any], gc: NDArray[Any], *, n_bins: int = 50, bandwidth: float = 0.1
) -> PeakBackground:
    r"""Match peaks by accessibility and GC content, as chromVAR does.

    Parameters
    ----------
    totals
        Counts of each peak over all cells, (peaks,).
    gc
        Share of G and C of each peak, (peaks,).
    n_bins
        Bins along each of the two axes.
    bandwidth
        Standard deviation of the weights between bins, in units of the whitened axes.

    Returns
    -------
    The background. Peaks without counts or without a GC content take no part.

    Raises
    ------
    ValueError
        When no peak is left.

    Notes
    -----
    The axes are :math:`\log_{10}` of the totals and the GC content, made uncorrelated and of unit variance by the Cholesky
    factor of their covariance (so that Euclidean distance is Mahalanobis distance). A grid of `n_bins` x `n_bins` points spans
    them, and each peak belongs to the nearest point. For a peak at grid point :math:`u`, a peak at grid point :math:`v` is drawn
    with probability proportional to :math:`\phi(d_{uv} / w) / n_v`, with the distance :math:`d` of the points, the bandwidth
    :math:`w`, the normal density :math:`\phi` and the number :math:`n_v` of peaks at :math:`v`: how dense the peaks lie does not
    count. An axis on which the peaks do not differ is left out.

    References
    ----------
    Schep, A. N. et al. chromVAR: inferring transcription-factor-associated accessibility from single-cell epigenomic data.
    Nature Methods 14, 975-978 (2017).
    """
    totals, gc = np.asarray(totals, dtype=np.float64), np.asarray(gc, dtype=np.float64)
    used = (totals > 0) & np.isfinite(gc)
    if not used.any():
        msg = f"none of the {len(totals)} peaks has both counts and a GC content."
        raise ValueError(msg)
    depth = np.log10(totals[used])
    first = _standard(depth)
    other = gc[used] - gc[used].mean()
    second = _standard(other - first * (first @ other) / max(first @ first, 1.0))
    points = np.column_stack([_on_grid(first, n_bins), _on_grid(second, n_bins)])
    places, which, size = np.unique(points, axis=0, return_inverse=True, return_counts=True)
    bins = np.full(len(totals), -1, dtype=np.int32)
    bins[used] = which.ravel()
    step = np.array([np.ptp(first), np.ptp(second)]) / max(n_bins - 1, 1)
    return PeakBackground(bins, size.astype(np.float64), _weights(places * step, bandwidth))


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale to mean 0 and variance 1; 0 where nothing but rounding varies."""
    values = values - values.mean()
    spread = values.std(ddof=1) if len(values) > 1 else 0.0
    return values / spread if spread > 1e-9 else np.zeros_like(values)


def _on_grid(values: NDArray[np.float64], n_bins: int) -> NDArray[np.int64]:
    """Return the nearest of evenly spaced points from the smallest to the largest value."""
    extent = np.ptp(values)
    if extent == 0:
        return np.zeros(len(values), dtype=np.int64)
    return np.rint((values - values.min()) / extent * (n_bins - 1)).astype(np.int64)


def _weights(places: NDArray[np.float64], bandwidth: float) -> Any:
    """Return the probabilities to go from one place to another: normal in the distance, without the negligible ones."""
    rows = []
    for place in places:  # each row has its own place as the largest weight, 1
        weight = np.exp(-0.5 * ((places - place) ** 2).sum(axis=1) / bandwidth**2)
        weight[weight < _LEAST] = 0
        rows.append(sparse.csr_matrix(weight / weight.sum()))
    return sparse.vstack(rows, format="csr")
