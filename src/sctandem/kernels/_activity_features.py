"""What learned gene activity knows of a peak and a gene: where the peak lies, and in which cells it opens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from sctandem.kernels._atac_views import ChiView, truncated_svd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sctandem._random import RNG

#: Centres (log10 bp) and width of the bumps that encode the distance to the transcription start site.
CENTRES, WIDTH = np.linspace(2.0, 5.0, 5), 0.5
#: Decay of the sums upstream and downstream, and of what stands for the promoter, bp.
FAR, NEAR = 50_000.0, 3_000.0
#: ArchR's kernel: bases before the gene that belong to it, decay beyond, and floor.
BEFORE, DECAY, FLOOR = 5_000.0, 5_000.0, float(np.exp(-1.0))
#: Reach of the gene body before the gene, bp.
UPSTREAM = 2_000.0
#: Names of the columns of `activity_features`, in their order.
FEATURES = (
    *(f"distance of 10^{centre:g} bp" for centre in CENTRES),
    "side",
    "ArchR",
    "gene body",
    "boundary between",
    "openness, ArchR",
    "openness, far",
    "width",
    "co-accessibility, ArchR",
    "co-accessibility, far",
)
#: Columns that are kernels of the distance alone, for `fixed_kernels`.
ARCHR, BODY = FEATURES.index("ArchR"), FEATURES.index("gene body")


@dataclass(frozen=True, slots=True)
class WindowPairs:
    """Peaks and the genes in whose windows they lie.

    Attributes
    ----------
    gene, peak
        Positions of the gene and of the peak of each pair, (pairs,).
    distance
        From the transcription start site to the middle of the peak in bp, negative upstream, (pairs,).
    length
        Length of each pair's gene in bp, (pairs,).
    between
        Starts of other genes between the peak and the gene's, see `starts_between`, (pairs,).
    width
        Width of each peak in bp, (peaks,).
    n_genes
        Number of genes, with or without pairs.
    """

    gene: np.ndarray
    peak: np.ndarray
    distance: np.ndarray
    length: np.ndarray
    between: np.ndarray
    width: np.ndarray
    n_genes: int

    def at(self, genes: np.ndarray) -> WindowPairs:
        """Keep the pairs of some genes (a mask), which are numbered anew."""
        kept = genes[self.gene]
        number = np.cumsum(genes) - 1
        parts = (self.peak[kept], self.distance[kept], self.length[kept], self.between[kept])
        return WindowPairs(number[self.gene[kept]], *parts, self.width, int(genes.sum()))

    def matrix(self, values: np.ndarray) -> sparse.csr_matrix:
        """Lay out one value a pair as genes x peaks."""
        return sparse.csr_matrix((values, (self.gene, self.peak)), shape=(self.n_genes, len(self.width)))


def starts_between(
    chrom: np.ndarray, middle: np.ndarray, tss: np.ndarray, *, all_chrom: np.ndarray, all_tss: np.ndarray
) -> np.ndarray:
    """Count the starts of other genes between a peak and the start of its gene.

    Parameters
    ----------
    chrom, middle, tss
        Of each pair: the chromosome, the middle of the peak and the start of the gene, (pairs,).
    all_chrom, all_tss
        Of all genes of the annotation, that of the pair among them.

    Returns
    -------
    int64, (pairs,). Starts at the same base count once, and those at the gene's own start not at all.
    """
    out = np.zeros(len(chrom), dtype=np.int64)
    for name in np.unique(chrom):
        here = np.flatnonzero(chrom == name)
        starts = np.unique(all_tss[all_chrom == name])
        low, high = np.minimum(middle[here], tss[here]), np.maximum(middle[here], tss[here])
        out[here] = np.searchsorted(starts, high, side="right") - np.searchsorted(starts, low, side="left")
        out[here] -= np.isin(tss[here], starts)
    return out


@dataclass(frozen=True, slots=True)
class PeakState:
    """In which cells each peak opens: leading components of depth-corrected residuals.

    Attributes
    ----------
    weight, mean
        Of the chi-squared residuals of each peak, see `ChiView`, (peaks,).
    depth
        Open peaks of the median cell.
    loadings
        Orthonormal, peaks x components.
    centre, spread
        Mean and standard deviation of the cells in each component, (components,).
    openness
        Log of the mean count of each peak, (peaks,).
    """

    weight: np.ndarray
    mean: np.ndarray
    depth: float
    loadings: np.ndarray
    centre: np.ndarray
    spread: np.ndarray
    openness: np.ndarray

    @classmethod
    def fit(cls, counts: sparse.csr_matrix, n_components: int, *, rng: RNG = 0) -> PeakState:
        """Find the components.

        Parameters
        ----------
        counts
            Cells x peaks.
        n_components
            How many; fewer where there is less to find.
        rng
            Seed of the start vector (the result depends on it by rounding only).
        """
        view = ChiView.fit(counts)
        # one more component than is asked for: what follows the number of open peaks alone is taken out of them
        _, loadings = truncated_svd(view(counts)[0], n_components + 1, rng=rng)
        state = cls(view.weight, view.mean, view.depth, loadings, np.zeros(1), np.ones(1), np.log(_mean(counts) + 1e-3))
        raw = state._raw(counts)
        centre = raw.mean(0)
        _, values, turn = np.linalg.svd(raw - centre, full_matrices=False)
        kept = (values > 1e-6 * values.max(initial=0.0))[:n_components].nonzero()[0]
        turn = turn[kept] * np.where((loadings @ turn[kept].T).sum(0) < 0, -1.0, 1.0)[:, None]
        spread = values[kept] / np.sqrt(len(raw))
        return cls(view.weight, view.mean, view.depth, loadings @ turn.T, turn @ centre, spread, state.openness)

    def _raw(self, counts: sparse.csr_matrix) -> np.ndarray:
        """Project residuals on the loadings."""
        part, level = ChiView(self.weight, self.mean, self.depth)(counts)
        return part @ self.loadings - np.outer(level, self.mean @ self.loadings)

    def coordinates(self, counts: sparse.csr_matrix) -> np.ndarray:
        """Place cells: cells x components, of mean 0 and variance 1 in the cells of the fit."""
        return (self._raw(counts) - self.centre) / self.spread

    def select(self, position: np.ndarray) -> PeakState:
        """Take over what is known to other peaks.

        Parameters
        ----------
        position
            For each new peak the position of the old one that stands for it, -1 for none.

        Returns
        -------
        The state in the new peaks. Those that stand for no old one carry no signal.
        """
        known = position >= 0
        weight, mean = (np.where(known, values[position], 0.0) for values in (self.weight, self.mean))
        loadings = np.where(known[:, None], self.loadings[position], 0.0)
        openness = np.where(known, self.openness[position], self.openness.min())
        return PeakState(weight, mean, self.depth, loadings, self.centre, self.spread, openness)


def _mean(counts: sparse.csr_matrix) -> np.ndarray:
    return np.asarray(counts.mean(0), dtype=np.float64).ravel()


def fixed_kernels(pairs: WindowPairs) -> tuple[np.ndarray, np.ndarray]:
    """Weigh pairs by ArchR's kernel, no gene crossed, and by the gene body with 2 kb before it.

    Parameters
    ----------
    pairs
        The pairs.

    Returns
    -------
    Both weights, (pairs,).
    """
    beyond = np.maximum(pairs.distance - pairs.length, 0.0)
    gap = np.where(pairs.distance < 0, np.maximum(-pairs.distance - BEFORE, 0.0), beyond)
    archr = np.where((pairs.between == 0) | (gap == 0), np.exp(-gap / DECAY) + FLOOR, 0.0)
    body = (pairs.distance >= -UPSTREAM) & (pairs.distance <= pairs.length)
    return archr, body.astype(np.float64)


def sides(pairs: WindowPairs) -> tuple[np.ndarray, np.ndarray]:
    """Weigh pairs by distance upstream, and downstream of the start, (pairs,) each."""
    far = np.exp(-np.abs(pairs.distance) / FAR)
    return far * (pairs.distance < 0), far * (pairs.distance >= 0)


def activity_features(
    pairs: WindowPairs, state: PeakState, *, scales: np.ndarray | None = None
) -> tuple[list[np.ndarray], np.ndarray]:
    """Describe each pair by the columns of `FEATURES`.

    Parameters
    ----------
    pairs
        The pairs.
    state
        In which cells their peaks open.
    scales
        Mean and standard deviation of openness, log width and co-accessibility; `None` to take them from these pairs.

    Returns
    -------
    The columns, (pairs,) each, and the scales, 3 x 2.
    """
    far = np.exp(-np.abs(pairs.distance) / FAR)
    reach = np.log10(np.abs(pairs.distance) + 100.0)
    archr, body = fixed_kernels(pairs)
    context = [state.openness[pairs.peak], np.log(pairs.width[pairs.peak] + 1.0), co_accessibility(pairs, state)]
    if scales is None:
        scales = np.array([[values.mean(), max(values.std(), 1e-9)] for values in context])
    opened, width, together = ((values - mean) / spread for values, (mean, spread) in zip(context, scales, strict=True))
    columns = [np.exp(-0.5 * ((reach - centre) / WIDTH) ** 2) for centre in CENTRES]
    columns += [np.sign(pairs.distance) * far, archr, body, far * (pairs.between > 0)]
    columns += [archr * opened, far * opened, far * width, archr * together, far * together]
    return columns, scales


def co_accessibility(pairs: WindowPairs, state: PeakState) -> np.ndarray:
    """Say how much each peak opens in the cells in which the peaks at the gene's start do: a cosine, (pairs,)."""
    opening = state.loadings * state.spread
    promoter = np.asarray(pairs.matrix(np.exp(-np.abs(pairs.distance) / NEAR)) @ opening)
    size, own = np.linalg.norm(promoter, axis=1), np.linalg.norm(opening, axis=1)
    out = np.empty(len(pairs.gene))
    for start in range(0, len(out), 65_536):
        gene, peak = pairs.gene[start : start + 65_536], pairs.peak[start : start + 65_536]
        inner = np.einsum("ij,ij->i", promoter[gene], opening[peak])
        out[start : start + 65_536] = inner / np.maximum(size[gene] * own[peak], 1e-12)
    return out


def window_sums(pairs: WindowPairs, state: PeakState, columns: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Sum the components of the peaks around each gene with each of several weights: genes x components, one after another."""
    opening = state.loadings * state.spread
    for weight in columns:
        yield np.asarray(pairs.matrix(weight) @ opening)
