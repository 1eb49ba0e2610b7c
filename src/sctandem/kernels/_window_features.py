"""Gene windows as padded arrays, and what is known of each peak of a window without looking at the gene."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Centres (log10 bp) and width of the bumps that encode the distance to the transcription start site.
DISTANCE_CENTRES = np.linspace(2, 6, 9)
DISTANCE_WIDTH = 0.4
#: Penalty of the ridge regression from sequence to accessibility, per peak.
SEQUENCE_PENALTY = 0.01
#: Values of a table of sequences that are read at once, and the most columns of one: the regression takes their square.
SEQUENCE_BLOCK = 1 << 22
MAX_SEQUENCE_FEATURES = 12_000


@dataclass(frozen=True, slots=True)
class Windows:
    """The ordered peaks of every gene, padded to the longest window.

    Attributes
    ----------
    gene, peak
        Positions of the gene and of the peak of each pair, (pairs,), sorted by gene and 5' to 3' within it.
    slot
        Position of each pair within its window, (pairs,).
    distance
        From the transcription start site in bp, negative upstream, (pairs,).
    width
        Width of each pair's peak in bp, (pairs,).
    n_genes
        Number of genes, with or without a window.
    """

    gene: np.ndarray
    peak: np.ndarray
    slot: np.ndarray
    distance: np.ndarray
    width: np.ndarray
    n_genes: int

    @classmethod
    def build(
        cls, gene: np.ndarray, peak: np.ndarray, *, distance: np.ndarray, width: np.ndarray, n_genes: int
    ) -> Windows:
        """Sort pairs by gene and distance, and number them within each gene."""
        order = np.lexsort((distance, gene))
        gene = np.asarray(gene)[order]
        count = np.bincount(gene, minlength=n_genes)
        first = np.cumsum(count) - count
        slot = np.arange(gene.size) - first[gene]
        return cls(gene, np.asarray(peak)[order], slot, np.asarray(distance)[order], np.asarray(width)[order], n_genes)

    @property
    def shape(self) -> tuple[int, int]:
        """Genes x peaks of the longest window."""
        return self.n_genes, int(self.slot.max(initial=-1)) + 1

    def pad(self, values: np.ndarray) -> np.ndarray:
        """Lay out one value (or row) a pair as genes x slots (x columns), zero where there is no peak."""
        out = np.zeros((*self.shape, *values.shape[1:]), dtype=np.float32)
        out[self.gene, self.slot] = values
        return out


def peak_response(loadings: np.ndarray, accessibility: np.ndarray) -> np.ndarray:
    """Relative change of each peak's accessibility with each component of the cells.

    Parameters
    ----------
    loadings
        Change of the log count with a component of unit variance, peaks x components.
    accessibility
        Mean log count, (peaks,).

    Returns
    -------
    Peaks x components; damped for peaks that are hardly ever open.
    """
    return loadings / (accessibility + 0.05 * accessibility.mean() + 1e-12)[:, None]


def peak_behaviour(response: np.ndarray, accessibility: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Say how much each peak responds and how open it is.

    Parameters
    ----------
    response
        From `peak_response`, peaks x components.
    accessibility
        Mean log count, (peaks,).

    Returns
    -------
    Size of the response, (peaks,); and the logarithms of size and accessibility, centred and scaled, peaks x 2.
    """
    size = np.linalg.norm(response, axis=1)
    return size, np.column_stack([_scaled(np.log(size + 1e-3)), _scaled(np.log(accessibility + 1e-3))])


def sequence_summary(sequence: np.ndarray | sparse.csr_matrix, behaviour: np.ndarray) -> np.ndarray:
    """Say of each peak's sequence what accessibility it predicts, by ridge regression over all peaks.

    Parameters
    ----------
    sequence
        Composition of each peak, peaks x features; read a block of peaks at a time, so that a sparse matrix is never dense
        as a whole.
    behaviour
        What is predicted, peaks x columns.

    Returns
    -------
    Peaks x columns: hundreds of k-mers become a few columns that cannot single out one peak.
    """
    n, n_features = sequence.shape
    size = max(1, SEQUENCE_BLOCK // max(n_features, 1))
    blocks = [slice(start, start + size) for start in range(0, n, size)]

    def read(rows: slice) -> np.ndarray:
        part: Any = sequence[rows]
        return np.asarray(part.toarray() if sparse.issparse(part) else part, dtype=np.float64)

    def total(parts: Iterable[np.ndarray]) -> np.ndarray:
        return reduce(np.add, parts)

    mean = total(read(rows).sum(0) for rows in blocks) / n
    spread = np.sqrt(total(((read(rows) - mean) ** 2).sum(0) for rows in blocks) / n)
    unit = np.where(spread > 0, spread, 1.0)
    aim = behaviour - behaviour.mean(0)
    gram = SEQUENCE_PENALTY * n * np.eye(n_features)
    towards = np.zeros((n_features, aim.shape[1]))
    for rows in blocks:
        scaled = (read(rows) - mean) / unit
        gram += scaled.T @ scaled
        towards += scaled.T @ aim[rows]
    weight = np.linalg.solve(gram, towards)
    return np.concatenate([(read(rows) - mean) / unit @ weight for rows in blocks])


def pair_features(
    windows: Windows,
    response: np.ndarray,
    accessibility: np.ndarray,
    *,
    sequence: np.ndarray | sparse.csr_matrix | None = None,
) -> np.ndarray:
    """Describe each peak of each window.

    Parameters
    ----------
    windows
        The windows.
    response
        From `peak_response`, peaks x components.
    accessibility
        Mean log count, (peaks,).
    sequence
        Composition of each peak's sequence, peaks x features, where known.

    Returns
    -------
    float32, pairs x features: direction and size of the response, accessibility, width, distance (signed, and in bumps
    over its logarithm), and what the sequence says.
    """
    size, behaviour = peak_behaviour(response, accessibility)
    direction = 3 * response / np.maximum(size, 1e-6)[:, None]
    columns = [direction[windows.peak], behaviour[windows.peak]]
    if sequence is not None:
        told = sequence_summary(sequence, np.column_stack([direction, behaviour]))
        columns.append((told / np.maximum(told.std(0), 1e-6))[windows.peak])
    far = np.log10(np.abs(windows.distance) + 100.0)
    bumps = np.exp(-0.5 * ((far[:, None] - DISTANCE_CENTRES) / DISTANCE_WIDTH) ** 2)
    side = np.sign(windows.distance)
    scale = max(float(np.abs(windows.distance).max(initial=1)), 1.0)
    columns += [
        2 * (windows.distance / scale)[:, None],
        side[:, None],
        bumps,
        _scaled(np.log(windows.width + 1.0))[:, None],
    ]
    return np.concatenate(columns, axis=1).astype(np.float32)


def predict_baseline(
    windows: Windows, accessibility: np.ndarray, log_mean: np.ndarray, learned: np.ndarray
) -> np.ndarray:
    """Predict the mean log rate of genes from how open their windows are, by ridge regression over the learned genes.

    Parameters
    ----------
    windows
        The windows.
    accessibility
        Mean log count, (peaks,).
    log_mean
        Mean log rate of each gene; read for learned genes only, (genes,).
    learned
        Which genes may be read, (genes,).

    Returns
    -------
    Predicted mean log rate of all genes, (genes,).
    """
    near = np.abs(windows.distance)
    columns = [
        np.log1p(np.bincount(windows.gene[near <= reach], accessibility[windows.peak[near <= reach]], windows.n_genes))
        for reach in (2_000, 20_000, np.inf)
    ]
    design = np.column_stack([_scaled(column) for column in columns])
    mean = log_mean[learned].mean()
    gram = design[learned].T @ design[learned] + np.eye(design.shape[1])
    return mean + design @ np.linalg.solve(gram, design[learned].T @ (log_mean[learned] - mean))


def _scaled(values: np.ndarray) -> np.ndarray:
    """Centre, and divide by the standard deviation where there is one."""
    spread = values.std()
    return (values - values.mean()) / (spread if spread > 0 else 1.0)
